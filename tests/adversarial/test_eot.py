"""Expectation over transformation: closed forms on a linear net, and plain PGD in a fixed pose."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxvision.adversarial import eot as over_poses
from jaxvision.adversarial import gradient
from jaxvision.adversarial.aims import log_odds_against
from jaxvision.adversarial.checks import audited
from jaxvision.adversarial.eot import answers
from jaxvision.adversarial.threat import L2, LINF, Ball
from tests.adversarial.linear_nets import two_class

CHOICES = ("f", "ball", "steps", "relative_step", "loss")  # of each a program
eot = jax.jit(over_poses.eot, static_argnames=(*CHOICES, "transform", "draws", "optimizer"))
pgd = jax.jit(gradient.pgd, static_argnames=CHOICES)

RNG = np.random.default_rng(0)
IMAGES = jnp.asarray(RNG.random((3, 4, 4, 1)), jnp.float32)
MAPS = jnp.asarray(RNG.normal(size=(5, 16, 16)), jnp.float32)
WEIGHTS = RNG.normal(size=16)
LINE = two_class(WEIGHTS)
ONES = jnp.ones(3, jnp.int32)


def linear(pictures, key):
    """Draw one of five linear maps for each picture."""
    which = jax.random.randint(key, (len(pictures),), 0, len(MAPS))
    flat = jnp.einsum("bij,bj->bi", MAPS[which], pictures.reshape(len(pictures), -1))
    return flat.reshape(pictures.shape)


def still(pictures, key):
    del key
    return pictures


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_linear_maps_of_a_linear_net_are_one_average_weight():
    """E[w.(A x)] = (E[A]^T w).x: the L2 ball's best point lies eps along that weight."""
    average = np.asarray(MAPS).mean(0).T @ WEIGHTS
    attack = jax.jit(
        lambda x: eot(
            LINE,
            linear,
            x,
            ONES,
            0.5,
            jax.random.key(0),
            ball=Ball("l2", box=None),
            steps=60,
            draws=256,
            targets=ONES,
            loss=log_odds_against,
        )
    )
    found = attack(IMAGES)
    moved = np.asarray(found.images - IMAGES).reshape(3, 16)
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), 0.5, rtol=1e-5)
    np.testing.assert_allclose(unit(moved) @ unit(average), 1.0, atol=2e-3)
    expected = np.asarray(IMAGES + 0.5 * unit(average).reshape(1, 4, 4, 1)).reshape(3, 16) @ average
    np.testing.assert_allclose(found.rise[-1], expected, rtol=0.15)


def test_one_step_climbs_the_mean_over_its_own_poses():
    key = jax.random.key(3)
    (step_key,) = jax.random.split(key, 1)
    poses = jax.random.split(step_key, 7)
    which = jnp.stack([jax.random.randint(pose, (3,), 0, len(MAPS)) for pose in poses])
    average = np.einsum("dbij,i->bj", np.asarray(MAPS)[np.asarray(which)], WEIGHTS) / 7
    sizes = {"ball": Ball("l2", box=None), "steps": 1, "draws": 7, "relative_step": 1.0}
    anew = jax.random.key(3)
    found = eot(LINE, linear, IMAGES, ONES, 0.5, anew, targets=ONES, loss=log_odds_against, **sizes)
    moved = np.asarray(found.images - IMAGES).reshape(3, 16)
    np.testing.assert_allclose(moved, 0.5 * unit(average), atol=1e-6)


@pytest.mark.parametrize("ball", [LINF, L2])
def test_a_fixed_transformation_is_plain_pgd(ball):
    """All sizes in one program. Steps that just reach the ball's edge make the last the best."""
    sizes = jnp.float32([0.0, 0.05, 0.2])
    asked = {
        "ball": ball,
        "steps": 10,
        "relative_step": 0.1,
        "targets": ONES,
        "loss": log_odds_against,
    }
    plain = pgd(LINE, IMAGES, ONES, sizes, **asked)
    found = eot(LINE, still, IMAGES, ONES, sizes, jax.random.key(0), draws=3, **asked)
    np.testing.assert_array_equal(plain.best_step[1:], 10)
    np.testing.assert_allclose(found.images, plain.images, atol=1e-6)
    np.testing.assert_array_equal(found.images[0], IMAGES)
    moved = plain._replace(images=found.images)
    assert audited(ball, IMAGES, moved, sizes).passed.all()


def test_every_picture_may_have_a_size_of_its_own():
    own = jnp.float32([0.05, 0.2, 0.1])
    asked = {"ball": L2, "steps": 10, "targets": ONES, "loss": log_odds_against, "draws": 3}
    found = eot(LINE, linear, IMAGES, ONES, own[None], jax.random.key(0), **asked)
    shared = eot(LINE, linear, IMAGES, ONES, own, jax.random.key(0), **asked)
    for row in range(3):
        np.testing.assert_allclose(found.images[0, row], shared.images[row, row], atol=1e-6)
    assert (found.norms.l2[0] <= 1.0001 * own).all() and (found.norms.l2[0] > 0.9 * own).all()


def test_fresh_poses_tell_an_attack_from_doing_nothing():
    """Held-out answers: the attack leads to the target, the pictures as they are do not."""
    labels, targets = jnp.zeros(3, jnp.int32), ONES
    pictures = 0.1 * IMAGES
    moved = eot(
        LINE,
        linear,
        pictures,
        labels,
        jnp.float32([0.0, jnp.inf]),
        jax.random.key(0),
        ball=L2,
        steps=30,
        targets=targets,
    )
    rates = [
        np.mean(answers(LINE, linear, images, jax.random.key(9), 200) == targets[None])
        for images in moved.images
    ]
    assert rates[1] > rates[0] + 0.2
    assert moved.reached.shape == (2, 30, 3)


def test_an_optimizer_steps_by_the_gradient():
    """SGD of rate 5 on a linear net moves by 5 times the weight, cut off by the box alone."""
    found = eot(
        LINE,
        still,
        IMAGES,
        ONES,
        jnp.inf,
        jax.random.key(0),
        ball=L2,
        steps=1,
        draws=4,
        optimizer=optax.sgd(5.0),
        targets=ONES,
        loss=log_odds_against,
    )
    expected = np.clip(np.asarray(IMAGES) + 5 * np.float32(WEIGHTS).reshape(1, 4, 4, 1), 0, 1)
    np.testing.assert_allclose(found.images, expected, atol=1e-6)
