"""Scores against a mask, and ranks against ranks, by hand and by scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, stats

from jaxvision.attribution import comparing, masks
from jaxvision.data.dataset import Dataset
from jaxvision.types import UserError

RNG = np.random.default_rng(2)
SHAPE = (4, 6, 7)
MASKS = RNG.random(SHAPE) < 0.3


def test_the_mask_itself_is_the_ceiling():
    found = masks.scores(np.float32(MASKS), MASKS)
    for score in found:
        np.testing.assert_array_equal(score, 1)


def test_scores_by_hand():
    mask = np.array([[[True, True, False, False]]])
    found = masks.scores(np.float32([[[3, -1, 4, 1]]]), mask)
    # Highest two: columns 2 and 0. One of them is inside: 1 of 3. Positive mass 3 of 8.
    assert [float(score[0]) for score in found] == pytest.approx([0, 1 / 3, 3 / 8])


def test_a_constant_map_knows_nothing_and_ties_go_to_the_lowest_index():
    mask = np.array([[[False, True, True, True]]])
    for value in (0.0, 1.0):
        found = masks.scores(np.full((1, 1, 4), np.float32(value)), mask)
        assert [float(score[0]) for score in found] == pytest.approx([0, 2 / 4, 3 / 4])


@pytest.mark.parametrize("shape", [(8, 8, 8, 1), (8, 8, 8, 3), (8, 8, 4), (8, 8)])
def test_maps_of_another_shape_are_one_line(shape):
    """Maps [8, 8, 8, 1] broadcast against masks [8, 8, 8] to numbers that mean nothing."""
    mask = np.ones((8, 8, 8), bool)
    for score in (masks.scores, masks.mass):
        with pytest.raises(UserError, match=r"must both be \[B, H, W\]"):
            score(np.ones(shape, np.float32), mask)


@pytest.mark.parametrize("scale", [np.uint8(255), 1, np.float32(0.5)])
def test_masks_of_another_type_are_one_line(scale):
    """An image file's 255 counted as 255 pixels: every map had an IoU of 1."""
    for score in (masks.scores, masks.mass):
        with pytest.raises(UserError, match="masks are bool, true on the object, not") as raised:
            score(np.float32(MASKS), scale * MASKS)
        assert "\n" not in str(raised.value)


def test_lists_are_scored():
    found = masks.scores([[[0.5, 0.25]]], [[[True, False]]])
    assert [float(score[0]) for score in found] == pytest.approx([1, 1, 2 / 3])


def test_a_map_that_is_no_number_has_no_score():
    """It pointed at the first pixel, or at the largest of what was left."""
    broken = np.float32(MASKS)
    broken[1] = np.nan
    broken[2, 0, 0] = np.nan
    for score in masks.scores(broken, MASKS):
        assert np.isnan(score).tolist() == [False, True, True, False]
    for pair in ((broken, MASKS), (MASKS, broken)):
        found = comparing.rank_correlation(*map(np.float32, pair))
        assert np.isnan(found).tolist() == [False, True, True, False]


def test_random_maps_score_the_area():
    shape = (2000, 8, 8)
    mask = np.zeros(shape, bool)
    mask[:, 2:6, 1:5] = True
    found = masks.scores(masks.random(jax.random.key(0), shape), mask)
    assert float(found.pointing.mean()) == pytest.approx(0.25, abs=0.04)
    assert float(found.mass.mean()) == pytest.approx(0.25, abs=0.01)
    # 16 of 64 pixels, 16 of them drawn: 4 in common on average.
    assert float(found.area_iou.mean()) == pytest.approx(1 / 7, abs=0.01)


def test_the_center_is_in_the_center():
    for size, middle in ((7, {(3, 3)}), (6, {(2, 2), (2, 3), (3, 2), (3, 3)})):
        found = np.asarray(masks.center((1, size, size))[0])
        assert {tuple(place) for place in np.argwhere(found == found.max())} == middle


def test_edges_are_sobels():
    image = np.float32(RNG.random((1, 6, 7, 1)))
    found = masks.edges(image)[0]
    expected = [ndimage.sobel(image[0, :, :, 0], axis, mode="nearest") for axis in (0, 1)]
    np.testing.assert_allclose(found, np.hypot(*expected), rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_edges_of_bytes_are_those_of_the_same_numbers(channels):
    image = RNG.integers(0, 256, (1, 6, 7, channels), dtype=np.uint8)
    found = masks.edges(image)
    assert found.max() > 0
    np.testing.assert_array_equal(found, masks.edges(np.float32(image)))


@pytest.mark.parametrize("kind", [np.uint8, np.int32, bool, jnp.bfloat16])
def test_maps_of_any_type_are_scored_as_floats_are(kind):
    whole = RNG.integers(0, 100, SHAPE).astype(kind)
    found = masks.scores(whole, MASKS)
    expected = masks.scores(np.float32(whole), MASKS)
    for score, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(score, wanted)


def test_a_set_without_masks_is_one_line():
    data = Dataset(np.zeros((1, 2, 2, 1), np.uint8), np.zeros(1, np.int32))
    with pytest.raises(UserError, match="has no masks of its objects"):
        masks.of(data)


@pytest.mark.parametrize("size", [1e-30, 1e-11, 1.0, 1e18])
def test_correlation_does_not_depend_on_the_unit(size):
    one = np.float32(RNG.normal(size=(3, 5, 5)))
    other = np.float32(RNG.normal(size=(3, 5, 5)))
    expected = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(one, other, strict=True)]
    found = comparing.correlation(np.float32(size) * one, other)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    np.testing.assert_array_equal(comparing.correlation(0 * one, other), 0)


def test_ranks_are_scipys_with_ties():
    maps = np.float32(RNG.integers(-3, 4, SHAPE))
    others = np.float32(RNG.integers(-3, 4, SHAPE)) + maps
    expected = [
        stats.spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(maps, others, strict=True)
    ]
    np.testing.assert_allclose(comparing.rank_correlation(maps, others), expected, atol=1e-5)
    assert comparing.rank_correlation(maps, -maps) == pytest.approx(-np.ones(4), abs=1e-5)
    assert comparing.rank_correlation(np.abs(maps), np.abs(-maps)) == pytest.approx(np.ones(4))
    assert float(comparing.rank_correlation(maps, 0 * maps)[0]) == 0


@pytest.mark.parametrize("kind", [np.uint8, np.int8, bool, np.float16, jnp.bfloat16])
def test_maps_of_any_type_are_ranked_as_floats_are(kind):
    """Ranks of bytes went round at 256, and squares of halves were infinite: all that agreed, 0."""
    maps = RNG.integers(0, 100, (2, 30, 30)).astype(kind)
    others = (maps + RNG.integers(0, 20, maps.shape)).astype(kind)
    for compared in (comparing.rank_correlation, comparing.correlation):
        expected = compared(np.float32(maps), np.float32(others))
        np.testing.assert_array_equal(compared(maps, others), expected)


def test_a_cascade_draws_layers_anew_from_the_top():
    old = {"a": {"w": np.zeros((2, 3), np.float32)}, "b": {"w": np.zeros(4, np.float32)}}
    new = jax.tree.map(np.ones_like, old)
    found = comparing.cascade(old, new, ("a", "b"))
    assert np.asarray(found["a"]["w"]).mean((1, 2)).tolist() == [0, 0, 1]
    assert np.asarray(found["b"]["w"]).mean(1).tolist() == [0, 1, 1]
