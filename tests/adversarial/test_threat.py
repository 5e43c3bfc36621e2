"""Threat balls: projections against closed forms, random starts inside, audits that catch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxvision.adversarial.threat import Ball, eight_bits, norms, steepest

NORMS = ("l0", "l1", "l2", "linf")
RNG = np.random.default_rng(0)
IMAGES = jnp.asarray(RNG.random((6, 4, 4, 3)), jnp.float32)
MOVED = IMAGES + jnp.asarray(RNG.normal(size=IMAGES.shape), jnp.float32)


def test_an_l2_ball_is_round():
    """Field fault 13: clipped coordinate by coordinate it reaches 55.4 eps at 3,072 pixels."""
    ball = Ball("l2", box=None)
    zero, far = jnp.zeros((1, 2)), jnp.float32([[3.0, 4.0]])
    np.testing.assert_array_equal(ball.project(zero, far, 10.0), far)
    np.testing.assert_allclose(
        ball.project(zero, far, 1.0),
        [[0.6, 0.8]],
        rtol=1e-6,
    )
    cube = jnp.ones((1, 32, 32, 3))
    np.testing.assert_allclose(norms(cube).l2, 55.4256, rtol=1e-5)
    inside = ball.project(jnp.zeros_like(cube), cube, 1.0)
    np.testing.assert_allclose(norms(inside).l2, 1.0, rtol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_the_box_never_leads_out_of_the_ball(norm):
    ball = Ball(norm)
    project = jax.jit(ball.project)
    for eps in (0.0, 1e-3, 0.3, 2.0, 7.0):
        inside = project(IMAGES, MOVED, jnp.float32(eps))
        assert bool(ball.audit(IMAGES, inside, eps).passed.all())
        again = project(IMAGES, inside, jnp.float32(eps))
        np.testing.assert_allclose(again, inside, atol=1e-5)
    np.testing.assert_array_equal(project(IMAGES, MOVED, jnp.float32(0.0)), IMAGES)


ONTO_L1 = jax.jit(Ball("l1", box=None).project)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), eps=st.floats(0.05, 3.0))
def test_the_l1_projection_is_the_nearest_point(seed, eps):
    """Its conditions: one threshold off every entry, their sum eps."""
    rng = np.random.default_rng(seed)
    moved = np.float32(rng.normal(size=(1, 8)))
    found = np.asarray(ONTO_L1(np.zeros((1, 8), np.float32), moved, np.float32(eps)))
    if np.abs(moved).sum() <= eps:
        np.testing.assert_array_equal(found, moved)
        return
    np.testing.assert_allclose(
        np.abs(found).sum(),
        eps,
        rtol=1e-4,
    )
    kept = found != 0
    off = np.abs(moved - found)
    np.testing.assert_allclose(
        off[kept],
        off[kept].max(),
        atol=1e-5,
    )
    assert (np.abs(moved)[~kept] <= off[kept].max() + 1e-5).all()


def test_an_l0_ball_counts_pixels_whatever_their_channels():
    moved = IMAGES.at[:, 0, 0, 1].set(0.0).at[:, 2, 1].set(1.0)
    np.testing.assert_array_equal(norms(moved - IMAGES).l0, 2)
    one = Ball("l0").project(IMAGES, moved, 1.0)
    np.testing.assert_array_equal(norms(one - IMAGES).l0, 1)


@pytest.mark.parametrize("norm", NORMS)
def test_random_starts_fill_the_ball(norm):
    """Uniform: in d dimensions the radius over eps has mean d / (d + 1)."""
    ball = Ball(norm, box=None)
    images = jnp.full((2000, 5), 0.5)
    eps = 3.0 if norm == "l0" else 0.2
    starts = jax.jit(ball.random_start)(
        jax.random.key(0),
        images,
        jnp.float32(eps),
    )
    sizes = ball.size(starts - images)
    assert bool(ball.audit(images, starts, eps).passed.all())
    if norm == "l0":
        np.testing.assert_array_equal(sizes, 3)
    else:
        np.testing.assert_allclose(
            sizes.mean() / eps,
            5 / 6,
            atol=0.01,
        )
        np.testing.assert_allclose(
            (starts - images).mean(),
            0.0,
            atol=0.01,
        )


@pytest.mark.parametrize("norm", NORMS)
def test_random_starts_keep_the_images_type_in_double_precision(norm):
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        starts = Ball(norm).random_start(jax.random.key(0), IMAGES, jnp.float32(0.1))
    assert starts.dtype == IMAGES.dtype


def test_the_audit_knows_how_float32_rounds():
    """Field fault 15: x + 8/255 - x exceeds 8/255 by up to 6e-8, at 40 of 256 levels."""
    levels = np.float32(np.arange(256) / 255)[:, None]
    eps = np.float32(8 / 255)
    excess = levels + eps - levels - eps
    assert 0 < excess.max() < 6.1e-8
    assert (excess > 0).sum() == 40
    ball = Ball(box=None)
    assert bool(ball.audit(levels, levels + eps, eps).passed.all())
    assert not bool(ball.audit(levels, levels + eps + 1e-6, eps).passed.any())


def test_the_audit_catches_what_is_wrong():
    ball = Ball("linf")
    outside = ball.audit(
        IMAGES,
        IMAGES.at[0, 0, 0, 0].set(1.01),
        2.0,
    )
    np.testing.assert_array_equal(outside.in_box, [False] + 5 * [True])
    missing = ball.audit(
        IMAGES,
        IMAGES.at[1, 0, 0, 0].set(jnp.nan),
        2.0,
    )
    assert not bool(missing.passed[1])
    far = ball.audit(
        IMAGES,
        jnp.clip(IMAGES + 0.3, 0, 1),
        0.1,
    )
    np.testing.assert_array_equal(far.in_ball, False)
    assert bool(far.in_box.all())


def test_8_bits_round_towards_the_image():
    """.031 is 7.905 levels: 7, and the ball is kept; whole levels stay as they are."""
    images = jnp.round(255 * IMAGES[:2] * 0.9) / 255
    saved = eight_bits(images, images + jnp.float32(0.031))
    np.testing.assert_allclose(255 * (saved - images), 7.0, atol=1e-3)
    back = eight_bits(images, images - jnp.float32(8 / 255))
    np.testing.assert_allclose(255 * (images - back), 8.0, atol=1e-3)


def test_rounding_noise_drowns_small_perturbations():
    """Rounding to levels has an L2 norm of .0627 at 3,072 pixels: sqrt(3072 / 12) / 255."""
    x = jnp.asarray(RNG.random((4, 32, 32, 3)), jnp.float32)
    noise = norms(jnp.round(255 * x) / 255 - x).l2
    np.testing.assert_allclose(noise, 0.0627, rtol=0.03)


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_the_steepest_step_reaches_the_dual_norm(norm):
    dual = {"l1": "linf", "l2": "l2", "linf": "l1"}[norm]
    gradient = (MOVED - IMAGES).at[0].set(0.0)
    step = steepest(norm, gradient)
    gain = (step * gradient).reshape(6, -1).sum(1)
    np.testing.assert_allclose(
        gain,
        norms(gradient)._asdict()[dual],
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        norms(step)._asdict()[norm][1:],
        1.0,
        rtol=1e-5,
    )
    np.testing.assert_array_equal(step[0], 0.0)
    tiny = steepest("l2", 1e-30 * gradient)
    np.testing.assert_allclose(
        norms(tiny).l2[1:],
        1.0,
        rtol=1e-5,
    )
