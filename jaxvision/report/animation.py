"""Animations beside a figure, as GIFs."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

_ZOOM = 6  # a pixel becomes a square of so many
_STRIP = 22  # pixels for the words below
_WHITE = (255, 255, 255)


def to_gif(frames: np.ndarray, captions: Sequence[Sequence[str]], milliseconds: int) -> bytes:
    """Return an endless GIF, the same bytes for the same frames and version of Pillow.

    Args:
      frames: uint8 [T, H, W, 3].
      captions: of each frame, words that stand below it, spread evenly from left to right.
      milliseconds: that a frame is shown.

    Raises:
      ValueError: another number of captions than of frames.
    """
    from PIL import Image  # who writes no animation does not wait for it

    if len(captions) != len(frames):
        raise ValueError(f"{len(captions)} captions for {len(frames)} frames")
    shown = [_shown(frame, words) for frame, words in zip(frames, captions, strict=True)]
    # One palette for all: a color of the scene must not flicker.
    sheet = Image.fromarray(np.concatenate([np.asarray(image) for image in shown]))
    palette = sheet.quantize(colors=256, dither=Image.Dither.NONE)
    first, *rest = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in shown]
    file = io.BytesIO()
    first.save(
        file,
        format="GIF",
        save_all=True,
        append_images=rest,
        duration=milliseconds,
        loop=0,
        disposal=1,
    )
    return file.getvalue()


def _shown(frame: np.ndarray, words: Sequence[str]) -> "Image":
    """Return a frame enlarged, with its words below."""
    from PIL import Image, ImageDraw

    enlarged = np.repeat(np.repeat(frame, _ZOOM, 0), _ZOOM, 1)
    height, width, _ = enlarged.shape
    image = Image.new("RGB", (width, height + _STRIP), _WHITE)
    image.paste(Image.fromarray(enlarged), (0, 0))
    pen = ImageDraw.Draw(image)
    for number, word in enumerate(words):
        middle = (number + 0.5) * width / len(words)
        place = middle - pen.textlength(word) / 2, height + 5
        pen.text(place, word, fill=(0, 0, 0))
    return image
