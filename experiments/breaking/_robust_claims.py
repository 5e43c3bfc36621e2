"""The claims of robust_3d; their rules are fixed here."""

from typing import Any

import numpy as np

from experiments.breaking import _robust as robust
from experiments.breaking import _worlds as worlds
from jaxvision.report.claims import Claim, Greater, Less, Statistic
from jaxvision.report.record import Record

ATHALYE = "Athalye et al. 2018"


def claims_of(config: Any) -> list[Claim]:
    """Return all claims; what a run has no nets for is not run."""
    return [
        *_controls(config),
        *_leads(config),
        *_of_solids(config),
        *_budgets(config),
        *_questions(config),
    ]


def rate(record: Record, kind: str, shown: str, quantity: str = "target") -> np.ndarray:
    """Return the share of poses in which a net sees target or class ("right"), [S, B]."""
    return record.arrays[f"{kind}/{quantity}"][:, robust.KINDS.index(shown)]


def diagonal_lead(matrix: np.ndarray) -> np.ndarray:
    """Return by how much the diagonal of [S, V, V] is above the rest, means, [S]."""
    on_diagonal = np.eye(matrix.shape[1], dtype=bool)
    return matrix[:, on_diagonal].mean(1) - matrix[:, ~on_diagonal].mean(1)


def worst_below_mean(record: Record) -> np.ndarray:
    """Return by how much a net's worst solid is below the mean of its solids, EOT's, [S]."""
    rates = rate(record, "solid", "eot")
    return rates.mean(1) - rates.min(1)


def skew(record: Record) -> np.ndarray:
    """Return median minus mean of EOT's rates on solids, [S]: above 0 where the tail is low."""
    rates = rate(record, "solid", "eot")
    return np.median(rates, 1) - rates.mean(1)


def _mean_rate(kind: str, shown: str, quantity: str = "target") -> Statistic:
    return lambda record: rate(record, kind, shown, quantity).mean(1)


def _lead(kind: str, one: str = "eot", other: str = "one_pose") -> Statistic:
    return lambda record: (rate(record, kind, one) - rate(record, kind, other)).mean(1)


def _lacking(config: Any, *kinds: str) -> str:
    absent = [kind for kind in kinds if kind not in config.kinds]
    return f"needs --kinds with {', '.join(absent)}" if absent else ""


def _controls(config: Any) -> list[Claim]:
    def in_own_pose(kind: str) -> Statistic:
        return lambda record: record.arrays[f"{kind}/matrix"][:, 0, 0]

    own = "In the pose it was made in PGD shows the target on over 90 % of "
    return [
        Claim(
            "own-pose-flat",
            "control, the attack in one pose",
            own + "flat pictures",
            in_own_pose("flat"),
            Greater(0.9),
            not_run=_lacking(config, "flat"),
            needs=("flat",),
        ),
        Claim(
            "own-pose-solid",
            "control, the attack in one pose",
            own + "solids",
            in_own_pose("solid"),
            Greater(0.9),
            not_run=_lacking(config, "solid"),
            needs=("solid",),
        ),
        Claim(
            "noise",
            "negative control, noise of equal norm",
            "A random change of a texture, of equal norm, shows the target in under 15 % of poses "
            "(chance: 10 %)",
            _mean_rate("solid", "noise"),
            Less(0.15),
            not_run=_lacking(config, "solid"),
            needs=("solid",),
        ),
    ]


def _leads(config: Any) -> list[Claim]:
    """Return by how much EOT leads: in balls of one size, and at equal norms."""
    lead = "In fresh poses EOT shows the target over 50 points more often than PGD in one pose "
    claims = []
    for kind, table, label in (("flat", 1, "flat pictures"), ("solid", 2, "solids")):
        lacks = _lacking(config, kind)
        claims += [
            Claim(
                f"gap-{kind}",
                f"{ATHALYE}, table {table}",
                f"{lead}in balls of one size ({label})",
                _lead(kind),
                Greater(0.5),
                not_run=lacks,
                needs=(kind,),
            ),
            Claim(
                f"equal-{kind}",
                f"{ATHALYE}, table {table}",
                f"{lead}of equal norm, picture by picture ({label})",
                _lead(kind, "eot_equal", "one_pose_equal"),
                Greater(0.5),
                not_run=lacks,
                needs=(kind,),
            ),
        ]
    return claims


def _of_solids(config: Any) -> list[Claim]:
    lacks = _lacking(config, "solid")
    first = f"{ATHALYE}, table 2, first version"
    return [
        Claim(
            "accuracy",
            f"{ATHALYE}, table 2",
            "EOT's textures are seen as their class in under a tenth of fresh poses",
            _mean_rate("solid", "eot", "right"),
            Less(0.1),
            not_run=lacks,
            needs=("solid",),
        ),
        Claim(
            "worst",
            first,
            "A net's worst object shows the target over 30 points less often than the mean of its "
            "objects",
            worst_below_mean,
            Greater(0.3),
            not_run=lacks,
            needs=("solid",),
        ),
        Claim(
            "skewed",
            first,
            "Objects have a long lower tail (median minus mean of their rates)",
            skew,
            Greater(),
            not_run=lacks,
            needs=("solid",),
        ),
    ]


def _budgets(config: Any) -> list[Claim]:
    """Return the claims that every freedom of poses asks for a larger change."""
    few = "" if len(config.sizes) > 2 else "needs three --sizes"
    lacks = _lacking(config, "flat") or few
    grown = {
        "turn": ("turn", "Turning"),
        "shift": ("+ shift", "Shifting too"),
        "scale": ("+ scale", "Scaling too"),
        "light": ("+ light", "Light and noise too"),
    }

    def longer(stage: str) -> Statistic:
        place = worlds.FLAT.names.index(stage)

        def statistic(record: Record) -> np.ndarray:
            logs = robust.budgets(record.arrays["flat/by_size"], config.sizes)
            return logs[:, place] - logs[:, place - 1]

        return statistic

    return [
        Claim(
            name,
            f"{ATHALYE}, section 4",
            f"{label} needs a larger change than without it to show the target in 90 % of poses "
            "(log2 size)",
            longer(stage),
            Greater(),
            not_run=lacks,
            needs=("flat",),
        )
        for name, (stage, label) in grown.items()
    ]


def _questions(config: Any) -> list[Claim]:
    def shrinks(record: Record) -> np.ndarray:
        return _lead("flat")(record) - _lead("viewed")(record)

    return [
        Claim(
            "diagonal",
            "question, distributions",
            "In poses of one distribution pictures made for it show the target more often than "
            "those made for others (means)",
            lambda record: diagonal_lead(record.arrays["flat/matrix"]),
            Greater(),
            not_run=_lacking(config, "flat"),
            needs=("flat",),
        ),
        Claim(
            "rival",
            "question, textures of the target class",
            "EOT's textures show the target in more poses than textures that are of its class",
            _lead("solid", "eot", "rival"),
            Greater(),
            not_run=_lacking(config, "solid"),
            needs=("solid",),
        ),
        Claim(
            "learned",
            "question, training",
            "Training on the poses narrows EOT's lead over PGD in one pose (flat pictures, each "
            "net at the size at which EOT reaches 90 %)",
            shrinks,
            Greater(),
            not_run=_lacking(config, "flat", "viewed"),
            needs=("flat", "viewed"),
        ),
    ]
