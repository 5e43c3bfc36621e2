"""Mean-field theory of random nets: infinite width, Gaussian weights (NumPy, float64).

Poole et al. 2016 and Schoenholz et al. 2017 (arXiv 1611.01232). A layer is ``h_l = W_l x_{l-1} +
b_l``, ``x_l = phi(h_l)``, ``Var[W] = sigma_w^2 / fan_in``, ``Var[b] = sigma_b^2``; q is the
variance of h, c the correlation of h between two inputs. ``activation`` is a name of
``activations.py``; array arguments broadcast. ``keep`` is the keep rate of inverted dropout on x
(1: none), with its own mask for each input.
"""

from collections.abc import Callable

import numpy as np
import scipy
from numpy.typing import ArrayLike

# The trapezoid rule converges exponentially on Gaussian integrals of analytic functions; for tanh
# of a wide argument it is many digits ahead of Gauss-Hermite with as many nodes.
_NODES = np.linspace(-10, 10, 257)
_WEIGHTS = np.exp(-(_NODES**2) / 2) / np.exp(-(_NODES**2) / 2).sum()
_INTEGRATED: dict[str, tuple[Callable, Callable]] = {
    "tanh": (np.tanh, lambda u: 1 - np.tanh(u) ** 2),
    "sigmoid": (
        lambda u: scipy.special.expit(u),  # read when it is used: its import takes a while
        lambda u: scipy.special.expit(u) * scipy.special.expit(-u),
    ),
}


def second_moment(activation: str, q: ArrayLike, c: ArrayLike = 1.0) -> np.ndarray:
    """Return E[phi(u) phi(v)], u and v Gaussian of variance ``q`` and correlation ``c``.

    'relu' is the arc-cosine kernel of Cho & Saul 2009; 'tanh' and 'sigmoid' are integrated.
    """
    q, c = _broadcast(q, c)
    if activation == "relu":
        return q * (np.sqrt(1 - c**2) + c * (np.pi - np.arccos(c))) / (2 * np.pi)
    return q * c if activation == "linear" else _product_mean(_INTEGRATED[activation][0], q, c)


def slope_moment(activation: str, q: ArrayLike, c: ArrayLike = 1.0) -> np.ndarray:
    """Return E[phi'(u) phi'(v)], u and v Gaussian of variance ``q`` and correlation ``c``."""
    q, c = _broadcast(q, c)
    if activation == "relu":
        return (np.pi - np.arccos(c)) / (2 * np.pi)
    if activation == "linear":
        return np.ones(q.shape)
    return _product_mean(_INTEGRATED[activation][1], q, c)


def variance_map(
    q: ArrayLike, sigma_w: ArrayLike, sigma_b: ArrayLike, activation: str, keep: float = 1.0
) -> np.ndarray:
    """Return the next layer's variance, sigma_w^2 E[phi(u)^2] / keep + sigma_b^2."""
    return np.square(sigma_w) / keep * second_moment(activation, q) + np.square(sigma_b)


def variance_fixed_point(
    sigma_w: ArrayLike, sigma_b: ArrayLike, activation: str, keep: float = 1.0
) -> np.ndarray:
    """Return q*, the stable fixed point of ``variance_map``; inf where the variance grows forever.

    At critical ReLU and linear nets without bias every variance is a fixed point: NaN.
    """
    sigma_w, sigma_b = np.broadcast_arrays(np.asarray(sigma_w, float), np.asarray(sigma_b, float))
    if activation in ("relu", "linear"):
        gain = sigma_w**2 / keep * second_moment(activation, 1.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(gain > 1, np.inf, sigma_b**2 / (1 - gain))
    # |phi| <= 1 bounds the variance, and the map is concave: above q* it lies below the diagonal.
    bound = sigma_w**2 / keep + sigma_b**2
    return _last_positive(
        lambda q: variance_map(q, sigma_w, sigma_b, activation, keep) - q,
        np.zeros_like(bound),
        bound,
    )


def chi(sigma_w: ArrayLike, q: ArrayLike, activation: str, c: ArrayLike = 1.0) -> np.ndarray:
    """Return sigma_w^2 E[phi'(u) phi'(v)]: at ``c`` the slope of ``correlation_map``, at 1 chi_1.

    chi_1 is the squared-gradient factor of a layer; dropout divides it by the keep rate.
    """
    return np.square(sigma_w) * slope_moment(activation, q, c)


def correlation_map(
    c: ArrayLike, q: ArrayLike, sigma_w: ArrayLike, sigma_b: ArrayLike, activation: str
) -> np.ndarray:
    """Return the next layer's correlation of two inputs of variance ``q`` = q*.

    Dropout enters by q* alone: c = 1 is then no fixed point, and criticality is gone.
    """
    moment = second_moment(activation, q, c)
    return (np.square(sigma_w) * moment + np.square(sigma_b)) / np.asarray(q, float)


def correlation_fixed_point(
    sigma_w: ArrayLike, sigma_b: ArrayLike, activation: str, keep: float = 1.0
) -> np.ndarray:
    """Return the stable c*: 1 in the ordered phase, less in the chaotic one and under dropout.

    Needs 0 < q* < inf.
    """
    q = variance_fixed_point(sigma_w, sigma_b, activation, keep)

    def gain(c: np.ndarray) -> np.ndarray:
        return correlation_map(c, q, sigma_w, sigma_b, activation) - c

    # The map is convex (its power series has no negative term), so c* is the first crossing. The
    # search stops short of 1, which without dropout is always a fixed point.
    end = 1 - 1e-9
    crossing = _last_positive(gain, np.zeros_like(q), np.full_like(q, end))
    return np.where(crossing == end, 1.0, crossing)


def depth_scale(chi: ArrayLike) -> np.ndarray:
    """Return xi = 1 / |ln chi| in layers: -1 / ln chi where signals decay; inf at criticality."""
    with np.errstate(divide="ignore"):
        return 1 / np.abs(np.log(np.asarray(chi, float)))


def correlation_depth_scale(
    sigma_w: ArrayLike, sigma_b: ArrayLike, activation: str, keep: float = 1.0
) -> np.ndarray:
    """Return xi_c, over which the correlation of two inputs reaches c* (Schoenholz et al. 2017).

    In the ordered phase -1 / ln chi_1. Nets train to a depth of some 6 xi_c.
    """
    q = variance_fixed_point(sigma_w, sigma_b, activation, keep)
    c = correlation_fixed_point(sigma_w, sigma_b, activation, keep)
    return depth_scale(chi(sigma_w, q, activation, c))


def edge_of_chaos(q: ArrayLike, activation: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (sigma_w, sigma_b) of the critical net (chi_1 = 1) whose fixed point is ``q``.

    Its locus over q >= 0 is the edge of chaos; tanh starts at (1, 0).
    """
    sigma_w = 1 / np.sqrt(slope_moment(activation, q))
    bias_variance = np.asarray(q, float) - sigma_w**2 * second_moment(activation, q)
    # Rounding leaves -1e-17 at q = 0.
    return sigma_w, np.sqrt(np.maximum(bias_variance, 0))


def critical_gain(activation: str) -> float:
    """Return the sigma_w at which chi_1 = 1 without biases: where the edge of chaos ends.

    1 for 'tanh' (there q* = 0) and 'linear', sqrt 2 for 'relu' (He), 10.15 for 'sigmoid'.
    """

    def bias_variance(q: float) -> float:  # of the critical net whose fixed point is q
        return float(q - second_moment(activation, q) / slope_moment(activation, q))

    q = scipy.optimize.brentq(bias_variance, 0.0, 1e3)
    return float(1 / np.sqrt(slope_moment(activation, q)))


def jacobian_spread(
    depth: ArrayLike, q: ArrayLike, activation: str, orthogonal: bool
) -> np.ndarray:
    """Return the variance of the squared singular values (mean 1) of a critical net's Jacobian.

    L (mu_2 / mu_1^2 - 1 - s_1), mu_k = E[phi'^2k] at ``q``, s_1 = 0 for orthogonal and -1 for
    Gaussian weights (Pennington et al. 2017, arXiv 1711.04735). Small at every depth, dynamical
    isometry, only for orthogonal weights and a slope that hardly varies: ReLU's has at least L.
    """
    spread = slope_kurtosis(activation, q) - 1
    return np.asarray(depth) * (spread + (0 if orthogonal else 1))


def slope_kurtosis(activation: str, q: ArrayLike) -> np.ndarray:
    """Return E[phi'^4] / E[phi'^2]^2, u Gaussian of variance ``q``: 1 'linear', 2 'relu'."""
    q = np.asarray(q, float)
    slope_squared = slope_moment(activation, q)
    if activation in _INTEGRATED:
        slope = _INTEGRATED[activation][1]
        slope_fourth = slope(np.sqrt(q)[..., None] * _NODES) ** 4 @ _WEIGHTS
    else:
        slope_fourth = slope_squared  # of slopes 0 and 1
    return slope_fourth / slope_squared**2


def _broadcast(q: ArrayLike, c: ArrayLike) -> list[np.ndarray]:
    # Iterated maps leave correlations a rounding error beyond 1.
    return np.broadcast_arrays(np.asarray(q, float), np.clip(np.asarray(c, float), -1, 1))


def _product_mean(function: Callable, q: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return E[f(u) f(v)] by the trapezoid rule."""
    std = np.sqrt(q)[..., None]
    if np.all(c == 1):
        return function(std * _NODES) ** 2 @ _WEIGHTS
    # v = c u + sqrt(1 - c^2) w: the mean over w first. Half the nodes hold 10 digits up to q = 4.
    z, weights = _NODES[::2], 2 * _WEIGHTS[::2]
    w = np.sqrt(1 - c**2)[..., None, None] * z
    given_u = function(std[..., None] * (c[..., None, None] * z[:, None] + w)) @ weights
    return (function(std * z) * given_u) @ weights


def _last_positive(function: Callable, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return where ``function``, positive first, turns negative in [low, high], or ``high``."""
    for _ in range(60):
        middle = (low + high) / 2
        positive = function(middle) > 0
        low, high = np.where(positive, middle, low), np.where(positive, high, middle)
    return high
