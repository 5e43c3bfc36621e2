"""Animations: pictures of images one after the other, as a GIF of equal bytes."""

import io
from collections.abc import Sequence

import numpy as np

from jaxvision.report.image_grid import sheet

NAME = "animation.gif"  # in a record's folder
_WIDTH = 300  # pixels at least


def to_gif(frames: np.ndarray, seconds: Sequence[float]) -> bytes:
    """Return an endless animation of grids of images, every pixel a square; equal bytes.

    Args:
      frames: uint8 [T, rows, columns, H, W, C], C 1 or 3.
      seconds: how long each frame stays, [T]; a GIF counts hundredths.
    """
    from PIL import Image  # only who draws waits for it

    sheets = [np.rint(255 * sheet(frame)).astype(np.uint8) for frame in frames]
    factor = -(-_WIDTH // sheets[0].shape[1])
    larger = [each.repeat(factor, 0).repeat(factor, 1) for each in sheets]
    # One palette for all frames: an own one for each would flicker.
    strip = Image.fromarray(np.concatenate(larger)).quantize(255, dither=Image.Dither.NONE)
    pages = [
        Image.fromarray(each).quantize(palette=strip, dither=Image.Dither.NONE) for each in larger
    ]
    milliseconds = [10 * max(2, round(100 * each)) for each in seconds]
    buffer = io.BytesIO()
    first, *others = pages
    first.save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=others,
        duration=milliseconds,
        loop=0,
        optimize=False,
    )
    return buffer.getvalue()
