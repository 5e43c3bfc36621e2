"""How the batch of one step is cut into parts, and how the parts' sums become the batch's."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.types import Array, PyTree, UserError

AXIS = "data"  # the mesh axis that the batch is split over


class Split(NamedTuple):
    """Where the parts of a batch are.

    Attributes:
      devices: size of the mesh axis ``data``; every part lies whole on one of them.
      shards: None makes one part a device; batch statistics are those of the whole batch, and the
        rounding of sums depends on the number of devices. A number cuts the batch into so many
        parts on any number of devices, each with batch statistics of its own, and sums them in one
        fixed order: the same bits on 1, 2, 4, ... devices.
    """

    devices: int = 1
    shards: int | None = None

    @property
    def parts(self) -> int:
        """Number of parts."""
        return self.shards or self.devices

    @property
    def statistics_axis(self) -> str | None:
        """The mesh axis that batch statistics run over, beside the part's own images."""
        return AXIS if self.shards is None and self.devices > 1 else None

    def check(self, batch_size: int) -> None:
        """Raise UserError unless a batch can be cut so."""
        parts, devices = self.parts, self.devices
        if batch_size % parts:
            why = "" if self.shards else f", one for each of the {devices} devices that share it"
            raise UserError(
                f"a batch of {batch_size} images cannot be cut into {parts} equal parts{why}: the "
                "number of parts must divide the batch size"
            )
        if self.shards is not None and (parts & (parts - 1) or parts % devices):
            raise UserError(
                f"a batch in {parts} parts cannot be shared by {devices} devices: the number of "
                f"parts must be a power of two that {devices} divides"
            )


def over_parts(
    part: Callable[[PyTree, Array], tuple[PyTree, PyTree]], batch: PyTree, key: Array, split: Split
) -> tuple[PyTree, PyTree]:
    """Apply ``part`` to every part of a batch; call it where the mesh axis ``data`` is bound.

    Args:
      part: ``(rows of the batch, key of its own) -> (what is summed over parts, what is not)``.
      batch: leaves [B, ...], whole on every device.
      key: of the random draws inside ``part``.
      split: how the batch is cut.

    Returns:
      The sum, and the rest with a leading axis [parts] (no such axis where the batch is one part);
      both the same on every device.
    """
    if split.parts == 1:
        return part(batch, key)
    here = split.parts // split.devices
    first = lax.axis_index(AXIS) * here if split.devices > 1 else 0

    def one(index: Array) -> tuple[PyTree, PyTree]:
        def rows(leaf: Array) -> Array:
            size = leaf.shape[0] // split.parts
            return lax.dynamic_slice_in_dim(leaf, index * size, size)

        return part(jax.tree.map(rows, batch), jax.random.fold_in(key, index))

    if split.shards is None:
        total, apart = one(first)
        return lax.psum(total, AXIS), lax.all_gather(apart, AXIS)
    # The same bits need the same program for a part, wherever it runs: barriers keep it from being
    # fused with what is around it, and hide the number of rounds, for a loop of one round would
    # be taken apart.
    batch = lax.optimization_barrier(batch)
    rounds = lax.optimization_barrier(jnp.int32(here))

    def round_(i: Array, stacked: PyTree) -> PyTree:
        put = partial(lax.dynamic_update_index_in_dim, index=i, axis=0)
        return jax.tree.map(put, stacked, lax.optimization_barrier(one(first + i)))

    shapes = jax.eval_shape(one, jnp.int32(0))
    empty = jax.tree.map(lambda x: jnp.zeros((here, *x.shape), x.dtype), shapes)
    sums, apart = lax.fori_loop(0, rounds, round_, empty)
    # Pairs of neighbours, pairs of pairs, ...: what a device sums alone is a branch of that tree.
    sums = jax.tree.map(_add_pairs, sums)
    total = jax.tree.map(lambda leaf: _add_pairs(leaf)[0], _gathered(sums, split.devices))
    return lax.optimization_barrier(total), _gathered(apart, split.devices)


def _gathered(tree: PyTree, devices: int) -> PyTree:
    return lax.all_gather(tree, AXIS, tiled=True) if devices > 1 else tree


def _add_pairs(stacked: Array) -> Array:
    """Sum [n, ...] over its leading axis, n a power of two; returns [1, ...]."""
    while stacked.shape[0] > 1:
        stacked = stacked[0::2] + stacked[1::2]
    return stacked


def whole_batch(stacked: Array, axis: int) -> Array:
    """Join [parts, ..., b, ...] into [..., B, ...], the batch on ``axis`` of the result."""
    moved = jnp.moveaxis(stacked, 0, axis)
    return moved.reshape(*moved.shape[:axis], -1, *moved.shape[axis + 2 :])
