"""The claims of occlusion; their rules are fixed here. Statistics are one number a net."""

from typing import Any

import numpy as np

from experiments.seeing import _nets
from jaxvision.report.claims import Claim, Equivalent, Greater, Less, Statistic, Within, minus
from jaxvision.report.record import Record

FIGURE_5, TABLE_1 = "Zeiler & Fergus 2013, figure 5", "Zeiler & Fergus 2013, table 1"
METHOD = "question, method"
CONTROL = "negative control, labels dealt at random"
LAYER = "the last convolution"
COVERS = ("gray", "mean", "blur", "noise")


def claims_of(config: Any) -> list[Claim]:
    """Return all claims; those that ask where the object is are not run without masks."""
    masked = config.dataset in _nets.MASKED
    no_masks = "" if masked else "the set has no masks: --dataset=shapes16k"
    return [
        *_of_covering(no_masks),
        *_of_maps(no_masks),
        *_of_parts(no_masks),
        *_of_windows(config, no_masks),
        *_of_memory(config, no_masks),
    ]


def _whole(name: str) -> Statistic:
    return lambda record: record.arrays[name]


def _on(name: str, where: str) -> Statistic:
    """Return the object's, or the background's, part of an array [S, 2]."""
    column = {"object": 0, "background": 1}[where]
    return lambda record: record.arrays[name][:, column]


def _lead(name: str) -> Statistic:
    """Return object minus background."""
    return minus(_on(name, "object"), _on(name, "background"))


def _share(name: str) -> Statistic:
    """Return object minus background, over their sum."""

    def share(record: Record) -> np.ndarray:
        return _lead(name)(record) / record.arrays[name].sum(1)

    return share


def _beside(layer: str, moved: str = "") -> Statistic:
    """Return the distance for the same part minus that for random ones."""

    def gap(record: Record) -> np.ndarray:
        part = record.arrays[f"alike/{layer}/part{moved}"].mean(1)
        return part - record.arrays[f"alike/{layer}/random{moved}"]

    return gap


def _of_covering(no_masks: str) -> list[Claim]:
    return [
        Claim(
            "self",
            "algebra",
            "Covering with the image's own pixels changes no probability (largest change)",
            _whole("true/window/self/largest"),
            Within(0.0, 1e-4),
            "theory",
            needs=("true", "windows"),
        ),
        Claim(
            "object",
            f"{FIGURE_5}(d)",
            "The right class's probability falls more where at least half the window is object "
            "than where none is",
            _lead("true/window/gray/fall"),
            Greater(),
            not_run=no_masks,
            needs=("true", "windows"),
        ),
        Claim(
            "class",
            f"{FIGURE_5}(e)",
            "The answer changes more often there",
            _lead("panels/changed"),
            Greater(),
            not_run=no_masks,
            needs=("true", "panels"),
        ),
    ]


def _of_maps(no_masks: str) -> list[Claim]:
    return [
        Claim(
            "strongest",
            f"{FIGURE_5}(b)",
            "The strongest map's sum falls more there",
            _lead("panels/strongest"),
            Greater(),
            not_run=no_masks,
            needs=("true", "panels"),
        ),
        Claim(
            "projection",
            f"{FIGURE_5}(b, c)",
            "The strongest map's sum falls where its deconvnet projection has its energy (rank "
            "correlation)",
            _whole("panels/projection"),
            Greater(),
            needs=("true", "panels"),
        ),
        Claim(
            "projection-own",
            f"{FIGURE_5}(b, c)",
            "It does so more than where the second strongest map's projection has",
            minus(_whole("panels/projection"), _whole("panels/another")),
            Greater(),
            needs=("true", "panels"),
        ),
        Claim(
            "together",
            METHOD,
            "Probability and strongest map fall together (rank correlation)",
            _whole("panels/alike"),
            Greater(),
            needs=("true", "panels"),
        ),
        Claim(
            "apart",
            f"{FIGURE_5}, text",
            "On more than a quarter of the images the two are lowest at places more than one "
            "window apart",
            _whole("panels/apart"),
            Greater(0.25),
            needs=("true", "panels"),
        ),
    ]


def _of_parts(no_masks: str) -> list[Claim]:
    return [
        Claim(
            "alike-conv",
            f"{TABLE_1}, layer 5",
            f"At {LAYER} signs of change agree more between objects when the same part is "
            "covered than when random parts are",
            _beside(_nets.LAST),
            Less(),
            not_run=no_masks,
            needs=("true", "alike"),
        ),
        Claim(
            "alike-top",
            f"{TABLE_1}, layer 7",
            "At the logits the same part and random parts differ by less than .02",
            _beside("logits"),
            Equivalent(0.02),
            not_run=no_masks,
            needs=("true", "alike"),
        ),
        Claim(
            "alike-moved",
            METHOD,
            f"At {LAYER}, over units that move in both objects alone, the same part still agrees "
            "more than random parts",
            _beside(_nets.LAST, "_moved"),
            Less(),
            not_run=no_masks,
            needs=("true", "alike"),
        ),
    ]


def _of_windows(config: Any, no_masks: str) -> list[Claim]:
    def weakest(record: Record) -> np.ndarray:
        return np.min([_lead(f"true/window/{fill}/fall")(record) for fill in COVERS], axis=0)

    gray = _on("true/window/gray/fall", "background")
    blur = _on("true/window/blur/fall", "background")
    large = _on("true/window/gray/fall", "object")
    small = _on("true/small/gray/fall", "object")
    return [
        Claim(
            "fills",
            METHOD,
            "Object costs more than background whatever covers: the smallest lead of gray, mean "
            "color, blur and noise",
            weakest,
            Greater(),
            not_run=no_masks,
            needs=("true", "windows"),
        ),
        Claim(
            "edges",
            METHOD,
            "On the background gray costs more than a blur of the image: a covering window has "
            "edges of its own",
            minus(gray, blur),
            Greater(),
            not_run=no_masks,
            needs=("true", "windows"),
        ),
        Claim(
            "window",
            METHOD,
            f"On the object a window of {config.window} pixels costs more than one of "
            f"{config.small_window}",
            minus(large, small),
            Greater(),
            not_run=no_masks,
            needs=("true", "windows"),
        ),
    ]


def _of_memory(config: Any, no_masks: str) -> list[Claim]:
    """Return what holds for nets that know images by heart whose labels mean nothing."""

    def above_chance(record: Record) -> np.ndarray:
        return 1 - record.arrays["shuffled/error"] - record.numbers["chance"]

    return [
        Claim(
            "shuffled-known",
            CONTROL,
            f"Nets know {config.memorized_images} images by heart with labels dealt at random: "
            "on these they are right in more than .9",
            _whole("shuffled/learned/right"),
            Greater(0.9),
            needs=("shuffled", "learned"),
        ),
        Claim(
            "shuffled-chance",
            CONTROL,
            "On test images they are at chance, within .03",
            above_chance,
            Equivalent(0.03),
            needs=("shuffled",),
        ),
        Claim(
            "shuffled",
            CONTROL,
            "On test images their probability of the right class falls no more on the object than "
            "on the background, within .02",
            _lead("shuffled/window/gray/fall"),
            Equivalent(0.02),
            not_run=no_masks,
            needs=("shuffled", "windows"),
        ),
        Claim(
            "shuffled-learned",
            CONTROL,
            "On the images they know their probability of the label falls no more on the object "
            "than on the background, within a tenth of both falls",
            _share("shuffled/learned/gray/fall"),
            Equivalent(0.1),
            not_run=no_masks,
            needs=("shuffled", "learned"),
        ),
        Claim(
            "shuffled-less",
            METHOD,
            "Of what covering costs on images they learned, the object's lead over the background "
            "has a larger share in nets of true labels than in nets of labels dealt at random",
            minus(_share("true/learned/gray/fall"), _share("shuffled/learned/gray/fall")),
            Greater(),
            not_run=no_masks,
            needs=("true", "shuffled", "learned"),
        ),
    ]
