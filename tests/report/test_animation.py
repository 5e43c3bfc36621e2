"""Animations: every frame as it was given, for as long as asked, and the same bytes again."""

import io

import numpy as np
from PIL import Image

from jaxvision.report.animation import to_gif

FRAMES = np.stack([np.full((1, 2, 3, 3, 1), level, np.uint8) for level in (0, 100, 200)])


def test_frames_come_back_with_their_colors_and_times():
    movie = Image.open(io.BytesIO(to_gif(FRAMES, [0.5, 0.1, 0.2])))
    assert movie.n_frames == 3
    assert movie.info["loop"] == 0
    for number, (level, duration) in enumerate([(0, 500), (100, 100), (200, 200)]):
        movie.seek(number)
        assert movie.info["duration"] == duration
        pixels = np.asarray(movie.convert("RGB"))
        assert pixels.shape[1] >= 300
        assert (pixels[0, 0] == level).all()


def test_equal_frames_give_equal_bytes():
    assert to_gif(FRAMES, [0.1] * 3) == to_gif(FRAMES.copy(), [0.1] * 3)
