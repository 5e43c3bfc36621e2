"""What an attack wants of the logits."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.adversarial.aims import (
    Aim,
    cross_entropy,
    ensemble,
    log_odds_against,
    margin,
    predictions,
)

LOGITS = jnp.asarray(np.random.default_rng(0).normal(size=(7, 5)) * 3, jnp.float32)
CLASSES = jnp.arange(7) % 5


def test_log_odds_and_cross_entropy_are_those_of_the_softmax():
    p = np.asarray(jax.nn.softmax(LOGITS))[np.arange(7), np.asarray(CLASSES)]
    np.testing.assert_allclose(
        log_odds_against(LOGITS, CLASSES),
        np.log((1 - p) / p),
        rtol=1e-4,
    )
    np.testing.assert_allclose(
        cross_entropy(LOGITS, CLASSES),
        -np.log(p),
        rtol=1e-4,
    )


def test_cross_entropy_is_blind_where_the_net_is_sure():
    """Field fault 16: exactly 0 from a margin of 88 on, and softmax twice lies in (1.46, 2.46)."""

    def slope(loss, gap):
        logits = jnp.float32([[gap, 0.0]])
        return jax.grad(lambda z: loss(z, jnp.zeros(1, jnp.int32)).sum())(logits)[0, 1]

    assert slope(cross_entropy, 87.0) > 0
    assert slope(cross_entropy, 88.0) == 0
    np.testing.assert_allclose(slope(log_odds_against, 1e4), 1.0)
    twice = jnp.eye(10)[:2]
    found = cross_entropy(twice, jnp.int32([0, 0]))
    np.testing.assert_allclose(found, [1.4612, 2.4612], atol=1e-4)


def test_success_is_a_positive_score():
    away, towards = Aim(CLASSES), Aim(CLASSES, (CLASSES + 1) % 5)
    found = predictions(LOGITS)
    for aim in (away, towards):
        np.testing.assert_array_equal(aim.score(LOGITS) > 0, aim.reached(found))
    np.testing.assert_allclose(towards.score(LOGITS), -margin(LOGITS, (CLASSES + 1) % 5))


def test_what_is_no_number_is_no_class():
    broken = LOGITS.at[2, 3].set(jnp.nan).at[4, 0].set(jnp.inf)
    found = predictions(broken)
    np.testing.assert_array_equal(np.asarray(found)[[2, 4]], -1)
    for aim in (Aim(CLASSES), Aim(CLASSES, (CLASSES + 1) % 5)):
        np.testing.assert_array_equal(aim.score(broken) > 0, aim.reached(found))
        np.testing.assert_array_equal(np.asarray(aim.score(broken))[[2, 4]], -np.inf)


def test_a_class_may_be_ruled_out_but_not_all():
    ruled_out = LOGITS.at[:, 4].set(-jnp.inf)
    np.testing.assert_array_equal(predictions(ruled_out), jnp.argmax(ruled_out, 1))
    np.testing.assert_array_equal(predictions(jnp.full((2, 5), -jnp.inf)), -1)


def test_an_ensemble_answers_with_its_mean_probability():
    """Field fault 17: members (4, 0), (-1, 0) give .62548; their mean logits .81757."""
    members = [lambda x, z=z: jnp.float32([[z, 0.0]]) for z in (4.0, -1.0)]
    logits = ensemble(members)(jnp.zeros((1, 1)))
    np.testing.assert_allclose(
        jax.nn.softmax(logits)[0, 0],
        0.62548,
        atol=1e-5,
    )
    np.testing.assert_allclose(
        jax.nn.softmax(jnp.float32([[1.5, 0.0]]))[0, 0],
        0.81757,
        atol=1e-5,
    )
