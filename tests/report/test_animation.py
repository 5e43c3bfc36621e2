"""Animations: deterministic bytes, every frame with its words, colors as they are."""

import io

import numpy as np
import pytest
from PIL import Image

from jaxvision.report import record as records
from jaxvision.report.animation import to_gif
from jaxvision.report.record import Record

FRAMES = np.zeros((3, 4, 5, 3), np.uint8)
FRAMES[0, :, :, 0] = 200
FRAMES[1, :, :, 1] = 200
FRAMES[2, :, :2] = 90
WORDS = [["one", "two"], ["", "longer"], ["a", "b"]]


def test_a_gif_holds_its_frames_and_runs_without_end():
    opened = Image.open(io.BytesIO(to_gif(FRAMES, WORDS, 120)))
    assert opened.n_frames == 3
    assert opened.info["loop"] == 0
    assert opened.info["duration"] == 120
    for number, frame in enumerate(FRAMES):
        opened.seek(number)
        shown = np.asarray(opened.convert("RGB"))
        assert shown.shape == (4 * 6 + 22, 5 * 6, 3)
        away = np.abs(shown[3 : 4 * 6 : 6, 3::6].astype(int) - frame)
        assert away.max() <= 8  # the palette has 256 colors
    assert (shown[4 * 6 :] < 128).any(-1).any()  # words below


def test_the_same_frames_are_the_same_bytes():
    assert to_gif(FRAMES, WORDS, 120) == to_gif(FRAMES.copy(), WORDS, 120)
    with pytest.raises(ValueError, match="2 captions for 3 frames"):
        to_gif(FRAMES, WORDS[:2], 120)


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
