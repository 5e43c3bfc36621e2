"""Views of flat pictures: what they keep, their ranges, and that all of them are drawn apart."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.data import views as module
from jaxvision.data.views import PAPER, Views
from jaxvision.data.warps import Pose, warp

viewed = jax.jit(module.viewed, static_argnames="views")  # one program, as in a step

RNG = np.random.default_rng(0)
IMAGES = jnp.asarray(RNG.uniform(0.3, 0.7, (200, 7, 7, 1)), jnp.float32)


def draws(views, seed=0):
    return np.asarray(viewed(jax.random.key(seed), IMAGES, views))


def test_no_views_change_nothing():
    np.testing.assert_array_equal(draws(Views()), IMAGES)


def test_light_moves_all_pixels_of_an_image_alike():
    change = draws(Views(light=0.05)) - np.asarray(IMAGES)
    np.testing.assert_allclose(np.ptp(change, (1, 2, 3)), 0, atol=1e-6)
    assert 0.045 < np.abs(change).max() <= 0.05 + 1e-6
    assert change.min() < 0 < change.max()


def test_noise_has_a_deviation_of_its_own_for_each_image():
    spread = (draws(Views(noise=0.1)) - np.asarray(IMAGES)).std((1, 2, 3))
    assert abs(spread.mean() - 0.05) < 0.01
    assert spread.max() < 0.15


def test_the_least_uniform_number_is_finite_noise():
    """Infinite noise times a spread of 0 would be NaN in a picture that asks for none."""
    drawn = np.asarray(module._gaussian(jnp.float32([-1.0, -1 + 2**-22, 0.0])))
    assert np.isfinite(drawn).all()
    assert -6 < drawn[0] < drawn[1] < -5
    assert drawn[2] == 0


def test_one_scale_for_all_is_the_warp_s():
    scaled = draws(Views(smallest=1.3, largest=1.3))
    np.testing.assert_allclose(scaled, warp(IMAGES, Pose(scale=1.3)), atol=1e-6)


def test_shifts_and_turns_stay_within_their_ranges():
    """The middle of a bright spot moves by at most the shift, and a turn leaves it in place."""
    spot = jnp.zeros((200, 21, 21, 1)).at[:, 9:12, 9:12].set(1.0)
    moved = np.asarray(viewed(jax.random.key(1), spot, Views(turn=22.5, shift=0.1)))[..., 0]
    rows = np.arange(21) - 10
    down = (moved.sum(2) * rows).sum(1) / moved.sum((1, 2))
    assert 1.9 < np.abs(down).max() < 2.1 + 1e-3
    still = np.asarray(viewed(jax.random.key(1), spot, Views(turn=22.5)))[..., 0]
    np.testing.assert_allclose((still.sum(2) * rows).sum(1), 0, atol=1e-4)


def test_the_paper_s_views_are_legal_pictures_and_differ():
    one, other = draws(PAPER), draws(PAPER, 1)
    assert one.min() >= 0
    assert one.max() <= 1
    assert (np.abs(one - other).max((1, 2, 3)) > 0.05).all()
