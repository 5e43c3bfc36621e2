"""What dropout does inside a trained net: its activity, and the variance that batch norm keeps."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.models.dropout import DropoutMLP
from jaxvision.models.layers import Apply, apply_function
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
    name = f"layer{net.depth - 1}"

    def one(variables: PyTree) -> Array:
        params = variables["params"]
        statistics = variables["batch_stats"]
        _, activations, _ = apply(params, statistics, inputs, train=False)
        return jax.nn.relu(activations[name])

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
    inputs, labels = test

    def one(variables: PyTree) -> Shift:
        params = variables["params"]
        kept = variables["batch_stats"]
        _, activations, _ = apply(params, kept, train, train=False)
        seen = activations["layer2"]
        variance = seen.var(0)
        hidden = _hidden(activations["layer1"], params["norm1"], kept["norm1"])
        power = jnp.square(hidden).mean(0)
        weights = params["layer2"]["kernel"]
        noise = power @ jnp.square(weights)
        noise = noise * (1 - keep) / keep
        logits, _, _ = apply(params, _taken_again(apply, params, kept, train), inputs, train=False)
        wrong = logits.argmax(-1) != labels
        return Shift(
            measured=jnp.log(kept["norm2"]["var"] / variance).mean(),
            predicted=jnp.log1p(noise / variance).mean(),
            error=wrong.mean(),
        )

    found = jax.jit(jax.vmap(one))(variables)
    return jax.device_get(found)


def _taken_again(apply: Apply, params: PyTree, kept: PyTree, train: Array) -> PyTree:
    """Return the moments of eval mode for every norm behind dropout, from below."""
    taken = dict(kept)
    for number in range(2, len(kept) + 1):
        _, activations, _ = apply(params, taken, train, train=False)
        seen = activations[f"layer{number}"]
        taken[f"norm{number}"] = {"mean": seen.mean(0), "var": seen.var(0)}
    return taken


def _hidden(x: Array, params: PyTree, kept: PyTree) -> Array:
    """Return what leaves the first hidden layer: x [B, U] through its batch norm and ReLU."""
    factor = params["scale"] / jnp.sqrt(kept["var"] + EPSILON)
    centered = x - kept["mean"][None]
    return jax.nn.relu(centered * factor[None] + params["bias"][None])
