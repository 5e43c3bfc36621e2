"""Cross entropy against float64 and closed forms; a task's own loss where training uses it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxvision.training.losses import cross_entropy, smoothed_cross_entropy


@pytest.mark.parametrize("offset", [0.0, 1e4, 1e8, -1e8, 1e30])
def test_equal_logits_give_the_logarithm_of_their_number_at_any_offset(offset):
    logits = jnp.full((3, 5), offset, jnp.float32)
    found = cross_entropy(logits, jnp.array([0, 2, 4]))
    np.testing.assert_allclose(found, np.log(5), rtol=1e-6)


@pytest.mark.parametrize("offset", [0.0, 2.0**24])
def test_it_is_the_textbook_s_in_float64(offset):
    rng = np.random.default_rng(0)
    # Whole numbers, so that float32 holds them beside the offset too.
    logits = rng.integers(-20, 20, (4, 6, 10)) * 2.0 + offset
    labels = rng.integers(0, 10, (4, 6))
    p = np.exp(logits - offset) / np.exp(logits - offset).sum(-1, keepdims=True)
    wanted = -np.log(np.take_along_axis(p, labels[..., None], -1)[..., 0])
    found = cross_entropy(jnp.asarray(logits, jnp.float32), jnp.asarray(labels))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)


def test_its_gradient_is_optax_s_to_the_bit():
    """So the weights of every record are what they were."""
    rng = np.random.default_rng(1)
    logits = jnp.asarray(rng.normal(0, 4, (64, 10)), jnp.float32)
    labels = jnp.asarray(rng.integers(0, 10, 64))

    def gradient(loss):
        return jax.jit(jax.grad(lambda x: loss(x, labels).mean()))(logits)

    wanted = gradient(optax.softmax_cross_entropy_with_integer_labels)
    np.testing.assert_array_equal(gradient(cross_entropy), wanted)


def test_smoothed_labels_are_a_distribution_and_the_least_loss_is_its_entropy():
    """K = 10, epsilon = .1: .91 and .01, not .9 and .0111, and a sum of 1 (.50029 nats)."""
    loss = smoothed_cross_entropy(0.1)
    label = jnp.array([3])

    @jax.jit
    def against(logits):
        return loss(logits[None], label)[0]

    gradient = jax.jit(jax.grad(against))
    # The gradient is softmax minus targets.
    targets = 0.1 - np.asarray(gradient(np.zeros(10, np.float32)))
    wanted = np.full(10, 0.01)
    wanted[3] = 0.91
    np.testing.assert_allclose(targets, wanted, atol=1e-6)
    np.testing.assert_allclose(targets.sum(), 1, rtol=1e-6)
    best = np.log(wanted.astype(np.float32))
    np.testing.assert_allclose(against(best), 0.50029, atol=1e-5)
    np.testing.assert_allclose(gradient(best), 0, atol=1e-6)
    assert against(2 * best) > against(best) < against(best / 2)


def test_no_smoothing_is_cross_entropy_and_an_offset_changes_nothing():
    rng = np.random.default_rng(2)
    logits = jnp.asarray(rng.integers(-9, 9, (5, 7)), jnp.float32)
    labels = jnp.asarray(rng.integers(0, 7, 5))
    np.testing.assert_array_equal(
        smoothed_cross_entropy(0.0)(logits, labels), cross_entropy(logits, labels)
    )
    loss = smoothed_cross_entropy(0.2)
    np.testing.assert_allclose(loss(logits + 2.0**20, labels), loss(logits, labels), rtol=1e-6)


def halved_square(logits, labels):
    """Square loss on one-hot labels, as of ``curvature``."""
    targets = jax.nn.one_hot(labels, logits.shape[-1])
    return jnp.sum(jnp.square(logits - targets), -1) / 2


def test_a_task_trains_and_is_evaluated_by_its_own_loss(lab):
    trainer = lab.trainer("mlp")
    task = dataclasses.replace(trainer.task, loss=halved_square)
    runs = lab.runs("mlp")
    history = dataclasses.replace(trainer, task=task).fit(runs, 4)
    test = lab.test

    @jax.jit
    def mean_loss(net):
        images = task.preprocess(test.images, None)
        logits, _, _ = task.apply(net["params"], net["batch_stats"], images, train=False)
        return halved_square(logits, test.labels).mean()

    for run in range(2):
        for variables, found in ((runs.variables, 0), (history.variables, 1)):
            wanted = mean_loss(jax.tree.map(lambda leaf, run=run: np.asarray(leaf)[run], variables))
            np.testing.assert_allclose(history.test["loss"][run, found], wanted, rtol=1e-5)
    assert (history.test["loss"][:, 1] < history.test["loss"][:, 0]).all()
