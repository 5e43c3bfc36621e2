"""Named leaves, squared norms and inner products of trees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.trees import dot, named_leaves, squared_norm, zeros_of_32_bits

TREE = {
    "hidden": {"kernel": jnp.array([[1.0, 2.0], [3.0, -4.0]]), "bias": jnp.array([0.5, 0.0])},
    "stages": [{"kernel": jnp.array([2.0])}],
    "empty": {},
}


def test_names_are_paths_and_leaves_are_the_tree_s_own():
    leaves = named_leaves(TREE)
    assert list(leaves) == ["hidden/bias", "hidden/kernel", "stages/0/kernel"]
    for named, leaf in zip(leaves.values(), jax.tree.leaves(TREE), strict=True):
        assert named is leaf


def test_a_tree_without_leaves_has_no_names_and_norm_zero():
    assert named_leaves({}) == {}
    assert squared_norm({}) == 0
    assert dot({}, {}) == 0


def test_squared_norm_and_dot_by_hand():
    assert squared_norm(TREE) == 1 + 4 + 9 + 16 + 0.25 + 4
    count = lambda leaf: jnp.arange(leaf.size, dtype=leaf.dtype).reshape(leaf.shape)  # noqa: E731
    other = jax.tree.map(count, TREE)
    assert dot(TREE, other) == (2 + 6 - 12) + 0 + 0
    assert dot(TREE, TREE) == squared_norm(TREE)


@pytest.mark.parametrize("function", [squared_norm, lambda tree: dot(tree, tree)])
def test_sums_are_float32_where_leaves_are_narrow(function):
    # 300 squared is beyond float16, and 4096 ones sum to 256 in bfloat16.
    assert function({"a": jnp.full(4, 300.0, jnp.float16)}) == 4 * 300.0**2
    total = function({"a": jnp.ones(4096, jnp.bfloat16)})
    assert total.dtype == jnp.float32
    assert total == 4096


def test_dot_refuses_trees_of_other_structure():
    with pytest.raises(ValueError, match=r"structure|arity|keys|Dict"):
        dot({"a": jnp.ones(2)}, {"b": jnp.ones(2)})


def test_norms_go_through_jit_and_vmap():
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), TREE)
    norms = jax.jit(jax.vmap(squared_norm))(stacked)
    np.testing.assert_allclose(norms, [34.25, 4 * 34.25])


def test_sums_begin_at_zeros_of_32_bits():
    zeros = zeros_of_32_bits({"a": jnp.ones((2, 3), jnp.bfloat16), "b": jnp.ones(2)})
    found = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, float(leaf.sum())), zeros)
    assert found == {"a": ((2, 3), jnp.float32, 0), "b": ((2,), jnp.float32, 0)}
