"""The claims of camouflage; their rules are fixed here."""

from typing import Any

import numpy as np

from experiments.breaking import _patch_rates as rates
from experiments.breaking import _patch_scenes as scenes
from experiments.breaking._patch_rates import ANYWHERE, OFF
from jaxvision.report.claims import Claim, Greater, Less, Statistic, Within, minus
from jaxvision.report.record import Record

MADE = ("patch", "one_place")  # they share their draws
BROWN, DAZZLE = "Brown et al. 2017", "CV Dazzle, Harvey 2010"


def claims_of(config: Any) -> list[Claim]:
    """Return the sources' claims and the questions beside them."""
    return [
        *_of_areas(config),
        *_of_occlusion(config),
        *_of_places(config),
        *_of_transfer(config),
        *_of_patterns(config),
        *_controls(config),
    ]


def _at(config: Any) -> int:
    """Return the place of the area that is judged."""
    return config.areas.index(config.area) if config.area in config.areas else 0


def _words(config: Any) -> str:
    return f"{config.area:.0%} of the scene"


def _led(config: Any, name: str, place: int = ANYWHERE, net: str = "own") -> Statistic:
    return lambda record: rates.led(record, net, name)[:, place, _at(config)]


def _rivals(config: Any, place: int = ANYWHERE, net: str = "own") -> Statistic:
    return lambda record: rates.best_control(record, net)[:, place, _at(config)]


def _lost(config: Any, name: str, place: int) -> Statistic:
    return lambda record: 1 - rates.kept(record, "own", name)[:, place, _at(config)]


def _without_masks(config: Any) -> str:
    return "" if config.dataset in scenes.MASKED else "a set with masks: --dataset=shapes16k"


def _without_others(config: Any) -> str:
    return "" if config.other != "none" else "another kind of nets: --other=resnet"


def _of_areas(config: Any) -> list[Claim]:
    area = _words(config)
    judged = [i for i, size in enumerate(config.areas) if size >= 0.05]
    none = "" if judged else "--areas of .05 and more"
    few = "" if len(config.areas) > 1 else "several --areas"

    def least_lead(record: Record) -> np.ndarray:
        patch, others = rates.led(record, "own", "patch"), rates.best_control(record, "own")
        return (patch - others)[:, ANYWHERE, judged].min(1)

    return [
        Claim(
            "beats-controls",
            f"{BROWN}, figure 3",
            "Anywhere, at every area from 5 %: the patch leads to its class more often than the "
            "best of real object, noise and gray (least lead, share of scenes)",
            least_lead,
            Greater(),
            not_run=none,
            needs=MADE,
        ),
        Claim(
            "beats-object",
            f"{BROWN}, figure 3",
            f"Anywhere, at {area}: it leads there more often than a real object of the class does",
            minus(_led(config, "patch"), _led(config, "object")),
            Greater(),
            needs=MADE,
        ),
        Claim(
            "grows",
            f"{BROWN}, figure 3",
            "The larger it is, the more often it leads there (least gain from an area to the next)",
            _least_gain,
            Greater(),
            not_run=few,
            needs=MADE,
        ),
        Claim(
            "most",
            f"{BROWN}, notebook",
            f"At {config.areas[-1]:.0%} of the scene it leads there in over half of the scenes "
            "(93 % on Xception at 20 %)",
            _largest,
            Greater(0.5),
            needs=MADE,
        ),
    ]


def _least_gain(record: Record) -> np.ndarray:
    return np.diff(rates.led(record, "own", "patch")[:, ANYWHERE], axis=1).min(1)


def _largest(record: Record) -> np.ndarray:
    return rates.led(record, "own", "patch")[:, ANYWHERE, -1]


def _of_occlusion(config: Any) -> list[Claim]:
    area, masks = _words(config), _without_masks(config)
    question = "question, occlusion"

    def part_lost(record: Record) -> np.ndarray:
        gray, patch = (_lost(config, name, OFF)(record) for name in ("gray", "patch"))
        return rates.part(gray, patch)

    return [
        Claim(
            "off-object",
            question,
            f"Off the object, none of it covered, at {area}: it leads there more often than the "
            "best control",
            minus(_led(config, "patch", OFF), _rivals(config, OFF)),
            Greater(),
            not_run=masks,
            needs=MADE,
        ),
        Claim(
            "led-away",
            question,
            f"Off the object, at {area}: gray at the same place costs less than half of the right "
            "answers that the patch costs (ratio)",
            part_lost,
            Less(0.5),
            not_run=masks,
            needs=MADE,
        ),
        Claim(
            "costs",
            question,
            f"Anywhere, at {area}: it costs more right answers than gray at the same place",
            minus(_lost(config, "patch", ANYWHERE), _lost(config, "gray", ANYWHERE)),
            Greater(),
            needs=MADE,
        ),
    ]


def _of_places(config: Any) -> list[Claim]:
    area = _words(config)
    return [
        Claim(
            "one-place",
            "question, places",
            f"Anywhere, at {area}: a patch made at places drawn anew leads there more often than "
            "one made at one place",
            minus(_led(config, "patch"), _led(config, "one_place")),
            Greater(),
            needs=MADE,
        ),
    ]


def _of_transfer(config: Any) -> list[Claim]:
    area = _words(config)
    return [
        Claim(
            "sibling",
            f"{BROWN}, transfer",
            f"Anywhere, at {area}: a patch made for the next seed's net of the same kind leads "
            "there more often than the best control",
            minus(_led(config, "sibling"), _rivals(config)),
            Greater(),
            needs=MADE,
        ),
        Claim(
            "other-kind",
            f"{BROWN}, transfer",
            f"Anywhere, at {area}: so does one made for a net of another kind",
            minus(_led(config, "patch", net="other"), _rivals(config, net="other")),
            Greater(),
            not_run=_without_others(config),
            needs=(*MADE, "other"),
        ),
        Claim(
            "own",
            "question, transfer",
            f"Anywhere, at {area}: a patch leads its own net there more often than the next seed's",
            minus(_led(config, "patch"), _led(config, "sibling")),
            Greater(),
            needs=MADE,
        ),
    ]


def _of_patterns(config: Any) -> list[Claim]:
    masks = _without_masks(config)
    return [
        Claim(
            "dazzle",
            DAZZLE,
            "A pattern worn by the object changes more right answers than the best of gray, noise "
            "and the pattern with its pixels in another order",
            _worn_lead("pattern"),
            Greater(),
            not_run=masks,
            needs=MADE,
        ),
        Claim(
            "dazzle-sibling",
            DAZZLE,
            "So does one made for the next seed's net of the same kind",
            _worn_lead("sibling"),
            Greater(),
            not_run=masks,
            needs=MADE,
        ),
        Claim(
            "dazzle-other",
            DAZZLE,
            "So does one made for a net of another kind",
            _worn_lead("pattern", "other"),
            Greater(),
            not_run=masks or _without_others(config),
            needs=(*MADE, "other"),
        ),
    ]


def _worn_lead(name: str, net: str = "own") -> Statistic:
    return lambda record: rates.worn(record, net, name) - rates.best_worn(record, net)


def _controls(config: Any) -> list[Claim]:
    area, masks = _words(config), _without_masks(config)

    def apart(record: Record) -> np.ndarray:
        noise = record.arrays["own/led/noise"][:, ANYWHERE, _at(config)]  # [S, K, draws]
        half = noise.shape[-1] // 2
        difference = noise[..., :half].mean(-1) - noise[..., half:].mean(-1)
        return np.abs(difference).mean(1)

    return [
        Claim(
            "overlap",
            "negative control, masks",
            "A patch off the object covers nothing of it (largest share of a pixel)",
            lambda r: r.arrays["overlap"],
            Within(0.0, 1e-9),
            "theory",
            not_run=masks,
            needs=(),
        ),
        Claim(
            "outside",
            "negative control, masks",
            "A pattern changes nothing but the object (largest change of another pixel)",
            lambda r: r.arrays["outside"],
            Within(0.0, 1e-9),
            "theory",
            not_run=masks,
            needs=(),
        ),
        Claim(
            "control",
            "negative control, noise",
            f"Anywhere, at {area}: random patches lead to each class as often as other random "
            "patches, less than 2 points apart, mean over classes",
            apart,
            Less(0.02),
            needs=MADE,
        ),
    ]
