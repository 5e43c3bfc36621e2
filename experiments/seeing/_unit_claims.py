"""The claims of features_along_training; their rules are fixed here."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from experiments.seeing import _unit_looks as looks
from jaxvision.report.claims import Claim, Equivalent, Greater, Less, Statistic
from jaxvision.report.record import Record

ZEILER = "Zeiler & Fergus 2013"
SZEGEDY = "Szegedy et al. 2013"
BAU = "Bau et al. 2017"
SHARE = "(share of training until rank correlation stays at .9, mean over units)"
EARLY = 100  # steps


class Kind(Protocol):
    """A kind of net."""

    label: str
    normalized: bool


def all_claims(nets: Mapping[str, Kind], batch_norm: bool, depth: int) -> list[Claim]:
    """Return the sources' claims and the questions beside them.

    Args:
      nets: all kinds.
      batch_norm: whether those with batch norm are looked at.
      depth: number of convolutions.
    """
    lacking = {
        name: "needs --batch_norm" if net.normalized and not batch_norm else ""
        for name, net in nets.items()
    }
    deepest = depth - 1
    return [
        *_slopes(nets, lacking),
        _kept(),
        _after_space(deepest),
        *_sooner(lacking),
        *_directions(nets, lacking, (deepest // 2, deepest)),
        *_units(nets, lacking, deepest),
        _purer(deepest),
        *_controls(),
    ]


def _rises(kind: str, what: str) -> Statistic:
    return lambda record: looks.slope(record.arrays[f"{kind}/{what}"])


def _slopes(nets: Mapping[str, Kind], lacking: Mapping[str, str]) -> list[Claim]:
    units = [
        Claim(
            f"lower-first-{name}",
            ZEILER,
            f"{net.label}: units settle later, the higher the layer {SHARE}, slope over layers",
            _rises(name, "settled"),
            Greater(),
            not_run=lacking[name],
            needs=(name,),
        )
        for name, net in nets.items()
    ]
    spaces = [
        Claim(
            f"space-first-{name}",
            "question, control",
            f"{net.label}: the layers' spaces too settle later, the higher the layer (linear CKA "
            "at .9), slope over layers",
            _rises(name, "space_settled"),
            Greater(),
            not_run=lacking[name],
            needs=(name,),
        )
        for name, net in nets.items()
    ]
    return units + spaces


def _kept() -> Claim:
    def kept_early(record: Record) -> np.ndarray:
        early = np.searchsorted(record.arrays["looks"], EARLY, side="right") - 1
        return looks.slope(record.arrays["he/kept"][:, early])

    return Claim(
        "kept",
        ZEILER,
        "He: the higher the layer, the fewer of their last eight preferred images units prefer "
        f"already after {EARLY} steps, slope over layers",
        kept_early,
        Less(0.0),
        needs=("he",),
    )


def _after_space(layer: int) -> Claim:
    def later(record: Record) -> np.ndarray:
        units = record.arrays["he/settled"][:, layer]
        return units - record.arrays["he/space_settled"][:, layer]

    return Claim(
        "units-after-space",
        "question, units",
        f"He: in {_rank(layer)} units settle after their space (share of training)",
        later,
        Greater(),
        needs=("he",),
    )


def _sooner(lacking: Mapping[str, str]) -> list[Claim]:
    def time(record: Record, kind: str) -> np.ndarray:
        return record.arrays[f"{kind}/settled"].mean(1)

    return [
        Claim(
            "bn-sooner",
            "question, batch norm",
            f"He: with batch norm units settle sooner {SHARE}",
            lambda record: time(record, "he") - time(record, "he-bn"),
            Greater(),
            not_run=lacking["he-bn"],
            needs=("he", "he-bn"),
        ),
        Claim(
            "he-sooner",
            "question, starts",
            f"He's units settle sooner than Xavier's {SHARE}",
            lambda record: time(record, "xavier") - time(record, "he"),
            Greater(),
            needs=("he", "xavier"),
        ),
    ]


def _directions(
    nets: Mapping[str, Kind],
    lacking: Mapping[str, str],
    layers: tuple[int, ...],
) -> list[Claim]:
    return [
        Claim(
            f"directions-{kind}-{layer + 1}",
            SZEGEDY,
            f"{nets[kind].label}, {_rank(layer)}: the eight images that a unit prefers are as "
            "often of one class as a random direction's (share of the commonest class)",
            _lead_in_purity(kind, layer),
            Equivalent(0.05),
            not_run=lacking[kind],
            needs=(kind,),
        )
        for kind in ("he", "he-bn")
        for layer in layers
    ]


def _units(nets: Mapping[str, Kind], lacking: Mapping[str, str], layer: int) -> list[Claim]:
    return [
        Claim(
            f"units-purer-{kind}",
            BAU,
            f"{nets[kind].label}, {_rank(layer)}: the eight images that a unit prefers are oftener "
            "of one class than a random direction's (share of the commonest class)",
            _lead_in_purity(kind, layer),
            Greater(),
            not_run=lacking[kind],
            needs=(kind,),
        )
        for kind in ("he", "he-bn")
    ]


def _lead_in_purity(kind: str, layer: int) -> Statistic:
    def lead(record: Record) -> np.ndarray:
        units = record.arrays[f"{kind}/purity"][:, -1, layer]
        return units - record.arrays[f"{kind}/axes_purity"][:, -1, layer]

    return lead


def _purer(layer: int) -> Claim:
    def purer(record: Record) -> np.ndarray:
        found = record.arrays["he/purity"][:, :, layer]
        return found[:, -1] - found[:, 0]

    return Claim(
        "purer",
        "question, purity",
        f"He, {_rank(layer)}: units' preferred images are oftener of one class in the end than "
        "at the start",
        purer,
        Greater(),
        needs=("he",),
    )


def _controls() -> list[Claim]:
    def seen(record: Record) -> np.ndarray:
        found = record.arrays["picture_agreement"]
        return found[:, -1] - found[:, 0]

    return [
        Claim(
            "pictures",
            "question, pictures",
            "He: class pictures of the end convince other nets oftener than those of the start",
            seen,
            Greater(),
            needs=("he", "pictures"),
        ),
        Claim(
            "control",
            "negative control, other seeds",
            "He: units of one number in two nets share fewer than a tenth of their preferred "
            "images (mean over layers)",
            lambda record: record.arrays["he/stranger"].mean(1),
            Less(0.1),
            needs=("he",),
        ),
    ]


def _rank(layer: int) -> str:
    return f"convolution {layer + 1}"
