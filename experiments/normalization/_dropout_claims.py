"""The claims of dropout; their rules are fixed here."""

from typing import Any

import numpy as np

from jaxvision.report.claims import Claim, Equivalent, Greater, Less, Statistic, Within, minus
from jaxvision.report.record import Record

FEW = 500  # images: the second size at which figure 10 has no gain


def points(name: str, other: str = "") -> Statistic:
    """Return the statistic: test error of a way less that of another, percentage points [S]."""

    def difference(record: Record) -> np.ndarray:
        error = record.arrays[f"{name}/test_error"]
        return 100 * (error - record.arrays[f"{other}/test_error"]) if other else 100 * error

    return difference


def claims_of(config: Any) -> list[Claim]:
    """Return the sources' claims; the rules are fixed here."""
    first, *others = sorted(config.sizes)
    last = max(config.sizes)
    after = _after(config)

    def gain(size: int) -> Statistic:
        return points(f"size/{size}/none", f"size/{size}/dropout")

    def activity(r: Record) -> np.ndarray:  # octaves
        return np.log2(r.arrays["dropout/activation"] / r.arrays["none/activation"])

    def nats(r: Record) -> np.ndarray:
        return r.arrays["none/test_loss"] - r.arrays["dropout/test_loss"]

    def taken_again(r: Record) -> np.ndarray:
        error = r.arrays["bn_before/test_error"] - r.arrays["bn_before/taken_again"]
        return 100 * error

    def off_law(r: Record) -> np.ndarray:
        return r.arrays["bn_before/shift"] - r.arrays["bn_before/shift_law"]

    paper, li = "Srivastava et al. 2014", "Li et al. 2018"
    found = [
        Claim(
            "helps",
            f"{paper}, table 2",
            f"{after} dropout lowers the test error (points gained)",
            points("none", "dropout"),
            Greater(),
            needs=("none", "dropout"),
        ),
        Claim(
            "max-norm",
            f"{paper}, table 9",
            "max-norm lowers the error of a net with dropout further (points gained)",
            points("dropout", "both"),
            Greater(),
            needs=("dropout", "both"),
        ),
        Claim(
            "not-alone",
            f"{paper}, table 9",
            f"{after} with max-norm in both, dropout still lowers the error (points gained)",
            points("max_norm", "both"),
            Greater(),
            needs=("max_norm", "both"),
        ),
        Claim(
            "loss",
            "question, log loss",
            f"{after} dropout lowers the test loss (nats gained)",
            nats,
            Greater(),
            needs=("none", "dropout"),
        ),
        Claim(
            "gaussian",
            f"{paper}, table 10",
            "Gaussian dropout is worse by less than a quarter of a point (points)",
            points("gaussian", "dropout"),
            Less(0.25),
            needs=("dropout", "gaussian"),
        ),
        Claim(
            "sparse",
            f"{paper}, figure 8",
            "dropout lowers the mean activation of the last hidden layer (octaves)",
            activity,
            Less(),
            needs=("none", "dropout"),
        ),
        Claim(
            "sparse-half",
            f"{paper}, figure 8",
            "it lowers it to less than half (octaves)",
            activity,
            Less(-1.0),
            needs=("none", "dropout"),
        ),
        Claim(
            "few-images",
            f"{paper}, figure 10",
            f"with {first} images dropout gains less than half a point",
            gain(first),
            Less(0.5),
            needs=("none", "dropout", "sizes"),
        ),
        Claim(
            "more-images",
            f"{paper}, figure 10",
            f"with {last} images it gains more than with {first} (points)",
            minus(gain(last), gain(first)),
            Greater(),
            not_run="" if others else "several --sizes",
            needs=("none", "dropout", "sizes"),
        ),
        Claim(
            "all-images",
            f"{paper}, figure 10",
            f"with all images it gains less than with {last} (points)",
            minus(gain(last), points("none", "dropout")),
            Greater(),
            needs=("none", "dropout", "sizes"),
        ),
        Claim(
            "shift-law",
            f"{li}, section 3",
            "before batch norm dropout raises the variance that "
            "is kept by the closed form (difference of logarithms)",
            off_law,
            Within(0.0, 0.05),
            "theory",
            needs=("bn_before",),
        ),
        Claim(
            "shift-after",
            f"{li}, section 4",
            "after the last batch norm it shifts no variance (logarithm of kept over true)",
            lambda r: r.arrays["bn_after/shift"],
            Equivalent(0.05),
            needs=("bn_after",),
        ),
        Claim(
            "shift-costs",
            f"{li}, table 1",
            "before batch norm dropout errs more than after the last one (points)",
            points("bn_before", "bn_after"),
            Greater(),
            needs=("bn_before", "bn_after"),
        ),
        Claim(
            "shift-cured",
            f"{li}, table 3",
            "moments taken again without dropout lower that error (points gained)",
            taken_again,
            Greater(),
            needs=("bn_before",),
        ),
        Claim(
            "control",
            "negative control, dropout against dropout",
            "from other draws dropout errs as often (points)",
            points("again", "dropout"),
            Equivalent(0.5),
            needs=("dropout", "again"),
        ),
    ]
    if FEW in others:
        found.append(
            Claim(
                f"few-images-{FEW}",
                f"{paper}, figure 10",
                f"with {FEW} images dropout gains less than half a point",
                gain(FEW),
                Less(0.5),
                needs=("none", "dropout", "sizes"),
            )
        )
    return found + _sweep_claims(config)


def _after(config: Any) -> str:
    """Return the words of the budget: what dropout gains turns round with it."""
    return f"after {config.steps:,} steps"


def _sweep_claims(config: Any) -> list[Claim]:
    """Return what figure 9 claims, where its probabilities were run."""
    figure, found = "Srivastava et al. 2014, figure 9", []
    after = _after(config)
    if {0.1, 0.4, 0.6, 0.8, 1.0} <= set(config.keeps):
        found += [
            Claim(
                "flat",
                figure,
                f"{after} keeping .4 or .8 of the hidden units gives the same error (points)",
                points("keep/0.4", "keep/0.8"),
                Equivalent(0.5),
                needs=("dropout", "keeps"),
            ),
            Claim(
                "too-few-kept",
                figure,
                "keeping .1 errs more than keeping .6 (points)",
                points("keep/0.1", "keep/0.6"),
                Greater(),
                needs=("dropout", "keeps"),
            ),
            Claim(
                "too-many-kept",
                figure,
                f"{after} keeping all hidden units errs more than keeping .6 (points)",
                points("keep/1", "keep/0.6"),
                Greater(),
                needs=("dropout", "keeps"),
            ),
        ]
    if {0.1, 0.6, 1.0} <= set(config.scaled_keeps) and found:
        found += [
            Claim(
                "wider",
                figure,
                "keeping .1, a layer ten times as wide as what it keeps errs "
                "less than one of the usual width (points gained)",
                points("keep/0.1", "scaled/0.1"),
                Greater(),
                needs=("dropout", "keeps", "scaled_keeps"),
            ),
            Claim(
                "same-kept",
                figure,
                f"{after}, of nets that keep equally many units, those that keep .6 "
                "err less than those that keep all (points gained)",
                points("scaled/1", "scaled/0.6"),
                Greater(),
                needs=("dropout", "keeps", "scaled_keeps"),
            ),
        ]
    return found
