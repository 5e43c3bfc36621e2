"""The named weight initializers: one paper, one fan, one distribution each.

An initializer is JAX's: ``init(key, shape, dtype=float32) -> Array`` on the kernel of one layer,
dense ``[I, O]`` or conv ``[h, w, I, O]``. ``fan_in = h*w*I`` and ``fan_out = h*w*O`` (n and n-hat
of He et al. 2015). The variances in the table are exact, also that of the truncated normal: JAX
corrects its width.

===================  ==============================  ===========================================
name                 Var[w]                          distribution
===================  ==============================  ===========================================
xavier_he2015        1 / fan_in                      Gaussian
glorot2010           2 / (fan_in + fan_out)          uniform
he_forward           2 / fan_in                      Gaussian
he_backward          2 / fan_out                     Gaussian
small_he             .02 / fan_in                    Gaussian
flax_default         1 / fan_in                      Gaussian truncated at 2/.8796 of its std
torch_default        1 / (3 fan_in)                  uniform
orthogonal           gain^2 / max(fan_in, O)         Haar
delta_orthogonal     gain^2 / O on the central tap   Haar on the central tap, 0 on the others
fixed                std^2                           Gaussian
===================  ==============================  ===========================================

Note the trap: ``flax_default`` (what Flax and JAX users get unasked) has the variance of
``xavier_he2015``, the curve that stalls in figure 3 of He et al. 2015.
"""

import math
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from jax.nn import initializers as jax_initializers
from jax.nn.initializers import Initializer

from jaxvision.random import DISTRIBUTIONS, Distribution
from jaxvision.types import Array, PyTree, UserError


@dataclass(frozen=True)
class Scaled:
    """An initializer whose entries are independent draws of one variance.

    So all kernels of a net may be cut from one vector of draws: see ``models.drawing``.

    Attributes:
      scale: the variance is ``scale`` over the fan.
      fan: which; 'none' takes ``scale`` as it is.
      distribution: of the entries.
    """

    scale: float
    fan: Literal["in", "out", "mean", "none"]
    distribution: Distribution = "normal"

    def __call__(self, key: Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
        """Return the kernel of one layer."""
        draw = DISTRIBUTIONS[self.distribution]
        return (self.std(shape) * draw(key, shape)).astype(dtype)

    def std(self, shape: tuple[int, ...]) -> float:
        """Return the standard deviation of the entries of one layer's kernel."""
        *window, inputs, outputs = shape
        pixels = math.prod(window)
        fans = {
            "in": pixels * inputs,
            "out": pixels * outputs,
            "mean": pixels * (inputs + outputs) / 2,
            "none": 1,
        }
        return math.sqrt(self.scale / fans[self.fan])


def xavier_he2015() -> Scaled:
    """Return "Xavier" as He et al. 2015 drew it (footnote 3): Gaussian, variance 1/fan_in."""
    return Scaled(1.0, "in")


def glorot2010() -> Scaled:
    """Return Glorot & Bengio 2010's own: uniform on +-sqrt(6 / (fan_in + fan_out))."""
    return Scaled(1.0, "mean", "uniform")


def he_forward() -> Scaled:
    """Return He et al. 2015, Eq. 10: Gaussian (not truncated), fan_in, variance 2/fan_in."""
    return Scaled(2.0, "in")


def he_backward() -> Scaled:
    """Return He et al. 2015, Eq. 14, which the paper trained with: Gaussian, variance 2/fan_out."""
    return Scaled(2.0, "out")


def small_he() -> Scaled:
    """Return a tenth of ``he_forward``: a small start, from which a net of few layers still learns.

    Source: the regime of Lyu & Li 2020 (arXiv 1906.05890) and Chizat & Bach 2019 (arXiv 1812.07956)
    in which features are learned before the margins grow.
    """
    return Scaled(0.02, "in")


def flax_default() -> Scaled:
    """Return Flax's and JAX's default kernel (LeCun normal): truncated Gaussian, 1/fan_in."""
    return Scaled(1.0, "in", "truncated normal")


def torch_default() -> Scaled:
    """Return the kernel of torch.nn.Linear and Conv2d: uniform on +-1/sqrt(fan_in)."""
    return Scaled(1.0 / 3.0, "in", "uniform")


def orthogonal(gain: float) -> Initializer:
    """Return a Haar-random orthogonal matrix times ``gain`` (Saxe et al. 2014).

    A conv kernel is drawn as the matrix ``[h*w*I, O]``; the smaller of its sides is orthonormal.
    """
    return jax_initializers.orthogonal(gain, dtype=jnp.float32)


def delta_orthogonal(gain: float) -> Initializer:
    """Return Xiao et al. 2018's algorithm 2: orthogonal on the central tap, zero on the others.

    A conv of stride 1 then keeps the norm of its input (times ``gain``), which needs O >= I. A
    dense kernel is its own central tap.

    Raises:
      UserError: a conv kernel with fewer output than input channels.
    """
    conv = jax_initializers.delta_orthogonal(gain, dtype=jnp.float32)
    dense = orthogonal(gain)

    def init(key: Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
        if len(shape) == 2:
            return dense(key, shape, dtype)
        if shape[-1] < shape[-2]:
            raise UserError(
                "delta_orthogonal needs at least as many output as input channels, and this layer "
                f"has {shape[-2]} in and {shape[-1]} out: widen it or choose another initializer"
            )
        return conv(key, shape, dtype)

    return init


def fixed(std: float) -> Scaled:
    """Return a Gaussian of one std for every layer (.01 before He et al. 2015)."""
    return Scaled(std**2, "none")


def with_gain(variables: PyTree, gain: float | Array) -> PyTree:
    """Return the variables with every kernel times ``gain``: one draw serves a grid of gains."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: gain * leaf if path[-1].key == "kernel" else leaf, variables
    )
