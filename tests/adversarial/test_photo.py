"""Photographs: stages that do nothing at rest, closed forms of each, and draws from one key."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import runtime
from jaxvision.adversarial import photo
from jaxvision.adversarial.photo import OFFICE, STAGES, at_rest, draw, photograph
from jaxvision.types import UserError

RNG = np.random.default_rng(0)
SHAPE = (4, 12, 10, 3)
IMAGES = RNG.uniform(size=SHAPE).astype(np.float32)
IMAGES[0, :3], IMAGES[1, :3] = 0, 1

taken = runtime.jit(photograph, static_argnames=("stages", "camera"))


@pytest.fixture(scope="module")
def shots():
    return draw(jax.random.key(0), SHAPE)


def test_at_rest_no_stage_changes_a_bit():
    """But for the file: it has no parameter that does nothing."""
    stages = tuple(stage for stage in STAGES if stage not in ("jpeg", "bits"))
    np.testing.assert_array_equal(taken(IMAGES, at_rest(SHAPE), stages=stages), IMAGES)
    np.testing.assert_array_equal(photograph(IMAGES, at_rest(SHAPE), stages=()), IMAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_is_a_switch(shots, stage):
    alone = taken(IMAGES, shots, stages=(stage,))
    assert np.abs(alone - IMAGES).max() > 1e-3
    assert alone.min() >= 0
    assert alone.max() <= 1


def test_stages_happen_in_their_own_order(shots):
    forward = taken(IMAGES, shots, stages=("print", "blur", "bits"))
    backward = taken(IMAGES, shots, stages=("bits", "blur", "print"))
    np.testing.assert_array_equal(forward, backward)


def test_a_stage_that_there_is_not_is_refused(shots):
    with pytest.raises(ValueError, match=r"no stage \['flash'\]: there are print, warp"):
        photograph(IMAGES, shots, stages=("flash",))


def test_ink_takes_black_to_the_lift_and_white_to_the_gain(shots):
    for level, expected in ((0.0, shots.lift[:, None]), (1.0, shots.gain)):
        ink = photo.printed(jnp.full(SHAPE, level), shots)
        expected = np.broadcast_to(np.asarray(expected)[:, None, None], SHAPE)
        np.testing.assert_allclose(ink, expected, atol=1e-6)


def test_a_blur_keeps_constants_and_squares_add_up():
    """Two Gaussians after one another are one whose variance is the sum."""
    gray = jnp.full((1, 5, 6, 1), 0.3)
    np.testing.assert_allclose(photo.blurred(gray, jnp.array([0.8])), 0.3, atol=1e-6)
    dot = jnp.zeros((1, 25, 25, 1)).at[0, 12, 12].set(1.0)
    spread = np.asarray(photo.blurred(dot, jnp.array([0.8])))[0, ..., 0]
    np.testing.assert_allclose(spread.sum(), 1, atol=1e-6)
    away = np.square(np.arange(25) - 12)
    np.testing.assert_allclose(spread.sum(1) @ away, 0.64, rtol=0.01)
    np.testing.assert_allclose(spread, spread.T, atol=1e-7)


def test_a_lamp_is_a_plane_of_light():
    shots = at_rest((1, 5, 9, 3))
    shots = shots._replace(
        slope=jnp.array([[0.1, -0.06]]),
        balance=jnp.array([[1.0, 0.96, 1.03]]),
    )
    light = 2 * np.asarray(photo.lit(jnp.full((1, 5, 9, 3), 0.5), shots))[0]
    np.testing.assert_allclose(light[2, 4], [1, 0.96, 1.03], atol=1e-6)
    np.testing.assert_allclose(light[2, 8, 0] - light[2, 0, 0], 0.2, atol=1e-6)
    np.testing.assert_allclose(light[4, 4, 0] - light[0, 4, 0], -0.12, atol=1e-6)


@pytest.mark.parametrize("level", [0.2, 0.7])
def test_the_noise_has_the_variance_of_photons_and_reading(level):
    shape = (1, 200, 200, 1)
    shots = draw(jax.random.key(1), shape)
    noisy = photo.sensed(jnp.full(shape, level), shots)
    np.testing.assert_allclose(noisy.mean(), level, atol=5e-4)
    np.testing.assert_allclose(noisy.var(), 5e-4 * level + 1e-4, rtol=0.03)


def test_the_sensor_has_256_levels():
    levels = 255 * np.asarray(photograph(IMAGES, at_rest(SHAPE), stages=("bits",)))
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-4)
    np.testing.assert_allclose(levels, 255 * IMAGES, atol=0.501)


def test_parameters_are_drawn_from_the_camera_s_ranges():
    many = draw(jax.random.key(2), (4000, 9, 12, 3))
    ranges = {"gain": OFFICE.gain, "lift": OFFICE.lift, "gamma": OFFICE.gamma, "blur": OFFICE.blur}
    ranges |= {"corners": (-0.03, 0.03), "slope": (-0.1, 0.1), "balance": (0.95, 1.05)}
    for name, (low, high) in ranges.items():
        drawn = np.asarray(getattr(many, name))
        assert low <= drawn.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < drawn.max() <= high
        np.testing.assert_allclose(drawn.mean(), (low + high) / 2, atol=0.02 * (high - low))
    assert set(np.unique(many.quality)) == set(range(75, 96))
    sides = np.float32([11, 8])
    np.testing.assert_allclose(np.abs(np.asarray(many.missed) * sides).max(), 0.5, atol=1e-3)


def test_a_photograph_is_a_function_of_its_key(shots):
    again = draw(jax.random.key(0), SHAPE)
    other = draw(jax.random.key(7), SHAPE)
    np.testing.assert_array_equal(taken(IMAGES, shots), taken(IMAGES, again))
    assert np.abs(taken(IMAGES, shots) - taken(IMAGES, other)).max() > 0.01


def test_the_gradient_goes_through_every_stage(shots):
    def brightness(images):
        return photograph(images, shots).sum()

    gradient = jax.jit(jax.grad(brightness))(IMAGES)
    assert np.isfinite(gradient).all()
    step = 0.05
    brighter = taken(np.clip(IMAGES + step, 0, 1), shots).sum() - taken(IMAGES, shots).sum()
    along = (gradient * (np.clip(IMAGES + step, 0, 1) - IMAGES)).sum()
    np.testing.assert_allclose(along, brighter, rtol=0.2)


def test_a_camera_that_cannot_be_is_one_line():
    with pytest.raises(UserError, match=r"whole numbers from 1 to 100$"):
        dataclasses.replace(OFFICE, quality=(0, 90))
    with pytest.raises(UserError, match=r"blurs by at most 1 pixels, not \(0.5, 2.0\)$"):
        dataclasses.replace(OFFICE, blur=(0.5, 2.0))
