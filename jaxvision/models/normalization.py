"""Batch normalization with a hand-written gradient that stores nothing but its input.

Autodiff of the textbook expression keeps several arrays of the activation's size alive until the
backward pass; the gradient needs only x, the channels' means and their reciprocal deviations.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.types import Array


class BatchNorm(nn.Module):
    """Normalization over all axes but the last (Ioffe & Szegedy 2015, arXiv 1502.03167, Alg. 1, 2).

    Parameters ``scale`` and ``bias`` [C]; ``batch_stats`` ``mean`` and ``var`` [C]. The batch is
    normalized with its own biased variance; the running variance is an average of unbiased ones,
    m / (m - 1) times the biased, as in the paper (``nn.BatchNorm`` averages the biased ones).

    With ``train=True`` derivatives are those of reverse mode (``grad``, and ``jvp`` of ``grad``); a
    bare ``jvp`` of the net is not defined. With ``train=False`` the layer is affine and it is.

    Attributes:
      momentum: weight of the old running statistics at each update.
      epsilon: added to the variance.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Map x [..., C] to its normalized, scaled and shifted self.

        ``train`` uses the batch's own statistics and updates the running ones, for which the
        ``batch_stats`` collection must be mutable.
        """
        shape = x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        var = self.variable("batch_stats", "var", jnp.ones, shape)
        if not train:
            factor = scale * lax.rsqrt(var.value + self.epsilon)
            return _affine(x, factor, bias - mean.value * factor)
        y, batch_mean, batch_var = _normalize(x, scale, bias, self.epsilon)
        if not self.is_initializing():
            m = x.size // x.shape[-1]
            for running, new in ((mean, batch_mean), (var, batch_var * (m / max(m - 1, 1)))):
                # The rule below has no gradient for the statistics; nobody may ask for it.
                new = lax.stop_gradient(new)
                running.value = self.momentum * running.value + (1 - self.momentum) * new
        return y


def _per_channel(values: Array, x: Array) -> Array:
    return values.reshape((1,) * (x.ndim - 1) + (-1,))


def _affine(x: Array, factor: Array, offset: Array) -> Array:
    y = x.astype(jnp.float32) * _per_channel(factor, x) + _per_channel(offset, x)
    return y.astype(x.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _normalize(x: Array, scale: Array, bias: Array, epsilon: float) -> tuple[Array, Array, Array]:
    """Return the normalized x [..., C] and the batch's mean [C] and biased variance [C]."""
    return _forward(x, scale, bias, epsilon)[0]


def _forward(x, scale, bias, epsilon):
    axes = tuple(range(x.ndim - 1))
    x32 = x.astype(jnp.float32)
    mean = jnp.mean(x32, axes)
    # Both moments in one pass over memory. Cancellation can leave a tiny negative variance.
    var = jnp.maximum(jnp.mean(jnp.square(x32), axes) - jnp.square(mean), 0)
    rstd = lax.rsqrt(var + epsilon)
    y = _affine(x, scale * rstd, bias - mean * scale * rstd)
    return (y, mean, var), (x, scale, mean, rstd)


def _backward(epsilon, residuals, cotangents):
    del epsilon
    x, scale, mean, rstd = residuals
    axes = tuple(range(x.ndim - 1))
    m = x.size // x.shape[-1]
    dy = cotangents[0].astype(jnp.float32)
    centered = x.astype(jnp.float32) - _per_channel(mean, x)
    d_bias = jnp.sum(dy, axes)
    d_scale = jnp.sum(dy * centered, axes) * rstd
    # dx = scale * rstd * (dy - mean(dy) - xhat * mean(dy * xhat)), as one sweep a * dy + b * c + d.
    factor = scale * rstd
    dx = (
        dy * _per_channel(factor, x)
        - centered * _per_channel(factor * rstd * d_scale / m, x)
        - _per_channel(factor * d_bias / m, x)
    )
    return dx.astype(x.dtype), d_scale, d_bias


_normalize.defvjp(_forward, _backward)
