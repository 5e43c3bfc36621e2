"""The smallest perturbation in the box: scipy as the oracle, both objectives, algebra."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from jaxvision.adversarial.aims import Aim
from jaxvision.adversarial.min_norm import min_norm, minimize
from tests.adversarial.linear_nets import nearest_in_box, nearest_linf_in_box, two_class

RNG = np.random.default_rng(7)
IMAGES = RNG.random((12, 16))
WEIGHTS = RNG.normal(size=16)
LINE = two_class(WEIGHTS, -WEIGHTS.sum() / 2)
SCORES = (IMAGES - 0.5) @ WEIGHTS
LABELS = jnp.asarray(SCORES > 0, jnp.int32)
X = jnp.asarray(IMAGES, jnp.float32)


def exact(x, score):
    """Return the smallest step in the box across the boundary, by bisection of its length."""
    towards = -np.sign(score) * WEIGHTS

    def step(t):
        return np.clip(x + t * towards, 0, 1) - x

    far = optimize.brentq(
        lambda t: WEIGHTS @ step(t) + score,
        0,
        10,
        xtol=1e-15,
    )
    return step(far)


def filled(x, downhill, gap):
    """Return the smallest Linf size in the box across the boundary: every pixel goes so far."""
    room = np.where(downhill > 0, x, 1 - x)

    def missing(size):
        fall = np.abs(downhill) @ np.minimum(size, room)
        return fall - gap

    return optimize.brentq(missing, 0, 1, xtol=1e-15)


def test_closed_forms_with_the_box_equal_slsqp_and_linear_programs():
    """clip(x - t w, 0, 1) - x in L2, water filling in Linf, to 1e-9."""
    longer = []
    for x, score in zip(IMAGES, SCORES, strict=True):
        downhill = np.sign(score) * WEIGHTS
        gap = abs(score)
        size = np.linalg.norm(exact(x, score))
        oracle = nearest_in_box(x, downhill, gap)
        np.testing.assert_allclose(size, np.linalg.norm(oracle), atol=1e-9)
        linear_program = nearest_linf_in_box(x, downhill, gap)
        np.testing.assert_allclose(filled(x, downhill, gap), linear_program, atol=1e-9)
        without_box = gap / np.linalg.norm(WEIGHTS)
        assert size >= without_box - 1e-12
        longer.append(size / without_box)
    assert max(longer) > 1.01  # the box is in the way


@pytest.mark.parametrize("penalty", ["norm", "squared"])
def test_both_objectives_find_the_nearest_image_of_a_linear_net(penalty):
    """Field fault 23: within 1 % of the closed form, each by its own work, and not below it."""
    found = jax.jit(lambda x, y: min_norm(LINE, x, y, penalty=penalty))(X, LABELS)
    nearest = np.array([np.linalg.norm(exact(*each)) for each in zip(IMAGES, SCORES, strict=True)])
    assert bool(found.success.all())
    ratio = np.asarray(found.norms.l2) / nearest
    assert ratio.min() > 0.9999
    assert ratio.max() < 1.01
    assert bool(((found.images >= 0) & (found.images <= 1)).all())


def test_a_target_costs_more_than_any_class():
    weights, bias = RNG.normal(size=(16, 5)), RNG.normal(size=5)

    def f(images):
        return images @ jnp.asarray(weights, jnp.float32) + jnp.asarray(bias, jnp.float32)[None]

    labels = jnp.argmax(f(X), 1).astype(jnp.int32)
    targets = (labels + 2) % 5
    attack = jax.jit(lambda t: min_norm(f, X, labels, targets=t))
    aimed = attack(targets)
    anywhere = jax.jit(lambda: min_norm(f, X, labels))()
    np.testing.assert_array_equal(aimed.predictions[aimed.success], targets[aimed.success])
    assert aimed.success.mean() > 0.9
    both = np.asarray(aimed.success)
    assert (aimed.norms.l2[both] >= anywhere.norms.l2[both] * 0.99).all()
    assert aimed.norms.l2[both].mean() > 1.2 * anywhere.norms.l2[both].mean()


def test_the_lagrangian_of_a_linear_loss_ends_at_the_gradient_over_2_lambda():
    """Delta = g / (2 lambda), where the box is far."""
    x = jnp.full((1, 16), 0.5)
    weights = jnp.asarray(WEIGHTS, jnp.float32)
    size = jnp.float32([20.0])
    found = minimize(
        LINE, x, Aim(jnp.zeros(1, jnp.int32)), size, x, "squared", steps=400, learning_rate=0.02
    )
    np.testing.assert_allclose(
        found.last - x,
        (weights / 40)[None],
        atol=1e-4,
    )


def test_szegedy_s_objective_agrees_with_scipy_s_l_bfgs_b():
    """Szegedy's c |r| + cross-entropy at one c, over the box."""
    x, c = IMAGES[:1], 0.3 * np.linalg.norm(WEIGHTS)
    label = int(LABELS[0])
    sign = 1 if label else -1

    def cost(z):
        r, gap = z - x[0], sign * ((z - 0.5) @ WEIGHTS)
        size = np.sqrt(r @ r + 1e-12)
        share = 1 / (1 + np.exp(-gap))
        return c * size + np.logaddexp(0, gap), c * r / size + share * sign * WEIGHTS

    oracle = optimize.minimize(
        cost, x[0] - 0.01 * sign * WEIGHTS, jac=True, bounds=16 * [(0, 1)], method="L-BFGS-B"
    )
    found = minimize(
        LINE, X[:1], Aim(LABELS[:1]), jnp.float32([c]), X[:1], "norm", steps=400, learning_rate=0.02
    )
    ours = cost(np.asarray(found.last[0], np.float64))[0]
    np.testing.assert_allclose(ours, oracle.fun, rtol=1e-4)


def test_what_cannot_be_moved_is_said():
    def stubborn(images):
        return jnp.tile(jnp.float32([[5.0, 0.0]]), (len(images), 1)) + 0 * images[:, :2]

    def briefly(f, labels):
        return jax.jit(partial(min_norm, f, bisections=2, steps=3))(X, labels)

    found = briefly(stubborn, jnp.zeros(12, jnp.int32))
    assert not bool(found.success.any())
    wrong = briefly(LINE, 1 - LABELS)
    assert bool(wrong.success.all())
    np.testing.assert_array_equal(wrong.norms.l2, 0.0)


def test_an_overflow_on_the_way_is_no_success():
    def overflowing(images):
        mean = images.mean(1)
        lead = jnp.where((mean > 0.205) & (mean < 0.225), jnp.inf, 20 * mean)
        return jnp.stack([jnp.full_like(mean, 5.0), lead], 1)

    gray, label = jnp.full((1, 16), 0.2), jnp.zeros(1, jnp.int32)
    found = jax.jit(partial(min_norm, overflowing, bisections=4, steps=20))(gray, label)
    assert bool(found.success.all())
    np.testing.assert_allclose(found.images, 0.25, atol=0.02)
