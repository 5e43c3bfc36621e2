"""Deep random nets of constant width: the spectrum of their Jacobian and the signal they carry.

``x_l = phi(h_l), h_l = W_l x_{l-1} + b_l``, as Pennington et al. 2017 (arXiv 1711.04735) write it:
the Jacobian of x_L by x_0 is the product of D_l W_l, D_l = diag(phi'(h_l)) (their equation 2).
Dynamical isometry: all its singular values are close to 1. Dense layers, or convolutions on a
torus, where no pixel loses fan-in at an edge. Pure functions; layers are stacked and scanned, so
that compile time does not grow with depth. Weights are kept, to be looked at repeatedly;
``random_nets`` keeps none.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.dynamics import mean_field, spectra
from jaxvision.dynamics.activations import ACTIVATIONS
from jaxvision.initializers import Initializer
from jaxvision.models.layers import Apply, Conv
from jaxvision.taps import normalizing_tap
from jaxvision.types import Array, PyTree

RESOLUTION = 1e-6  # of singular values in float32


class Critical(NamedTuple):
    """A point on the edge of chaos and the inputs that stand there from the first layer on."""

    sigma_w: float
    sigma_b: float
    input_std: float


def critical(activation: str, q: float) -> Critical:
    """Return the critical net whose pre-activations have variance ``q``.

    Pennington et al. 2017: q is the fixed point of equation 4, and equation 5, chi, is 1.
    """
    sigma_w, sigma_b = mean_field.edge_of_chaos(q, activation)
    input_std = np.sqrt(mean_field.second_moment(activation, q))
    return Critical(float(sigma_w), float(sigma_b), float(input_std))


class Layers(NamedTuple):
    """The weights of a net of L layers of one shape."""

    kernels: Array  # [L, C, C] or [L, h, w, C, C]
    biases: Array  # [L, C]


def draw_layers(key: Array, init: Initializer, shape: tuple[int, ...], depth: int) -> Layers:
    """Return ``depth`` independent layers: kernels of ``shape`` from ``init``, biases N(0, 1)."""

    def one(key: Array) -> Layers:
        kernel_key, bias_key = jax.random.split(key)
        return Layers(init(kernel_key, shape), jax.random.normal(bias_key, shape[-1:]))

    # lax.map, not vmap: a layer must not depend on how many there are (QR, batched).
    return jax.lax.map(one, jax.random.split(key, depth))


def scale_layers(layers: Layers, point: Critical) -> Layers:
    """Return the layers, drawn with gain 1, at a point of mean field."""
    return Layers(point.sigma_w * layers.kernels, point.sigma_b * layers.biases)


def map_nets(function: Callable[[Layers], PyTree], nets: Sequence[Layers]) -> PyTree:
    """Return ``function`` of each of several nets of one shape, stacked; compiled once."""
    return jax.lax.map(function, jax.tree.map(lambda *leaves: jnp.stack(leaves), *nets))


def unit_variance(x: Array) -> Array:
    """Scale the units [..., C] of every input and pixel to mean square 1, as if infinitely many."""
    return x / jnp.sqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True))


def apply_layers(layers: Layers, activation: str, x: Array) -> Array:
    """Return x_L of inputs x_0 [B, C] or [B, H, W, C], of the same shape."""

    def step(x: Array, layer: Layers) -> tuple[Array, None]:
        return ACTIVATIONS[activation](_pre_activation(layer, x)), None

    return jax.lax.scan(step, x, layers)[0]


def singular_values(layers: Layers, activation: str, x: Array, depths: tuple[int, ...]) -> Array:
    """Return all singular values of the Jacobian of x_l by x_0 at each l of ``depths``, [D, C].

    For dense nets, exact up to rounding: below ``RESOLUTION`` times the largest a value is noise.

    Args:
      layers: of depth max(depths) at least.
      activation: one of ``ACTIVATIONS``.
      x: one input [C].
      depths: from 1.
    """

    def step(carry: tuple[Array, Array], layer: Layers) -> tuple[tuple[Array, Array], Array]:
        x, jacobian = carry
        x, push = jax.linearize(
            lambda x: ACTIVATIONS[activation](_pre_activation(layer, x[None])[0]), x
        )
        jacobian = jax.vmap(push, in_axes=1, out_axes=1)(jacobian)
        return (x, jacobian), jacobian

    _, jacobians = jax.lax.scan(step, (x, jnp.eye(x.size)), layers)
    return jax.vmap(spectra.singular_values)(jacobians[jnp.array(depths) - 1])


def isometric_share(values: Array, weights: Array | None = None) -> Array:
    """Return the share of singular values within a factor 2 of 1, [...]; 1: dynamical isometry.

    Args:
      values: [..., n], singular values or the nodes of a ``spectra.Quadrature``.
      weights: [..., n], of sum 1; equal by default.
    """
    inside = (values >= 0.5) & (values <= 2)
    if weights is None:
        return jnp.mean(inside, axis=-1)
    return jnp.sum(jnp.where(inside, weights, 0), axis=-1)


class Signal(NamedTuple):
    """What each layer of a net knows of its inputs, and how much the output says of it."""

    std: Array  # [L], of the pre-activations over inputs and units
    likeness: Array  # [L], how well it keeps which inputs are alike; see ``carry``
    delta_octaves: Array  # [L], log2 of the gradient's norm at the pre-activations; 0 at the output
    pixel_rms: Array  # [L, B, H, W], of the pre-activations over channels; dense nets: [L, B]


def carry(layers: Layers, activation: str, x: Array, key: Array) -> Signal:
    """Return what a deep net carries up of its inputs x_0, and down of a gradient.

    Inputs are [B, C] or [B, H, W, C]. The gradient is that of the net's last pre-activations along
    a random unit direction. The likeness is the correlation, over pairs of inputs, of their cosine
    at a layer with their cosine at the first: 1 there, noise around 0 where all have become one.
    """

    def through(taps: Array) -> tuple[Array, tuple[Array, ...]]:
        def step(state: tuple[Array, Array], layer: tuple[Layers, Array]) -> tuple:
            below, _ = state
            weights, tap = layer
            h = normalizing_tap(_pre_activation(weights, below), tap)
            rms = jnp.sqrt(jnp.mean(jnp.square(h), axis=-1))
            return (ACTIVATIONS[activation](h), h), (jnp.std(h), _pair_cosines(h), rms)

        (_, last), seen = jax.lax.scan(step, (x, x), (layers, taps))
        direction = jax.random.normal(key, last.shape)
        return jnp.vdot(last, direction / jnp.linalg.norm(direction)), seen

    # Logarithms: over thousands of layers a gradient leaves what float32 can hold.
    squared_factors, (std, cosines, rms) = jax.grad(through, has_aux=True)(
        jnp.zeros(layers.biases.shape[0])
    )
    octaves = jax.lax.cumsum(jnp.log2(squared_factors) / 2, reverse=True)
    centered = cosines - jnp.mean(cosines, axis=1, keepdims=True)
    unit = centered / jnp.linalg.norm(centered, axis=1, keepdims=True)
    return Signal(std, unit @ unit[0], octaves, rms)


def _pair_cosines(h: Array) -> Array:
    """Return the cosine of every pair of inputs' pre-activations [B, ...], [B (B - 1) / 2]."""
    flat = h.reshape(h.shape[0], -1)
    unit = flat / jnp.linalg.norm(flat, axis=1, keepdims=True)
    return (unit @ unit.T)[jnp.triu_indices(h.shape[0], 1)]


def trained_share(apply: Apply, variables: PyTree, images: Array) -> Array:
    """Return ``isometric_share`` of an MLP, image to last hidden layer, mean over images, [].

    Args:
      apply: of a ``models.mlp.MLP``, see ``models.layers.apply_function``.
      variables: of the net, ``{'params', 'batch_stats'}``.
      images: [B, H, W, C], as the net takes them.
    """

    def last_hidden(image: Array) -> Array:
        net = variables["params"], variables["batch_stats"]
        return apply(*net, image[None], train=False)[1]["hidden"][-1, 0]

    values = jax.lax.map(partial(spectra.jacobian_singular_values, last_hidden), images)
    return jnp.mean(isometric_share(values))


def _pre_activation(layer: Layers, x: Array) -> Array:
    kernel, bias = layer
    if kernel.ndim == 2:
        return x @ kernel + bias[None]
    conv = Conv(kernel.shape[-1], kernel.shape[0], padding="WRAP")
    return conv.apply({"params": {"kernel": kernel, "bias": bias}}, x)
