"""Random ReLU nets of one output, before any training: how far the boundary is, and how steep."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxvision.adversarial.threat import norms
from jaxvision.random import probe
from jaxvision.training.mapping import over_seeds
from jaxvision.types import Array

DEPTHS = (2, 4, 8, 16)  # weight layers, at ``INPUTS`` pixels
INPUTS = 64
PIXELS = (16, 64, 256)  # at ``DEPTH`` layers
DEPTH = 4
WIDTH = 64


class AtStart(NamedTuple):
    """N nets.

    Attributes:
      distance: [N, depths], abs(f) / norm(grad f) of an input of norm sqrt(d).
      slope: [N, pixels], L1 norm of the gradient.
    """

    distance: np.ndarray
    slope: np.ndarray


def at_start(first_seed: int, nets: int, width: int) -> AtStart:
    """Draw random nets of He's weights without biases, and look at one input of each.

    A net of fewer layers or pixels is a part of the largest one, so all cells are one program.
    """
    depths = DEPTHS + (DEPTH,) * len(PIXELS)
    pixels = (INPUTS,) * len(DEPTHS) + PIXELS
    cells = np.int32(depths), np.int32(pixels)

    def one(seed: Array, cells: tuple[Array, Array]) -> tuple[Array, Array]:
        return _one_net(probe(seed, "nets"), width, cells)

    distance, slope = over_seeds(one, nets, cells, first_seed)
    by_depth = len(DEPTHS)
    return AtStart(
        distance=distance[:, :by_depth],
        slope=slope[:, by_depth:],
    )


class _Draws(NamedTuple):
    """The numbers of the largest net and its input."""

    image: Array  # [pixels]
    first: Array  # [pixels, width]
    hidden: Array  # [layers between, width, width]
    last: Array  # [width]


def _one_net(
    key: Array,
    width: int,
    cells: tuple[Array, Array],
) -> tuple[Array, Array]:
    """Return distance and slope of every cell, each [cells]."""
    most = max(PIXELS)
    between = max(DEPTHS) - 2
    keys = jax.random.split(key, 4)
    draws = _Draws(
        jax.random.normal(keys[0], (most,)),
        jax.random.normal(keys[1], (most, width)),
        jax.random.normal(keys[2], (between, width, width)),
        jax.random.normal(keys[3], (width,)),
    )
    return lax.map(partial(_cell, draws), cells)


def _cell(draws: _Draws, sizes: tuple[Array, Array]) -> tuple[Array, Array]:
    """Return distance and slope of the net that is this deep, on so many pixels."""
    depth, pixels = sizes
    between, width, _ = draws.hidden.shape
    numbers = jnp.arange(between)
    gain = jnp.sqrt(2 / width)
    d = pixels.astype(jnp.float32)
    there = jnp.arange(len(draws.image)) < pixels
    x = jnp.where(there, draws.image, 0.0)
    length = jnp.sqrt(jnp.square(x).sum())
    x = x * jnp.sqrt(d) / length

    def layer(h: Array, numbered: tuple[Array, Array]) -> tuple[Array, None]:
        number, kernel = numbered
        active = jax.nn.relu(h)
        deeper = gain * active @ kernel
        return jnp.where(number < depth - 2, deeper, h), None

    def net(x: Array) -> Array:
        seen = jnp.where(there, x, 0.0)
        h = jnp.sqrt(2 / d) * seen @ draws.first
        h, _ = lax.scan(layer, h, (numbers, draws.hidden))
        active = jax.nn.relu(h)
        return gain * active @ draws.last

    value, gradient = jax.value_and_grad(net)(x)
    steepness = norms(gradient[None])
    distance = jnp.abs(value) / steepness.l2[0]
    return distance, steepness.l1[0]
