"""The order in which a run visits its training images: a pure function of (seed, step)."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.random import stream
from jaxvision.types import Array


def epoch_order(seed: Array, epoch: Array, size: int) -> Array:
    """Return the permutation int32 [size] in which an epoch visits the training set."""
    return jax.random.permutation(stream(seed, "order", epoch), size)


def batch_rows(seed: Array, start: Array, steps: int, size: int, batch_size: int) -> Array:
    """Return the training rows int32 [steps, batch_size] of steps ``start``, ``start + 1``, ...

    A pure function of (seed, step). The rows left over at the end of an epoch are skipped.
    """
    per_epoch = size // batch_size
    epochs = start // per_epoch + jnp.arange(-(-steps // per_epoch) + 1)
    order = jax.vmap(lambda epoch: epoch_order(seed, epoch, size))(epochs)
    order = order[:, : per_epoch * batch_size].reshape(-1, batch_size)
    return lax.dynamic_slice_in_dim(order, start % per_epoch, steps)
