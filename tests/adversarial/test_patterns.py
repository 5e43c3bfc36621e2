"""Fixed patterns and draws that a universal perturbation must beat."""

import numpy as np

from jaxvision.adversarial import patterns
from jaxvision.random import stream


def test_patterns_are_of_one_size_and_what_their_names_say():
    found = patterns.structured((8, 6, 3))
    assert len(found) == 14
    for pattern in found.values():
        assert pattern.shape == (8, 6, 3)
        np.testing.assert_array_equal(np.abs(pattern), 1)
        gray = pattern[..., :1]
        np.testing.assert_array_equal(gray.repeat(3, axis=2), pattern)
    board = found["checkers 2"][..., 0]
    square = np.ones((2, 2))
    four = np.kron([[-1, 1], [1, -1]], square)
    np.testing.assert_array_equal(board[:4, :4], four)
    column = found["rows 1"][:, 0, 0]
    np.testing.assert_array_equal(column, 4 * [-1, 1])
    row = found["waves 01"][0, :, 0]
    np.testing.assert_array_equal(row, 3 * [1] + 3 * [-1])
    assert found["brighter"].min() == 1
    assert found["darker"].max() == -1


def test_random_signs_are_of_one_size_and_differ():
    found = patterns.random_signs(
        stream(0, "noise"),
        3,
        (8, 8, 1),
    )
    np.testing.assert_array_equal(np.abs(found), 1)
    assert abs(float(found.mean())) < 0.2
    assert not np.array_equal(found[0], found[1])
