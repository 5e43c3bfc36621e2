"""What a net says while a window of the image is covered (Zeiler & Fergus 2013, section 4.2).

All positions of all images are one program, and whatever is to be known of the covered images comes
from one sweep: outputs are a tree of arrays. In a net's first layers a window changes a part of
each map, and only that part is evaluated again: see ``pieces``.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.adversarial.aims import Logits
from jaxvision.arguments import is_whole
from jaxvision.attribution.maps import Score, logit, scored
from jaxvision.attribution.pieces import in_pieces
from jaxvision.attribution.rounds import in_rounds
from jaxvision.attribution.spans import Spans, span
from jaxvision.types import Array, PyTree, UserError

_PIXELS = 2**16  # of covered images that are answered at once


class Windows(NamedTuple):
    """Where a square window is put; pixels of its upper left corner.

    Attributes:
      size: pixels of its side.
      rows: int [R].
      columns: int [Q].
      height: of the images.
      width: of the images.
    """

    size: int
    rows: np.ndarray
    columns: np.ndarray
    height: int
    width: int

    @property
    def over_rows(self) -> np.ndarray:
        """Which rows of pixels each row of windows covers, bool [R, H]."""
        return _covered(self.rows, self.size, self.height)

    @property
    def over_columns(self) -> np.ndarray:
        """Which columns of pixels each column of windows covers, bool [Q, W]."""
        return _covered(self.columns, self.size, self.width)

    @property
    def spans(self) -> Spans:
        """What the windows cover of the axes of images [B, H, W, C], R x Q positions."""
        rows, columns = np.meshgrid(self.rows, self.columns, indexing="ij")
        geometry = {1: (rows.ravel(), self.height), 2: (columns.ravel(), self.width)}
        found = {
            axis: span(starts, starts + self.size, length)
            for axis, (starts, length) in geometry.items()
        }
        return {axis: one for axis, one in found.items() if one is not None}


def windows(height: int, width: int, size: int, stride: int = 1) -> Windows:
    """Return the places of a window; the last touches the border whatever the stride.

    Raises:
      UserError: the window is larger than the image, the stride leaves pixels that are in none, or
        one of them is no whole number.
    """
    sides = {"height": height, "width": width, "window": size, "stride": stride}
    for name, value in sides.items():
        if not is_whole(value):
            raise UserError(f"{name}={value!r}: use a whole number of pixels")
    if not 1 <= size <= min(height, width):
        raise UserError(
            f"a window of {size} pixels does not fit into images of {height} x {width}: use 1 to"
            f" {min(height, width)}"
        )
    if not 1 <= stride <= size:
        raise UserError(
            f"a stride of {stride} leaves pixels between windows of {size} that none covers: use 1"
            f" to {size}"
        )
    return Windows(size, _starts(height, size, stride), _starts(width, size, stride), height, width)


def _starts(length: int, size: int, stride: int) -> np.ndarray:
    last = length - size
    return np.unique([*range(0, last, stride), last])


def _covered(starts: np.ndarray, size: int, length: int) -> np.ndarray:
    offset = np.arange(length) - starts[:, None]
    return (offset >= 0) & (offset < size)


def sweep(
    outputs: Callable[[Array, Array], PyTree],
    images: Array,
    places: Windows,
    fill: Array | float = 0.0,
) -> PyTree:
    """Return the outputs for every image with the window at every place, leaves [B, R, Q, ...].

    Args:
      outputs: (images [N, H, W, C], which of the B images each is [N]) -> a tree, leaves [N, ...].
      images: [B, H, W, C], floats.
      places: see ``windows``.
      fill: what covers, of any shape that fits [B, H, W, C]: a number, a color, other images.

    Raises:
      UserError: images are no floats.
    """
    images = jnp.asarray(images)
    if not jnp.issubdtype(images.dtype, jnp.floating):  # gray .5 would be black
        raise UserError(f"images are floats in the unit of fill, not {images.dtype}: divide by 255")
    fills = jnp.broadcast_to(jnp.asarray(fill, images.dtype), images.shape)
    found = in_pieces(outputs, images, fills, places.spans)
    if found is None:
        return _sweep_whole(outputs, images, fills, places)
    shape = (len(images), len(places.rows), len(places.columns))
    return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[2:]), found)


def _sweep_whole(
    outputs: Callable[[Array, Array], PyTree], images: Array, fills: Array, places: Windows
) -> PyTree:
    """Return the outputs of covered images, each evaluated as any image is."""
    rows, columns = jnp.asarray(places.over_rows), jnp.asarray(places.over_columns)
    shape = (len(images), len(rows), len(columns))
    count = int(np.prod(shape))

    def some(these: Array) -> PyTree:
        which, row, column = jnp.unravel_index(these, shape)
        in_rows = rows[row][:, :, None, None]
        in_columns = columns[column][:, None, :, None]
        covered = jnp.where(in_rows & in_columns, fills[which], images[which])
        return outputs(covered, which)

    at_once = max(1, _PIXELS // (places.height * places.width))
    found = in_rounds(some, jnp.arange(count), at_once=at_once)
    return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), found)


def on_pixels(values: Array, places: Windows) -> Array:
    """Return the mean value [B, H, W] of the windows that cover each pixel, from [B, R, Q]."""
    rows = jnp.asarray(places.over_rows, values.dtype)
    columns = jnp.asarray(places.over_columns, values.dtype)
    summed = jnp.einsum("brq,rh,qw->bhw", values, rows, columns)
    return summed / jnp.outer(rows.sum(0), columns.sum(0))[None]


def within(maps: Array, places: Windows) -> Array:
    """Return the sum of each map under every window, [B, H, W] to [B, R, Q]."""
    rows = jnp.asarray(places.over_rows, maps.dtype)
    columns = jnp.asarray(places.over_columns, maps.dtype)
    return jnp.einsum("bhw,rh,qw->brq", maps, rows, columns)


def occlusion(
    f: Logits,
    images: Array,
    classes: Array,
    score: Score = logit,
    window: int = 7,
    stride: int = 2,
    fill: Array | float = 0.5,
) -> Array:
    """Return how much the score falls [B, H, W] where a window covers a pixel, on average.

    Args:
      f: the net.
      images: [B, H, W, C], floats.
      classes: int [B].
      score: of logits.
      window: pixels of the window's side.
      stride: pixels between two places.
      fill: see ``sweep``; the sources say "gray" and no number.

    Raises:
      UserError: see ``windows`` and ``sweep``.
    """
    places = windows(*images.shape[1:3], window, stride)

    def outputs(covered: Array, which: Array) -> Array:
        return scored(score, f(covered), jnp.asarray(classes)[which])

    whole = scored(score, f(images), jnp.asarray(classes))
    left = sweep(outputs, images, places, fill)
    return on_pixels(whole[:, None, None] - left, places)
