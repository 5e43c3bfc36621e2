"""Animations beside a figure, as GIFs: the same bytes for the same frames and version of Pillow."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxvision.report.image_grid import sheet

if TYPE_CHECKING:
    from PIL.Image import Image

_ZOOM = 6  # a pixel of a captioned frame becomes a square of so many
_STRIP = 22  # pixels for the words below it
_WIDTH = 300  # pixels at least, of grids
_WHITE = (255, 255, 255)


def to_gif(frames: Sequence[np.ndarray], seconds: Sequence[float]) -> bytes:
    """Return an endless GIF.

    Args:
      frames: T of uint8 [H, W, 3] or, gray, [H, W].
      seconds: how long each frame stays, [T]; a GIF counts hundredths.

    Raises:
      ValueError: another number of times than of frames.
    """
    from PIL import Image  # who writes no animation does not wait for it

    if len(seconds) != len(frames):
        raise ValueError(f"{len(seconds)} times for {len(frames)} frames")
    # One palette for all: a color of the scene must not flicker.
    strip = Image.fromarray(np.concatenate(frames))
    palette = strip.quantize(colors=256, dither=Image.Dither.NONE)
    pages = [
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames
    ]
    first, *rest = pages
    file = io.BytesIO()
    first.save(
        file,
        format="GIF",
        save_all=True,
        append_images=rest,
        duration=[10 * max(2, round(100 * each)) for each in seconds],
        loop=0,
        disposal=1,
        optimize=False,
    )
    return file.getvalue()


def grids(images: np.ndarray) -> list[np.ndarray]:
    """Return frames of grids of images, every pixel a square, T of uint8 [H, W, 3].

    Args:
      images: uint8 [T, rows, columns, H, W, C], C 1 or 3.
    """
    sheets = [np.rint(255 * sheet(frame)).astype(np.uint8) for frame in images]
    factor = -(-_WIDTH // sheets[0].shape[1])
    return [_enlarged(each, factor) for each in sheets]


def captioned(frames: np.ndarray, captions: Sequence[Sequence[str]]) -> list[np.ndarray]:
    """Return frames enlarged, with their words below, T of uint8 [H, W, 3].

    Args:
      frames: uint8 [T, H, W, 3].
      captions: of each frame, words that stand below it, spread evenly from left to right.

    Raises:
      ValueError: another number of captions than of frames.
    """
    if len(captions) != len(frames):
        raise ValueError(f"{len(captions)} captions for {len(frames)} frames")
    shown = [_captioned(frame, words) for frame, words in zip(frames, captions, strict=True)]
    return [np.asarray(image) for image in shown]


def _captioned(frame: np.ndarray, words: Sequence[str]) -> "Image":
    from PIL import Image, ImageDraw

    enlarged = _enlarged(frame, _ZOOM)
    height, width, _ = enlarged.shape
    image = Image.new("RGB", (width, height + _STRIP), _WHITE)
    image.paste(Image.fromarray(enlarged), (0, 0))
    pen = ImageDraw.Draw(image)
    for number, word in enumerate(words):
        middle = (number + 0.5) * width / len(words)
        place = middle - pen.textlength(word) / 2, height + 5
        pen.text(place, word, fill=(0, 0, 0))
    return image


def _enlarged(pixels: np.ndarray, factor: int) -> np.ndarray:
    return pixels.repeat(factor, 0).repeat(factor, 1)
