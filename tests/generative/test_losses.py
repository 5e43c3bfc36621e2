"""Losses of a GAN from logits, where others saturate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.generative import losses
from jaxvision.generative.losses import NON_SATURATING, SATURATING, WASSERSTEIN


def test_a_sure_mistake_costs_its_logit():
    """softplus(20) is 20; by log(1 - sigmoid) it is infinite in float32 from 17 on."""
    for objective in (SATURATING, NON_SATURATING):
        np.testing.assert_allclose(objective.fake(jnp.float32(20)), 20, rtol=1e-6)
        np.testing.assert_allclose(objective.real(jnp.float32(-20)), 20, rtol=1e-6)
    assert jnp.isinf(-jnp.log(1 - jax.nn.sigmoid(jnp.float32(17))))
    assert float(jax.grad(SATURATING.fake)(100.0)) == 1


def test_where_nobody_can_tell_it_costs_two_ln_two():
    nothing = jnp.zeros(3)
    found = losses.discriminator_loss(SATURATING, nothing, nothing)
    np.testing.assert_allclose(found, 1.38629, atol=1e-5)
    np.testing.assert_allclose(losses.value(nothing, nothing), -np.log(4), rtol=1e-6)


def test_the_sigmoid_twice_has_a_floor():
    real, fake = (jax.nn.sigmoid(jnp.float32(sign * 1e4)) for sign in (1, -1))
    np.testing.assert_allclose(
        losses.discriminator_loss(SATURATING, real[None], fake[None]), 1.00641, atol=1e-5
    )


@pytest.mark.parametrize(
    ("objective", "slope"),
    [(SATURATING, -0.2689414), (NON_SATURATING, -0.7310586), (WASSERSTEIN, -1.0)],
)
def test_the_generator_s_gradient_at_a_logit_of_minus_one(objective, slope):
    """-sigmoid(-1), -sigmoid(1) and -1: where it loses, the saturating one is the smallest."""
    np.testing.assert_allclose(jax.grad(objective.generator)(-1.0), slope, rtol=1e-6)


def test_a_critic_is_worth_the_difference_of_means():
    found = losses.discriminator_loss(WASSERSTEIN, jnp.float32([1, 3]), jnp.float32([5, 0, 1]))
    np.testing.assert_allclose(found, 0.0, atol=1e-7)
