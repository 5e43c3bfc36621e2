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


def steps_to(error: np.ndarray, target: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return the first of ``steps`` [E] with an ``error`` [S, E] at ``target`` [S] or below.

    The last of them for a run that never gets there: a bound. NaN for one that starts there: the
    target is none.
    """
    reached = error <= target[:, None]
    first = np.where(reached.any(1), steps[reached.argmax(1)], steps[-1]).astype(np.float64)
    return np.where(reached[:, 0], np.nan, first)


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
    found = {}
    for cell in cells((times,)):
        has = (cell.normalized, cell.times > 1, cell.changed)
        present = frozenset(itertools.compress(FACTORS, has))
        found[present] = np.log2(steps[BASE.name] / steps[cell.name])
    return found


def steps_of(record: Record, name: str, base: str) -> np.ndarray:
    """Return the steps [S] in which a net reaches the accuracy that the base ends with."""
    error, of_base = (record.arrays[f"{net}/error"] for net in (name, base))
    return steps_to(error, settled(of_base), record.arrays["steps"])


def speed_up(
    record: Record, times: int
) -> tuple[dict[frozenset[str], np.ndarray], dict[str, np.ndarray]]:
    """Return log2 of the speed-up of every set of factors, and each factor's share of all, [S]."""
    base = f"cells/{BASE.name}"
    steps = {cell.name: steps_of(record, f"cells/{cell.name}", base) for cell in cells((times,))}
    worth = worths(steps, times)
    whole = worth[frozenset(FACTORS)]
    with np.errstate(divide="ignore", invalid="ignore"):  # no speed-up has no shares
        shares = {factor: part / whole for factor, part in shapley(worth).items()}
    return worth, shares
