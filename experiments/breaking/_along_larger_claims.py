"""Claims of robustness_in_training on the largest nets, and on the order of sizes, along training.

Their rules were fixed before other sizes were measured at more than one step.
"""

from typing import Any, NamedTuple

import numpy as np

from experiments.breaking._along_families import Family, possible_families, sizes_of, slopes
from experiments.breaking._along_nets import steps_of_sizes
from experiments.breaking._along_pairs import missing_arms
from experiments.breaking._along_sides import above_zero, both_sides, neither_side
from jaxvision.report.claims import Claim, Equivalent
from jaxvision.report.record import Record


class Spoken(NamedTuple):
    """How claims speak of a family.

    Attributes:
      start: of its nets.
      size: what differs.
      unit: of that.
      superlative: of the largest.
      alike: powers of size are the same up to it. Between the smallest and the largest net of the
        preset either is a sixth to a fifth of an octave: .1 of depth, three times; .05 of width,
        sixteen times.
    """

    start: str
    size: str
    unit: str
    superlative: str
    alike: float


SPOKEN = {
    "depth_he": Spoken("He", "depth", "layers", "deepest", 0.1),
    "depth_xavier": Spoken("Xavier", "depth", "layers", "deepest", 0.1),
    "width": Spoken("He", "width", "units", "widest", 0.05),
}


def of_larger_nets(config: Any) -> list[Claim]:
    """Return the claims on every family, of sizes that a run has or not."""
    claims = []
    for name, family in possible_families(config).items():
        claims += _of_largest(config, name, family)
        claims.append(_of_order(config, name, family))
    return claims


def _of_largest(config: Any, name: str, family: Family) -> list[Claim]:
    """Return the claims on where the boundary of the largest nets moves: as for the arms."""
    spoken = SPOKEN[name]
    largest = sizes_of(family)[-1]
    usual = "" if largest > family.usual else f"--{spoken.size}s above --{spoken.size}"

    def octaves(record: Record) -> np.ndarray:
        distance = above_zero(record.arrays[f"{name}/along"][:, -1])
        return np.log2(distance[:, -1] / distance[:, 0])

    told = (
        f"{spoken.superlative}-{family.arm}",
        f"{spoken.start}, {largest} {spoken.unit}",
        _span(config),
        octaves,
        _lacks(config, family, spoken) or usual,
        (family.arm, name),
    )
    return [*both_sides(*told), neither_side(*told)]


def _of_order(config: Any, name: str, family: Family) -> Claim:
    """Return the claim that sizes are in the same order, by the same power, early and late."""
    spoken = SPOKEN[name]
    sizes = sizes_of(family)

    def change(record: Record) -> np.ndarray:
        distance = above_zero(record.arrays[f"{name}/along"])
        return slopes(distance[..., -1], sizes) - slopes(distance[..., 0], sizes)

    return Claim(
        f"same-{spoken.size}-{family.arm}",
        "question, sizes along training",
        f"{spoken.start}: the power of {spoken.size} that the distance follows is the same at both "
        f"ends {_span(config)} (change within {spoken.alike:g})",
        change,
        Equivalent(spoken.alike),
        not_run=_lacks(config, family, spoken),
        needs=(family.arm, name),
    )


def _span(config: Any) -> str:
    return f"from step {config.reference:,} to {config.size_steps:,}"


def _lacks(config: Any, family: Family, spoken: Spoken) -> str:
    """Return what a run needs for a family along training and has not; "" where it has it."""
    if lacking := missing_arms(config, family.arm):
        return lacking
    if not family.values:
        return f"--{spoken.size}s"
    return "" if len(steps_of_sizes(config)) > 1 else "--size_steps after --reference"
