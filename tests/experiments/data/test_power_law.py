"""Fits of power laws by hand, and what they make of curves that are none."""

import numpy as np
import pytest

from experiments.data import _power_law as power_law

SIZES = (20, 40, 80, 160, 320, 640)
X = np.array(SIZES, np.float64)


def test_a_power_law_has_its_exponent_everywhere():
    errors = np.stack([3 * X**-0.5, 0.4 * X**-0.2])
    np.testing.assert_allclose(power_law.exponents(SIZES, errors), [-0.5, -0.2])
    np.testing.assert_allclose(power_law.bends(SIZES, errors), 0, atol=1e-12)
    np.testing.assert_allclose(power_law.misses(SIZES, errors, 4), 0, atol=1e-12)
    found = power_law.predicted(SIZES, errors, 3, [1000, 5000])
    np.testing.assert_allclose(found[0], [3 * 1000**-0.5, 3 * 5000**-0.5])


def test_two_power_laws_bend_where_they_meet():
    """Exponent -.5 up to the third of six sizes, -1 from the fourth on."""
    early = 3 * X**-0.5
    errors = np.where(X <= 80, early, early[2] * (X / 80) ** -1.0)[None]
    expected = -1.0 - (-0.5)
    np.testing.assert_allclose(power_law.bends(SIZES, errors), expected)
    miss = power_law.misses(SIZES, errors, 3)
    np.testing.assert_allclose(miss, -0.5 * np.log(640 / 80))


def test_the_middle_size_of_an_odd_number_is_in_both_halves():
    sizes = SIZES[:5]
    early = 3 * X[:5] ** -0.5
    errors = np.where(X[:5] <= 80, early, early[2] * (X[:5] / 80) ** -1.0)[None]
    np.testing.assert_allclose(power_law.bends(sizes, errors), -0.5)


def test_twice_the_error_of_a_power_law_is_a_share_of_the_images():
    reference = X**-0.5
    worth = power_law.worth(SIZES, 2 * reference, reference)
    np.testing.assert_allclose(worth[2:], 0.25)
    assert np.isnan(worth[:2]).all()  # the reference is never so bad
    np.testing.assert_allclose(power_law.worth(SIZES, reference, reference), 1)
    better = power_law.worth(SIZES, reference / 2, reference)
    np.testing.assert_allclose(better[:4], 4)
    assert np.isnan(better[4:]).all()


def test_no_error_is_zero():
    found = power_law.smoothed(np.array([0.0, 0.5, 1.0]), 99)
    np.testing.assert_allclose(found, [0.005, 0.5, 0.995])


@pytest.mark.parametrize("scale", [0.1, 7.0])
def test_an_exponent_does_not_depend_on_the_scale(scale):
    errors = np.random.default_rng(0).uniform(0.1, 0.9, (3, 6))
    found = power_law.exponents(SIZES, errors)
    np.testing.assert_allclose(power_law.exponents(SIZES, scale * errors), found)
