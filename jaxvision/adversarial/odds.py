"""How sure a net is of each class, in numbers that do not saturate.

float32's softmax is 1 from a lead of 17 logits on, and a search that ranks by it stands still
there. So fooling images are ranked by log odds, and reported by how much is missing to 1.
"""

import jax.numpy as jnp
from jax import lax

from jaxvision.types import Array


def class_odds(logits: Array) -> Array:
    """Return log(p / (1 - p)) of every class, logits [..., K] -> [..., K].

    The likeliest class is left out of its rivals' sum, not subtracted from it: a lead of 1,000
    logits gives log odds of 1,000.
    """
    classes = lax.broadcasted_iota(jnp.int32, logits.shape, logits.ndim - 1)
    top = classes == jnp.argmax(logits, -1, keepdims=True)
    shifted = logits - lax.stop_gradient(logits.max(-1, keepdims=True))
    rivals = jnp.where(top, -jnp.inf, shifted)
    best_rival = lax.stop_gradient(rivals.max(-1, keepdims=True))
    sum_of_rivals = jnp.exp(rivals - best_rival).sum(-1, keepdims=True)
    # A class that is not the likeliest has at most half of the sum: subtracting it is safe.
    weights = jnp.exp(shifted)
    rest = jnp.where(top, 1.0, weights.sum(-1, keepdims=True) - weights)
    return shifted - jnp.where(top, best_rival + jnp.log(sum_of_rivals), jnp.log(rest))


def log_doubt(odds: Array) -> Array:
    """Return log(1 - p) from log(p / (1 - p)): -9.21 where p is .9999."""
    return -jnp.logaddexp(odds, jnp.zeros_like(odds))
