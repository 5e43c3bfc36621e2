"""Trying every pixel: exact on nets whose best pixel is known."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.adversarial.api import attack
from jaxvision.adversarial.evolution import Budget, differential_evolution
from jaxvision.adversarial.pixels import cell_of, corner_pixels, corners, every_pixel
from jaxvision.types import UserError

SHAPE = (3, 4, 3)
CORNERS = corners(3)


def linear(weights):
    return lambda images: images.reshape(len(images), -1) @ weights


def constant(logit):
    return lambda images: jnp.full((len(images), 2), logit)


def tried(f, images, labels, values=CORNERS, pixels=1):
    """Return what ``every_pixel`` finds, compiled."""
    search = partial(every_pixel, f, values=values, pixels=pixels)
    return jax.jit(search)(images, labels)


@pytest.fixture(scope="module")
def problem():
    """A linear net of two classes, five images, and their labels: those it gives them."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(36, 2)).astype(np.float32)
    images = rng.uniform(size=(5, *SHAPE)).astype(np.float32)
    labels = (images.reshape(5, -1) @ weights).argmax(1).astype(np.int32)
    return weights, images, labels


def test_a_linear_net_s_best_pixel_goes_to_a_corner(problem):
    """The score gains max_p sum_c max(-d_pc x_pc, d_pc (1 - x_pc)) for a difference d of rows."""
    weights, images, labels = problem
    found = tried(linear(weights), images, labels)
    rows = np.arange(5)
    towards = (weights[:, 1 - labels] - weights[:, labels]).T.reshape(
        5,
        3,
        4,
        3,
    )
    gain = np.maximum(-towards * images, towards * (1 - images)).sum(-1)
    logits = images.reshape(5, -1) @ weights
    clean = logits[rows, 1 - labels] - logits[rows, labels]
    np.testing.assert_allclose(
        found.scores[:, 0],
        clean + gain.max((1, 2)),
        atol=1e-5,
    )
    assert found.result.norms.l0.tolist() == [1.0] * 5
    assert found.result.success.tolist() == (found.scores[:, 0] > 0).tolist()
    assert (found.result.forwards == 3 * 4 * 8 + 2).all()


def test_no_color_beats_the_corners_of_a_linear_net(problem):
    weights, images, labels = problem
    grid = np.float32(list(itertools.product((0.0, 0.3, 0.7, 1.0), repeat=3)))
    best = tried(linear(weights), images, labels).scores
    finer = tried(linear(weights), images, labels, grid).scores
    np.testing.assert_allclose(finer, best, atol=1e-6)


def test_flips_count_the_values_that_succeed_alone(problem):
    weights, images, labels = problem
    found = tried(linear(weights), images, labels)
    for image, label, flips in zip(images[:2], labels[:2], found.flips[:2], strict=True):
        for row, column in itertools.product(range(3), range(4)):
            changed = np.stack([image] * 8)
            changed[:, row, column] = corners(3)
            wrong = (changed.reshape(8, -1) @ weights).argmax(1) != label
            assert flips[row, column] == wrong.sum()


def test_more_pixels_never_do_less(problem):
    weights, images, labels = problem
    found = tried(linear(weights), images, labels, pixels=3)
    assert (np.diff(found.scores, axis=1) >= 0).all()
    assert (found.result.norms.l0 <= 3).all()


def test_a_net_that_hears_nothing_is_not_fooled():
    found = tried(
        constant(0.0),
        np.ones((2, *SHAPE), np.float32),
        np.zeros(2, np.int32),
    )
    assert not found.result.success.any()
    assert not np.isnan(found.scores).any()


def test_a_net_of_no_numbers_is_not_fooled():
    nothing = tried(
        constant(np.nan),
        np.ones((2, *SHAPE), np.float32),
        np.zeros(2, np.int32),
    )
    assert not nothing.result.success.any()
    assert (nothing.flips == 0).all()


def test_a_pixel_that_overflows_does_not_beat_one_that_succeeds():
    def overflowing(images):
        first, second = images[:, 0, 0, 0], images[:, 0, 1, 0]
        lead = jnp.where(first > 0.9, jnp.inf, 10 * second)
        return jnp.stack([jnp.full_like(lead, 5.0), lead], 1)

    gray, label = jnp.full((1, *SHAPE), 0.2), jnp.zeros(1, jnp.int32)
    found = tried(overflowing, gray, label)
    assert found.result.success.all()
    assert found.flips[0, 0, 0] == 0
    searched = partial(differential_evolution, overflowing, budget=Budget(20, 20))
    assert jax.jit(searched)(gray, label, jax.random.key(0)).success.all()


def test_places_fall_into_cells_of_one_size():
    """Field fault 21: of 32 cells the edges have 1/32 each, as the others; rounding gives 1/62.

    Field fault 22: of 10 cells on [0, 1], 1.0 is cell 9 and not 10.
    """
    places = jnp.linspace(0.0, 1.0, 32 * 100, endpoint=False)
    assert np.bincount(cell_of(places, 32)).tolist() == [100] * 32
    assert cell_of(jnp.float32(1.0), 32) == 31
    assert cell_of(jnp.float32([0.0, 0.95, 1.0]), 10).tolist() == [0, 9, 9]


def test_the_last_place_is_written_to():
    """Field fault 21: JAX drops a write at index 32 of 32 in silence, and -1 is the last row."""
    rows = jnp.zeros(32)
    assert rows.at[32].set(1.0).sum() == 0
    assert rows.at[cell_of(jnp.float32(1.0), 32)].set(1.0)[-1] == 1
    assert rows.at[cell_of(jnp.float32(-0.1), 32)].set(1.0)[0] == 1


@pytest.mark.parametrize(
    ("values", "pixels", "line"),
    [
        (corners(3), 0, "pixels=0: a pixel attack changes at least 1"),
        (corners(1), 1, "values are colors [V, 3] of a pixel, not [2, 1]"),
        (corners(3)[:0], 1, "values are colors [V, 3] of a pixel, not [0, 3]"),
    ],
)
def test_impossible_searches_are_refused_in_one_line(problem, values, pixels, line):
    weights, images, labels = problem
    with pytest.raises(UserError) as refused:
        every_pixel(linear(weights), images, labels, values, pixels)
    assert str(refused.value) == line


def test_the_public_call_takes_it(problem):
    weights, images, labels = problem
    f = linear(weights)
    found = attack(
        f,
        None,
        images,
        labels,
        method=corner_pixels,
        pixels=2,
    )
    assert found.norms.l0.max() == 2
    none = attack(
        f,
        None,
        images[:0],
        labels[:0],
        method=corner_pixels,
    )
    assert none.success.shape == (0,)
    assert none.images.shape == (0, *SHAPE)
