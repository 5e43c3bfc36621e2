"""How sensitive a training is to its learning rate, and how many steps it takes to a target.

Pure functions of the errors of S seeds at G rates. Where a run has diverged its error is NaN, and
it counts as an error of 1.
"""

from collections.abc import Sequence

import numpy as np


def usable_range(
    rates: Sequence[float],
    error: np.ndarray,
    best: int,
    margin: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return log10 of the smallest and the largest usable rate, each [S].

    A rate is usable where the error is at most ``margin`` above that of the best rate, and so is
    every rate between the two. Between two rates of the grid the error is taken to be linear in the
    logarithm of the rate. NaN where the range goes on beyond the grid, or the best rate diverged.

    Args:
      rates: ascending [G].
      error: [S, G].
      best: which rate is the best one; chosen on other seeds.
      margin: a share of the images.
    """
    log_rates = np.log10(rates)
    allowed = error[:, best] + margin
    excess = np.nan_to_num(error, nan=1.0) - allowed[:, None]
    downward = slice(best, None, -1)
    upward = slice(best, None)
    return (
        np.array([first_crossing(log_rates[downward], row[downward]) for row in excess]),
        np.array([first_crossing(log_rates[upward], row[upward]) for row in excess]),
    )


def first_crossing(x: np.ndarray, y: np.ndarray) -> float:
    """Return where y(x), linear between the points, first rises above 0.

    NaN where it never does, where it begins above 0, or with a NaN.
    """
    above = y > 0
    if not above.any() or not y[0] <= 0:
        return float("nan")
    after = int(above.argmax())
    before = after - 1
    share = -y[before] / (y[after] - y[before])
    return float(x[before] + share * (x[after] - x[before]))


def steps_to_target(test_steps: np.ndarray, error: np.ndarray, target: float) -> np.ndarray:
    """Return the steps [R] after which the test error [R, E] first is below the target.

    Between two evaluations the error is taken to be linear in the step. NaN for a run that never
    gets there, or starts there.
    """
    left = target - np.nan_to_num(error, nan=1.0)
    return np.array([first_crossing(test_steps, row) for row in left])


def quickest(steps: np.ndarray) -> int:
    """Return which of G rates needs the fewest steps [S, G] on its slowest seed.

    A seed that never gets there, NaN, is slower than all others.
    """
    slowest = np.where(np.isnan(steps), np.inf, steps).max(axis=0)
    return int(slowest.argmin())
