"""How well a map shows where the object is, against its exact mask, with floors and a ceiling.

A score means nothing without those of maps that have not seen the net: ``random``, the ``center``
of the picture, its ``edges``; the mask itself is the ceiling. Maps are [B, H, W], larger where more
important; masks bool [B, H, W]. No tolerance, and ties go to the lowest index.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.data.dataset import Dataset
from jaxvision.types import Array, UserError

# Weights of red, green and blue in what looks gray (ITU-R BT.601).
_LUMA = (0.299, 0.587, 0.114)


class Scores(NamedTuple):
    """Of every map, float [B].

    Attributes:
      pointing: 1 where the largest value lies on the object.
      area_iou: intersection over union of the object and the highest pixels, as many as it has.
      mass: share of the map's positive values that lie on the object; of a map without any the
        object's share of the picture, as of a constant map.
    """

    pointing: Array
    area_iou: Array
    mass: Array


def scores(maps: Array, masks: Array) -> Scores:
    """Return the three scores of maps [B, H, W], of numbers of any type; NaN of maps with NaN.

    Raises:
      UserError: masks are of another shape or type.
    """
    _check(maps, masks)
    # uint8 has no negatives, and bfloat16 counts to 256.
    maps = jnp.asarray(maps, jnp.float32)
    masks = jnp.asarray(masks)
    flat = maps.reshape(len(maps), -1)
    inside = masks.reshape(len(masks), -1).astype(flat.dtype)
    area = inside.sum(1)
    order = jnp.argsort(-flat, axis=1, stable=True)
    sorted_inside = jnp.take_along_axis(inside, order, axis=1)
    place = jnp.arange(flat.shape[1], dtype=flat.dtype)
    is_high = place[None] < area[:, None]
    both = jnp.where(is_high, sorted_inside, 0).sum(1)
    # What is no number is sorted like any other, and would score.
    broken = jnp.isnan(flat).any(1)
    return Scores(
        pointing=jnp.where(broken, jnp.nan, sorted_inside[:, 0]),
        area_iou=jnp.where(broken, jnp.nan, both / jnp.maximum(2 * area - both, 1)),
        mass=mass(maps, masks),
    )


def mass(maps: Array, masks: Array) -> Array:
    """Return ``Scores.mass`` alone [B]; raises as ``scores``."""
    _check(maps, masks)
    maps = jnp.asarray(maps, jnp.float32)
    masks = jnp.asarray(masks)
    positive = jnp.maximum(maps, 0)
    whole = positive.sum((1, 2))
    on_object = jnp.where(masks, positive, 0).sum((1, 2))
    share = on_object / jnp.where(whole == 0, 1, whole)
    area = masks.mean((1, 2), dtype=maps.dtype)
    return jnp.where(whole == 0, area, share)


def _check(maps: Array, masks: Array) -> None:
    shape, other = np.shape(maps), np.shape(masks)
    if len(shape) != 3 or shape != other:
        raise UserError(
            f"maps {list(shape)} and masks {list(other)} must both be [B, H, W]: make"
            " one number of a pixel's channels by maps.strength or maps.total"
        )
    kind = jnp.asarray(masks).dtype
    if not jnp.issubdtype(kind, jnp.bool_):  # 255 would count as 255 pixels
        raise UserError(f"masks are bool, true on the object, not {kind}: write masks > 0")


def random(key: Array, shape: tuple[int, int, int]) -> Array:
    """Return maps [B, H, W] of independent uniform numbers."""
    return jax.random.uniform(key, shape)


def center(shape: tuple[int, int, int]) -> Array:
    """Return maps [B, H, W] that fall with the distance from the picture's center."""
    _, height, width = shape
    row = np.arange(height) - (height - 1) / 2
    column = np.arange(width) - (width - 1) / 2
    away = np.hypot(*np.meshgrid(row, column, indexing="ij"))
    return jnp.broadcast_to(jnp.asarray(away.max() - away, jnp.float32), shape)


def edges(images: Array) -> Array:
    """Return the norm of Sobel's gradient [B, H, W] of gray images, in their unit, as float32.

    Images are [B, H, W, C] of any type, RGB where C is 3. Borders are repeated.
    """
    images = jnp.asarray(images)
    channels = images.shape[-1]
    weights = _LUMA if channels == 3 else (1 / channels,) * channels
    gray = images.astype(jnp.float32) @ jnp.asarray(weights, jnp.float32)
    padded = jnp.pad(gray, ((0, 0), (1, 1), (1, 1)), mode="edge")

    def smooth(x: Array, axis: int) -> Array:
        first, middle, last = (_taken(x, start, axis) for start in range(3))
        return first + 2 * middle + last

    def difference(x: Array, axis: int) -> Array:
        return _taken(x, 2, axis) - _taken(x, 0, axis)

    across = difference(smooth(padded, 1), 2)
    down = difference(smooth(padded, 2), 1)
    return jnp.hypot(across, down)


def _taken(x: Array, start: int, axis: int) -> Array:
    return jax.lax.slice_in_dim(x, start, start + x.shape[axis] - 2, axis=axis)


def of(data: Dataset) -> np.ndarray:
    """Return a split's masks, bool [N, H, W].

    Raises:
      UserError: it has none.
    """
    if data.masks is None:
        raise UserError(
            "the data set has no masks of its objects, so maps cannot be scored: use shapes,"
            " shapes16k or small_shapes"
        )
    return data.masks
