"""Moving, scaling and turning images, as pure functions that are linear in the image.

A pixel's place is its center, counted from 0, so the middle of N pixels is (N - 1) / 2. Images
between pixels are bilinear. Everything can be differentiated by the pose too; its derivative jumps
where a place crosses the center of a pixel.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax.numpy as jnp

from jaxvision.types import Array

Padding = Literal["zero", "edge", "reflect", "wrap"]
Size = tuple[int, int]  # rows, columns


class Pose(NamedTuple):
    """How a picture lies in its frame: scaled, then turned, both about the middle, then moved.

    Every attribute is a number or [B], one for each image.

    Attributes:
      down: pixels.
      right: pixels.
      turn: degrees, counterclockwise as one sees it.
      scale: 2 doubles the picture. Below 1 a picture is thinned out without a filter.
    """

    down: Array | float = 0.0
    right: Array | float = 0.0
    turn: Array | float = 0.0
    scale: Array | float = 1.0


def warp(images: Array, pose: Pose, padding: Padding = "zero", size: Size | None = None) -> Array:
    """Return images in another pose; the pose of nothing gives them back to the bit.

    Args:
      images: float [B, H, W, C].
      pose: of each image, or one for all.
      padding: what lies beyond the border, see ``sample_at``.
      size: rows and columns of the result, H and W by default. The middles coincide, so a larger
        frame shows more of what lies beyond, and scale 2 in a frame of twice the size resizes.

    Returns:
      [B, H', W', C].
    """
    images = jnp.asarray(images)
    height, width = images.shape[1:3]
    size = size or (height, width)
    down, right, turn, scale = (jnp.asarray(part, images.dtype).reshape(-1, 1, 1) for part in pose)
    radians = jnp.deg2rad(turn)
    # From a pixel of the result back to its place in the image: the inverse, step by step.
    rows = _from_middle(size[0], images.dtype)[None, :, None] - down
    columns = _from_middle(size[1], images.dtype)[None, None, :] - right
    cosine = jnp.cos(radians) / scale
    sine = jnp.sin(radians) / scale
    source_rows = cosine * rows + sine * columns + (height - 1) / 2
    source_columns = cosine * columns - sine * rows + (width - 1) / 2
    places = (len(images), *size)
    return sample_at(
        images,
        jnp.broadcast_to(source_rows, places),
        jnp.broadcast_to(source_columns, places),
        padding,
    )


def sample_at(images: Array, rows: Array, columns: Array, padding: Padding = "zero") -> Array:
    """Return images [B, H, W, C] at places between pixels, bilinearly.

    Args:
      images: of a float type.
      rows: [B, H', W'] places counted from the first row's center; may be anywhere.
      columns: [B, H', W'].
      padding: ``zero`` is black beyond the border, ``edge`` repeats the last pixel, ``reflect``
        mirrors at its center (numpy's name), ``wrap`` begins anew at the other side.

    Returns:
      [B, H', W', C].
    """
    images = jnp.asarray(images)
    above = jnp.floor(rows)
    before = jnp.floor(columns)
    below = (rows - above)[..., None]
    beside = (columns - before)[..., None]
    top = above.astype(jnp.int32)
    left = before.astype(jnp.int32)

    def pixels(down: int, right: int) -> Array:
        return _pixels(images, top + down, left + right, padding)

    upper = (1 - beside) * pixels(0, 0) + beside * pixels(0, 1)
    lower = (1 - beside) * pixels(1, 0) + beside * pixels(1, 1)
    return (1 - below) * upper + below * lower


def _from_middle(count: int, dtype: jnp.dtype) -> Array:
    return jnp.arange(count, dtype=dtype) - (count - 1) / 2


def _pixels(images: Array, rows: Array, columns: Array, padding: Padding) -> Array:
    """Return pixels [B, H', W', C] by whole numbers, which may lie outside."""
    height, width = images.shape[1:3]
    batch = jnp.arange(len(images), dtype=jnp.int32)[:, None, None]
    inside = _INSIDE[padding]
    found = images[batch, inside(rows, height), inside(columns, width)]
    if padding != "zero":
        return found
    outside = (rows < 0) | (rows >= height) | (columns < 0) | (columns >= width)
    return jnp.where(outside[..., None], 0, found)


def _clipped(places: Array, count: int) -> Array:
    return jnp.clip(places, 0, count - 1)


def _mirrored(places: Array, count: int) -> Array:
    period = max(2 * (count - 1), 1)
    folded = places % period
    return jnp.minimum(folded, period - folded) if count > 1 else jnp.zeros_like(places)


def _wrapped(places: Array, count: int) -> Array:
    return places % count


_INSIDE: dict[Padding, Callable[[Array, int], Array]] = {
    "zero": _clipped,
    "edge": _clipped,
    "reflect": _mirrored,
    "wrap": _wrapped,
}
