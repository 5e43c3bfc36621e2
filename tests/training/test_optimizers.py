"""The momentum of He et al. 2016 against the recursion written out."""

import jax.numpy as jnp
import numpy as np
import optax

from jaxvision.training.optimizers import caffe_sgd, sgd

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
