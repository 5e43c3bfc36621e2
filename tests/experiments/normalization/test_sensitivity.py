"""Usable ranges and steps to a target against curves whose answers are known."""

import numpy as np
import pytest

from experiments.normalization._rates import budget_of
from experiments.normalization._sensitivity import (
    first_crossing,
    quickest,
    steps_to_target,
    usable_range,
)

RATES = 10.0 ** np.arange(-4, 1)  # -4 ... 0


def v_shape(center, slope=0.1, floor=0.05):
    """Errors that rise by ``slope`` a decade on both sides of the best rate."""
    return floor + slope * np.abs(np.log10(RATES) - center)


def test_the_range_of_a_v_reaches_a_margin_over_its_slope_to_both_sides():
    error = np.stack([v_shape(-2), v_shape(-2, slope=0.2)])
    lowest, largest = usable_range(RATES, error, best=2, margin=0.05)
    np.testing.assert_allclose(lowest, [-2.5, -2.25])
    np.testing.assert_allclose(largest, [-1.5, -1.75])


def test_a_diverged_rate_ends_the_range_and_counts_as_an_error_of_one():
    error = np.array([[0.4, 0.2, 0.1, np.nan, 0.1]])  # what works again beyond it does not count
    lowest, largest = usable_range(RATES, error, best=2, margin=0.1)
    np.testing.assert_allclose(lowest, -3)
    np.testing.assert_allclose(largest, -2 + 0.1 / 0.9)


def test_a_range_that_leaves_the_grid_or_has_no_best_rate_is_not_known():
    error = np.stack([v_shape(-4), v_shape(0)])
    lowest, _ = usable_range(RATES, error[:1], best=0, margin=0.05)
    _, largest = usable_range(RATES, error[1:], best=4, margin=0.05)
    assert np.isnan([lowest, largest]).all()
    dead = np.array([[0.1, 0.1, np.nan, 0.1, 0.1]])
    assert np.isnan(usable_range(RATES, dead, best=2, margin=0.05)).all()


def test_margins_are_measured_from_the_rate_that_other_seeds_chose():
    """A seed whose own best rate is another has a wider range, not another center."""
    error = np.array([[0.9, 0.1, 0.2, 0.9, 0.9]])
    lowest, largest = usable_range(RATES, error, best=2, margin=0.1)
    np.testing.assert_allclose(lowest, -3 - 0.2 / 0.8)
    np.testing.assert_allclose(largest, -2 + 0.1 / 0.7)


def test_the_first_crossing_counts():
    x = np.arange(6.0)
    assert first_crossing(x, np.array([-1, -1, 1, -1, 1, 1.0])) == 1.5
    assert np.isnan(first_crossing(x, -np.ones(6)))
    assert np.isnan(first_crossing(x, np.ones(6)))


def test_steps_to_a_target_lie_between_two_evaluations():
    error = np.array([[0.9, 0.5, 0.1, 0.3], [0.9, 0.9, np.nan, np.nan], [0.9, 0.8, 0.7, 0.6]])
    found = steps_to_target(np.array([0, 10, 20, 30]), error, target=0.2)
    np.testing.assert_allclose(found[0], 17.5)
    assert np.isnan(found[1:]).all()


def test_the_quickest_rate_is_that_of_the_slowest_seed():
    steps = np.array([[5.0, 9.0, 30.0, np.nan], [np.nan, 12.0, 11.0, 1.0]])
    assert quickest(steps) == 1


@pytest.mark.parametrize("size", [8, 32, 100, 512])
def test_every_batch_size_sees_as_many_images_in_whole_periods(size):
    budget = budget_of(size, images=9600, most_steps=100)
    assert budget.steps % budget.period == budget.all_steps % budget.period == 0
    assert budget.all_steps >= 100
    assert 0.9 * 9600 < size * budget.steps <= 9600
