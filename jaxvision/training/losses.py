"""Losses: ``(logits [..., K], labels [...]) -> one loss an example [...]``, float32.

``Task.loss`` takes any function of this shape; its mean over a batch is what a step lowers.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxvision.types import Array, UserError

Loss = Callable[[Array, Array], Array]


def cross_entropy(logits: Array, labels: Array) -> Array:
    """Return -log softmax(logits)[label] in nats, logits [..., K] and int labels [...] -> [...].

    The maximum is taken off the logits first, so an offset that all of them share is gone before
    anything is rounded: five equal logits give ln 5 at 1e8 as at 0.
    """
    shifted = logits - lax.stop_gradient(logits.max(-1, keepdims=True))
    of_label = jnp.take_along_axis(shifted, labels[..., None], axis=-1)[..., 0]
    return jnp.log(jnp.exp(shifted).sum(-1)) - of_label


def check_labels(labels: Array, leading: tuple[int, ...], classes: int) -> None:
    """Refuse what ``cross_entropy`` would not take, or would take for other classes.

    Args:
      labels: what is to be classes; of traced ones only shape and type are looked at.
      leading: the shape they must have, that of the logits without their last axis.
      classes: how many the net knows.

    Raises:
      UserError: they are not one class for each output.
    """
    shape, kind = getattr(labels, "shape", None), getattr(labels, "dtype", None)
    if shape != leading or not jnp.issubdtype(kind, jnp.integer):
        found = type(labels).__name__ if shape is None else f"{kind} {list(shape)}"
        raise UserError(
            f"labels are an array of whole numbers {list(leading)}, not {found}: give other"
            " targets with a loss=... of their own"
        )
    if isinstance(labels, jax.core.Tracer) or not np.size(labels):
        return
    lowest, highest = np.min(labels), np.max(labels)
    if lowest < 0:
        raise UserError(f"labels count classes from 0, and one is {lowest}")
    if highest >= classes:
        raise UserError(f"labels reach {highest}, but the net has {classes} classes, 0 up")


def smoothed_cross_entropy(epsilon: float) -> Loss:
    """Return the cross-entropy with labels of which a share ``epsilon`` is spread over all classes.

    Of K classes the label's own has probability 1 - epsilon + epsilon / K, each other epsilon / K:
    .91 and .01 at K = 10 and epsilon = .1, where no net does better than .50029 nats. Source:
    Szegedy et al. 2016 (arXiv 1512.00567), section 7.
    """

    def loss(logits: Array, labels: Array) -> Array:
        shifted = logits - lax.stop_gradient(logits.max(-1, keepdims=True))
        log_sum = jnp.log(jnp.exp(shifted).sum(-1))
        uniform = log_sum - shifted.mean(-1)
        return (1 - epsilon) * cross_entropy(logits, labels) + epsilon * uniform

    return loss
