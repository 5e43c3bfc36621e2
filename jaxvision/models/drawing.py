"""The weights that nets start from, and how they are drawn: all kernels from one vector of numbers.

A program that draws every kernel by itself takes longer to compile than a small net to train. Here
one program fills blocks of a vector for all nets; a kernel is a slice of it times its own standard
deviation. Nets that differ by the scale of their weights, or by shortcuts alone, thus start from
the same draws. A model takes part by a method ``initializer_of(layer) -> Initializer``, where all
are ``initializers.Scaled``; the others are drawn by their own ``init``.
"""

import functools
import math
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision import runtime
from jaxvision.initializers import Scaled
from jaxvision.models.stacks import stacked_axes
from jaxvision.random import DISTRIBUTIONS, vector, vector_on_host
from jaxvision.types import Array, PyTree

# What other leaves start from, by name.
_CONSTANTS = {"bias": 0.0, "scale": 1.0, "mean": 0.0, "var": 1.0}

ImageShape = tuple[int, int, int]


def initialize(model: nn.Module, key: Array, image_shape: ImageShape) -> PyTree:
    """Return ``{'params': ..., 'batch_stats': ...}`` of ``model`` for images [H, W, C].

    To be traced; ``initialize_runs`` draws the same numbers but for the last bit.
    """
    layout = _layout(model, tuple(image_shape))
    if layout is None:
        return _init(model, key, image_shape)
    return _filled(layout, key, vector, jnp)


def initialize_runs(model: nn.Module, keys: Array, image_shape: ImageShape) -> PyTree:
    """Return ``initialize`` for every key [R], leaves stacked on a leading axis R, on the host.

    Run by run: a run's draws do not depend on the other runs.
    """
    layout = _layout(model, tuple(image_shape))
    if layout is None:
        draw = _own_program(model, tuple(image_shape))
        runs = [jax.device_get(draw(key)) for key in keys]
    else:
        runs = [_filled(layout, key, vector_on_host, np) for key in keys]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *runs)


class _Leaf(NamedTuple):
    """A leaf of a net: draws times ``factor``, or all ``factor`` where there is no distribution."""

    shape: tuple[int, ...]
    factor: float
    distribution: str | None = None


@functools.cache
def _layout(model: nn.Module, image_shape: ImageShape) -> PyTree | None:
    """Return the net's leaves as a tree of ``_Leaf``; None where the net draws them itself."""
    if not hasattr(model, "initializer_of"):
        return None
    shapes = jax.eval_shape(lambda key: _init(model, key, image_shape), jax.random.key(0))
    leaves = jax.tree_util.tree_map_with_path(
        lambda path, leaf: _leaf(model, [part.key for part in path[1:]], leaf.shape), shapes
    )
    drawn = jax.tree.leaves(leaves, is_leaf=lambda leaf: isinstance(leaf, _Leaf))
    return leaves if all(isinstance(leaf, _Leaf) for leaf in drawn) else None


def _leaf(model: nn.Module, path: list[str], shape: tuple[int, ...]) -> _Leaf | str:
    """Return what a leaf starts from, or its name where that is not known here."""
    *scopes, name = path
    layer = "/".join(scopes)
    if name in _CONSTANTS:
        return _Leaf(shape, _CONSTANTS[name])
    initializer = model.initializer_of(layer) if name == "kernel" else None
    if not isinstance(initializer, Scaled):
        return layer
    kernel = shape[stacked_axes(layer, jax.ShapeDtypeStruct(shape, jnp.float32)) :]
    return _Leaf(shape, initializer.std(kernel), initializer.distribution)


def _filled(layout: PyTree, key: Array, draw: Callable, numpy: object) -> PyTree:
    """Return the net: ``draw(key, distribution, count)`` cut into leaves in the tree's order."""
    leaves, structure = jax.tree.flatten(layout, is_leaf=lambda leaf: isinstance(leaf, _Leaf))
    counts = Counter()
    for leaf in leaves:
        if leaf.distribution is not None:
            counts[leaf.distribution] += math.prod(leaf.shape)
    numbers = {}
    for i, name in enumerate(DISTRIBUTIONS):
        if name in counts:
            numbers[name] = draw(jax.random.fold_in(key, i), name, counts[name])
    used = Counter()
    filled = []
    for leaf in leaves:
        if leaf.distribution is None:
            filled.append(numpy.full(leaf.shape, leaf.factor, numpy.float32))
            continue
        first = used[leaf.distribution]
        used[leaf.distribution] = last = first + math.prod(leaf.shape)
        values = numbers[leaf.distribution][first:last].reshape(leaf.shape)
        filled.append(values * numpy.float32(leaf.factor))
    return jax.tree.unflatten(structure, filled)


def _init(model: nn.Module, key: Array, image_shape: ImageShape) -> PyTree:
    variables = model.init(key, jnp.zeros((1, *image_shape), jnp.float32), train=False)
    return {"params": variables["params"], "batch_stats": variables.get("batch_stats", {})}


@functools.cache
def _own_program(model: nn.Module, image_shape: ImageShape) -> Callable[[Array], PyTree]:
    return runtime.jit_once(lambda key: _init(model, key, image_shape))
