"""Ways to make images larger, and where they put their power before anything is trained.

A kernel of independent weights of mean 0, laid down at every ``STRIDE``-th pixel, gives a pixel the
summed power of the values that reach it: so many times the maps' mean square as kernels overlap
there. That holds with a ReLU between two layers too, which halves the power of what is symmetric.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.conv_transpose import conv_transpose2d
from jaxvision.convolution import conv2d
from jaxvision.types import Array

STRIDE = 2
_EQUAL = 1e-9  # powers that differ by less are one
Enlarge = Callable[[Array, Array], Array]  # maps [B, h, w, O], kernel [k, k, C, O] -> images


def transposed(maps: Array, kernel: Array) -> Array:
    """Return the transposed convolution: maps [B, h, w, O] -> images [B, 2 h, 2 w, C]."""
    return conv_transpose2d(maps, kernel, STRIDE)


def turned(maps: Array, kernel: Array) -> Array:
    """Return the same with the kernel turned by 180 degrees, as some libraries have it."""
    return conv_transpose2d(maps, kernel[::-1, ::-1], STRIDE)


def gradient(maps: Array, kernel: Array) -> Array:
    """Return the gradient of a strided convolution's images, where ``maps`` is its outputs'."""
    b, h, w, _ = maps.shape
    images = jnp.zeros((b, STRIDE * h, STRIDE * w, kernel.shape[2]))
    _, pull = jax.vjp(partial(conv2d, kernel=kernel, stride=STRIDE), images)
    return pull(maps)[0]


def resized(maps: Array, kernel: Array) -> Array:
    """Return every value repeated 2 x 2 times, then a convolution of stride 1."""
    larger = maps.repeat(STRIDE, axis=1).repeat(STRIDE, axis=2)
    return conv2d(larger, kernel.transpose(0, 1, 3, 2))


def matrix_of(kernel: Array, size: int) -> Array:
    """Return the strided convolution's matrix C [outputs, inputs], one input pixel at a time.

    Args:
      kernel: [k, k, C, O].
      size: pixels of a side of the images.
    """
    shape = (size, size, kernel.shape[2])
    basis = jnp.eye(size * size * kernel.shape[2]).reshape(-1, *shape)
    return conv2d(basis, kernel, STRIDE).reshape(basis.shape[0], -1).T


def least_error(matrix: Array, images: Array) -> Array:
    """Return how far C^T C x stays from x [N, inputs], best scaled: relative, mean over images."""
    back = images @ matrix.T @ matrix
    along = jnp.sum(back * images, 1)
    lengths = jnp.linalg.norm(back, axis=1) * jnp.linalg.norm(images, axis=1)
    cosine = along / lengths
    return jnp.sqrt(1 - cosine**2).mean()


def powers(maps: Array, kernels: list[Array], enlarge: Enlarge) -> Array:
    """Return the mean square of each output pixel [H, W], over images and channels.

    ``kernels``: one a layer, with a ReLU between two.
    """
    x = maps
    for number, kernel in enumerate(kernels):
        if number:
            x = jax.nn.relu(x)
        x = enlarge(x, kernel)
    return jnp.mean(x**2, (0, 3))


def by_phase(power: Array, period: int) -> Array:
    """Return the mean power [period, period] at each phase, away from the border, of mean 1."""
    cells = power.shape[0] // period
    grid = power.reshape(cells, period, cells, period)
    margin = cells // 4
    inner = grid[margin : cells - margin, :, margin : cells - margin]
    phases = inner.mean((0, 2))
    return phases / phases.mean()


def law(kernel: int, layers: int = 1) -> np.ndarray:
    """Return the power by phase [2^layers, 2^layers] that overlaps predict, of mean 1."""
    line = np.ones(12)
    for _ in range(layers):
        line = _laid_down(line, kernel)
    period = STRIDE**layers
    middle = period * (line.size // period // 2)
    phases = line[middle : middle + period]
    grid = np.outer(phases, phases)
    return grid / grid.mean()


def unevenness(kernel: int) -> float:
    """Return what the fullest phase has over the emptiest: (ceil(k/s) / floor(k/s))^2."""
    most = -(-kernel // STRIDE)
    least = kernel // STRIDE
    return (most / least) ** 2


def fullest_over_emptiest(phases: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return measured phases [S, p, p] at the law's fullest over those at its emptiest [S].

    The places are the law's, not the measured extremes: noise does not raise the ratio. Where the
    law is even, each seed's are those at which the mean of the others is largest and smallest.
    """
    flat = phases.reshape(len(phases), -1)
    law = expected.ravel()
    if np.ptp(law) < _EQUAL:
        rows = np.arange(len(flat))
        others = flat.sum(0) - flat
        return flat[rows, others.argmax(1)] / flat[rows, others.argmin(1)]
    full = law > law.max() - _EQUAL
    empty = law < law.min() + _EQUAL
    return flat[:, full].mean(1) / flat[:, empty].mean(1)


def _laid_down(line: np.ndarray, kernel: int) -> np.ndarray:
    """Return the power along one axis after a transposed convolution with 'SAME' padding."""
    spread = np.zeros(STRIDE * line.size)
    spread[::STRIDE] = line
    low = max(kernel - STRIDE, 0) // 2
    return np.convolve(spread, np.ones(kernel))[low : low + spread.size]
