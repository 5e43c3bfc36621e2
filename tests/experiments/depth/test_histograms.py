"""Histograms of gradients and colors, held to pictures whose features are known."""

import numpy as np
import pytest

from experiments.depth import _histograms as hog
from jaxvision.types import UserError


def ramp(across: float, down: float, size: int = 16) -> np.ndarray:
    """A picture [1, S, S, 1] of one gradient."""
    rows, columns = np.mgrid[:size, :size]
    return np.float32(across * columns + down * rows)[None, :, :, None]


def inside(x):
    """Without the border, across which there is no gradient."""
    return np.asarray(x)[0, 1:-1, 1:-1]


@pytest.mark.parametrize(
    ("across", "down", "angle"),
    [
        (1, 0, 0.0),
        (0, 1, np.pi / 2),
        (1, 1, np.pi / 4),
        (-1, -1, np.pi / 4),  # unsigned
        (-1, 1, 3 * np.pi / 4),
    ],
)
def test_gradients_of_a_ramp(across, down, angle):
    size, found = hog.gradients(ramp(across, down))
    np.testing.assert_allclose(inside(size), np.hypot(across, down), rtol=1e-6)
    np.testing.assert_allclose(inside(found), angle, atol=1e-6)


def test_the_channel_with_the_largest_gradient_counts():
    picture = np.concatenate([ramp(1, 0), ramp(0, 3), ramp(0, 0)], axis=-1)
    size, angle = hog.gradients(picture)
    np.testing.assert_allclose(inside(size), 3, rtol=1e-6)
    np.testing.assert_allclose(inside(angle), np.pi / 2, rtol=1e-6)


def test_a_gradient_between_two_orientations_is_shared():
    """20 degrees is orientation 1; 30 lie halfway between 1 and 2; 175 between 8 and 0."""
    shares = {20: {1: 1.0}, 30: {1: 0.5, 2: 0.5}, 175: {8: 0.25, 0: 0.75}}
    for degrees, wanted in shares.items():
        turned = np.deg2rad(degrees)
        cells = hog.cell_histograms(ramp(np.cos(turned), np.sin(turned)))
        middle = np.asarray(cells)[0, 1, 1] / hog.CELL**2
        expected = np.zeros(hog.ORIENTATIONS)
        for orientation, share in wanted.items():
            expected[orientation] = share
        np.testing.assert_allclose(middle, expected, atol=1e-5)


def test_contrast_and_brightness_do_not_count():
    rng = np.random.default_rng(0)
    picture = rng.uniform(20, 100, (2, 16, 16, 1)).astype(np.float32)
    first, second = (
        hog.block_features(hog.cell_histograms(x / 255)) for x in (picture, 2 * picture + 30)
    )
    np.testing.assert_allclose(first, second, atol=1e-3)


def test_blocks_have_norm_one_and_flat_ones_zero():
    rng = np.random.default_rng(0)
    cells = rng.uniform(0, 1, (1, 3, 3, hog.ORIENTATIONS)).astype(np.float32)
    blocks = np.asarray(hog.block_features(cells)).reshape(4, -1)
    np.testing.assert_allclose(np.linalg.norm(blocks, axis=1), 1, rtol=1e-4)
    flat = hog.block_features(np.zeros_like(cells))
    np.testing.assert_array_equal(flat, 0)


def test_one_strong_entry_is_clipped():
    """L2-Hys: an entry of a block is first held to .2, then all are scaled to norm 1."""
    cells = np.full((1, 2, 2, hog.ORIENTATIONS), 0.1, np.float32)
    cells[0, 0, 0, 0] = 10
    block = np.asarray(hog.block_features(cells))[0]
    low = 0.1 / np.sqrt(100 + 35 * 0.01)
    np.testing.assert_allclose(block.max() / block.min(), 0.2 / low, rtol=1e-3)


def test_colors_are_counted():
    picture = np.zeros((1, 8, 8, 3), np.float32)
    picture[0, :2, :, 0] = 1.0  # a quarter is red, the rest black
    found = np.asarray(hog.color_histogram(picture))[0]
    assert found.shape == (hog.LEVELS**3,)
    np.testing.assert_allclose(found[[0, hog.LEVELS - 1]], [np.sqrt(0.75), 0.5], rtol=1e-6)
    np.testing.assert_allclose(np.sum(found**2), 1, rtol=1e-6)
    moved = picture.reshape(1, 64, 3)[:, ::-1].reshape(picture.shape)
    np.testing.assert_array_equal(hog.color_histogram(moved)[0], found)


def test_features_of_a_picture():
    found = hog.histograms(np.zeros((2, 32, 32, 3), np.uint8))
    assert found.shape == (2, 7 * 7 * 4 * hog.ORIENTATIONS + hog.LEVELS**3)
    with pytest.raises(UserError, match="images of 8 pixels and more, and these have 8x7"):
        hog.histograms(np.zeros((1, 8, 7, 1), np.uint8))
