"""Per-layer statistics watched inside the compiled training step."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.models.layers import by_layer
from jaxvision.training.step import Observed
from jaxvision.trees import dot, named_leaves, squared_norm
from jaxvision.types import Array, PyTree

LAYERWISE = ("signal_std", "delta_norm", "dw_norm")


def per_layer(observed: Observed) -> dict[str, Array]:
    """Return the signal and both gradients of every layer, in depth order.

    Returns:
      ``signal_std`` [L]: standard deviation of the pre-activation over batch and units;
      ``delta_norm`` [L]: norm of the loss gradient at the pre-activation;
      ``dw_norm`` [L]: norm of the loss gradient of the kernel;
      ``decay_cosine`` []: cos(dw, -w) between the step's update of the kernels and minus the
      kernels: 1 where weight decay alone moves them (He et al. 2015, footnote 2: their test of a
      stalled net).
    """
    gradients = named_leaves(observed.gradients)
    delta, dw = [], []
    for name in observed.activations:
        gradient = gradients[f"{name}/kernel"]
        delta.append(jnp.sqrt(observed.tap_gradients[name]).reshape(-1))
        dw.append(jnp.sqrt(by_layer(name, jnp.square(gradient)).sum(1)))
    updates, kernels = _kernels(observed.updates), _kernels(observed.params)
    norms = jnp.sqrt(squared_norm(updates) * squared_norm(kernels))
    return {
        "signal_std": signal_std(observed.activations),
        "delta_norm": jnp.concatenate(delta),
        "dw_norm": jnp.concatenate(dw),
        "decay_cosine": -dot(updates, kernels) / norms,
    }


def signal_std(activations: Mapping[str, Array]) -> Array:
    """Return the std of every layer's pre-activation over batch and units, [L] in depth order."""
    return jnp.concatenate([by_layer(name, x).std(1) for name, x in activations.items()])


def initial_signal(apply: Callable, variables: PyTree, images: Array) -> np.ndarray:
    """Return ``signal_std`` [R, L] of R nets (leaves [R, ...]) on images [B, H, W, C]."""

    def one(variables: PyTree) -> Array:
        params = variables["params"]
        _, activations, _ = apply(params, variables["batch_stats"], images, train=False)
        return signal_std(activations)

    return np.asarray(jax.jit(lambda v: jax.lax.map(one, v))(variables))


def log2_slope(values: np.ndarray) -> np.ndarray:
    """Return the least-squares slope of log2 values [S, L] over layers: octaves per layer [S].

    NaN for a seed whose values are not all above 0 and finite.
    """
    layers = np.arange(values.shape[-1])
    slopes = np.full(len(values), np.nan)
    # The others alone: one that is not finite would spoil the fit of all.
    fits = ((values > 0) & np.isfinite(values)).all(-1)
    if fits.any():
        slopes[fits] = np.polyfit(layers, np.log2(values[fits]).T, 1)[0]
    return slopes


def growth(layers: np.ndarray, upward: bool, settled: int = 3, fitted: int = 60) -> np.ndarray:
    """Return the slope [S] of the log of ``layers`` [S, L] per layer, in the direction of travel.

    Over ``fitted`` hidden layers at most, from where the signal comes (the output unless
    ``upward``), without the first ``settled`` of them.
    """
    hidden = layers[:, 1:-1] if upward else layers[:, -2:0:-1]
    return np.log(2) * log2_slope(hidden[:, settled : settled + fitted])


def variance_per_block(std: np.ndarray) -> np.ndarray:
    """Return what a block adds to the stream's variance on average, [S], from its std [S, L].

    The last layer is the output, no block.
    """
    return (std[:, -2] ** 2 - std[:, 0] ** 2) / (std.shape[1] - 2)


def _kernels(tree: PyTree) -> dict[str, Array]:
    return {n: leaf for n, leaf in named_leaves(tree).items() if n.endswith("kernel")}
