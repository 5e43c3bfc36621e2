"""All images with the window at all positions, evaluated in pieces where that pays."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.attribution.incremental import Anew, Traced, Work
from jaxvision.attribution.patches import Here
from jaxvision.attribution.rounds import in_rounds, rows_of_a_round
from jaxvision.attribution.spans import Spans, frames, span
from jaxvision.types import Array, PyTree

_PIXELS = 2**15  # of the images whose pieces are evaluated at once
_CLASSES = 2  # of positions along an axis that are evaluated by programs of their own
# Multiplications that compiling a program has to save, and the share of all.
_LEAST_SAVED = 2**30
_LEAST_SHARE = 0.1
_LEAST_DIVIDED = 2**36  # where so many are left, positions are divided


def in_pieces(
    outputs: Callable[[Array, Array], PyTree], images: Array, fills: Array, spans: Spans
) -> PyTree | None:
    """Return the outputs for every image at every position, leaves [B, P, ...].

    None where that would save too little: the net is not local, or there is little to do.

    Args:
      outputs: (images [N, H, W, C], which of the B images each is [N]) -> a tree, leaves [N, ...].
      images: [B, H, W, C].
      fills: what covers them, of the same shape.
      spans: of the windows, at P positions.
    """
    if not spans:
        return None
    _, height, width, _ = images.shape
    at_once = max(1, _PIXELS // (height * width))
    size = rows_of_a_round(len(images), at_once)
    traced = Traced(
        outputs,
        jax.ShapeDtypeStruct((size, *images.shape[1:]), images.dtype),
        jax.ShapeDtypeStruct((size,), jnp.int32),
    )
    parts = _parts(traced, images.shape, spans, len(images) / size)
    if not parts:
        return None
    several = max(1, at_once // size)
    order = np.argsort(np.concatenate(parts))

    def some(images: Array, fills: Array, which: Array) -> PyTree:
        anew = traced.at(images, which)
        found = []
        for part in parts:
            own = _of_part(spans, part, images.shape)
            found.append(_at_positions(anew, fills, own, len(part), several))
        return jax.tree.map(lambda *leaves: _in_order(leaves, order), *found)

    which = jnp.arange(len(images), dtype=jnp.int32)
    return in_rounds(some, images, fills, which, at_once=size)


def _in_order(leaves: Sequence[Array], order: np.ndarray) -> Array:
    joined = jnp.concatenate(leaves)[order]
    return jnp.moveaxis(joined, 1, 0)


def _at_positions(anew: Anew, fills: Array, spans: Spans, count: int, at_once: int) -> PyTree:
    """Return the outputs of a few images at all positions, leaves [P, B, ...]."""

    def one(index: Array) -> PyTree:
        here = Here(index)
        outs, _ = anew(here, here.cut(fills, frames(spans)), spans)
        return outs

    def several(indices: Array) -> PyTree:
        if len(indices) == 1:  # without the gathers of a mapped position
            return jax.tree.map(lambda leaf: leaf[None], one(indices[0]))
        return jax.vmap(one)(indices)

    indices = jnp.arange(count, dtype=jnp.int32)
    return in_rounds(several, indices, at_once=at_once)


def _parts(traced: Traced, shape: tuple[int, ...], spans: Spans, rounds: float) -> list[np.ndarray]:
    """Return the positions of every program, none where pieces do not pay."""
    count = len(next(iter(spans.values())).first)
    evaluated = count * rounds
    undivided = [np.arange(count)]
    everywhere = traced.work(spans)
    if everywhere.share < _LEAST_SHARE or everywhere.saved * evaluated < _LEAST_SAVED:
        return []
    if _left(everywhere) * evaluated < _LEAST_DIVIDED:
        return undivided
    parts = _by_distance(spans, shape)
    left = 0.0
    for part in parts:
        own = _of_part(spans, part, shape)
        left += len(part) * _left(traced.work(own))
    is_less = left < (1 - _LEAST_SHARE) * count * _left(everywhere)
    return parts if is_less else undivided


def _left(work: Work) -> float:
    return work.whole - work.saved


def _by_distance(spans: Spans, shape: tuple[int, ...]) -> list[np.ndarray]:
    """Divide positions by how far the window is from the border, along every axis.

    What it changes ends there, so that near it the pieces of later layers are smaller.
    """
    key = 0
    for axis, one in spans.items():
        distance = np.minimum(one.first, shape[axis] - one.end)
        classes = np.array_split(np.unique(distance), _CLASSES)
        firsts = [part[0] for part in classes if part.size]
        key = key * _CLASSES + np.searchsorted(firsts, distance, side="right") - 1
    return [np.flatnonzero(key == value) for value in np.unique(key)]


def _of_part(spans: Spans, part: np.ndarray, shape: tuple[int, ...]) -> Spans:
    """Return the spans of some positions."""
    found = {}
    for axis, one in spans.items():
        own = span(one.first[part], one.end[part], shape[axis])
        if own is not None:
            found[axis] = own
    return found
