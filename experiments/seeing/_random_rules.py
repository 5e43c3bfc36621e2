"""What backward rules show of a net that has learned nothing, and exact forms of linear nets.

Source: Nie, Zhang & Patel 2018 (arXiv 1805.07039): in a random net of one convolution guided
backpropagation tends to the input itself as filters are added; the gradient is noise, and so is the
deconvnet without max pooling.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.seeing._rules import Method
from jaxvision.attribution import comparing, maps
from jaxvision.convolution import conv2d
from jaxvision.models.layers import max_pool, relu
from jaxvision.random import probe
from jaxvision.training.mapping import over_seeds
from jaxvision.types import Array, PyTree

POOLED = {"conv": False, "pool": True}  # a net of one convolution, and with a max pool after it


class Random(NamedTuple):
    """Of random nets, by kind of net and method, for F numbers of filters.

    Attributes:
      recovery: correlation of the map with the input [S, F].
      classes: correlation of the maps of two classes [S, F].
      half: integrated gradients of a linear score over (input - baseline) times weights [S].
    """

    recovery: dict[str, dict[str, np.ndarray]]
    classes: dict[str, dict[str, np.ndarray]]
    half: np.ndarray


def measured(
    table: Mapping[str, Method],
    images: np.ndarray,
    filters: tuple[int, ...],
    seeds: int,
    first_seed: int,
) -> Random:
    """Return what random nets show of centered images [B, H, W, C]."""

    def one(seed: Array, shared: tuple[Array, Array]) -> PyTree:
        images, counts = shared
        kernel, heads = _drawn(seed, images.shape, max(filters))

        def at(count: Array) -> PyTree:
            is_there = jnp.arange(max(filters)) < count
            some = jnp.where(is_there[None, None, None], kernel, 0)
            found = jax.lax.map(lambda head: _signals(table, images, some, head), heads)
            return {
                kind: {name: _compared(signal, images) for name, signal in by_rule.items()}
                for kind, by_rule in found.items()
            }

        return jax.lax.map(at, counts), _half(seed, images)

    counts = np.int32(filters)
    found, half = over_seeds(one, seeds, (np.float32(images), counts), first_seed)
    recovery, classes = (
        {kind: {name: pair[which] for name, pair in of.items()} for kind, of in found.items()}
        for which in range(2)
    )
    return Random(recovery, classes, half)


def _drawn(seed: Array, shape: tuple[int, ...], filters: int) -> tuple[Array, Array]:
    """Return a kernel [3, 3, C, N] and the weights [2, H, W, N] of two classes."""
    _, height, width, channels = shape
    kernel = jax.random.normal(probe(seed, "kernels"), (3, 3, channels, filters))
    heads = jax.random.normal(probe(seed, "nets"), (2, height, width, filters))
    return kernel, heads


def _signals(
    table: Mapping[str, Method], images: Array, kernel: Array, head: Array
) -> dict[str, dict[str, Array]]:
    """Return the map of one class by kind of net and method [B, H, W, C]."""

    def score(pooled: bool, images: Array) -> Array:
        x = relu(conv2d(images, kernel))
        x = max_pool(x) if pooled else x
        weights = head[None, : x.shape[1], : x.shape[2]]
        return (x * weights).sum((1, 2, 3))

    return {
        kind: {
            name: maps.signal(lambda images, pooled=pooled: score(pooled, images), images, way.rule)
            for name, way in table.items()
        }
        for kind, pooled in POOLED.items()
    }


def _compared(signal: Array, images: Array) -> tuple[Array, Array]:
    """Return correlations of maps of two classes [2, B, ...]: with the images, with each other."""
    one, other = signal
    return (
        comparing.correlation(one, images).mean(),
        comparing.correlation(one, other).mean(),
    )


def _half(seed: Array, images: Array) -> Array:
    """Return integrated gradients over (image - baseline) * weights, of a linear score."""
    weights = jax.random.normal(probe(seed, "directions"), images.shape[1:])

    def f(images: Array) -> Array:
        return (images * weights[None]).sum((1, 2, 3))[:, None]

    baseline = 0.3
    classes = jnp.zeros(len(images), jnp.int32)
    found = maps.integrated_gradients(f, images, classes, baseline=baseline, steps=4)
    exact = (images - baseline) * weights[None]
    return (found * exact).sum() / (exact**2).sum()
