"""One-pixel attacks by trying everything: all places times a list of values.

Over all levels of a gray image the search is exact. A linear net's best value is an end of the box,
a corner of the color cube; for other nets corners are a lower bound of what one pixel can do.

Source: Su, Vargas & Sakurai 2019 (arXiv 1710.08864) ask the question; ``evolution.py`` has their
own search.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxvision.adversarial.aims import Aim, Logits
from jaxvision.adversarial.results import Result, judged
from jaxvision.types import Array, UserError


class Tried(NamedTuple):
    """What all places times all values do to B images, of P pixels at most.

    Attributes:
      result: with P pixels.
      scores: float32 [B, P], see ``Aim.score``, after 1, ..., P pixels.
      flips: int32 [B, H, W], how many values at a place succeed alone.
    """

    result: Result
    scores: Array
    flips: Array


def cell_of(places: Array, cells: int) -> Array:
    """Return which of ``cells`` equal cells of [0, 1] a place lies in; 1 lies in the last one."""
    cell = jnp.floor(places * cells).astype(jnp.int32)
    return jnp.clip(cell, 0, cells - 1)


def corners(channels: int) -> np.ndarray:
    """Return the corners of the color cube, float32 [2^C, C]: black and white where C is 1."""
    ends = itertools.product((0.0, 1.0), repeat=channels)
    return np.array(list(ends), np.float32)


def every_pixel(
    f: Logits,
    images: Array,
    labels: Array,
    values: Array,
    pixels: int = 1,
) -> Tried:
    """Try every value at every place and keep what scores highest; to be traced.

    With ``pixels`` above 1 it goes on from the best image, pixel by pixel: a lower bound of what so
    many pixels can do. An image that is wrong already is searched like any other.

    Args:
      f: the net.
      images: float32 [B, H, W, C] in [0, 1].
      labels: int32 [B].
      values: float32 [V, C], of a pixel.
      pixels: P, rounds of the search.

    Raises:
      UserError: there is no value, one of another number of channels, or no pixel to change.
    """
    images, values = of_pixels(images), jnp.asarray(values)
    _check(images, values, pixels)
    height, width = images.shape[1:3]
    tried = pixels * height * width * len(values)

    def one(example: tuple[Array, Array]) -> tuple[Array, Array, Array]:
        image, label = example

        def more(
            image: Array,
            _: None,
        ) -> tuple[Array, tuple[Array, Array]]:
            scores = _scores(f, image, label, values)
            best = jnp.argmax(scores)
            row, column, value = jnp.unravel_index(best, scores.shape)
            flips = (scores > 0).sum(-1, dtype=jnp.int32)
            changed = image.at[row, column].set(values[value])
            return changed, (scores.max(), flips)

        changed, (scores, flips) = lax.scan(more, image, None, length=pixels)
        return changed, scores, flips[0]

    changed, scores, flips = lax.map(one, (images, labels))
    result = judged(f, images, Aim(labels), changed, pixels, tried, 0)
    return Tried(result, scores, flips)


def of_pixels(images: Array) -> Array:
    """Return images [B, H, W, C] as an array.

    Raises:
      UserError: they have other axes.
    """
    images = jnp.asarray(images)
    if images.ndim != 4:
        raise UserError(f"pixels are changed in images [B, H, W, C], not {list(images.shape)}")
    return images


def corner_pixels(
    f: Logits,
    images: Array,
    labels: Array,
    *,
    pixels: int = 1,
) -> Result:
    """Return what ``every_pixel`` finds with the corners of the color cube."""
    values = corners(of_pixels(images).shape[-1])
    return every_pixel(f, images, labels, values, pixels).result


def _check(images: Array, values: Array, pixels: int) -> None:
    if pixels < 1:
        raise UserError(f"pixels={pixels}: a pixel attack changes at least 1")
    channels = images.shape[-1]
    shape = list(values.shape)
    if len(shape) != 2 or shape[0] == 0 or shape[1] != channels:
        raise UserError(f"values are colors [V, {channels}] of a pixel, not {shape}")


def _scores(
    f: Logits,
    image: Array,
    label: Array,
    values: Array,
) -> Array:
    """Return the score [H, W, V] of every value at every place, a row of them at a time."""
    height, width, channels = image.shape

    def of_row(row: Array) -> Array:
        def painted(column: Array, value: Array) -> Array:
            return image.at[row, column].set(value)

        each_value = jax.vmap(painted, (None, 0))
        each_column = jax.vmap(each_value, (0, None))
        batch = each_column(jnp.arange(width), values)
        logits = f(batch.reshape(-1, height, width, channels))
        aim = Aim(jnp.full(len(logits), label))
        scores = aim.score(logits)
        return scores.reshape(width, len(values))

    return lax.map(of_row, jnp.arange(height))
