"""What dropout does inside a trained net: its activity, and the variance that batch norm keeps."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.models.dropout import DropoutMLP
from jaxvision.models.layers import apply_function
from jaxvision.models.normalization import EPSILON
from jaxvision.types import Array, PyTree

BINS = np.linspace(0, 8, 33)  # of an activation


class Shift(NamedTuple):
    """Variances of what the second batch norm sees, of S nets; logarithms, mean over units [S].

    Attributes:
      measured: of the variance kept from training over that without dropout.
      predicted: the same by the closed form.
      error: test error [S] with mean and variance taken again, without dropout.
    """

    measured: np.ndarray
    predicted: np.ndarray
    error: np.ndarray


def last_hidden(net: DropoutMLP, variables: PyTree, inputs: Array) -> np.ndarray:
    """Return S nets' activations [S, B, U] of the last hidden layer, without dropout."""
    apply = apply_function(net)

    def one(variables: PyTree) -> Array:
        _, activations, _ = apply(
            variables["params"], variables["batch_stats"], inputs, train=False
        )
        return jax.nn.relu(activations[f"layer{net.depth - 1}"])

    return np.asarray(jax.jit(jax.vmap(one))(variables))


def histogram(activations: np.ndarray) -> np.ndarray:
    """Return the share of the activations [S, B, U] in each of ``BINS`` [S, bins]."""
    clipped = np.minimum(activations, BINS[-1])
    return np.stack([np.histogram(net, BINS)[0] / net.size for net in clipped])


def variance_shift(
    net: DropoutMLP, variables: PyTree, keep: float, train: Array, test: tuple[Array, Array]
) -> Shift:
    """Return the shift of S nets whose first hidden layer keeps a unit with probability ``keep``.

    A unit of the second layer adds w_i h_i m_i / keep with m_i independent of all else: its
    variance grows by sum_i w_i^2 E[h_i^2] (1 - keep) / keep (Li et al. 2018, section 3).

    Args:
      net: with batch norm.
      variables: leaves [S, ...].
      keep: as above.
      train: the training images, preprocessed.
      test: images, preprocessed, and their labels.
    """
    apply = apply_function(net)

    def one(variables: PyTree) -> tuple[Array, Array, Array]:
        params, kept = variables["params"], variables["batch_stats"]
        _, activations, _ = apply(params, kept, train, train=False)
        hidden = _normalized(activations["layer1"], params["norm1"], kept["norm1"])
        seen = activations["layer2"]
        mean, variance = seen.mean(0), seen.var(0)
        power = jnp.square(jax.nn.relu(hidden)).mean(0)
        noise = power @ jnp.square(params["layer2"]["kernel"]) * (1 - keep) / keep
        taken_again = kept | {"norm2": {"mean": mean, "var": variance}}
        logits, _, _ = apply(params, taken_again, test[0], train=False)
        return (
            jnp.log(kept["norm2"]["var"] / variance).mean(),
            jnp.log1p(noise / variance).mean(),
            jnp.mean(logits.argmax(-1) != test[1]),
        )

    return Shift(*jax.device_get(jax.jit(jax.vmap(one))(variables)))


def _normalized(x: Array, params: PyTree, kept: PyTree) -> Array:
    factor = params["scale"] / jnp.sqrt(kept["var"] + EPSILON)
    centered = x - kept["mean"][None]
    return centered * factor[None] + params["bias"][None]
