"""JPEG as a function of images that can be differentiated: what a file loses, without the file.

Everything that a baseline encoder and decoder do to pixels is here: the change of color space, half
the resolution for color, the cosine transform of blocks of 8 x 8 pixels, the tables of a quality,
rounding. What costs no pixel (zigzag, Huffman codes) is not. Rounding has the gradient of nothing
happening ("straight through", Bengio et al. 2013, arXiv 1308.3432).

Source: ITU-T T.81 (1992), annexes A and K; the scaling of tables by quality, and the order in which
numbers are rounded, are those of the Independent JPEG Group's library, which Pillow calls.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import ArrayLike

from jaxvision.adversarial.threat import LEVELS
from jaxvision.types import Array, UserError

SIDE = 8  # pixels of a block
_MIDDLE = 128.0  # the level that is coded as 0
_PARTS = 8  # of a unit, to which encoders know a frequency's strength: ties are common

# T.81, tables K.1 and K.2, for quality 50.
_LUMA = np.int32(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
_CHROMA = np.full((SIDE, SIDE), 99, np.int32)
_CHROMA[:4, :4] = [
    [17, 18, 24, 47],
    [18, 21, 26, 66],
    [24, 26, 56, 99],
    [47, 66, 99, 99],
]

# JFIF 1.02: luma, blue and red difference of levels of red, green and blue.
_TO_YCC = np.float32(
    [
        [0.299, 0.587, 0.114],
        [-0.168736, -0.331264, 0.5],
        [0.5, -0.418688, -0.081312],
    ]
)
_FROM_YCC = np.float32(
    [
        [1.0, 0.0, 1.402],
        [1.0, -0.344136, -0.714136],
        [1.0, 1.772, 0.0],
    ]
)


def _basis() -> tuple[np.ndarray, np.ndarray]:
    """Return cosines [frequency, pixel], and what makes their products orthonormal, [8, 8].

    The first row is 1 to the bit, so that the mean of a block is exact: flat blocks often lie on
    the edge between two steps of the table.
    """
    frequency, pixel = np.mgrid[:SIDE, :SIDE]
    half_turns = frequency * (2 * pixel + 1) / (2 * SIDE)
    cosines = np.cos(np.pi * half_turns)
    lengths = np.full(SIDE, 0.5)
    lengths[0] = 1 / np.sqrt(SIDE)
    scales = np.outer(lengths, lengths)
    return (
        cosines.astype(np.float32),
        scales.astype(np.float32),
    )


_COSINES, _SCALES = _basis()


class Tables(NamedTuple):
    """By how much the 64 frequencies of a block are divided, int32 [..., 8, 8], 1 to 255."""

    luma: Array
    chroma: Array


def tables(quality: Array | int) -> Tables:
    """Return the tables of a quality, those of T.81 at 50.

    Args:
      quality: a whole number from 1 to 100, or several [...]; may be traced, and is then clipped.

    Raises:
      UserError: a quality that is known before tracing is out of range or not whole.
    """
    check_quality(quality)
    whole = jnp.asarray(quality).astype(jnp.int32)
    kept = jnp.clip(whole, 1, 100)
    coarse = 5000 // kept
    fine = 200 - 2 * kept
    percent = jnp.where(kept < 50, coarse, fine)
    return Tables(
        _scaled(_LUMA, percent),
        _scaled(_CHROMA, percent),
    )


def _scaled(table: np.ndarray, percent: Array) -> Array:
    """Return a table [8, 8] times percents [...], [..., 8, 8]."""
    ahead = (1,) * percent.ndim
    steps = table.reshape(*ahead, SIDE, SIDE)
    hundredths = steps * percent[..., None, None]
    rounded = (hundredths + 50) // 100
    return jnp.clip(rounded, 1, 255)


def check_quality(quality: ArrayLike) -> None:
    """Refuse what is no quality; a traced one cannot be looked at.

    Raises:
      UserError: it is out of range or not whole.
    """
    if isinstance(quality, jax.core.Tracer):
        return
    values = np.asarray(quality, np.float64)
    whole = values == np.round(values)
    inside = (values >= 1) & (values <= 100)
    if not np.all(whole & inside):
        raise UserError(f"JPEG's quality {quality}: give whole numbers from 1 to 100")


def jpeg(
    images: Array,
    quality: Array | int,
    *,
    halved: bool = True,
) -> Array:
    """Return images as they come out of a JPEG file.

    Args:
      images: float [B, H, W, C] in [0, 1], of any size; C is 1 (gray) or 3 (red, green, blue).
      quality: a whole number from 1 to 100, or [B], one for each image; may be traced.
      halved: color has half the resolution, as most encoders have it unless they are told not to:
        stripes of a pixel lose theirs at any quality. Gray images have none to lose.

    Returns:
      [B, H, W, C] in [0, 1], whole levels of 255.

    Raises:
      UserError: the quality is out of range.
      ValueError: another number of axes or channels.
    """
    images = jnp.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(f"images are [B, H, W, 1 or 3], not {images.shape}")
    found = tables(quality)
    levels = whole_levels(LEVELS * images)
    if images.shape[-1] == 1:
        gray = _coded(levels[..., 0], found.luma)
        return gray[..., None] / LEVELS
    middle = np.float32([0.0, _MIDDLE, _MIDDLE])
    middle = middle.reshape(1, 1, 1, 3)
    planes = whole_levels(levels @ _TO_YCC.T + middle)
    luma = _coded(planes[..., 0], found.luma)
    blue = _colored(planes[..., 1], found.chroma, halved)
    red = _colored(planes[..., 2], found.chroma, halved)
    decoded = jnp.stack([luma, blue, red], -1)
    levels = whole_levels((decoded - middle) @ _FROM_YCC.T)
    return levels / LEVELS


def whole_levels(levels: Array) -> Array:
    """Return whole levels from 0 to 255, with the gradient of ``levels`` as they are."""
    nearest = jnp.floor(levels + 0.5)
    legal = jnp.clip(nearest, 0.0, LEVELS)
    return straight_through(levels, legal)


def straight_through(x: Array, rounded: Array) -> Array:
    """Return ``rounded`` to the bit, with the gradient of ``x``."""
    nothing = x - lax.stop_gradient(x)
    return lax.stop_gradient(rounded) + nothing


def _colored(plane: Array, table: Array, halved: bool) -> Array:
    if not halved:
        return _coded(plane, table)
    height, width = plane.shape[1:]
    small = _coded(_halved(plane), table)
    columns = (width + 1) // 2
    doubled = _doubled(small[:, :, :columns])
    return doubled[:, :height, :width]


def _coded(plane: Array, table: Array) -> Array:
    """Return levels [B, H, W] after their blocks were divided by a table [8, 8] or [B, 8, 8]."""
    count, height, width = plane.shape
    scales = _SCALES.reshape(1, 1, 1, SIDE, SIDE)
    steps = table.astype(plane.dtype)
    steps = jnp.broadcast_to(steps, (count, SIDE, SIDE))
    steps = steps[:, None, None]
    blocks = _blocks(plane) - _MIDDLE
    strength = scales * (_COSINES @ blocks @ _COSINES.T)
    kept = steps * _divided(strength, steps)
    decoded = _COSINES.T @ (scales * kept) @ _COSINES
    sheet = _sheet(decoded)
    return whole_levels(sheet[:, :height, :width] + _MIDDLE)


def _divided(strength: Array, steps: Array) -> Array:
    """Return whole numbers of steps, the one farther from 0 at a tie."""
    parts = jnp.floor(_PARTS * strength + 0.5)
    known = straight_through(strength, parts / _PARTS)
    divided = known / steps
    size = jnp.floor(jnp.abs(divided) + 0.5)
    return straight_through(divided, jnp.sign(divided) * size)


def _blocks(plane: Array) -> Array:
    """Return [B, rows, columns, 8, 8]; the last row and column go on where a block needs more."""
    padded = _padded(plane, SIDE, SIDE)
    count, height, width = padded.shape
    rows = height // SIDE
    columns = width // SIDE
    cut = padded.reshape(count, rows, SIDE, columns, SIDE)
    return cut.swapaxes(2, 3)


def _sheet(blocks: Array) -> Array:
    """Put blocks [B, rows, columns, 8, 8] beside one another, [B, H, W]."""
    count, rows, columns = blocks.shape[:3]
    lines = blocks.swapaxes(2, 3)
    return lines.reshape(count, SIDE * rows, SIDE * columns)


def _padded(plane: Array, rows: int, columns: int) -> Array:
    """Repeat the last row and column until their numbers are multiples."""
    _, height, width = plane.shape
    below = -height % rows
    beside = -width % columns
    return jnp.pad(
        plane,
        ((0, 0), (0, below), (0, beside)),
        mode="edge",
    )


def _halved(plane: Array) -> Array:
    """Return means of 2 x 2 levels, [B, ceil(H / 2), blocks of 8 columns].

    Whole again: a quarter and a half are added in turn, so that ties go up as often as down.
    """
    even = _padded(plane, 2, 2 * SIDE)
    count, height, width = even.shape
    rows = height // 2
    columns = width // 2
    squares = even.reshape(count, rows, 2, columns, 2)
    means = squares.mean((2, 4))
    turns = np.tile(np.float32([0.25, 0.5]), columns // 2)
    return straight_through(means, jnp.floor(means + turns.reshape(1, 1, -1)))


def _doubled(plane: Array) -> Array:
    """Return levels [B, 2 H, 2 W], each three parts of the nearest and one of the next."""
    if plane.shape[2] <= 2:  # too narrow for libraries to smooth
        tall = jnp.repeat(plane, 2, 1)
        return jnp.repeat(tall, 2, 2)
    tall = _between(plane).swapaxes(1, 2)
    wide = _between(tall).swapaxes(1, 2)
    turns = np.tile(np.float32([0.5, 0.4375]), plane.shape[2])
    return straight_through(wide, jnp.floor(wide + turns.reshape(1, 1, -1)))


def _between(plane: Array) -> Array:
    """Return [B, 2 H, W], a quarter of a pixel above and below each row."""
    count, height, width = plane.shape
    around = jnp.pad(plane, ((0, 0), (1, 1), (0, 0)), mode="edge")
    above = 0.75 * plane + 0.25 * around[:, :-2]
    below = 0.75 * plane + 0.25 * around[:, 2:]
    pairs = jnp.stack([above, below], 2)
    return pairs.reshape(count, 2 * height, width)
