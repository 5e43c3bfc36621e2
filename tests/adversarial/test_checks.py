"""Checks: a broken attack and a masked net are caught, an honest one is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.adversarial import checks, gradient
from jaxvision.adversarial.aims import Aim
from jaxvision.adversarial.results import judged
from jaxvision.adversarial.threat import L2, LINF, norms
from tests.adversarial.linear_nets import affine

pgd = jax.jit(gradient.pgd, static_argnames=("f", "ball", "steps", "loss"))
noise = jax.jit(checks.noise, static_argnames=("f", "draws"))
equal_norm = jax.jit(checks.equal_norm, static_argnames="draws")

RNG = np.random.default_rng(2)
IMAGES = jnp.asarray(RNG.random((60, 16)), jnp.float32)
WEIGHTS = RNG.normal(size=(16, 4))
WEIGHTS -= WEIGHTS.mean(0)  # a gray image has no class
NET = affine(WEIGHTS, np.zeros(4))
LABELS = jnp.argmax(NET(IMAGES), 1).astype(jnp.int32)
EPS = jnp.float32([0.0, 0.02, 0.05, 0.1, 0.2])


def do_nothing(eps):
    def at(eps):
        return judged(
            NET,
            IMAGES,
            Aim(LABELS),
            IMAGES,
            0,
            0,
            0,
        )

    return jax.vmap(at)(eps) if jnp.ndim(eps) else at(eps)


def test_an_attack_that_does_nothing_fails():
    """It passes wherever the test is only that accuracy does not rise."""
    idle = do_nothing(EPS)
    assert checks.falls(idle.success).max() == 0  # so monotone is not enough
    honest = pgd(NET, IMAGES, LABELS, EPS, steps=10)
    flipped = noise(
        NET,
        jax.random.key(0),
        IMAGES,
        honest.norms.l2[-1],
        draws=8,
    )
    assert not bool(idle.success.any())
    assert honest.success[-1].mean() > 0.9
    assert honest.success[-1].mean() > flipped.best + 0.2
    unbounded = pgd(NET, IMAGES, LABELS, jnp.inf, steps=10)
    assert bool(unbounded.success.all())


def test_eps_0_and_monotone_and_audits():
    def attack(eps):
        return pgd(NET, IMAGES, LABELS, eps, steps=5)

    assert checks.identity_at_zero(attack, IMAGES)
    assert not checks.identity_at_zero(lambda eps: attack(eps + 1e-3), IMAGES)
    found = attack(EPS)
    np.testing.assert_array_equal(checks.falls(found.success), 0.0)
    np.testing.assert_allclose(checks.falls(found.success[::-1]).sum(), found.success[-1].mean())
    assert bool(checks.audited(LINF, IMAGES, found, EPS).passed.all())
    one = jax.tree.map(lambda leaf: leaf[3], found)
    assert not bool(checks.audited(LINF, IMAGES, one, EPS[2]).passed.any())


def test_noise_is_as_long_as_the_attack_s_perturbation_in_the_same_box():
    size = jnp.linspace(0.0, 1.0, 60)
    moved = equal_norm(
        jax.random.key(1),
        IMAGES,
        size,
        3,
    )
    np.testing.assert_allclose(
        jax.vmap(norms)(moved - IMAGES[None]).l2, np.tile(size, (3, 1)), atol=1e-4
    )
    assert bool(((moved >= 0) & (moved <= 1)).all())
    np.testing.assert_array_equal(moved[:, 0], np.tile(IMAGES[:1], (3, 1)))
    too_far = equal_norm(jax.random.key(2), IMAGES, jnp.full(60, 100.0), 1)[0]
    assert ((too_far == 0) | (too_far == 1)).mean() > 0.99


def test_noise_flips_a_linear_net_as_often_as_a_normal_variable_says():
    """A random direction of norm c sqrt(d) times the distance flips with Phi(-1/c), c = 1, 2, 3."""
    d = 100
    w = np.random.default_rng(0).normal(size=d)
    f = affine(np.stack([0 * w, w], 1), [0.0, -w.sum() / 2 - 0.02 * np.linalg.norm(w)])
    x = jnp.full((3 * 40, d), 0.5)
    size = jnp.repeat(jnp.float32([1.0, 2.0, 3.0]), 40) * np.sqrt(d) * 0.02
    found = noise(
        f,
        jax.random.key(3),
        x,
        size,
        draws=150,
    )
    flips = found.flipped.mean(0).reshape(3, 40).mean(1)
    np.testing.assert_allclose(flips, [0.159, 0.309, 0.369], atol=0.02)


def test_noise_of_no_images_flips_none():
    found = noise(lambda x: x[:, :4], jax.random.key(0), IMAGES[:0], jnp.zeros(0), draws=2)
    assert found.mean == 0
    assert found.best == 0


def test_no_answer_is_no_flip():
    """A net that breaks down off the clean images is not fooled by noise, nor by random search."""

    def broken(images):
        moved = jnp.abs(images - IMAGES).max(1, keepdims=True) > 0
        return jnp.where(moved, jnp.nan, NET(images))

    assert noise(broken, jax.random.key(0), IMAGES, jnp.ones(60), draws=2).mean == 0
    found = checks._random_search(broken, jax.random.key(1), IMAGES, LABELS, 0.1, LINF, 2)
    assert not found.any()


def seen(signs):
    return {sign.name for sign in signs if sign.seen}


def honest(ball, eps):
    return checks.masking_signs(
        NET, jax.random.key(0), IMAGES, LABELS, eps, ball=ball, steps=10, others=[NET], slack=0.05
    )


def test_an_honest_net_shows_no_sign():
    signs = honest(LINF, 0.05)
    assert seen(signs) == set()
    assert len(signs) == 8


@pytest.mark.slow
def test_an_honest_net_shows_no_sign_in_l2():
    signs = honest(L2, 0.2)
    assert seen(signs) == set()
    assert len(signs) == 7


def test_a_masked_net_shows_them():
    """Rounded inputs: the gradient is 0, and the net is as easy to break as before."""

    def masked(images):
        return NET(jnp.round(20 * images) / 20)

    labels = jnp.argmax(masked(IMAGES), 1).astype(jnp.int32)
    signs = checks.masking_signs(
        masked, jax.random.key(0), IMAGES, labels, 0.1, steps=10, others=[NET]
    )
    names = seen(signs)
    assert "gradients are 0 or no number" in names
    assert "transfer beats white box" in names
    assert "an unbounded attack fails" in names
