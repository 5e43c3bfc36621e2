"""The logistic map x -> r x (1 - x): its orbits and their Lyapunov exponent (NumPy, float64).

|f'(x_0) f'(x_1) ...| = exp(lambda T) is a product of 1 x 1 Jacobians.
"""

import numpy as np
from numpy.typing import ArrayLike

FIRST_DOUBLING, SECOND_DOUBLING = 3.0, 1 + 6**0.5  # rates at which cycles of 2 and 4 are born

# An orbit from the critical point 1/2 finds every attracting cycle, but at r = 4 it falls on 0.
_START = 0.3


def iterates(rates: ArrayLike, steps: int, start: float = _START, skip: int = 0) -> np.ndarray:
    """Return x_skip, ..., x_{skip + steps - 1} of x -> r x (1 - x), [steps, *shape of rates].

    With ``skip`` beyond the transient, plotted against the rates: the bifurcation diagram.
    """
    rates = np.asarray(rates, float)
    x = np.full(rates.shape, start)
    orbit = np.empty((steps, *rates.shape))
    for t in range(skip + steps):
        if t >= skip:
            orbit[t - skip] = x
        x = _next(rates, x)
    return orbit


def _next(rates: np.ndarray, x: np.ndarray) -> np.ndarray:
    return rates * x * (1 - x)


def bifurcation_density(rates: ArrayLike, bins: int, steps: int, skip: int = 1000) -> np.ndarray:
    """Return how often each orbit visits each of ``bins`` equal cells of [0, 1], [bins, R].

    The bifurcation diagram in numbers, ``steps`` visits a column.
    """
    rates = np.asarray(rates, float)
    counts = np.zeros((bins, rates.size), int)
    columns = np.arange(rates.size)
    x = iterates(rates, 1, skip=skip)[0]
    for _ in range(steps):
        cells = (x * bins).astype(int)
        cells = np.minimum(cells, bins - 1)  # x = 1 lies in the last one
        counts[cells, columns] += 1
        x = _next(rates, x)
    return counts


def bifurcation_image(rates: ArrayLike, bins: int, steps: int) -> np.ndarray:
    """Return ``bifurcation_density`` as shares of the most visited cell, 0 to 255, [bins, R].

    So cycles and chaos alike are dark.
    """
    density = bifurcation_density(rates, bins, steps)
    most = density.max(0)
    image = np.ceil(255 * density / most)
    return image.astype(np.uint8)


def exponent(
    rates: ArrayLike, steps: int = 20_000, skip: int = 1000, start: float = _START
) -> np.ndarray:
    """Return the Lyapunov exponent, the mean of ln |r (1 - 2 x)| over an orbit; ln 2 at r = 4.

    -inf where the orbit meets 1/2: a superstable cycle.
    """
    rates = np.asarray(rates, float)
    x = np.asarray(iterates(rates, 1, start, skip)[0])
    total = np.zeros(rates.shape)
    with np.errstate(divide="ignore"):
        for _ in range(steps):
            slope = rates * (1 - 2 * x)
            total += np.log(np.abs(slope))
            x = _next(rates, x)
    return total / steps


def cycle_exponent(rates: ArrayLike) -> np.ndarray:
    """Return the exponent in closed form where it has one, 0 < r < 1 + sqrt 6; NaN elsewhere.

    ln r on the fixed point 0, up to r = 1; ln |2 - r| on the fixed point 1 - 1/r, up to r = 3; then
    ln |4 + 2 r - r^2| / 2 on the 2-cycle.
    """
    rates = np.asarray(rates, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        origin = np.log(rates)
        fixed = np.log(np.abs(2 - rates))
        pair = np.log(np.abs(4 + 2 * rates - rates**2)) / 2
    settled = np.where(rates <= FIRST_DOUBLING, fixed, pair)
    known = np.where(rates <= 1, origin, settled)
    has_form = (rates > 0) & (rates < SECOND_DOUBLING)
    return np.where(has_form, known, np.nan)
