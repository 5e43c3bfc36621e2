"""The claims of moving_shapes."""

import numpy as np

from jaxvision.report.claims import (
    Claim,
    Equivalent,
    Greater,
    Less,
    Share,
    Statistic,
    Within,
    minus,
)
from jaxvision.report.record import Record
from jaxvision.report.stats import where_known

_PAPER = "Vondrick et al. 2016"


def start(name: str) -> Statistic:
    """Return a quantity [S] at the first look."""
    return lambda record: record.arrays[name][:, 0]


def end(name: str) -> Statistic:
    """Return a quantity [S] at the last look."""
    return lambda record: record.arrays[name][:, -1]


def of_seeds(name: str) -> Statistic:
    """Return a quantity [S] that has no looks."""
    return lambda record: record.arrays[name]


def ratio(one: Statistic, other: Statistic) -> Statistic:
    """Return one quantity over another, paired by seed."""
    return lambda record: one(record) / other(record)


def octaves(one: Statistic, other: Statistic) -> Statistic:
    """Return how many times one quantity is twice the other, paired by seed."""
    return lambda record: np.log2(one(record) / other(record))


def orders_motion(record: Record) -> np.ndarray:
    """Return whether FCD sees that clips stand still or come in no order, bool [S]."""
    names = ("real", "shuffled", "frozen", "blurred", "noise")
    anchors = [record.arrays[f"anchor/{name}"] for name in names]
    real, shuffled, frozen, blurred, noise = anchors
    sees = (shuffled > 2 * real) & (frozen > 2 * real) & (blurred > real)
    return where_known(sees & (np.maximum(shuffled, frozen) < noise), *anchors)


def half_way(record: Record) -> np.ndarray:
    """Return the masks' overlap beyond chance over that of the finder on real clips, [S]."""
    gain = end("two/overlap")(record) - end("two/by_chance")(record)
    most = record.arrays["finder/overlap"] - record.arrays["finder/by_chance"]
    return gain / most


def _conditions() -> list[Claim]:
    return [
        Claim(
            "finder",
            "condition, a finder of moving pixels that is of use",
            "Real clips: pixels far from their median over time overlap the true masks by more "
            "than .6 (intersection over union)",
            of_seeds("finder/overlap"),
            Greater(0.6),
            needs=(),
        ),
        Claim(
            "metric",
            "condition, a distance that is of use",
            "FCD of clips that stand still, and of clips with shuffled frames, is more than twice "
            "the floor; blurred clips lie above it, noise above all",
            orders_motion,
            Share(),
            needs=(),
        ),
        Claim(
            "still",
            f"{_PAPER}, equation 2",
            "No pixel of a two-stream clip changes by more than its mask lets the foreground show: "
            "behind it the background stands still (largest excess)",
            end("two/excess"),
            Within(0.0, 1e-5),
            "theory",
            needs=("two",),
        ),
    ]


def _masks() -> list[Claim]:
    def unmoved(record: Record) -> np.ndarray:  # NaN where nothing is found to move
        found = minus(start("two/overlap"), start("two/by_chance"))(record)
        return np.where(start("two/share")(record) > 0, found, np.nan)

    return [
        Claim(
            "mask-finds",
            f"{_PAPER}, section 4.2",
            "The mask overlaps what moves in its own clip more than another clip's mask does "
            "(intersection over union)",
            minus(end("two/overlap"), end("two/by_chance")),
            Greater(),
            needs=("two",),
        ),
        Claim(
            "mask-half",
            "question of this gallery",
            "The mask's overlap beyond chance is more than half of what the finder of moving "
            "pixels reaches on real clips",
            half_way,
            Greater(0.5),
            needs=("two",),
        ),
        Claim(
            "untrained",
            "negative control",
            "Before training the mask overlaps what moves in its own clip as much as another "
            "clip's mask does (difference)",
            unmoved,
            Equivalent(0.05),
            needs=("two",),
        ),
        Claim(
            "mask-true",
            f"{_PAPER}, section 4.2",
            "Real clips sought in the generator: the found clip's mask overlaps the true mask "
            "more than another clip's true mask (intersection over union)",
            minus(of_seeds("two/sought/mask"), of_seeds("two/sought/by_chance")),
            Greater(),
            needs=("two",),
        ),
        Claim(
            "penalty",
            f"{_PAPER}, section 3.1",
            "Without the penalty the mask covers more in the end (mean mask, without less with)",
            minus(end("free/covered"), end("two/covered")),
            Greater(),
            needs=("two", "free"),
        ),
        Claim(
            "small-mask",
            f"{_PAPER}, section 3.1",
            "With the penalty the mask covers less than half of the clip",
            end("two/covered"),
            Less(0.5),
            needs=("two",),
        ),
    ]


def _clips() -> list[Claim]:
    both = ("two", "one")

    def falls(record: Record) -> np.ndarray:
        before, after = start("two/fcd")(record), end("two/fcd")(record)
        return where_known(after < before, before, after)

    return [
        Claim(
            "falls",
            f"{_PAPER}, section 4.1",
            "Two streams: FCD is smaller after training than before",
            falls,
            Share(),
            needs=("two",),
        ),
        Claim(
            "moves",
            f"{_PAPER}, section 4.1",
            "Two streams: the share of moving pixels is that of real clips within half of it "
            "(ratio)",
            ratio(end("two/share"), of_seeds("real/share")),
            Equivalent(0.5, target=1.0),
            needs=("two",),
        ),
        Claim(
            "straight",
            "question of this gallery",
            "Two streams: what moves goes straighter than with the frames of the clip shuffled",
            minus(end("two/straightness"), end("two/untimely")),
            Greater(),
            needs=("two",),
        ),
        Claim(
            "quiet",
            f"{_PAPER}, section 2.2",
            "Where nothing moves, two streams flicker less than one (octaves)",
            octaves(end("two/flicker"), end("one/flicker")),
            Less(),
            needs=both,
        ),
        Claim(
            "better",
            f"{_PAPER}, table 1",
            "Two streams end nearer to real clips than one (FCD, octaves)",
            octaves(end("two/fcd"), end("one/fcd")),
            Less(),
            needs=both,
        ),
        Claim(
            "found-better",
            "question of this gallery",
            "Real clips sought in the generator: what moves in the found clip overlaps the true "
            "mask more with two streams than with one",
            minus(of_seeds("two/sought/moving"), of_seeds("one/sought/moving")),
            Greater(),
            needs=both,
        ),
    ]


def claims() -> list[Claim]:
    """Return the source's claims, conditions and questions beside them; the rules are fixed."""
    return [*_conditions(), *_masks(), *_clips()]
