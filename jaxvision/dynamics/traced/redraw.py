"""Draw the weights of any net anew: by what each product sums over, whatever the layout."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.dynamics.traced.layers import Layer, Plan
from jaxvision.dynamics.traced.names import layer_names
from jaxvision.initializers import Initializer
from jaxvision.types import Array, PyTree, UserError


def redrawn(plan: Plan, params: PyTree, initializer: Initializer, key: Array) -> PyTree:
    """Return the parameters, the weights of every layer drawn by ``initializer``.

    A dense layer is drawn as ``[inputs, outputs]`` and a convolution as ``[h, w, inputs,
    outputs]``, each layer of a stack by itself. Biases, scales and tables that are looked up stay.

    Raises:
      UserError: the weights of a layer are computed first, or cut from a parameter.
    """
    leaves, structure = jax.tree.flatten(params)
    names = layer_names(plan, params)
    for name, layer in zip(names, plan.layers, strict=True):
        if layer.primitive == "gather":
            continue
        is_known = layer.summed is not None and not layer.is_cut
        if not is_known:
            why = "are computed or cut before they are used"
            raise UserError(f"{name}: its weights {why}; draw them by start= instead")
        param = layer.kernel.view.param
        own_key = jax.random.fold_in(key, param)
        leaves[param] = _weights(initializer, own_key, layer, leaves[param])
    return jax.tree.unflatten(structure, leaves)


def _weights(initializer: Initializer, key: Array, layer: Layer, old: Array) -> Array:
    """Return new weights of one layer, or of a stack, in the layout of the old ones."""
    (slices,) = layer.kernel.params.values()
    stacked = [slices[level] for level in layer.own_levels]
    summed = list(layer.summed)
    others = set(range(old.ndim)) - {*stacked, *summed}
    outputs = sorted(others)
    order = stacked + summed + outputs

    def sizes(axes: list[int]) -> list[int]:
        return [old.shape[axis] for axis in axes]

    inputs = sizes(summed)
    if layer.primitive == "dot_general":
        inputs = [math.prod(inputs)]
    shape = (*inputs, math.prod(sizes(outputs)))
    keys = jax.random.split(key, math.prod(sizes(stacked)))
    drawn = [initializer(own, shape, old.dtype) for own in keys]
    together = jnp.stack(drawn).reshape(sizes(order))
    return together.transpose(np.argsort(order))
