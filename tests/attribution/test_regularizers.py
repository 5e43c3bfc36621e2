"""What is done to codes after a step, by numbers that can be counted by hand."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import gaussian_filter

from jaxvision.attribution.regularizers import (
    YOSINSKI,
    blurred,
    decayed,
    progress,
    without_small,
    without_unhelpful,
)

RNG = np.random.default_rng(0)
CODES = np.float32(RNG.normal(size=(2, 10, 10, 3)))
FIRST = jnp.int32(0)


def test_decay_takes_a_share():
    assert_allclose(decayed(0.3)(CODES, CODES, FIRST), 0.7 * CODES, rtol=1e-6)


def test_blur_is_a_gaussian_inside_and_leaves_a_constant():
    soft = blurred(0.8)(CODES, CODES, FIRST)
    wanted = gaussian_filter(CODES.astype(float), (0, 0.8, 0.8, 0), truncate=6)
    inside = np.s_[:, 4:6, 4:6]
    assert_allclose(soft[inside], wanted[inside], atol=1e-4)
    ones = np.ones((1, 5, 7, 1), np.float32)
    assert_allclose(blurred(2.0)(ones, ones, FIRST), ones, rtol=1e-6)


def test_blur_of_no_width_and_blur_between_turns_do_nothing():
    assert_array_equal(blurred(0.0)(CODES, CODES, FIRST), CODES)
    assert_array_equal(blurred(1.0)(CODES, CODES, jnp.int32(3)), CODES)
    assert not np.array_equal(blurred(1.0)(CODES, CODES, jnp.int32(4)), CODES)


@pytest.mark.parametrize("percent", [0, 20, 50, 90])
def test_the_smallest_pixels_are_zeroed(percent):
    kept = np.asarray(without_small(percent)(CODES, CODES, FIRST))
    zeroed = (kept == 0).all(-1)
    assert (zeroed.sum((1, 2)) == percent).all()
    norm = np.linalg.norm(CODES, axis=-1)
    for one in range(2):
        lost = norm[one][zeroed[one]]
        assert lost.max(initial=0) <= norm[one][~zeroed[one]].min()


def test_the_pixels_that_a_linear_score_would_miss_least_are_zeroed():
    """For a linear score the contribution is exact: by how much it falls without the pixel."""
    gradient = np.float32(RNG.normal(size=CODES.shape))
    kept = np.asarray(without_unhelpful(90)(CODES, gradient, FIRST))
    contribution = (CODES * gradient).sum(-1)
    missed = np.abs(contribution).reshape(2, -1)
    for one in range(2):
        stays = np.flatnonzero((kept[one] != 0).any(-1))
        most = np.argsort(missed[one])[-10:]
        assert_array_equal(stays, np.sort(most))


def test_progress_raises_a_linear_score_by_its_gain_and_at_most_at_its_rate():
    gradient = CODES.copy()
    gradient[1] *= 1e-3
    move, _ = progress(2.0, 1.0).update(-gradient, None)
    gains = (np.asarray(move) * gradient).sum((1, 2, 3))
    assert_allclose(gains[0], 2.0, rtol=1e-5)
    assert_allclose(move[1], gradient[1], rtol=1e-5)  # at the rate 1
    still, _ = progress(2.0, 1.0).update(np.zeros_like(CODES), None)
    assert not np.asarray(still).any()
    constant, _ = progress(np.inf, 0.5).update(-gradient, None)
    assert_allclose(constant, 0.5 * gradient, rtol=1e-6)


def test_yosinski_s_four_sets():
    """The table of the authors' code."""
    rows = [tuple(recipe[:5]) for recipe in YOSINSKI]
    assert rows == [
        (0.0, 0.5, 50, 0, 500),
        (0.3, 0.0, 20, 0, 750),
        (1e-4, 1.0, 0, 0, 1000),
        (0.0, 0.5, 0, 90, 1000),
    ]
    assert [recipe.most for recipe in YOSINSKI] == [100, 100, 100, 1e8]
    assert [recipe.gain for recipe in YOSINSKI] == [2, np.inf, np.inf, 2]


def test_a_rate_in_levels_is_the_same_step_for_pixels_in_the_unit_range():
    """Levels move by 100 g; x / 255 has the gradient 255 g and moves by 100 g / 255."""
    gradient = CODES / 255
    move, _ = YOSINSKI[1].optimizer().update(-255 * gradient, None)
    assert_allclose(move, 100 * gradient / 255, rtol=1e-5)
