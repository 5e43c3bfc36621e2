"""What the players of a GAN lose, by the discriminator's logits: positive means real.

Everything is computed from logits. By log(1 - sigmoid) a loss is infinite in float32 from a logit
of 17 on. Whoever hands over probabilities in place of logits takes the sigmoid twice: the
discriminator's loss then cannot fall below softplus(-1) + ln 2 = 1.00641. Where the discriminator
cannot tell, all logits are zero and it loses 2 ln 2 = 1.38629.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxvision.types import Array

OfLogits = Callable[[Array], Array]  # logits [...] -> one loss each [...]


class Objective(NamedTuple):
    """What an example costs, by its logit.

    Attributes:
      real: the discriminator, for a real example.
      fake: the discriminator, for a generated one.
      generator: the generator, for its own example.
    """

    real: OfLogits
    fake: OfLogits
    generator: OfLogits


def _minus_softplus(logits: Array) -> Array:
    return -jax.nn.softplus(logits)


def _softplus_of_minus(logits: Array) -> Array:
    return jax.nn.softplus(-logits)


# Goodfellow et al. 2014 (arXiv 1406.2661), equation 1: the generator lowers log(1 - D).
SATURATING = Objective(_softplus_of_minus, jax.nn.softplus, _minus_softplus)
# Section 3 there: the generator lowers -log D, whose gradient lives where it loses.
NON_SATURATING = Objective(_softplus_of_minus, jax.nn.softplus, _softplus_of_minus)
# Arjovsky et al. 2017 (arXiv 1701.07875): a critic without a sigmoid.
WASSERSTEIN = Objective(jnp.negative, jnp.positive, jnp.negative)


def discriminator_loss(objective: Objective, real: Array, fake: Array) -> Array:
    """Return the mean loss of the discriminator, [].

    Args:
      objective: what an example costs.
      real: logits of real examples, [...].
      fake: logits of generated ones, [...].
    """
    return objective.real(real).mean() + objective.fake(fake).mean()


def value(real: Array, fake: Array) -> Array:
    """Return V = E log D(real) + E log(1 - D(fake)) in nats, [].

    Source: Goodfellow et al. 2014, equation 1. At the best discriminator it is -log 4 + 2 JSD.

    Args:
      real: logits of real examples, [...].
      fake: logits of generated ones, [...].
    """
    return -discriminator_loss(SATURATING, real, fake)
