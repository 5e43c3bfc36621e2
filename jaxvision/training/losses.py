"""Losses: ``(logits [..., K], labels [...]) -> one loss an example [...]``, float32.

``Task.loss`` takes any function of this shape; its mean over a batch is what a step lowers.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from jaxvision.types import Array

Loss = Callable[[Array, Array], Array]


def cross_entropy(logits: Array, labels: Array) -> Array:
    """Return -log softmax(logits)[label] in nats, logits [..., K] and int labels [...] -> [...].

    The maximum is taken off the logits first, so an offset that all of them share is gone before
    anything is rounded: five equal logits give ln 5 at 1e8 as at 0.
    """
    shifted = logits - lax.stop_gradient(logits.max(-1, keepdims=True))
    of_label = jnp.take_along_axis(shifted, labels[..., None], axis=-1)[..., 0]
    return jnp.log(jnp.exp(shifted).sum(-1)) - of_label
