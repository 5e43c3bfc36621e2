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
    """Return ranks from 0 over all but the first axis, flat [B, P]; ties share their mean rank.

    Of maps of any type, as float32: bytes count to 255. NaN of maps with NaN, which have no order.
    """
    flat = jnp.asarray(maps).reshape(len(maps), -1)

    def one(row: Array) -> Array:
        ordered = jnp.sort(row)
        first = jnp.searchsorted(ordered, row, side="left")
        after = jnp.searchsorted(ordered, row, side="right")
        found = (first + after - 1).astype(jnp.float32) / 2
        return jnp.where(jnp.isnan(row).any(), jnp.nan, found)

    return jax.vmap(one)(flat)


def rank_correlation(maps: Array, others: Array) -> Array:
    """Return Spearman's correlation [B] of two maps of each image; 0 where one is constant.

    Of signed maps it compares signs too; of absolute values most of what it finds is where any
    signal is: report both.
    """
    return correlation(ranks(maps), ranks(others))


def correlation(maps: Array, others: Array) -> Array:
    """Return Pearson's correlation [B] over all but the first axis; 0 where one is constant."""
    one = _centered(maps)
    other = _centered(others)
    product = (one * other).sum(1)
    squares = (one**2).sum(1) * (other**2).sum(1)
    norms = jnp.sqrt(squares)
    return product / jnp.where(norms == 0, 1, norms)


def _centered(maps: Array) -> Array:
    """Return maps as [B, P], less their means, in a unit of which squares are in range."""
    flat = jnp.asarray(maps, jnp.float32).reshape(len(maps), -1)
    centered = flat - flat.mean(1, keepdims=True)
    # By powers of two, which round nothing: squares of small numbers are 0 in float32.
    _, exponents = jnp.frexp(jnp.abs(centered).max(1, keepdims=True))
    return jnp.ldexp(centered, -exponents)


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
        depth = list(names).index(name)
        is_old = steps < len(names) - depth
        shape = (-1, *[1] * old.ndim)
        return jnp.where(is_old.reshape(shape), old, new)

    return {name: jax.tree.map(partial(layer, name), params[name], fresh[name]) for name in names}
