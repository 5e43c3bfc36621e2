"""An image file as the pixels that a set's description declares: its channels, 8 bits each.

A file keeps colors in a way of its own (a palette, ink, one bit, 16 bits, a transparent layer),
and what a decoder hands out is in that way: indices of a palette, say. TensorFlow's reader brings
all to the declared channels, and so does this one: palettes are looked up, transparency is dropped,
gray is repeated, colors become their luma (ITU-R 601), and of 16 bits the upper 8 are kept.

Cameras store a picture as their sensor lay and say how to turn it. TensorFlow's reader does not
turn it; of files that people bring themselves, ``upright`` ones are wanted.
"""

import io
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import ExifTags, Image

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
_GRAY = {"1", "L", "LA"} | _SIXTEEN_BITS
# Files that people bring are of these formats: none starts another program to be shown.
_FORMATS = (
    "AVIF",
    "BMP",
    "DIB",
    "GIF",
    "JPEG",
    "JPEG2000",
    "PNG",
    "PPM",
    "TGA",
    "TIFF",
    "WEBP",
)
# By the orientation of an EXIF tag; 1 is upright, and other numbers mean nothing.
_TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ON_ITS_SIDE = (5, 6, 7, 8)


class ModeError(ValueError):
    """Colors are kept in a way that has no meaning in the declared channels."""


def declared_channels(shape: tuple[int | None, ...]) -> int | None:
    """Return the channels of a declared shape [H, W, C], or None where they are not 1 to 4."""
    if len(shape) != 3 or shape[-1] not in _MODES:
        return None
    return shape[-1]


class Look(NamedTuple):
    """What an image file says of itself before it is decoded.

    Attributes:
      size: height and width in pixels as it is shown upright.
      gray: whether every pixel is gray, however it is kept.
    """

    size: tuple[int, int]
    gray: bool


def look(file: BinaryIO) -> Look:
    """Read the header of an image file.

    Raises:
      ModeError: it keeps colors in a way that cannot be brought to 8 bits.
      Exception: whatever Pillow raises where it is no image file, or of a format not read here.
    """
    with Image.open(file, formats=_FORMATS) as picture:
        mode = picture.mode
        if mode not in _GRAY | set(_SHOWN_AS) | set(_MODES.values()):
            raise ModeError(f"colors of mode {mode!r}")
        size = picture.height, picture.width
        # Pillow turns a TIFF by itself, and its size is that of the turned picture.
        if picture.format != "TIFF" and _orientation(picture) in _ON_ITS_SIDE:
            size = size[::-1]
        return Look(size, mode in _GRAY or (mode == "P" and _gray_palette(picture)))


def decoded(file: bytes, channels: int, upright: bool = False) -> np.ndarray:
    """Return the pixels of an image file, uint8 [H, W, channels].

    Args:
      file: its bytes.
      channels: 1 to 4.
      upright: whether to turn a picture as its EXIF tag says.

    Raises:
      ModeError: the file's colors cannot be brought to these channels.
      Exception: whatever Pillow raises where the file is damaged.
    """
    with Image.open(io.BytesIO(file)) as picture:
        shown = _upright(picture) if upright else picture
        height, width = shown.height, shown.width
        converted = _converted(shown, _MODES[channels])
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


def _upright(picture: Image.Image) -> Image.Image:
    picture.load()  # which turns a TIFF
    turn = _TURNED.get(_orientation(picture))
    return picture if turn is None else picture.transpose(turn)


def _orientation(picture: Image.Image) -> int:
    """Return the number of the EXIF tag; 1, upright, where there is none or it is broken."""
    try:
        return picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # many kinds: cameras and editors write tags of all sorts
        return 1


def _gray_palette(picture: Image.Image) -> bool:
    colors = np.reshape(picture.getpalette("RGB"), (-1, 3))
    return bool((colors == colors[:, :1]).all())
