"""The claims of one_pixel; their rules are fixed here."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from experiments.breaking import _pixel_panels as panels
from experiments.breaking import _pixel_searches as searches
from jaxvision.report import stats
from jaxvision.report.claims import Claim, Equivalent, Greater, Less, Statistic, Within, minus
from jaxvision.report.record import Record

Rate = Callable[..., Statistic]
SU = "Su et al. 2019"
FOOLED = 0.6797  # the share of CIFAR-10 that one pixel fools in the paper


def claims_of(config: Any, attacks: Mapping[str, panels.Labeled]) -> list[Claim]:
    """Return the source's claims and the questions beside them."""

    def rate(attack: str, pixels: int = 1, kind: str = "success") -> Statistic:
        return lambda record: panels.attack_rate(record, attacks, attack, pixels, kind)

    return [
        *_controls(list(attacks)),
        *_of_one_pixel(config, rate),
        *_of_searches(rate),
        *_of_several_pixels(config, rate),
        *_of_nets_and_places(config),
    ]


def _colors(config: Any) -> str:
    return f"{config.dataset}, the corners of the color cube at every pixel"


def _controls(attacks: list[str]) -> list[Claim]:
    def impossible(record: Record) -> float:
        exact = record.arrays["exact/success"][:, 0]
        found = [record.arrays[f"{name}/success_8bit"][:, 0] for name in attacks]
        return float((np.any(found, axis=0) & ~exact).sum())

    return [
        Claim(
            "nothing-more",
            "negative control, exactness",
            "No search finds a pixel of 8 bits that trying everything has missed (images)",
            impossible,
            Within(0.0, 0.5),
            "theory",
            needs=tuple(attacks),
        ),
        Claim(
            "chance",
            "negative control, random pixels",
            "A random pixel of a random level changes the answer on under 2 % of the images",
            panels.chance_rate,
            Less(0.02),
            needs=("family", "random"),
        ),
    ]


def _of_one_pixel(config: Any, rate: Rate) -> list[Claim]:
    cifar10 = config.dataset == "cifar10"
    other_set = "" if cifar10 else "python -m experiments one_pixel --preset=paper"
    return [
        Claim(
            "fools",
            f"{SU}, abstract",
            "Gray images, everything tried: one pixel fools over a tenth of the images",
            rate("exact"),
            Greater(0.1),
            needs=("exact",),
        ),
        Claim(
            "fools-color",
            f"{SU}, abstract",
            f"{_colors(config)}: one pixel fools over a tenth of the images",
            _color_rate,
            Greater(0.1),
            needs=("color",),
        ),
        Claim(
            "two-thirds",
            f"{SU}, abstract",
            f"{_colors(config)}: one pixel fools 67.97 % of the images, within 10 points",
            _color_rate,
            Within(FOOLED, 0.1),
            "paper",
            not_run=other_set,
            needs=("color",),
        ),
    ]


def _color_rate(record: Record) -> np.ndarray:
    return searches.rate(record.arrays["color/success"], record.arrays["color/right"])


def _of_searches(rate: Rate) -> list[Claim]:
    """Return what is claimed of the searches for one pixel on gray images."""
    return [
        Claim(
            "evolution",
            f"{SU}, method",
            "Gray images, one pixel: evolution with the paper's budget finds what trying "
            "everything finds (rate)",
            minus(rate("evolution"), rate("exact")),
            Equivalent(0.02),
            needs=("evolution", "exact"),
        ),
        Claim(
            "short",
            "torchattacks, its default budget",
            "Gray images, one pixel: evolution with a common library's budget misses over 5 "
            "points of the rate",
            minus(rate("short"), rate("exact")),
            Less(-0.05),
            needs=("short", "exact"),
        ),
        Claim(
            "corners",
            "question, corners",
            "Gray images, one pixel: black and white alone find what all levels find (rate)",
            minus(rate("corners"), rate("exact")),
            Equivalent(0.01),
            needs=("corners", "exact"),
        ),
        Claim(
            "rounded",
            "question, 8 bits",
            "Gray images, one pixel: what evolution finds is left when the image is saved in 8 "
            "bits (rate)",
            minus(rate("evolution"), rate("evolution", kind="success_8bit")),
            Equivalent(0.01),
            needs=("evolution",),
        ),
    ]


def _of_several_pixels(config: Any, rate: Rate) -> list[Claim]:
    few = "" if config.most_pixels == 5 else "needs --most_pixels=5"
    return [
        Claim(
            "three",
            f"{SU}, three and five pixels",
            "Gray images, evolution: three pixels fool more images than one",
            minus(rate("evolution", 3), rate("evolution")),
            Greater(),
            not_run=few,
            needs=("evolution",),
        ),
        Claim(
            "five",
            f"{SU}, three and five pixels",
            "Gray images, evolution: five pixels fool more images than three",
            minus(rate("evolution", 5), rate("evolution", 3)),
            Greater(),
            not_run=few,
            needs=("evolution",),
        ),
        Claim(
            "greedy",
            "question, several pixels",
            "Gray images, three pixels: black and white tried pixel after pixel fool as many "
            "images as evolution does (rate)",
            minus(rate("corners", 3), rate("evolution", 3)),
            Equivalent(0.03),
            not_run=few,
            needs=("corners", "evolution"),
        ),
    ]


def _of_nets_and_places(config: Any) -> list[Claim]:
    no_masks = "" if config.dataset == "shapes" else "the set has no masks: --dataset=shapes"
    return [
        Claim(
            "accuracy",
            "question, accuracy",
            "Over dense nets of five widths, one pixel fools fewer images where the test accuracy "
            "is higher (rank correlation)",
            _by_accuracy,
            Less(0.0),
            needs=("family",),
        ),
        Claim(
            "object",
            "question, where",
            f"{_colors(config)}: a pixel on the object is more often enough than one on the "
            "background (shares)",
            _on_object,
            Greater(),
            not_run=no_masks,
            needs=("color",),
        ),
    ]


def _by_accuracy(record: Record) -> np.ndarray:
    """Return the rank correlation [S] of the nets' test accuracy with the rate of fooled images."""
    accuracy = 1 - record.arrays["family/test_error"]
    pairs = zip(accuracy, panels.family_rates(record), strict=True)
    return np.array([stats.spearman(*pair).estimate for pair in pairs])


def _on_object(record: Record) -> np.ndarray:
    """Return the share of pixels that are enough on the object, minus that beside it."""
    arrays, masks = record.arrays, record.arrays["color/masks"]
    place = arrays["color/vulnerable"], arrays["color/right"]
    return searches.share_inside(*place, masks) - searches.share_inside(*place, ~masks)
