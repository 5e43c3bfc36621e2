"""The claims of model_averaging; their rules are fixed here."""

from typing import Any

import numpy as np

from jaxvision.report.claims import Claim, Equivalent, Greater, Statistic
from jaxvision.report.record import Record
from jaxvision.training import ensembles


def sizes_of(config: Any) -> list[int]:
    """Return the sizes of the ensembles: 1, 2, 4, ..., half of the members, and all."""
    powers = {2**i for i in range(10) if 2**i < config.members}
    return sorted(powers | {config.members // 2, config.members})


def points(one: str, other: str) -> Statistic:
    """Return the statistic: error of one thing less that of another, percentage points [S]."""
    return lambda r: 100 * (r.arrays[f"{one}/error"] - r.arrays[f"{other}/error"])


def claims_of(config: Any) -> list[Claim]:
    """Return the sources' claims and the questions beside them; the rules are fixed here."""
    half = sizes_of(config).index(config.members // 2)

    def whole(quantity: str) -> Statistic:
        return lambda r: r.arrays[f"ensemble/{quantity}"][:, -1]

    def gained(name: str) -> Statistic:
        return lambda r: 100 * (r.arrays[f"{name}/error"] - whole("error")(r))

    def of_half(r: Record) -> np.ndarray:
        return r.arrays["ensemble/error"][:, half]

    def halves(r: Record) -> np.ndarray:
        return 100 * (of_half(r) - r.arrays["other_half/error"])

    def more_members(r: Record) -> np.ndarray:
        return 100 * (of_half(r) - whole("error")(r))

    def calibration(r: Record) -> np.ndarray:
        return r.arrays["single/calibration"] - whole("calibration")(r)

    def loss(quantity: str) -> Statistic:
        together = "ensemble/calibrated_loss"
        if quantity == "loss":
            return lambda r: r.arrays["wide/loss"] - whole("loss")(r)
        return lambda r: r.arrays["wide/calibrated_loss"] - r.arrays[together]

    def dependence(r: Record) -> np.ndarray:
        single = r.arrays["single/error"]
        # Above one half a majority errs more than one does: its law bounds nothing from below.
        expected = [
            ensembles.independent_error(rate, config.members) if rate < 0.5 else np.nan
            for rate in single
        ]
        return 100 * (whole("error")(r) - expected)

    def masks(count: int, fewer: int = 0) -> Statistic:
        def difference(r: Record) -> np.ndarray:
            error = r.arrays["masks/error"]
            other = error[:, fewer - 1] if fewer else r.arrays["scaled/error"]
            return 100 * (error[:, count - 1] - other)

        return difference

    def masks_loss(r: Record) -> np.ndarray:
        return r.arrays["scaled/loss"] - r.arrays["masks/loss"][:, -1]

    many, deep = f"{config.members} nets", "Lakshminarayanan et al. 2017"
    masked, swa = "Srivastava et al. 2014, figure 11", "Izmailov et al. 2018"
    found = [
        Claim(
            "errs-less",
            f"{deep}, section 3",
            f"{many} together err less than one (points)",
            gained("single"),
            Greater(),
            needs=("single",),
        ),
        Claim(
            "calibrated",
            f"{deep}, section 3",
            f"{many} together are better calibrated than one (expected calibration error)",
            calibration,
            Greater(),
            needs=("single",),
        ),
        Claim(
            "few-members",
            "question, how many",
            f"of {many} the second half changes the error by less than a quarter of a point",
            more_members,
            Equivalent(0.25),
            needs=("single",),
        ),
        Claim(
            "as-many-weights",
            "question, equal weights",
            f"{many} together err less than one net of as many weights (points)",
            gained("wide"),
            Greater(),
            needs=("single", "wide"),
        ),
        Claim(
            "as-many-weights-loss",
            "question, equal weights and log loss",
            f"{many} together have less log loss than one net of as many weights (nats)",
            loss("loss"),
            Greater(),
            needs=("single", "wide"),
        ),
        Claim(
            "temperature",
            "question, equal temperatures",
            "so they have with a temperature for each, chosen on other images (nats)",
            loss("calibrated"),
            Greater(),
            needs=("single", "wide"),
        ),
        Claim(
            "as-much-compute",
            "question, equal compute",
            f"{many} together err less than one trained for as many steps (points)",
            gained("long"),
            Greater(),
            needs=("single", "long"),
        ),
        Claim(
            "dependent",
            "Dietterich 2000, section 1",
            f"{many} together err more than as many that err independently (points)",
            dependence,
            Greater(),
            needs=("single",),
        ),
        Claim(
            "fifty-masks",
            masked,
            "the mean over 50 masks errs as often as scaled weights (points)",
            masks(50),
            Equivalent(0.4),
            needs=("dropout",),
        ),
        Claim(
            "one-mask",
            masked,
            "one mask errs more than scaled weights (points)",
            masks(1),
            Greater(),
            needs=("dropout",),
        ),
        Claim(
            "five-masks",
            masked,
            "five masks err more than 50 (points)",
            masks(5, 50),
            Greater(),
            needs=("dropout",),
        ),
        Claim(
            "masks-loss",
            "Gal & Ghahramani 2016, abstract",
            f"the mean over {config.samples} masks has less log loss than scaled weights (nats)",
            masks_loss,
            Greater(),
            needs=("dropout",),
        ),
        Claim(
            "swa",
            swa,
            "at a constant rate averaged weights err less than the last ones (points)",
            points("last", "swa"),
            Greater(),
            needs=("dropout", "constant"),
        ),
        Claim(
            "swa-decay",
            swa,
            "they err less than a run whose rate falls to zero (points)",
            points("scaled", "swa"),
            Greater(),
            needs=("dropout", "constant"),
        ),
        Claim(
            "swa-ensemble",
            f"{swa}, section 3.5",
            "they err as often as the ensemble of the same snapshots (points)",
            points("swa", "snapshots"),
            Equivalent(0.25),
            needs=("dropout", "constant"),
        ),
        Claim(
            "ema",
            "question, moving averages",
            "a debiased moving average errs less than the last weights (points)",
            points("last", "ema"),
            Greater(),
            needs=("dropout", "constant"),
        ),
        Claim(
            "control",
            "negative control, half against half",
            f"two ensembles of {config.members // 2} err as often (points)",
            halves,
            Equivalent(0.75),
            needs=("single",),
        ),
    ]
    return found + _soup_claims(config)


def _soup_claims(config: Any) -> list[Claim]:
    """Return what is claimed of averages over nets; soups are of the branches that part last.

    Wortsman et al. average fine-tunings of one trained net: branches of a net that has trained are
    nearest to that. Branches that share the random start alone are a question of ours.
    """
    soups, apart = "Wortsman et al. 2022, section 2", "Frankle et al. 2020, section 3"
    early, late = min(config.shared_steps), max(config.shared_steps)
    first, last = f"shared/{early}", f"shared/{late}"

    def disagreement(r: Record) -> np.ndarray:
        return 100 * (r.arrays["own/disagreement"] - r.arrays[f"{first}/disagreement"])

    def parting(r: Record) -> np.ndarray:
        early_gain = points(f"{first}/parts", f"{first}/soup")(r)
        return early_gain - points(f"{last}/parts", f"{last}/soup")(r)

    found = [
        Claim(
            "soup-apart",
            apart,
            "weights averaged over nets of different starts err more "
            "than those nets, by ten points at least",
            points("own/soup", "own/parts"),
            Greater(10.0),
            needs=("single", "soups"),
        ),
        Claim(
            "soup",
            soups,
            f"weights averaged over branches that share {late} steps err less "
            "than the branches (points)",
            points(f"{last}/parts", f"{last}/soup"),
            Greater(),
            needs=("single", "soups"),
        ),
        Claim(
            "soup-ensemble",
            soups,
            "they err as often as the branches' ensemble (points)",
            points(f"{last}/soup", f"{last}/ensemble"),
            Equivalent(0.4),
            needs=("single", "soups"),
        ),
        Claim(
            "diverse",
            "Fort et al. 2019, figure 2",
            f"nets of different starts disagree more than branches that share {early} steps "
            "(points)",
            disagreement,
            Greater(),
            needs=("single", "soups"),
        ),
    ]
    if early < late:
        found += [
            Claim(
                "soup-early",
                "question, when to part",
                f"weights averaged over branches that share {early} steps err less than the "
                "branches (points)",
                points(f"{first}/parts", f"{first}/soup"),
                Greater(),
                needs=("single", "soups"),
            ),
            Claim(
                "late",
                "question, when to part",
                f"they gain more than branches that share {late} steps (points)",
                parting,
                Greater(),
                needs=("single", "soups"),
            ),
        ]
    return found
