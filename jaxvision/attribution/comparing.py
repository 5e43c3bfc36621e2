"""Whether a map depends on the net: ranks compared while weights are drawn anew from the top.

Source: Adebayo et al. 2018, "Sanity checks for saliency maps" (arXiv 1810.03292). To pass is
necessary, never sufficient: maps of pure noise pass too.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import jax
import jax.numpy as jnp

from jaxvision.types import Array, PyTree


def ranks(maps: Array) -> Array:
    """Return ranks from 0 over all but the first axis, flat [B, P]; ties share their mean rank."""
    flat = maps.reshape(len(maps), -1)

    def one(row: Array) -> Array:
        ordered = jnp.sort(row)
        first = jnp.searchsorted(ordered, row, side="left")
        after = jnp.searchsorted(ordered, row, side="right")
        return (first + after - 1).astype(flat.dtype) / 2

    return jax.vmap(one)(flat)


def rank_correlation(maps: Array, others: Array) -> Array:
    """Return Spearman's correlation [B] of two maps of each image; 0 where one is constant.

    Of signed maps it compares signs too; of absolute values most of what it finds is where any
    signal is: report both.
    """
    return correlation(ranks(maps), ranks(others))


def correlation(maps: Array, others: Array) -> Array:
    """Return Pearson's correlation [B] over all but the first axis; 0 where one is constant."""
    one, other = (_centered(each.reshape(len(each), -1)) for each in (maps, others))
    norms = jnp.sqrt((one**2).sum(1) * (other**2).sum(1))
    return (one * other).sum(1) / jnp.where(norms == 0, 1, norms)


def _centered(flat: Array) -> Array:
    return flat - flat.mean(1, keepdims=True)


def cascade(
    params: Mapping[str, PyTree], fresh: Mapping[str, PyTree], names: Sequence[str]
) -> PyTree:
    """Return the net with its last 0, 1, ..., L layers drawn anew, leaves [L + 1, ...].

    Args:
      params: of the net, by layer.
      fresh: the same with weights of another draw.
      names: of the L layers, in depth order.
    """
    steps = jnp.arange(len(names) + 1)

    def layer(name: str, old: Array, new: Array) -> Array:
        is_old = steps < len(names) - list(names).index(name)
        return jnp.where(is_old.reshape(-1, *[1] * old.ndim), old, new)

    return {name: jax.tree.map(partial(layer, name), params[name], fresh[name]) for name in names}
