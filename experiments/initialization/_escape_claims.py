"""The claims of escape_time; their rules are fixed here."""

from typing import Any

import numpy as np

from jaxvision.report.claims import Claim, Equivalent, Greater, Less, Share, Statistic
from jaxvision.report.record import Record
from jaxvision.report.stats import censored_line

QUICK = 200  # steps: a net that leaves within so many was never on it
OPTIMIZERS, GROWTH = "question h1, optimizers", "question h2, growth"


def claims_of(config: Any) -> list[Claim]:
    """Return the questions."""
    return [
        *_of_optimizers(config, "_bias", "with biases"),
        *_of_optimizers(config, "", "without biases"),
        *_of_growth(len(config.depths) // 2),
        _control(),
    ]


def octaves_of(record: Record, arm: str) -> np.ndarray:
    """Return log2 of the escape steps [S, depths]; a run that stays counts where it ended."""
    return np.log2(np.maximum(record.arrays[f"{arm}/step"], 1))


def slopes(arm: str, part: slice = slice(None)) -> Statistic:
    """Return the statistic: growth of log2(escape step) per layer, over a part of the depths."""

    def statistic(record: Record) -> np.ndarray:
        depths = np.array(record.config["depths"])[part]
        steps = octaves_of(record, arm)[:, part]
        censored = ~record.arrays[f"{arm}/escaped"][:, part]
        rows = zip(steps, censored, strict=True)
        return np.array([censored_line(depths, y, bounds)[1] for y, bounds in rows])

    return statistic


def _of_optimizers(config: Any, kind: str, words: str) -> list[Claim]:
    """Return who leaves the plateau of the deepest nets; ``kind`` ends the names of their arms."""
    deep = int(np.argmax(config.depths))
    deepest, budget = f"at {config.depths[deep]} layers", f"within {config.steps:,} steps"

    def lead(record: Record) -> np.ndarray:
        """Return Adam's lead in octaves of the steps within the run."""
        left = record.arrays[f"adam{kind}/escaped"]  # one that diverged has not left either
        adam_steps = np.where(left, octaves_of(record, f"adam{kind}"), np.log2(config.steps))
        return (octaves_of(record, f"sgd{kind}") - adam_steps)[:, deep]

    return [
        Claim(
            f"adam{kind}",
            OPTIMIZERS,
            f"{deepest}, {words}: Adam leaves Xavier's plateau {budget}",
            lambda r: r.arrays[f"adam{kind}/escaped"][:, deep],
            Share(0.8),
            needs=(f"adam{kind}",),
        ),
        Claim(
            f"sgd{kind}",
            OPTIMIZERS,
            f"{deepest}, {words}: SGD does not leave Xavier's plateau {budget}",
            lambda r: ~r.arrays[f"sgd{kind}/escaped"][:, deep],
            Share(0.8),
            needs=(f"sgd{kind}",),
        ),
        Claim(
            f"lead{kind}",
            OPTIMIZERS,
            f"{deepest}, {words}: SGD stays at least 8 times as long as Adam (octaves; a net that "
            f"never leaves counts {config.steps:,} steps)",
            lead,
            Greater(3.0),
            needs=(f"sgd{kind}", f"adam{kind}"),
        ),
    ]


def _of_growth(middle: int) -> list[Claim]:
    """Return how the escape step grows with depth; depth ``middle`` parts shallow from deep."""

    def bend(arm: str) -> Statistic:
        """Return the statistic: growth over the deeper depths less that over the shallower."""
        deeper, shallower = slopes(arm, slice(middle - 1, None)), slopes(arm, slice(0, middle))
        return lambda record: deeper(record) - shallower(record)

    return [
        Claim(
            "half",
            GROWTH,
            "without biases SGD's escape step grows as the gradient shrinks, by half an octave a "
            "layer",
            slopes("sgd"),
            Equivalent(0.05, 0.5),
            needs=("sgd",),
        ),
        Claim(
            "less-than-half",
            GROWTH,
            "without biases SGD's escape step grows by less than half an octave a layer",
            slopes("sgd"),
            Less(0.5),
            needs=("sgd",),
        ),
        Claim(
            "straight",
            GROWTH,
            "without biases growth is exponential (octaves a layer, deeper less shallower depths)",
            bend("sgd"),
            Equivalent(0.03),
            needs=("sgd",),
        ),
        Claim(
            "bends",
            GROWTH,
            "with biases growth slows with depth, more than without (octaves a layer, deeper less "
            "shallower depths, with minus without)",
            lambda r: bend("sgd_bias")(r) - bend("sgd")(r),
            Less(0.0),
            needs=("sgd", "sgd_bias"),
        ),
        Claim(
            "biases-help",
            GROWTH,
            "with biases SGD's escape step grows more slowly than without (octaves a layer)",
            lambda r: slopes("sgd_bias")(r) - slopes("sgd")(r),
            Less(0.0),
            needs=("sgd", "sgd_bias"),
        ),
    ]


def _control() -> Claim:
    return Claim(
        "control",
        "negative control, He",
        f"He, SGD: no plateau at any depth, every net escapes within {QUICK} steps",
        _quick,
        Share(0.8),
        needs=("he",),
    )


def _quick(record: Record) -> np.ndarray:
    """Return whether a seed leaves soon at every depth."""
    return (record.arrays["he/escaped"] & (record.arrays["he/step"] < QUICK)).all(1)
