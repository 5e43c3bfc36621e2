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
    last = logits.ndim - 1
    classes = lax.broadcasted_iota(jnp.int32, logits.shape, last)
    top = classes == jnp.argmax(logits, last, keepdims=True)
    shifted = logits - _largest(logits)
    rivals = jnp.where(top, -jnp.inf, shifted)
    best_rival = _largest(rivals)
    relative = jnp.exp(rivals - best_rival)
    total = relative.sum(last, keepdims=True)
    others_of_top = best_rival + jnp.log(total)
    # A class that is not the likeliest has at most half of the sum: subtracting it is safe.
    weights = jnp.exp(shifted)
    total = weights.sum(last, keepdims=True)
    rest = jnp.where(top, 1.0, total - weights)
    others = jnp.where(top, others_of_top, jnp.log(rest))
    return shifted - others


def log_doubt(odds: Array) -> Array:
    """Return log(1 - p) from log(p / (1 - p)): -9.21 where p is .9999."""
    zero = jnp.zeros_like(odds)
    return -jnp.logaddexp(odds, zero)


def _largest(logits: Array) -> Array:
    """Return the largest logit, of which no gradient is taken: it is a shift alone."""
    largest = logits.max(-1, keepdims=True)
    return lax.stop_gradient(largest)
