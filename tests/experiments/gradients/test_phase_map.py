"""The edge of what trains, found on grids whose answer is known."""

import numpy as np

from experiments.gradients import _phase_map as phase_map

DEPTHS = [8, 16, 32, 64]


def test_the_edge_lies_between_the_last_that_trains_and_the_next():
    trains = np.array([[True, True, False, False], [True, True, True, False]])
    edge, above, below = phase_map.edges(trains, DEPTHS)
    np.testing.assert_allclose(edge, [4.5, 5.5])
    assert not above.any()
    assert not below.any()


def test_an_edge_beyond_the_grid_is_a_bound():
    edge, above, below = phase_map.edges(np.array([[True] * 4, [False] * 4]), DEPTHS)
    np.testing.assert_allclose(edge, [6, 3])
    np.testing.assert_array_equal(above, [True, False])
    np.testing.assert_array_equal(below, [False, True])


def test_a_net_that_trains_beyond_one_that_fails_does_not_count():
    edge, *_ = phase_map.edges(np.array([True, False, True, True]), DEPTHS)
    assert edge == 3.5
