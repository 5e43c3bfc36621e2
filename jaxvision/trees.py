"""Named leaves, norms and sums of parameter trees."""

import jax
import jax.numpy as jnp

from jaxvision.types import Array, PyTree


def named_leaves(tree: PyTree) -> dict[str, Array]:
    """Return ``{'hidden/kernel': leaf, ...}`` in the tree's own leaf order."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def squared_norm(tree: PyTree) -> Array:
    """Return the sum of squares over every leaf, a float32 scalar."""
    return sum(
        (jnp.sum(jnp.square(leaf.astype(jnp.float32))) for leaf in jax.tree.leaves(tree)),
        jnp.float32(0),
    )


def dot(a: PyTree, b: PyTree) -> Array:
    """Return the inner product of two trees of one structure, a float32 scalar."""
    wide = lambda leaf: leaf.astype(jnp.float32)  # noqa: E731
    products = jax.tree.map(lambda x, y: jnp.sum(wide(x) * wide(y)), a, b)
    return sum(jax.tree.leaves(products), jnp.float32(0))


def zeros_of_32_bits(tree: PyTree) -> PyTree:
    """Return zeros shaped as the leaves, float32 or wider: what sums and means of them begin at.

    Sums of bfloat16 times a float32 are float32: begun at zeros of the leaves' own type they would
    change it in their first step, which no scan carries.
    """

    def zeros(leaf: Array) -> Array:
        wide = jnp.issubdtype(leaf.dtype, jnp.inexact) and leaf.dtype.itemsize >= 4
        return jnp.zeros_like(leaf, leaf.dtype if wide else jnp.float32)

    return jax.tree.map(zeros, tree)
