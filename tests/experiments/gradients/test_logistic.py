"""The logistic map against its known cycles, multipliers and densities."""

import math

import numpy as np
import pytest

from experiments.gradients import _logistic as logistic


def test_iterates_are_those_of_the_map():
    orbit = logistic.iterates(3.5, 4, start=0.2)
    expected = [0.2]
    for _ in range(3):
        expected.append(3.5 * expected[-1] * (1 - expected[-1]))
    np.testing.assert_allclose(orbit, expected)
    np.testing.assert_array_equal(logistic.iterates(3.5, 2, start=0.2, skip=2), orbit[2:])


def test_bifurcation_diagram_settles_on_the_known_cycles():
    orbit = logistic.iterates(np.array([0.8, 2.5, 3.2]), 10, skip=2000)
    assert orbit.shape == (10, 3)
    np.testing.assert_allclose(orbit[:, 0], 0, atol=1e-12)
    np.testing.assert_allclose(orbit[:, 1], 1 - 1 / 2.5)
    # The 2-cycle: (r + 1 +- sqrt((r - 3)(r + 1))) / 2r.
    pair = (4.2 + np.array([-1, 1]) * math.sqrt(0.2 * 4.2)) / 6.4
    np.testing.assert_allclose(np.sort(orbit[:2, 2]), pair)


def test_exponent_at_four_is_ln_2():
    assert float(logistic.exponent(4.0)) == pytest.approx(math.log(2), abs=1e-3)


def test_exponent_is_the_log_of_the_multiplier_on_a_cycle():
    # Fixed point: f' = 2 - r; 2-cycle: f' f' = 4 + 2 r - r^2.
    rates = np.array([1.7, 2.9, 3.1, 3.4])
    expected = [
        math.log(0.3),
        math.log(0.9),
        0.5 * math.log(abs(4 + 6.2 - 3.1**2)),
        0.5 * math.log(abs(4 + 6.8 - 3.4**2)),
    ]
    np.testing.assert_allclose(logistic.exponent(rates), expected, atol=1e-6)
    np.testing.assert_allclose(logistic.cycle_exponent(rates), expected)
    assert np.isnan(logistic.cycle_exponent([-0.5, 3.5])).all()
    assert logistic.cycle_exponent(2.0) == -np.inf


def test_exponent_at_four_does_not_depend_on_the_start():
    starts = [0.123, 0.777]
    found = [logistic.exponent(4.0, start=start) for start in starts]
    assert found[0] != found[1]
    np.testing.assert_allclose(found, math.log(2), atol=1e-3)


def test_bifurcation_density_counts_the_visits_of_the_orbit():
    rates = np.array([2.5, 3.2, 4.0])
    counts = logistic.bifurcation_density(rates, 50, 3000, skip=500)
    assert counts.shape == (50, 3)
    np.testing.assert_array_equal(counts.sum(0), 3000)
    np.testing.assert_array_equal((counts > 0).sum(0), [1, 2, 50])
    assert counts[:, 1].max() == 1500
    orbit = logistic.iterates(rates, 3000, skip=500)
    for column in range(3):
        expected, _ = np.histogram(orbit[:, column], 50, (0, 1))
        np.testing.assert_array_equal(counts[:, column], expected)
    # At r = 4 the invariant density is 1 / (pi sqrt(x (1 - x))).
    edges = np.linspace(0, 1, 51)
    expected = np.diff(2 / np.pi * np.arcsin(np.sqrt(edges)))
    np.testing.assert_allclose(counts[:, 2] / 3000, expected, atol=0.01)
