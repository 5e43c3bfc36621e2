"""The momentum of He et al. 2016 against the recursion written out."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvision.training.optimizers import caffe_sgd, max_norm, sgd

RATES = (0.5, 0.5, 0.05, 0.05)
DECAY = 0.1


def descend(make) -> np.ndarray:
    """Return the weights of four steps with a rate that drops, gradient w**2."""
    w, weights = {"scale": jnp.array([1.0, -0.5])}, []
    state = make(DECAY, {"learning_rate": 1.0, "train_biases": 1.0}).init(w)
    for rate in RATES:
        optimizer = make(DECAY, {"learning_rate": rate, "train_biases": 1.0})
        updates, state = optimizer.update({"scale": w["scale"] ** 2}, state, w)
        w = optax.apply_updates(w, updates)
        weights.append(w["scale"])
    return np.array(weights)


def test_the_rate_stands_inside_the_momentum_and_everything_decays():
    w, v, wanted = np.array([1.0, -0.5]), 0.0, []
    for rate in RATES:
        v = 0.9 * v + rate * (w**2 + DECAY * w)
        w = w - v
        wanted.append(w)
    np.testing.assert_allclose(descend(caffe_sgd), wanted, rtol=1e-5)


def test_the_two_forms_part_at_a_drop_of_the_rate():
    inside, outside = descend(caffe_sgd), descend(sgd)
    np.testing.assert_allclose(inside[:2], outside[:2], rtol=1e-5)
    assert np.all(np.abs(inside[2] - outside[2]) > 0.1)


def projected(radius, update=0.5):
    """Return kernels and biases after one constrained step from (3, 4), (.3, .4) and 5."""
    params = {"kernel": jnp.array([[3.0, 0.3], [4.0, 0.4]]), "bias": jnp.array([5.0, 5.0])}
    step = jax.tree.map(lambda leaf: update * jnp.ones_like(leaf), params)
    updates, _ = max_norm(radius).update(step, max_norm(radius).init(params), params)
    return optax.apply_updates(params, updates), optax.apply_updates(params, step)


def test_max_norm_projects_the_weights_into_each_unit():
    found, free = projected(2.0)
    norms = np.linalg.norm(found["kernel"], axis=0)
    np.testing.assert_allclose(norms, [2, np.hypot(0.8, 0.9)], rtol=1e-6)
    np.testing.assert_allclose(found["kernel"][:, 0], 2 * free["kernel"][:, 0] / np.hypot(3.5, 4.5))
    np.testing.assert_array_equal(found["kernel"][:, 1], free["kernel"][:, 1])
    np.testing.assert_array_equal(found["bias"], free["bias"])


def test_an_infinite_radius_changes_no_bit():
    found, free = jax.jit(projected)(jnp.float32(jnp.inf))
    jax.tree.map(np.testing.assert_array_equal, found, free)


def test_max_norm_treats_the_layers_of_a_stack_apart():
    kernel = jax.random.normal(jax.random.key(0), (3, 4, 5))
    rule = max_norm(1.0)
    stacked = rule.update({"kernel": kernel * 0}, (), {"kernel": kernel})[0]["kernel"]
    for l in range(3):
        alone = rule.update({"kernel": kernel[l] * 0}, (), {"kernel": kernel[l]})[0]["kernel"]
        np.testing.assert_allclose(stacked[l], alone, rtol=1e-6)
    assert np.linalg.norm(kernel + stacked, axis=1).max() < 1 + 1e-6
