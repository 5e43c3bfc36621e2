"""Animations: every frame as it was given, for as long as asked, and the same bytes again."""

import io

import numpy as np
import pytest
from PIL import Image

from jaxvision.report import record as records
from jaxvision.report.animation import captioned, grids, to_gif
from jaxvision.report.record import Record

FRAMES = np.zeros((3, 4, 5, 3), np.uint8)
FRAMES[0, :, :, 0] = 200
FRAMES[1, :, :, 1] = 200
FRAMES[2, :, :2] = 90
WORDS = [["one", "two"], ["", "longer"], ["a", "b"]]
SECONDS = (0.5, 0.1, 0.2)


def test_frames_come_back_with_their_colors_and_times_and_run_without_end():
    movie = Image.open(io.BytesIO(to_gif(FRAMES, SECONDS)))
    assert movie.n_frames == 3
    assert movie.info["loop"] == 0
    for number, (frame, seconds) in enumerate(zip(FRAMES, SECONDS, strict=True)):
        movie.seek(number)
        assert movie.info["duration"] == 1000 * seconds
        away = np.abs(np.asarray(movie.convert("RGB")).astype(int) - frame)
        assert away.max() <= 8  # the palette has 256 colors


def test_the_same_frames_are_the_same_bytes():
    assert to_gif(FRAMES, SECONDS) == to_gif(FRAMES.copy(), SECONDS)
    with pytest.raises(ValueError, match="2 times for 3 frames"):
        to_gif(FRAMES, SECONDS[:2])


def test_words_stand_below_the_enlarged_frame():
    shown = captioned(FRAMES, WORDS)
    for found, frame in zip(shown, FRAMES, strict=True):
        assert found.shape == (4 * 6 + 22, 5 * 6, 3)
        np.testing.assert_array_equal(found[3 : 4 * 6 : 6, 3::6], frame)
        assert (found[4 * 6 :] < 128).any()
    with pytest.raises(ValueError, match="2 captions for 3 frames"):
        captioned(FRAMES, WORDS[:2])


def test_grids_are_as_wide_as_can_be_seen():
    images = np.stack([np.full((1, 2, 3, 3, 1), level, np.uint8) for level in (0, 100)])
    for found, level in zip(grids(images), (0, 100), strict=True):
        assert found.shape[1] >= 300
        assert (found[0, 0] == level).all()


@pytest.mark.parametrize("gif", [b"GIF89a", None])
def test_it_lies_beside_the_record(tmp_path, gif):
    record = Record("toy", "cpu", "toy", "x", {}, {}, {}, [], {})

    def draw():
        from matplotlib.figure import Figure

        return Figure()

    records.save(record, draw, tmp_path / "toy", lambda: gif)
    files = {path.name for path in (tmp_path / "toy").iterdir()}
    assert ("animation.gif" in files) == (gif is not None)
    if gif is not None:
        assert (tmp_path / "toy" / "animation.gif").read_bytes() == gif
