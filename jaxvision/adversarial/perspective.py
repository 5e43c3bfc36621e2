"""A picture seen at an angle, and pulled straight again by corners that were nearly found.

Corners' offsets are [B, 4, 2], (across, down) in sides of the picture, clockwise from the upper
left one; sides are measured between the centers of the first and the last pixel.
"""

import jax.numpy as jnp

from jaxvision.data.warps import sample_at
from jaxvision.types import Array

Places = tuple[Array, Array]  # rows and columns, each [B, H, W]


def straightened(
    images: Array,
    corners: Array,
    missed: Array,
    margin: int,
) -> Array:
    """Return pictures after two bilinear samplings: the camera's, and the one that undoes it.

    Beyond a picture its last pixels go on. Without any offset it comes back to the bit.

    Args:
      images: [B, H, W, C].
      corners: where the picture's corners lie in the camera's frame, offsets from the frame's own.
      missed: by how much they are missed when they are looked for.
      margin: pixels of the frame around the picture: as far as a corner can lie off, or more.
    """
    height, width = images.shape[1:3]
    frame = homography(corners)
    found = homography(corners + missed)
    to_picture = _in_pixels(_inverse(frame), height, width)
    to_frame = _in_pixels(found, height, width)
    from_rows, from_columns = _places(to_picture, height, width, margin)
    seen = sample_at(images, from_rows, from_columns, "edge")
    rows, columns = _places(to_frame, height, width)
    return sample_at(seen, rows + margin, columns + margin, "edge")


def landing(corners: Array, missed: Array, height: int, width: int) -> Places:
    """Return where each pixel of a straightened picture comes from; without offsets from itself."""
    frame = homography(corners)
    found = homography(corners + missed)
    whole = jnp.einsum("bij,bjk->bik", _inverse(frame), found)
    return _places(_in_pixels(whole, height, width), height, width)


def side(pixels: int) -> float:
    """Return the length of a side in pixels, that of a single one 1."""
    return float(max(pixels - 1, 1))


def homography(offsets: Array) -> Array:
    """Return the maps [B, 3, 3] that take the unit square's corners to them plus ``offsets``.

    Of none, the identity to the bit. Source: Heckbert 1989, "Fundamentals of texture mapping and
    image warping", section 2.2.3.
    """
    first = offsets[:, 0]
    second = offsets[:, 1]
    third = offsets[:, 2]
    fourth = offsets[:, 3]
    right = jnp.array([[1.0, 0.0]])
    down = jnp.array([[0.0, 1.0]])
    twist = first - second + third - fourth
    edge = second - third - down
    other = fourth - third - right
    area = _cross(edge, other)
    g = _cross(twist, other) / area
    h = _cross(edge, twist) / area
    across = right + second - first + g[:, None] * (right + second)
    along = down + fourth - first + h[:, None] * (down + fourth)
    top = jnp.stack([across, along, first], -1)
    bottom = jnp.stack([g, h, jnp.ones_like(g)], -1)
    return jnp.concatenate([top, bottom[:, None]], 1)


def _cross(a: Array, b: Array) -> Array:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def _inverse(maps: Array) -> Array:
    """Return the inverse of homographies [B, 3, 3]: the adjugate, as their scale says nothing."""
    first = maps[:, 0]
    second = maps[:, 1]
    third = maps[:, 2]
    columns = [
        jnp.cross(second, third),
        jnp.cross(third, first),
        jnp.cross(first, second),
    ]
    return jnp.stack(columns, -1)


def _in_pixels(maps: Array, height: int, width: int) -> Array:
    """Return maps of pixels (across, down) from maps of the unit square."""
    sides = jnp.array([side(width), side(height), 1.0])
    ratios = sides[:, None] / sides[None]
    return maps * ratios[None]


def _places(
    maps: Array,
    height: int,
    width: int,
    margin: int = 0,
) -> Places:
    """Return where maps take the pixels of a frame with a margin around it."""
    down = jnp.arange(-margin, height + margin, dtype=jnp.float32)
    across = jnp.arange(-margin, width + margin, dtype=jnp.float32)
    y, x = jnp.meshgrid(down, across, indexing="ij")
    places = jnp.stack([x, y, jnp.ones_like(x)])
    taken = jnp.einsum("bij,jhw->bihw", maps, places)
    scale = taken[:, 2]
    return taken[:, 1] / scale, taken[:, 0] / scale
