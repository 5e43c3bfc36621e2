"""Values of a net while a window covers the image: what is changed of each, and the rest beside it.

The position of the window is a number of the program, so pieces begin where a table says.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxvision.attribution.spans import Frame, Frames, Spans, frames, hull
from jaxvision.types import Array

_SELECTED = 4  # times a piece's size: into no more than that it is put by a selection


class Patch(NamedTuple):
    """What the window changes of a value.

    Attributes:
      values: the changed value in the frames of ``spans``.
      spans: no axis of a value that is changed all over.
    """

    values: Array
    spans: Spans


class Seen(NamedTuple):
    """A value: ``whole`` without the window, and what the window changes; None for nothing."""

    whole: Array
    patch: Patch | None = None

    @property
    def is_local(self) -> bool:
        """Whether only a part of it is changed."""
        return self.patch is not None and bool(self.patch.spans)


class Here(NamedTuple):
    """One position of the window: cuts pieces out of values, and puts pieces into them."""

    index: Array  # int, into the positions

    def cut(self, x: Array, pieces: Frames) -> Array:
        """Return pieces of some axes of x."""
        sizes = list(x.shape)
        for axis, piece in pieces.items():
            sizes[axis] = piece.size
        if sizes == list(x.shape):
            return x
        return lax.dynamic_slice(x, self._starts(x.ndim, pieces), sizes)

    def put(self, x: Array, piece: Array, at: Frames) -> Array:
        """Return x with a piece of it replaced."""
        if piece.shape == x.shape:
            return piece
        starts = self._starts(x.ndim, at)
        if x.size > _SELECTED * piece.size:
            return lax.dynamic_update_slice(x, piece, starts)
        return _selected(x, piece, starts)

    def _starts(self, rank: int, pieces: Frames) -> list[Array | int]:
        return [self._start(pieces.get(axis)) for axis in range(rank)]

    def _start(self, piece: Frame | None) -> Array | int:
        if piece is None:
            return 0
        first = int(piece.start[0])
        if (piece.start == first).all():
            return first
        return jnp.asarray(piece.start, jnp.int32)[self.index]

    def replaced(self, x: Array, piece: Array, at: Frames, wanted: Frames) -> Array:
        """Return the wanted frames of x in which the piece lies at its own."""
        around = {}
        for axis in {*at, *wanted}:
            length = x.shape[axis]
            everything = Frame(np.zeros(1, int), length)
            frame = hull(at.get(axis, everything), wanted.get(axis, everything), length)
            if frame.size < length:
                around[axis] = frame
        into = self.put(self.cut(x, around), piece, _inside(at, around))
        return self.cut(into, _inside(wanted, around))

    def values(self, seen: Seen, wanted: Spans) -> Array:
        """Return a value in the frames that are wanted; axes of one index stay as they are."""
        x = seen.whole
        if np.ndim(x) == 0:
            return x
        pieces = {axis: one for axis, one in frames(wanted).items() if x.shape[axis] > 1}
        if seen.patch is None:
            return self.cut(x, pieces) if pieces else x
        own = frames(seen.patch.spans)
        if _are_same(own, pieces):
            return seen.patch.values
        return self.replaced(x, seen.patch.values, own, pieces)

    def everything(self, seen: Seen) -> Array:
        """Return a value as it is with the window, all of it."""
        return self.values(seen, {})


def _selected(x: Array, piece: Array, starts: Sequence[Array | int]) -> Array:
    """Return x with a piece replaced: one loop on several threads, where an update takes two."""
    spare = [size - own for size, own in zip(x.shape, piece.shape, strict=True)]
    padded = lax.pad(piece, np.zeros((), piece.dtype), [(pad, pad, 0) for pad in spare])
    moved = [pad - start for pad, start in zip(spare, starts, strict=True)]
    is_piece = np.True_
    for axis, (start, own) in enumerate(zip(starts, piece.shape, strict=True)):
        if spare[axis]:
            index = lax.broadcasted_iota(jnp.int32, x.shape, axis)
            is_piece &= (index >= start) & (index < start + own)
    return jnp.where(is_piece, lax.dynamic_slice(padded, moved, x.shape), x)


def _inside(pieces: Frames, around: Frames) -> Frames:
    """Return pieces as they lie within others."""
    none = Frame(np.zeros(1, int), 0)
    return {
        axis: Frame(piece.start - around.get(axis, none).start, piece.size)
        for axis, piece in pieces.items()
    }


def _are_same(some: Frames, others: Frames) -> bool:
    if set(some) != set(others):
        return False
    pairs = [(some[axis], others[axis]) for axis in some]
    return all(a.size == b.size and np.array_equal(a.start, b.start) for a, b in pairs)


def is_any_local(seen: Sequence[Seen]) -> bool:
    """Whether some of the values are changed in part, and no other is changed all over."""
    changed = [one for one in seen if one.patch is not None]
    return bool(changed) and all(one.is_local for one in changed)
