"""An image file as the pixels that a set's description declares: its channels, 8 bits each.

A file keeps colors in a way of its own (a palette, ink, one bit, 16 bits, a transparent layer),
and what a decoder hands out is in that way: indices of a palette, say. TensorFlow's reader brings
all to the declared channels, and so does this one: palettes are looked up, transparency is dropped,
gray is repeated, colors become their luma (ITU-R 601), and of 16 bits the upper 8 are kept.
"""

import io

import numpy as np
from PIL import Image

# By the number of channels. Pillow converts each of them to each.
_MODES = {
    1: "L",
    2: "LA",
    3: "RGB",
    4: "RGBA",
}
# What Pillow calls the ways to keep colors, and which of the above shows them in full.
_SHOWN_AS = {
    "1": "L",
    "P": "RGBA",
    "PA": "RGBA",
    "CMYK": "RGB",
    "YCbCr": "RGB",
    "RGBX": "RGB",
}
_SIXTEEN_BITS = {"I;16", "I;16L", "I;16B", "I;16N"}


class ModeError(ValueError):
    """Colors are kept in a way that has no meaning in the declared channels."""


def declared_channels(shape: tuple[int | None, ...]) -> int | None:
    """Return the channels of a declared shape [H, W, C], or None where they are not 1 to 4."""
    if len(shape) != 3 or shape[-1] not in _MODES:
        return None
    return shape[-1]


def decoded(file: bytes, channels: int) -> np.ndarray:
    """Return the pixels of an image file, uint8 [H, W, channels].

    Raises:
      ModeError: the file's colors cannot be brought to these channels.
      Exception: whatever Pillow raises where the file is damaged.
    """
    with Image.open(io.BytesIO(file)) as picture:
        height, width = picture.height, picture.width
        converted = _converted(picture, _MODES[channels])
        return np.asarray(converted).reshape(height, width, channels)


def squared(pixels: np.ndarray, size: int) -> np.ndarray:
    """Return the middle of pixels [H, W, C] as [size, size, C], the shorter side scaled to fit."""
    height, width, channels = pixels.shape
    side = min(height, width)
    left = (width - side) / 2
    top = (height - side) / 2
    picture = Image.fromarray(pixels.squeeze(-1) if channels == 1 else pixels)
    scaled = picture.resize(
        (size, size),
        Image.Resampling.BILINEAR,  # smooths when it shrinks
        (left, top, left + side, top + side),
    )
    return np.asarray(scaled).reshape(size, size, channels)


def _converted(picture: Image.Image, wanted: str) -> Image.Image:
    mode = picture.mode
    if mode in _SIXTEEN_BITS:
        upper = np.asarray(picture) >> 8
        picture = Image.fromarray(upper.astype(np.uint8))
    elif mode in _SHOWN_AS:
        picture = picture.convert(_SHOWN_AS[mode])
    elif mode not in _MODES.values():
        raise ModeError(f"colors of mode {mode!r}")
    if picture.mode == wanted:
        return picture
    return picture.convert(wanted)
