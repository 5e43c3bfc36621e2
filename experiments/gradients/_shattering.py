"""Shattered gradients: how the gradients at two nearby inputs lose their correlation with depth.

Balduzzi et al. 2017 (arXiv 1702.08591): nets of one input, seen on a grid of it.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.dynamics import mean_field
from jaxvision.dynamics.random_nets import push, scan_drawn, unit_square
from jaxvision.models.normalization import standardize
from jaxvision.types import Array


class Kind(NamedTuple):
    """What a net has; the fields may be traced, so that kinds of one shape share a program."""

    residual: Array  # bool: each layer adds its output to its input
    normalized: Array  # bool: batch norm before the ReLU
    weight_variance: Array  # of a weight, times the width; He's is 2


def gradients_on_a_line(key: Array, positions: Array, width: int, depth: int, kind: Kind) -> Array:
    """Return the gradients of one random ReLU net along a line of inputs, [depth, P, width].

    Entry l, p is the derivative of layer l's units (unit norm) at input p by one random direction
    of the first pre-activations, the same at every input. Times a random readout it is a gradient
    of a net of l layers; over readouts, the inner product of two entries is the correlation of that
    gradient at two inputs: forward derivatives give the backward correlation at every depth at
    once.

    The first pre-activations are ``positions * a + b``, a and b Gaussian: a line past the origin (a
    ReLU net without biases bends nowhere else). A layer computes ``f(x) = W relu(x)``, a residual
    one ``x + f(x)``. Batch norm is bare: its statistics are those of the line, held constant in
    the derivative, since the gradient is that of one input alone.

    Args:
      key: of the net.
      positions: [P].
      width: units of every layer.
      depth: number of layers after the first.
      kind: of the net.
    """
    start_key, kernel_key = jax.random.split(key)
    slope, offset, direction = jax.random.normal(start_key, (3, width))
    h = positions[:, None] * slope[None] + offset[None]

    def step(carry: tuple[Array, Array], kernel: Array) -> tuple[tuple[Array, Array], Array]:
        kernel = kernel * jnp.sqrt(kind.weight_variance / width)
        # The direction is rescaled as a whole: one factor for all inputs.
        h, gradient, _ = push(partial(_layer, kind, kernel), *carry)
        # A net without batch norm is homogeneous. With it, the stream of a residual net must grow.
        h = jnp.where(kind.normalized, h, unit_square(h))
        return (h, gradient), gradient / jnp.linalg.norm(gradient, axis=-1, keepdims=True)

    start = (h, jnp.broadcast_to(direction[None], h.shape))
    return scan_drawn(step, start, kernel_key, (width, width), depth)[1]


def _layer(kind: Kind, kernel: Array, h: Array) -> Array:
    """Return the next pre-activations [P, width]."""
    x = jnp.where(kind.normalized, standardize(h, held=True), h)
    x = jax.nn.relu(x) @ kernel
    return jnp.where(kind.residual, h + x, x)


def autocorrelation(gradients: Array, lag: int) -> Array:
    """Return the mean inner product of ``gradients`` [L, P, width] at inputs ``lag`` apart, [L]."""
    count = gradients.shape[1] - lag
    return jnp.einsum("lpn,lpn->l", gradients[:, :count], gradients[:, lag:]) / count


def decay_rate(correlation: np.ndarray, depth: int) -> np.ndarray:
    """Return -ln c / depth of correlations c [S, L]: constant if they decay exponentially, [S]."""
    return -np.log(_at(correlation, depth)) / depth


def decay_power(correlation: np.ndarray, early: int, late: int) -> np.ndarray:
    """Return p [S] of a decay like depth^-p between two depths of correlations [S, L]."""
    return np.log(_at(correlation, early) / _at(correlation, late)) / np.log(late / early)


def _at(correlation: np.ndarray, depth: int) -> np.ndarray:
    return np.maximum(correlation[:, depth - 1], 1e-3)  # finite width: noise of either sign


def wide_autocorrelation(
    positions: np.ndarray, lag: int, depth: int, *, residual: bool
) -> np.ndarray:
    """Return the closed form of ``autocorrelation`` for infinitely wide nets, [depth].

    Without batch norm, He's weights. Derived from the arc-cosine kernels (Cho & Saul 2009): at
    pre-activations that correlate by c, a layer's outputs correlate by k_1(c), and its derivative
    multiplies the correlation of the gradients by k_0(c) = 1 - arccos(c) / pi. A residual layer
    adds its input, of equal variance: it takes the mean of c and k_1(c), and of 1 and k_0(c).

    Args:
      positions: [P].
      lag: between the two inputs, in places of ``positions``.
      depth: number of layers.
      residual: each layer's output is added to its input.
    """
    # The first pre-activations at two positions correlate as (x, 1) and (y, 1).
    points = np.stack([positions, np.ones_like(positions)], 1)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    correlation = np.sum(points[:-lag] * points[lag:], 1)
    gradients = np.ones_like(correlation)
    means = []
    for _ in range(depth):
        correlation = np.minimum(correlation, 1.0)
        factor = 2 * mean_field.slope_moment("relu", 1.0, correlation)
        passed = 2 * mean_field.second_moment("relu", 1.0, correlation)
        gradients = gradients * ((1 + factor) / 2 if residual else factor)
        correlation = (correlation + passed) / 2 if residual else passed
        means.append(gradients.mean())
    return np.array(means)


def centered_branch_correlation(depth: int) -> np.ndarray:
    """Return the law of residual nets with batch norm whose branches have no mean, [depth].

    Derived after Balduzzi et al. 2017, for units that fire independently at the two inputs. A
    branch W relu(z) of a normalized z has mean square 1, of which 1 / pi is its mean over inputs;
    the next batch norm takes that off. So the stream's variance grows by 1 - 1 / pi a layer, from
    1, and a branch adds 1 / variance to the gradient's variance, half of it to the covariance.
    The power of depth tends to 1 / (2 (1 - 1 / pi)) = .73.
    """
    variance = 1 + (1 - 1 / np.pi) * np.arange(depth)
    return np.cumprod((1 + 0.5 / variance) / (1 + 1 / variance))
