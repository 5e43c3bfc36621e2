"""Closed forms of signals and gradients at initialization (NumPy, float64).

He et al. 2015, finite width, batch normalization, residual nets, and the exponents they add up to.
A *squared factor* multiplies a squared norm at every layer; the *exponent* of a net is half its
log: the growth of the log norm per layer. Infinite-width maps are in ``mean_field``.
"""

from collections.abc import Sequence

import numpy as np
import scipy
from numpy.typing import ArrayLike

from jaxvision.dynamics.mean_field import (
    chi,
    second_moment,
    slope_kurtosis,
    slope_moment,
    variance_map,
)


def hanin_nica(widths: Sequence[int]) -> tuple[float, float]:
    """Return mean and variance of log ||Ju||^2 of a He ReLU net: (-5/2, 5) times sum 1/width.

    First order in 1/width (Hanin & Nica, arXiv 1812.05994). J is the input-output Jacobian, u a
    unit vector, ``widths`` those of the ReLU layers; where they differ, squared norms are per unit.
    """
    total = float(np.sum(1 / np.asarray(widths, float)))
    return -2.5 * total, 5 * total


def relu_log_norm_moments(widths: Sequence[int]) -> tuple[float, float]:
    """Return the exact mean and variance of log ||Ju||^2, which ``hanin_nica`` expands.

    Derived: a layer multiplies the squared norm per unit by (2/n) chi^2_k, k ~ Binomial(n, 1/2)
    units being active (given k > 0), independently of every other layer.
    """
    mean = variance = 0.0
    for width in widths:
        active = np.arange(1, width + 1)
        weight = scipy.stats.binom.pmf(active, width, 0.5)
        weight /= weight.sum()
        log_norm = scipy.special.digamma(active / 2) + np.log(4 / width)
        mean += weight @ log_norm
        variance += weight @ (scipy.special.polygamma(1, active / 2) + log_norm**2)
        variance -= (weight @ log_norm) ** 2
    return float(mean), float(variance)


def batch_norm_squared_factor(batch: ArrayLike, activation: str) -> np.ndarray:
    """Return the squared-gradient factor of a layer of a plain batch-normalized net.

    Infinite width, gamma = 1, beta = 0, eps = 0, any weight variance. Yang et al. 2019 give the
    limits pi / (pi - 1) for 'relu' at ``batch`` -> inf (allowed), and (B - 2) / (B - 3) for
    'linear'.

    Derived for finite B and phi(s y) = s phi(y), s > 0: the normalized pre-activations y are
    uniform on the sphere of radius sqrt B orthogonal to the ones, two samples correlating by -1 /
    (B - 1). With m = E[phi'^2], p = E[phi' phi'] and J = E[phi phi] of two samples, the next
    pre-activations h are N(0, (m - J) G), G centering, so E[1/||h||^2] = 1 / ((m - J)(B - 3)); BN's
    Jacobian is sqrt B (G - y y^T / B) / ||h||, and by symmetry the gradient's covariance stays a
    multiple of G.
    """
    batch = np.asarray(batch, float)
    correlation = -1 / (batch - 1)
    slope_square = slope_moment(activation, 1.0)
    slopes = slope_moment(activation, 1.0, correlation)
    values = second_moment(activation, 1.0, correlation)
    numerator = slope_square + (slope_square + slopes + values) / (batch - 3)
    return numerator / (slope_square - values)


def residual_variance(blocks: ArrayLike, normalized: bool) -> np.ndarray:
    """Return the variance of the stream x_l = x_{l-1} + f(x_{l-1}) after ``blocks``, from 1.

    De & Smith 2020. f keeps the variance (He): it doubles each block. With batch norm f's variance
    is 1: it grows by 1, so that at depth L the branch's input is scaled down by sqrt L.
    """
    blocks = np.asarray(blocks, float)
    return 1 + blocks if normalized else 2.0**blocks


def residual_log_norms(
    activation: str,
    sigma_w: float,
    depth: int,
    batch: float | None = None,
    input_square: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the log of the stream's rms and of its gradient's norm in a residual net, [depth].

    Infinite width, no biases, x_{l+1} = x_l + W phi(x_l), or W phi(BN(x_l)). The stream starts as
    W x of an input of mean square ``input_square``; the gradient is 1 (log 0) at the last layer.

    Derived: W has mean 0 and is independent of x_l, so variances add, and so do the squared
    gradients of the two ways down: a block multiplies by 1 + chi (Yang & Schoenholz 2017, arXiv
    1712.08969). With batch norm over ``batch`` inputs (None: none; 'relu' and 'linear' only) the
    branch has the factor of ``batch_norm_squared_factor`` times v over the stream's variance within
    the batch, which grows by v = sigma_w^2 (E[phi^2] - E[phi phi]) a block, from inputs of mean 0.
    """
    start = sigma_w**2 * input_square
    blocks = np.arange(depth)
    if batch is None:
        variances = [start]
        for _ in blocks[1:]:
            grown = variance_map(variances[-1], sigma_w, 0.0, activation)
            variances.append(variances[-1] + float(grown))
        variance = np.array(variances)
        factors = 1 + chi(sigma_w, variance, activation)
    else:
        variance = start + blocks * float(variance_map(1.0, sigma_w, 0.0, activation))
        correlation = -1 / (np.float64(batch) - 1)
        shared = second_moment(activation, 1.0, correlation)
        grown = sigma_w**2 * (second_moment(activation, 1.0) - shared)
        branch = batch_norm_squared_factor(batch, activation) * grown
        factors = 1 + branch / (start + blocks * grown)
    steps = exponent(factors)[:-1]
    return np.log(variance) / 2, np.append(np.cumsum(steps[::-1])[::-1], 0.0)


def relu_exponent(sigma_w: ArrayLike, width: ArrayLike = np.inf) -> np.ndarray:
    """Return a ReLU net's exponent: ln(sigma_w^2 / 2) / 2, and at finite width -5 / (4 n) more.

    The first from He et al. 2015 Eq. 10, the second half of ``hanin_nica``'s mean.
    """
    return 0.5 * np.log(np.square(sigma_w) / 2) - 1.25 / np.asarray(width, float)


def exponent(squared_factor: ArrayLike) -> np.ndarray:
    """Return ln(squared_factor) / 2: of ``mean_field.chi`` or ``batch_norm_squared_factor``."""
    return 0.5 * np.log(squared_factor)


def log_norms(
    activation: str, sigma_w: float, width: int, depth: int, input_square: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean log of one input's signal rms and gradient norm at layers 1..depth, [depth].

    A net without biases. The variance follows ``variance_map`` layer by layer from inputs of mean
    square ``input_square``, so that it need not stand at its fixed point; the gradient is 1 (log 0)
    at the last layer.

    Finite width, derived to first order in 1 / width: a layer multiplies the squared norm by the
    mean of phi'^2 (w u)^2 over its units, of relative variance v = (3 kappa - 1) / width
    (``slope_kurtosis``; for ReLU 5 / width, ``hanin_nica``), so its log has mean ln chi - v / 2. Of
    the signal only for 'relu' and 'linear', whose squared norms multiply as the gradient's do. In
    'tanh' and 'sigmoid' nets the signal is drawn back to its fixed point, and fluctuations do not
    add up.
    """
    q = sigma_w**2 * input_square
    variances, shrinkages, steps = [], [], []
    for _ in range(depth):
        variances.append(float(q))
        shrinkage = float(3 * slope_kurtosis(activation, q) - 1) / width / 4
        shrinkages.append(shrinkage)
        steps.append(float(exponent(chi(sigma_w, q, activation))) - shrinkage)
        q = variance_map(q, sigma_w, 0.0, activation)
    signal = 0.5 * np.log(variances)
    is_scale_free = activation in ("relu", "linear")
    if is_scale_free:  # one kurtosis at every variance, hence one shrinkage
        signal = signal - shrinkages[0] * np.arange(depth)
    gradient = np.append(np.cumsum(steps[-2::-1])[::-1], 0.0)
    return signal, gradient
