"""Many images in rounds of a few: what a net keeps of them then stays in the cache."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxvision.types import Array, PyTree


def in_rounds(function: Callable[..., PyTree], *arrays: Array, at_once: int) -> PyTree:
    """Return ``function(*arrays)``, computed for ``at_once`` rows at a time; leaves are [N, ...].

    Args:
      function: arrays of some rows -> a tree; what it says of a row depends on that row alone.
      arrays: [N, ...] each, of the same N.
      at_once: rows of a round; with N or more there is but one.
    """
    count = len(arrays[0])
    if count <= at_once:
        return function(*arrays)
    rounds = -(-count // at_once)
    # The last round is filled up with the first rows again.
    order = jnp.arange(rounds * at_once) % count

    def some(these: Array) -> PyTree:
        return function(*(array[these] for array in arrays))

    found = jax.lax.map(some, order.reshape(rounds, at_once))
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count], found)
