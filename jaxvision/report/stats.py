"""The statistics behind a verdict: intervals, one-sided tests, equivalence, multiplicity.

``values`` is always one number per seed, shape [S] (for two arms: the paired differences). Corners
have one meaning everywhere:

- a value that is not finite, or no value at all: the answer is NaN (nothing is dropped in silence);
- one value, or one number []: its spread is unknown: the interval is (-inf, inf), p is 1, the
  smallest effect inf;
- all values equal: the limit of small spread. The interval is that point, p is 0 when the point
  lies strictly on the claimed side and 1 otherwise; there is no smallest effect (NaN).

Numbers read off a grid are known to half a step of it (``resolution``): the interval reaches so far
beyond the seeds' own, tests hold the mean against a bound moved so far, and p is never below 2^-n,
what n seeds that agree on the side could say (the sign test).

Intervals are 90 % by default: a one-sided test at 5 % succeeds exactly when the 90 % interval lies
on the claimed side, and an equivalence test at 5 % exactly when it lies inside the margin
(Schuirmann 1987). So the interval that is shown is the interval that decides.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import scipy  # its parts are imported when they are used: half a second
from numpy.typing import ArrayLike

ALPHA = 0.05
CONFIDENCE = 1 - 2 * ALPHA

Verdict = Literal["reproduced", "contradicted", "inconclusive", "not run"]


class Interval(NamedTuple):
    """An estimate and the two ends of its confidence interval."""

    estimate: float
    low: float
    high: float

    @classmethod
    def point(cls, value: float) -> "Interval":
        """Return the interval of a number without spread, or of NaN."""
        return cls(value, value, value)


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What a rule makes of the values, before correction for the other claims of the paper.

    ``p_for`` and ``p_against`` are the p-values that decide for ``reproduced`` and for
    ``contradicted``; None where the rule needs no test.
    """

    verdict: Verdict
    interval: Interval
    n: int
    p_for: float | None = None
    p_against: float | None = None
    smallest_effect: float | None = None
    note: str = ""


def weigh(
    values: np.ndarray, p_for: float, p_against: float, min_seeds: int, resolution: float = 0.0
) -> Evidence:
    """Turn a rule's two p-values into evidence; too few seeds decide nothing either way."""
    n = values.size
    note = too_few(n, min_seeds)
    verdict: Verdict = "inconclusive"
    if resolution > 0:
        smallest = 0.5**n
        p_for = float(np.maximum(p_for, smallest))
        p_against = float(np.maximum(p_against, smallest))
    if p_for <= ALPHA and not note:
        verdict = "reproduced"
    elif p_against <= ALPHA and not note:
        verdict = "contradicted"
    estimate, low, high = t_interval(values)
    interval = Interval(estimate, low - resolution / 2, high + resolution / 2)
    return Evidence(verdict, interval, n, p_for, p_against, smallest_effect(values), note)


def too_few(n: int, min_seeds: int) -> str:
    """Return the note of a rule that has too few seeds to decide; "" where there are enough."""
    return f"{n} of the {min_seeds} seeds that the rule needs" if n < min_seeds else ""


def t_interval(values: ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """Return the mean of ``values`` [S] with Student's t interval."""
    mean, error, n = _mean_and_error(values)
    if np.isnan(mean):
        return Interval.point(mean)
    if error in (0.0, np.inf):
        return Interval(mean, mean - error, mean + error)
    tail = (1 - confidence) / 2
    reach = float(scipy.stats.t.isf(tail, n - 1)) * error
    return Interval(mean, mean - reach, mean + reach)


def greater_p(values: ArrayLike, than: float = 0.0) -> float:
    """Return p of the one-sided t-test of ``mean(values) <= than`` against ``mean > than``.

    On differences of two arms that share their seeds this is the paired t-test.
    """
    mean, error, n = _mean_and_error(values)
    if np.isnan(mean):
        return float("nan")
    if error == 0:
        return 0.0 if mean > than else 1.0
    if error == np.inf:
        return 1.0
    return float(scipy.stats.t.sf((mean - than) / error, n - 1))


def less_p(values: ArrayLike, than: float = 0.0) -> float:
    """Return p of the one-sided t-test of ``mean(values) >= than`` against ``mean < than``."""
    return greater_p(-np.asarray(values, np.float64), -than)


def equivalence_p(values: ArrayLike, margin: float, target: float = 0.0) -> float:
    """Return p against "the mean lies within ``margin`` of ``target``": TOST (Schuirmann 1987)."""
    above = greater_p(values, target - margin)
    below = less_p(values, target + margin)
    return float(np.maximum(above, below))


def difference_p(values: ArrayLike, margin: float, target: float = 0.0) -> float:
    """Return p against "the mean lies outside the margin", on the side where it falls out."""
    above = greater_p(values, target + margin)
    below = less_p(values, target - margin)
    return float(np.minimum(above, below))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the adjusted p-values of Holm (1979), in the given order.

    A NaN stays NaN but counts as a member of the family: a claim that could not be tested was still
    made, and leaving it out would make its neighbors look better.
    """
    p = np.nan_to_num(np.asarray(p_values, np.float64), nan=1.0)
    order = np.argsort(p, kind="stable")
    factors = len(p) - np.arange(len(p))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return np.where(np.isnan(p_values), np.nan, adjusted).tolist()


def smallest_effect(values: ArrayLike, power: float = 0.8) -> float:
    """Return the shift of the mean that a run like this one finds with probability ``power``.

    Found by a one-sided 5 % t-test, and in the units of ``values``. The true spread is not known,
    so the probability is taken over what it may be, given the spread of ``values``: at five seeds
    this asks for 1.23 times the shift that would do if that spread were the true one. NaN where all
    values are equal: no spread was seen.
    """
    mean, error, n = _mean_and_error(values)
    if error == 0.0:
        return float("nan")
    if np.isnan(mean) or error == np.inf:
        return error
    return error * _smallest_effect_in_errors(n, power)


@functools.cache
def _smallest_effect_in_errors(n: int, power: float) -> float:
    """Return the shift in standard errors as one run of ``n`` seeds sees them, which another finds.

    The other finds it where ``(z + shift u) / v`` is above the critical t: z is normal, u and v are
    the spreads that the two runs see, over the true one. Averaged over both on a grid of quantiles.
    """
    critical = float(scipy.stats.t.isf(ALPHA, n - 1))
    quantiles = (np.arange(_GRID) + 0.5) / _GRID
    freedom = n - 1
    spread = np.sqrt(scipy.stats.chi2.ppf(quantiles, freedom) / freedom)

    def excess_power(shift: float) -> float:
        above = scipy.special.ndtr(shift * spread[:, None] - critical * spread[None, :])
        return float(above.mean()) - power

    # The power rises with the shift from 5 % at 0; doubling brackets the root at any n.
    upper = critical
    while excess_power(upper) < 0:
        upper *= 2
    return float(scipy.optimize.brentq(excess_power, 0.0, upper))


_GRID = 200


def proportion_interval(successes: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """Return ``successes / n`` with the exact interval of Clopper and Pearson (1934)."""
    if n == 0:
        return Interval(float("nan"), 0.0, 1.0)
    bounds = scipy.stats.binomtest(int(successes), int(n)).proportion_ci(confidence, "exact")
    return Interval(successes / n, float(bounds.low), float(bounds.high))


def where_known(holds: np.ndarray, *numbers: np.ndarray) -> np.ndarray:
    """Return ``holds``, bool [S]; NaN for the seeds that have a NaN among ``numbers`` [S, ...].

    A comparison with NaN is false: a seed of which nothing was counted would speak against a claim
    that ``Share`` judges. With NaN the claim is undecided, as one on numbers is.
    """
    unknown = np.zeros(len(holds), bool)
    for of_seeds in numbers:
        unknown |= np.isnan(of_seeds).reshape(len(holds), -1).any(1)
    return np.where(unknown, np.nan, holds) if unknown.any() else holds


def spearman(x: ArrayLike, y: ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """Return the rank correlation of ``x`` and ``y`` [n], interval of Bonett and Wright (2000).

    NaN where a value is not finite, where one side is constant, or for fewer than two pairs; the
    interval is (-1, 1) below four pairs.
    """
    x = np.asarray(x, np.float64)
    y = np.asarray(y, np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"spearman needs two vectors of one length, got {x.shape} and {y.shape}")
    pairs = np.stack([x, y])
    if len(x) < 2 or not np.isfinite(pairs).all() or (np.ptp(pairs, axis=1) == 0).any():
        return Interval.point(float("nan"))
    rho = float(scipy.stats.spearmanr(x, y).statistic)
    if len(x) < 4:
        return Interval(rho, -1.0, 1.0)
    if abs(rho) >= 1 - 1e-12:  # the interval's formula has its pole here
        return Interval.point(rho)
    quantile = float(scipy.stats.norm.isf((1 - confidence) / 2))
    reach = quantile * np.sqrt((1 + rho**2 / 2) / (len(x) - 3))
    low, high = np.tanh(np.arctanh(rho) + np.array([-reach, reach]))
    return Interval(rho, float(low), float(high))


def censored_line(
    x: ArrayLike, y: ArrayLike, above: ArrayLike = False, below: ArrayLike = False
) -> tuple[float, float]:
    """Return intercept and slope of the line of ``y`` on ``x`` [n] where some y are bounds only.

    Normal errors, maximum likelihood (Tobin 1958); least squares where nothing is censored.
    ``above`` marks the y whose true value is at least as large, ``below`` at most. NaN for fewer
    than three values that are no bounds, or where these share one x.
    """
    x = np.asarray(x, np.float64)
    y = np.asarray(y, np.float64)
    x, y, above, below = np.broadcast_arrays(x, y, above, below)
    exact = ~(above | below)
    if exact.sum() < 3 or np.ptp(x[exact]) == 0:
        return float("nan"), float("nan")
    slope, intercept = np.polyfit(x[exact], y[exact], 1)
    if exact.all():
        return float(intercept), float(slope)
    spread = np.ptp(y[exact]) or 1.0
    middle = x.mean()

    def loss(parameters: np.ndarray) -> float:
        line = parameters[0] + parameters[1] * (x - middle)
        # A floor: points on one line would have infinite likelihood.
        scale = np.exp(np.maximum(parameters[2], np.log(1e-2 * spread)))
        z = (y - line) / scale
        known = np.square(z[exact]).sum() / 2
        known += exact.sum() * np.log(scale)
        bounds = scipy.special.log_ndtr(-z[above]).sum()
        bounds += scipy.special.log_ndtr(z[below]).sum()
        return float(known - bounds)

    start = [intercept + slope * middle, slope, np.log(0.2 * spread)]
    options = {"xatol": 1e-5, "fatol": 1e-7}
    center, slope, _ = scipy.optimize.minimize(loss, start, method="Nelder-Mead", options=options).x
    return float(center - slope * middle), float(slope)


def _mean_and_error(values: ArrayLike) -> tuple[float, float, int]:
    """Return mean, standard error of the mean and n; see the module's text for the corners."""
    values = np.atleast_1d(np.asarray(values, np.float64))
    if values.ndim != 1:
        raise ValueError(f"expected one value per seed, shape [S], got shape {values.shape}")
    n = len(values)
    if n == 0 or not np.isfinite(values).all():
        return float("nan"), float("nan"), n
    if n == 1:
        return float(values[0]), float("inf"), n
    # Equal values are asked for exactly: rounding in the mean would leave a spread of 1e-17.
    if (values == values[0]).all():
        return float(values[0]), 0.0, n
    error = values.std(ddof=1) / np.sqrt(n)
    return float(values.mean()), float(error), n
