"""Closed forms of what very deep random conv nets carry: critical tanh nets on a torus."""

import numpy as np
import scipy


def bent_octaves(squares: np.ndarray, bend: float, channels: int) -> tuple[float, float]:
    """Return by how many octaves a delta-orthogonal net changes its signal and its gradient.

    Derived, to first order in the variance q = ``bend`` / depth. Every pixel is a dense orthogonal
    net of its own. With v its mean square in units of q, a layer changes v by 2 q v (1 - a v): the
    critical weights are a little above 1, tanh bends large values down. Here a = n / (n + 2), from
    the fourth moment of one of n numbers on a sphere. The gradient's square grows by 2 q (1 - v) a
    layer. Over the whole net that is a logistic equation in the time 2 ``bend``, whatever the
    depth. An identity in the place of tanh would add ``bend`` / ln 2 octaves to both.

    Args:
      squares: mean square of each pixel of the inputs, any shape; their mean counts as 1.
      bend: variance times depth.
      channels: n.

    Returns:
      log2 of the signal's std at the last layer over the first, and of the gradient's norm at the
      first layer over the last, for a gradient spread evenly over the pixels.
    """
    start = squares / squares.mean()
    growth = np.exp(2 * bend)
    shrink = channels / (channels + 2)
    logistic = 1 + shrink * start * (growth - 1)
    signal = np.mean(start * growth / logistic)
    gradient = np.mean(growth * logistic ** (-1 / shrink))
    return float(np.log2(signal) / 2), float(np.log2(gradient) / 2)


def gaussian_octaves(channels: int, layers: int, side: int) -> float:
    """Return log2 of the gradient's norm at layer 1 of a Gaussian net over that ``layers`` above.

    Derived. On a torus the Jacobian of a linear net falls into one product of random matrices for
    every spatial frequency, [channels, channels] and complex; the four frequencies that are their
    own mirror image have real ones. The log norm of a product is a random walk whose steps are
    half the log of a chi-square, the walks are taken as independent, and after many layers the
    largest is the norm. Critical weights keep the mean square; the typical norm falls.

    Args:
      channels: of every layer.
      layers: number of kernels between the two.
      side: pixels on a side of the image, even.
    """
    # A product's log norm after all layers is Gaussian; by the shape of its steps' gamma law:
    pairs, own_mirrors = (side**2 - 4) // 2, 4
    shapes = np.array([channels, channels / 2])
    counts = np.array([pairs, own_mirrors])
    means = layers / 2 * (scipy.special.psi(shapes) - np.log(shapes))
    stds = np.sqrt(layers / 4 * scipy.special.polygamma(1, shapes))
    lowest = np.min(means - 10 * stds)
    highest = np.max(means + 10 * stds)
    log_norms = np.linspace(lowest, highest, 20_001)
    each = scipy.stats.norm.cdf(log_norms[:, None], means, stds)
    none_above = np.prod(each**counts, axis=1)
    largest = highest - np.trapezoid(none_above, log_norms)
    # Of all frequencies, what the largest holds at the start: one pair.
    share = np.log(2 / side**2) / 2
    return float((largest + share) / np.log(2))
