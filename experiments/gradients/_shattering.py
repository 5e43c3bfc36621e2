"""Shattered gradients: how the gradients at two nearby inputs lose their correlation with depth.

Balduzzi et al. 2017 (arXiv 1702.08591): nets of one input, seen on a grid of it.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.dynamics import theory
from jaxvision.types import Array


def gradients_on_a_line(
    key: Array, positions: Array, width: int, depth: int, *, residual: bool, normalized: bool
) -> Array:
    """Return the gradients of one random ReLU net along a line of inputs, [depth, P, width].

    Entry l, p is the derivative of layer l's units (unit norm) at input p by one random direction
    of the first pre-activations, the same at every input. Times a random readout it is a gradient
    of a net of l layers; over readouts, the inner product of two entries is the correlation of that
    gradient at two inputs: forward derivatives give the backward correlation at every depth at
    once.

    The first pre-activations are ``positions * a + b``, a and b Gaussian: a line past the origin (a
    ReLU net without biases bends nowhere else). Weights are He's; a layer computes ``f(x) = W
    relu(x)``, a residual one ``x + f(x)``. Batch norm stands before the ReLU; its statistics are
    those of the line, held constant in the derivative: the gradient is that of one input alone.

    Args:
      key: of the net.
      positions: [P].
      width: units of every layer.
      depth: number of layers after the first.
      residual: add each layer's output to its input.
      normalized: batch norm.
    """
    line_key, direction_key, kernel_key = jax.random.split(key, 3)
    slope, offset = jax.random.normal(line_key, (2, width))
    direction = jax.random.normal(direction_key, (width,))
    h = positions[:, None] * slope[None] + offset[None]

    def layer(carry: tuple[Array, Array], index: Array) -> tuple[tuple[Array, Array], Array]:
        h, gradient = carry
        kernel = jax.random.normal(jax.random.fold_in(kernel_key, index), (width, width))
        kernel = kernel * jnp.sqrt(2 / width)
        x, dx = h, gradient
        if normalized:
            std = jnp.std(h, axis=0, keepdims=True)
            x, dx = (h - jnp.mean(h, axis=0, keepdims=True)) / std, gradient / std
        active = x > 0
        x, dx = jnp.where(active, x, 0) @ kernel, jnp.where(active, dx, 0) @ kernel
        if residual:
            x, dx = h + x, gradient + dx
        # One scale for all inputs (a ReLU net does not see it) keeps both within float32.
        dx = dx / jnp.sqrt(jnp.mean(jnp.square(dx)))
        x = x if normalized else x / jnp.sqrt(jnp.mean(jnp.square(x)))
        return (x, dx), dx / jnp.linalg.norm(dx, axis=-1, keepdims=True)

    start = (h, jnp.broadcast_to(direction, h.shape))
    return jax.lax.scan(layer, start, jnp.arange(depth))[1]


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


def plain_autocorrelation(positions: np.ndarray, lag: int, depth: int) -> np.ndarray:
    """Return the closed form of ``autocorrelation`` for infinitely wide plain nets, [depth].

    ``theory.relu_gradient_correlation`` from each layer down to the first pre-activations, whose
    correlation at two positions is that of (x, 1) and (y, 1).
    """
    points = np.stack([positions, np.ones_like(positions)], 1)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    first = np.sum(points[:-lag] * points[lag:], 1)
    down = np.stack([theory.relu_gradient_correlation(float(c), depth) for c in first])
    # ``down`` holds products of factors from layer l to the top; wanted are those from 1 to l.
    return (down[:, :1] / np.append(down[:, 1:], np.ones((len(down), 1)), axis=1)).mean(0)
