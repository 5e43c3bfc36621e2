"""Log odds of all classes: the softmax's where that can be computed, and beyond."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.adversarial.aims import log_odds_against
from jaxvision.adversarial.odds import class_odds, log_doubt


def test_they_are_the_odds_of_the_softmax():
    logits = np.random.default_rng(0).normal(size=(7, 10)) * 3
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(
        class_odds(jnp.float32(logits)),
        np.log(p / (1 - p)),
        atol=1e-5,
    )


def test_they_are_those_of_each_class_alone():
    logits = jnp.float32(np.random.default_rng(1).normal(size=(4, 3)))
    for label in range(3):
        alone = -log_odds_against(logits, jnp.full(4, label))
        np.testing.assert_allclose(
            class_odds(logits)[:, label],
            alone,
            atol=1e-5,
        )


def test_a_thousand_logits_do_not_saturate():
    logits = jnp.float32([[1000.0, 0.0, -1000.0], [1001.0, 0.0, -1000.0]])
    odds = class_odds(logits)
    assert odds[0].tolist() == [1000.0, -1000.0, -2000.0]
    assert odds[1, 0] > odds[0, 0]
    assert jax.nn.softmax(logits)[0, 0] == 1.0  # the probability alone cannot tell
    np.testing.assert_allclose(log_doubt(odds[:, 0]), [-1000.0, -1001.0])


def test_the_doubt_of_four_nines():
    odds = jnp.float32(np.log(0.9999 / 0.0001))
    np.testing.assert_allclose(
        log_doubt(odds),
        np.log(1e-4),
        rtol=1e-6,
    )


def test_their_gradient_is_finite_where_the_softmax_has_none():
    logits = jnp.float32([200.0, 0.0, -300.0])
    for label in range(3):
        gradient = jax.grad(lambda z, label=label: class_odds(z)[label])(logits)
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0.99
