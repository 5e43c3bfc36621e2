"""Which leaves of a net hold several layers of one shape: their names say so, see ``layers``."""

import math

from jaxvision.types import Array


def is_stacked(name: str, leaf: Array) -> bool:
    """Return whether ``leaf`` holds several layers of one shape, stacked on leading axes.

    By the name, not by the number of axes: a stack of dense kernels [l, I, O] has as many as the
    kernel of a 1-D convolution [w, I, O].

    Args:
      name: of a layer, or the path of one of its leaves.
      leaf: the layer's kernel or its activation (or their shapes), which have at least two axes of
        their own: a single dense layer that a user has named ``hidden`` is no stack.
    """
    return stacked_axes(name, leaf) > 0


def stacked_axes(name: str, leaf: Array) -> int:
    """Return how many leading axes of ``leaf`` count layers: 0, 1, or 2 for a stack of stacks.

    Arguments as in ``is_stacked``.
    """
    scopes = sum(names_a_stack(scope) for scope in name.split("/"))
    return min(scopes, max(leaf.ndim - 2, 0))


def by_layer(name: str, leaf: Array) -> Array:
    """Return ``leaf`` [..., n] with one row for each layer that it holds, [l, n]; l may be 1."""
    layers = math.prod(leaf.shape[: stacked_axes(name, leaf)])
    return leaf.reshape((layers, -1))


def names_a_stack(scope: str) -> bool:
    """Return whether a layer of this name is a stack."""
    return scope in ("hidden", "rest") or scope.endswith("_rest")
