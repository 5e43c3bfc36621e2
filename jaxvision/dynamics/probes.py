"""Per-layer statistics watched inside the compiled training step."""

import jax.numpy as jnp

from jaxvision.training.step import Observed
from jaxvision.trees import dot, named_leaves, squared_norm
from jaxvision.types import Array


def per_layer(observed: Observed) -> dict[str, Array]:
    """Return the signal and both gradients of every layer, in depth order.

    Returns:
      ``signal_std`` [L]: standard deviation of the pre-activation over batch and units;
      ``delta_norm`` [L]: norm of the loss gradient at the pre-activation;
      ``dw_norm`` [L]: norm of the loss gradient of the kernel;
      ``decay_cosine`` []: cos(dw, -w) between the step's update and minus the weights: 1 where weight
      decay alone moves the net (He et al. 2015, footnote 2: their test of a stalled net).
    """
    gradients = named_leaves(observed.gradients)
    kernels = {name: gradients[f"{name}/kernel"] for name in observed.activations}
    signal, delta, dw = [], [], []
    for name, kernel in kernels.items():
        stacked = kernel.ndim % 2  # [l, I, O] and [l, h, w, I, O]
        signal.append(_reduce(jnp.std, observed.activations[name], stacked))
        delta.append(jnp.sqrt(observed.tap_gradients[name]).reshape(-1))
        dw.append(jnp.sqrt(_reduce(jnp.sum, jnp.square(kernel), stacked)))
    cosine = -dot(observed.updates, observed.params) / jnp.sqrt(
        squared_norm(observed.updates) * squared_norm(observed.params)
    )
    return {
        "signal_std": jnp.concatenate(signal),
        "delta_norm": jnp.concatenate(delta),
        "dw_norm": jnp.concatenate(dw),
        "decay_cosine": cosine,
    }


def _reduce(reduction, x: Array, stacked: int) -> Array:
    """Reduce x over all axes but a leading layer axis; returns [l] or [1]."""
    return reduction(x.reshape((x.shape[0] if stacked else 1, -1)), axis=1)


def layer_names(activations: dict[str, Array], params) -> list[str]:
    """Return one name per entry of the [L] vectors: 'stem', 'stage1_rest/0', 'stage1_rest/1', ..."""
    kernels = named_leaves(params)
    names = []
    for name in activations:
        kernel = kernels[f"{name}/kernel"]
        count = kernel.shape[0] if kernel.ndim % 2 else None
        names += [name] if count is None else [f"{name}/{i}" for i in range(count)]
    return names
