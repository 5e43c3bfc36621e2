"""Deep random nets of constant width: the spectrum of their Jacobian and the signal they carry.

``x_l = phi(h_l), h_l = W_l x_{l-1} + b_l``, as Pennington et al. 2017 (arXiv 1711.04735) write it:
the Jacobian of x_L by x_0 is the product of D_l W_l, D_l = diag(phi'(h_l)). Dynamical isometry:
all its singular values are close to 1. Dense layers, or convolutions on a torus, where no pixel
loses fan-in at an edge. Pure functions; layers are stacked and scanned, so that compile time does
not grow with depth.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer

from jaxvision.models.layers import Conv
from jaxvision.taps import gradient_tap
from jaxvision.types import Array

ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu, "linear": lambda x: x}
RESOLUTION = 1e-6  # of singular values in float32


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


def scale_layers(layers: Layers, sigma_w: float | Array, sigma_b: float | Array) -> Layers:
    """Return the layers with both gains on: of initializers of gain 1, a point of mean field."""
    return Layers(sigma_w * layers.kernels, sigma_b * layers.biases)


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
    return jnp.linalg.svd(jacobians[jnp.array(depths) - 1], compute_uv=False)


def isometric_share(values: Array, weights: Array | None = None, gain: float = 1.0) -> Array:
    """Return the share of singular values within a factor 2 of ``gain``, [...].

    1 is dynamical isometry (up to the gain, which one layer could take out).

    Args:
      values: [..., n], singular values or the nodes of a ``spectra.Quadrature``.
      weights: [..., n], of sum 1; equal by default.
      gain: of the isometry.
    """
    inside = (values >= gain / 2) & (values <= gain * 2)
    if weights is None:
        return jnp.mean(inside, axis=-1)
    return jnp.sum(jnp.where(inside, weights, 0), axis=-1)


def best_isometric_share(values: Array) -> Array:
    """Return the largest ``isometric_share`` at any gain, [...], of singular values [..., n]."""
    top = jnp.max(values, axis=-1)
    # From where float32 resolves a singular value up.
    gains = jnp.geomspace(2 * RESOLUTION, 1, 200)
    shares = jax.lax.map(lambda gain: isometric_share(values / top[..., None], gain=gain), gains)
    return jnp.max(shares, axis=0)


class Signal(NamedTuple):
    """What each layer of a net knows of its inputs, and how much the output says of it."""

    std: Array  # [L], of the pre-activations over inputs and units
    correlation: Array  # [L, B, B], cosines between the inputs' pre-activations
    delta_norm: Array  # [L], of the gradient at the pre-activations; 1 at the output
    pixel_rms: Array  # [L, B, H, W], of the pre-activations over channels; dense nets: [L, B]


def carry(layers: Layers, activation: str, x: Array, key: Array) -> Signal:
    """Return what a deep net carries of inputs x_0 [B, C] or [B, H, W, C] up, and of gradients down.

    The gradient is that of the net's last pre-activations along a random unit direction.
    """

    def through(taps: Array) -> tuple[Array, tuple[Array, ...]]:
        def step(x: Array, layer: tuple[Layers, Array]) -> tuple[Array, tuple[Array, ...]]:
            h = gradient_tap(_pre_activation(layer[0], x), layer[1])
            flat = h.reshape(h.shape[0], -1)
            unit = flat / jnp.linalg.norm(flat, axis=1, keepdims=True)
            rms = jnp.sqrt(jnp.mean(jnp.square(h), axis=-1))
            seen = jnp.std(h), unit @ unit.T, rms
            return ACTIVATIONS[activation](h), (h, seen)

        _, (h, seen) = jax.lax.scan(step, x, (layers, taps))
        direction = jax.random.normal(key, h.shape[1:])
        return jnp.vdot(h[-1], direction / jnp.linalg.norm(direction)), seen

    gradient, (std, correlation, rms) = jax.grad(through, has_aux=True)(
        jnp.zeros(layers.biases.shape[0])
    )
    return Signal(std, correlation, jnp.sqrt(gradient), rms)


def kept_likeness(correlation: Array) -> Array:
    """Return how well each layer keeps which inputs are alike, [L]: 1 at the first layer.

    The correlation, over pairs of inputs, of their cosines at a layer (``Signal.correlation``
    [L, B, B]) with those at the first layer. Where all inputs became one, it is noise around 0.
    """
    pairs = correlation[:, *jnp.triu_indices(correlation.shape[-1], 1)]
    centered = pairs - jnp.mean(pairs, axis=1, keepdims=True)
    unit = centered / jnp.linalg.norm(centered, axis=1, keepdims=True)
    return unit @ unit[0]


def _pre_activation(layer: Layers, x: Array) -> Array:
    kernel, bias = layer
    if kernel.ndim == 2:
        return x @ kernel + bias[None]
    conv = Conv(kernel.shape[-1], kernel.shape[0], padding="WRAP")
    return conv.apply({"params": {"kernel": kernel, "bias": bias}}, x)
