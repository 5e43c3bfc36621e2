"""Cross entropy against float64 and closed forms; a task's own loss where training uses it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxvision.training.losses import cross_entropy


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


def halved_square(logits, labels):
    """Square loss on one-hot labels, as of ``curvature``."""
    targets = jax.nn.one_hot(labels, logits.shape[-1])
    return jnp.sum(jnp.square(logits - targets), -1) / 2


def test_a_task_trains_and_is_evaluated_by_its_own_loss(lab):
    trainer = lab.trainer("mlp")
    task = dataclasses.replace(trainer.task, loss=halved_square)
    runs = lab.runs("mlp")
    history = dataclasses.replace(trainer, task=task).fit(runs, 4)
    apply, test = trainer.task.apply, lab.test
    images = task.preprocess(test.images, None)
    for run in range(2):
        for variables, found in ((runs.variables, 0), (history.variables, 1)):
            net = jax.tree.map(lambda leaf, run=run: leaf[run], variables)
            logits, _, _ = apply(net["params"], net["batch_stats"], images, train=False)
            wanted = halved_square(logits, test.labels).mean()
            np.testing.assert_allclose(history.test["loss"][run, found], wanted, rtol=1e-5)
    assert (history.test["loss"][:, 1] < history.test["loss"][:, 0]).all()
