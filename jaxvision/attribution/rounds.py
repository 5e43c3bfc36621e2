"""Many images in rounds of a few: what a net keeps of them then stays in the cache."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxvision.types import Array, PyTree


def rows_of_a_round(count: int, at_once: int) -> int:
    """Return how many of ``count`` rows a round has, where it may have ``at_once``."""
    rounds = max(1, -(-count // at_once))
    return -(-count // rounds)


def in_rounds(function: Callable[..., PyTree], *arrays: Array, at_once: int) -> PyTree:
    """Return ``function(*arrays)``, computed for ``at_once`` rows at a time; leaves are [N, ...].

    Args:
      function: arrays of some rows -> a tree; what it says of a row depends on that row alone.
      arrays: [N, ...] each, of the same N.
      at_once: the most rows of a round; with N or more there is but one.
    """
    count = len(arrays[0])
    if count <= at_once:
        return function(*arrays)
    size = rows_of_a_round(count, at_once)
    rounds = -(-count // size)
    # The last round is filled up with the first rows again.
    order = jnp.arange(rounds * size) % count

    def some(these: Array) -> PyTree:
        return function(*(array[these] for array in arrays))

    found = jax.lax.map(some, order.reshape(rounds, size))
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count], found)
