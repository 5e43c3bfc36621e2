"""Adversarial training: what a step learns from, against formulas written out by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.adversarial import train
from jaxvision.random import stream
from jaxvision.training.optimizers import momentum_sgd
from jaxvision.training.step import Task, initial_state, train_step
from jaxvision.types import UserError

RATE = 0.5
EPSILON = 0.3


def linear(params, batch_stats, images, *, train, taps=None, dropout_key=None):
    del train, taps, dropout_key
    flat = images.reshape(len(images), -1)
    return flat @ params["kernel"] + params["bias"][None], {}, batch_stats


def pixels(images, key):
    del key
    return images.astype(jnp.float32) / 255


TASK = Task(
    linear,
    partial(momentum_sgd, 0.0),
    pixels,
    opponent=train.opponent(),
)
STEP = jax.jit(partial(train_step, TASK))


@pytest.fixture(scope="module")
def batch():
    """A net of 3 classes, and six images of 2 x 2 pixels, some of them at the ends of the box."""
    rng = np.random.default_rng(0)
    params = {
        "kernel": rng.normal(size=(4, 3)).astype(np.float32),
        "bias": rng.normal(size=3).astype(np.float32),
    }
    images = rng.choice([0, 10, 100, 200, 255], size=(6, 2, 2, 1)).astype(np.uint8)
    labels = np.int32([0, 1, 2, 0, 1, 2])
    return params, images, labels


def hyper(recipe):
    driven = recipe.hyper | {"learning_rate": RATE, "momentum": 0.0}
    return {name: np.float32(value) for name, value in driven.items()}


def stepped(batch, recipe):
    """Return what one step takes off the weights over the rate, its gradient, and its metrics."""
    params, images, labels = batch
    driven = hyper(recipe)
    state = initial_state(TASK, {"params": params, "batch_stats": {}}, driven)
    after, metrics = STEP(state, images, labels, driven, np.int32(7))
    return jax.tree.map(lambda a, b: (a - b) / RATE, params, after.params), metrics


def by_hand(params, x, labels):
    """Return loss, error, gradient in the weights and gradient in x of softmax regression."""
    logits = x @ params["kernel"] + params["bias"]
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    delta = p - np.eye(3)[labels]
    loss = -np.log(p[np.arange(len(x)), labels]).mean()
    weights = {"kernel": x.T @ delta / len(x), "bias": delta.mean(0)}
    return loss, (p.argmax(1) != labels).mean(), weights, delta @ params["kernel"].T


def flat(images):
    return images.reshape(len(images), -1) / 255


def expected(batch, against, clean):
    params, images, labels = batch
    here, there = (by_hand(params, x, labels) for x in (flat(images), against))
    mixed = jax.tree.map(
        lambda a, b: clean * a + (1 - clean) * b,
        here[2],
        there[2],
    )
    loss, error = (clean * here[i] + (1 - clean) * there[i] for i in (0, 1))
    return mixed, loss, error


def agrees(batch, recipe, against, clean=0.0):
    gradient, metrics = stepped(batch, recipe)
    wanted, loss, error = expected(batch, against, clean)
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    jax.tree.map(close, gradient, wanted)
    close(metrics["loss"], loss)
    close(metrics["error"], error)


def fast(batch, epsilon):
    params, images, labels = batch
    x = flat(images)
    return np.clip(
        x + epsilon * np.sign(by_hand(params, x, labels)[3]),
        0,
        1,
    )


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.9])
def test_a_step_lowers_the_mixed_objective(batch, alpha):
    """Its gradient is that at fixed images, which are those of the fast gradient sign method."""
    agrees(batch, train.mixed(EPSILON, alpha), fast(batch, EPSILON), alpha)


def test_training_on_fast_gradients_alone_is_the_mixture_without_clean_images(batch):
    assert train.fast_gradient(EPSILON) == train.mixed(EPSILON, 0.0)


def test_unopposed_steps_are_those_of_usual_training(batch):
    agrees(batch, train.unopposed(), flat(batch[1]), clean=1.0)


def test_no_radius_is_usual_training(batch):
    for recipe in (train.fast_gradient(0), train.projected(0), train.noise(0)):
        agrees(batch, recipe, flat(batch[1]))


def drawn(batch):
    key = stream(7, "attack", 0)
    return np.asarray(jax.random.uniform(key, batch[1].shape, minval=-1.0)).reshape(6, 4)


def test_noise_is_uniform_or_at_its_ends_and_stays_in_the_box(batch):
    x, noise = flat(batch[1]), drawn(batch)
    agrees(
        batch,
        train.noise(EPSILON),
        np.clip(x + EPSILON * noise, 0, 1),
    )
    ends = np.clip(x + EPSILON * np.sign(noise), 0, 1)
    agrees(batch, train.noise(EPSILON, corners=True), ends)


def test_a_random_start_takes_one_long_step_back_into_the_ball(batch):
    """Wong et al. 2020: start in U(-eps, eps), one step of 1.25 eps, project."""
    params, images, labels = batch
    x = flat(images)
    low, high = np.maximum(x - EPSILON, 0), np.minimum(x + EPSILON, 1)
    start = np.clip(x + EPSILON * drawn(batch), low, high)
    moved = start + 1.25 * EPSILON * np.sign(by_hand(params, start, labels)[3])
    agrees(batch, train.random_start(EPSILON), np.clip(moved, low, high))


def test_projected_gradient_ascent_of_three_steps(batch):
    params, images, labels = batch
    x = flat(images)
    low, high = np.maximum(x - EPSILON, 0), np.minimum(x + EPSILON, 1)
    at = np.clip(x + EPSILON * drawn(batch), low, high)
    for _ in range(3):
        stride = 2.5 / 3 * EPSILON
        at = np.clip(
            at + stride * np.sign(by_hand(params, at, labels)[3]),
            low,
            high,
        )
    agrees(batch, train.projected(EPSILON, 3), at)


def test_the_opponent_meets_the_net_as_it_is_evaluated(batch):
    """Batch norm's statistics stay those of clean training batches, and dropout is off."""
    modes = []

    def spied(
        params,
        batch_stats,
        images,
        *,
        train,
        taps=None,
        dropout_key=None,
    ):
        modes.append((train, dropout_key is None, len(images)))
        return linear(params, batch_stats, images, train=train)

    task = Task(
        spied,
        partial(momentum_sgd, 0.0),
        pixels,
        opponent=train.opponent(),
    )
    params, images, labels = batch
    driven = hyper(train.projected(EPSILON))
    state = initial_state(task, {"params": params, "batch_stats": {}}, driven)
    jax.eval_shape(
        partial(train_step, task),
        state,
        images,
        labels,
        driven,
        np.int32(0),
    )
    assert set(modes) == {(False, True, 6), (True, False, 12)}


@pytest.mark.parametrize("epsilon", [-0.1, float("nan"), 8.0])
def test_a_radius_in_another_unit_is_refused(epsilon):
    with pytest.raises(UserError, match=r"on \[0, 1\]: use 0 to 1, as in 8/255"):
        train.fast_gradient(epsilon)


def test_impossible_recipes_are_refused():
    with pytest.raises(UserError, match=r"alpha=1.5 is the share of images as they are"):
        train.mixed(EPSILON, 1.5)
    with pytest.raises(UserError, match="iterations=0: gradient ascent takes at least one"):
        train.projected(EPSILON, 0)
