"""The verdicts of transposed_convolution follow the science: broken on purpose, they change."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.generating import _enlarging as enlarging
from experiments.generating import transposed_convolution as experiment
from experiments.generating.transposed_convolution import WAYS, Way
from jaxvision.conv_transpose import conv_transpose2d
from jaxvision.progress import silent
from tests.experiments.breaking.verdicts import verdicts

CONFIG = dataclasses.replace(experiment.PRESETS["tiny"], seeds=5, first_seed=100, channels=32)
BROKEN = {
    "k3": Way("transposed", 3, enlarging.turned),
    "k5": Way("transposed", 4),
    "resized5": Way("resized first", 5),
    "twice": Way("transposed, two layers", 4, layers=2),
}


def test_a_turned_kernel_other_kernels_and_no_resizing_are_found_out():
    found = verdicts(experiment, CONFIG, *experiment.measure(CONFIG, silent, WAYS | BROKEN))
    for name in ("matrix", "gradient", "checkers-5", "resized-5", "twice", "twice-all"):
        assert found[name] == "contradicted", name
    assert found["no-inverse"] == "reproduced"
    assert "contradicted" not in (found["checkers-3"], found["checkers-7"], found["resized-3"])


@pytest.mark.parametrize(("kernel", "layers"), [(3, 1), (5, 1), (4, 1), (5, 2), (3, 2)])
def test_the_law_counts_overlaps(kernel, layers):
    """Power adds up like kernels of ones do; the middle cell is far from the border."""
    counts = jnp.ones((1, 12, 12, 1))
    for _ in range(layers):
        counts = conv_transpose2d(counts, jnp.ones((kernel, kernel, 1, 1)), 2)
    period = 2**layers
    middle = slice(6 * period, 7 * period)
    cell = np.asarray(counts)[0, middle, middle, 0]
    np.testing.assert_allclose(enlarging.law(kernel, layers), cell / cell.mean(), rtol=1e-6)


@pytest.mark.parametrize(
    ("kernel", "ratio"), [(2, 1), (3, 4), (4, 1), (5, 9 / 4), (6, 1), (7, 16 / 9)]
)
def test_unevenness_is_that_of_the_law(kernel, ratio):
    law = enlarging.law(kernel)
    assert enlarging.unevenness(kernel) == pytest.approx(ratio)
    assert law.max() / law.min() == pytest.approx(ratio)


def test_an_invertible_matrix_is_no_inverse_of_its_transpose_unless_orthogonal():
    images = np.eye(3, dtype=np.float32)
    orthogonal = 2 * np.float32([[0, 1, 0], [0, 0, 1], [1, 0, 0]])
    assert enlarging.least_error(orthogonal, images) == pytest.approx(0, abs=1e-3)
    stretched = np.diag(np.float32([1, 1, 3]))
    assert enlarging.least_error(stretched, np.ones((1, 3), np.float32)) > 0.5


def test_an_even_law_is_held_against_the_most_uneven_phases():
    phases = np.tile(np.array([[1.0, 2.0], [2.0, 1.0]]), (5, 1, 1))
    even = np.ones((2, 2)) / 4
    np.testing.assert_allclose(enlarging.fullest_over_emptiest(phases, even), 2.0)
    noise = np.random.default_rng(0).normal(1, 0.1, (400, 2, 2))
    assert enlarging.fullest_over_emptiest(noise, even).mean() == pytest.approx(1, abs=0.04)
