"""The factorial of batchnorm: batch norm, the rate and the rest, each with and without the others.

Ioffe & Szegedy 2015 changed all three at once. A factor's share of the speed-up is its Shapley
value: what it adds to log2 of the speed-up, averaged over the orders in which it could be added.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np

from jaxvision.report.record import Record

FACTORS = ("batch norm", "rate", "rest")
# Table 3 of the paper: million steps to 72.2 % of Inception, with batch norm, and of BN-x5.
PAPER_STEPS = {"base": 31.0, "batch norm": 13.3, "all": 2.1}


class Cell(NamedTuple):
    """One mixture.

    Attributes:
      normalized: batch norm.
      times: the base net's own best rate is taken so many times.
      changed: the rest is as in the paper's fast nets, not as in the base.
    """

    normalized: bool
    times: int
    changed: bool

    @property
    def name(self) -> str:
        """The cell's name in the record."""
        net = "bn" if self.normalized else "plain"
        rest = "new" if self.changed else "old"
        return f"{net}-x{self.times}-{rest}"


BASE = Cell(normalized=False, times=1, changed=False)


def cells(times: tuple[int, ...]) -> list[Cell]:
    """Return every mixture with the rates 1 and ``times``, the base first."""
    return [
        Cell(normalized, by, changed)
        for normalized, by, changed in itertools.product((False, True), (1, *times), (False, True))
    ]


class Reached(NamedTuple):
    """When runs reach a target.

    Attributes:
      steps: [S]; the last of the run for one that never gets there: a bound. NaN for one that
        starts there: the target is none.
      never: [S], whether that step is such a bound.
    """

    steps: np.ndarray
    never: np.ndarray


def steps_to(error: np.ndarray, target: np.ndarray, steps: np.ndarray) -> Reached:
    """Return the first of ``steps`` [E] with an ``error`` [S, E] at ``target`` [S] or below."""
    reached = error <= target[:, None]
    never = ~reached.any(1)
    first = np.where(never, steps[-1], steps[reached.argmax(1)]).astype(np.float64)
    return Reached(np.where(reached[:, 0], np.nan, first), never)


def settled(error: np.ndarray) -> np.ndarray:
    """Return the mean of the last fifth of each run's errors [S, E]; a net's "own accuracy"."""
    return error[:, -max(1, error.shape[1] // 5) :].mean(1)


def shapley(worth: dict[frozenset[str], np.ndarray]) -> dict[str, np.ndarray]:
    """Return each factor's share of what all are worth together, from every set's worth [S].

    The shares sum to the worth of all. The empty set is worth 0.
    """
    shares = {}
    count = len(FACTORS)
    for factor in FACTORS:
        others = [other for other in FACTORS if other != factor]
        total = np.zeros(())
        for size in range(count):
            orders = math.factorial(size) * math.factorial(count - size - 1)
            for before in itertools.combinations(others, size):
                gain = worth[frozenset(before) | {factor}] - worth[frozenset(before)]
                total = total + orders / math.factorial(count) * gain
        shares[factor] = total
    return shares


def worths(steps: dict[str, np.ndarray], times: int) -> dict[frozenset[str], np.ndarray]:
    """Return log2 of the speed-up of every set of factors, from steps [S] by name of the cell."""
    return {
        present_in(cell): np.log2(steps[BASE.name] / steps[cell.name]) for cell in cells((times,))
    }


def present_in(cell: Cell) -> frozenset[str]:
    """Return the factors that a cell has."""
    has = (cell.normalized, cell.times > 1, cell.changed)
    return frozenset(itertools.compress(FACTORS, has))


def steps_of(record: Record, name: str, base: str) -> Reached:
    """Return when a net reaches the accuracy that the base ends with."""
    error, of_base = (record.arrays[f"{net}/error"] for net in (name, base))
    return steps_to(error, settled(of_base), record.arrays["steps"])


class SpeedUp(NamedTuple):
    """What every set of factors is worth, [S] each.

    Attributes:
      worth: log2 of the speed-up; at most that much where ``bound``.
      bound: whether the runs never reach the base's accuracy.
      shares: each factor's share of the worth of all, in octaves. NaN for a seed any of whose
        mixtures never gets there: a share cannot be made of bounds.
    """

    worth: dict[frozenset[str], np.ndarray]
    bound: dict[frozenset[str], np.ndarray]
    shares: dict[str, np.ndarray]


def speed_up(record: Record, times: int) -> SpeedUp:
    """Return whose the speed-up is with so many times the base's rate."""
    base = f"cells/{BASE.name}"
    found = {cell: steps_of(record, f"cells/{cell.name}", base) for cell in cells((times,))}
    worth = worths({cell.name: reached.steps for cell, reached in found.items()}, times)
    bound = {present_in(cell): reached.never for cell, reached in found.items()}
    any_bound = np.any(list(bound.values()), axis=0)
    shares = {
        factor: np.where(any_bound, np.nan, share) for factor, share in shapley(worth).items()
    }
    return SpeedUp(worth, bound, shares)
