"""Batch normalization with a hand-written gradient that stores nothing but its input.

Autodiff of the textbook expression keeps several arrays of the activation's size alive until the
backward pass; the gradient needs only x, the channels' means and their reciprocal deviations.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.types import Array

_batch_axis: ContextVar[str | None] = ContextVar("batch_axis", default=None)


@contextlib.contextmanager
def batch_split_over(axis: str | None) -> Iterator[None]:
    """Nets traced inside see one part of a batch, the others lie on the mesh axis ``axis``.

    Their batch statistics are then the whole batch's. All parts have the same size.
    """
    token = _batch_axis.set(axis)
    try:
        yield
    finally:
        _batch_axis.reset(token)


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
        axis = _batch_axis.get()
        y, batch_mean, batch_var = _normalize(x, scale, bias, self.epsilon, axis)
        if not self.is_initializing():
            m = _count(x, axis)
            for running, new in ((mean, batch_mean), (var, batch_var * (m / max(m - 1, 1)))):
                # The rule below has no gradient for the statistics; nobody may ask for it.
                new = lax.stop_gradient(new)
                running.value = self.momentum * running.value + (1 - self.momentum) * new
        return y


def _count(x: Array, axis: str | None) -> int:
    """Return over how many numbers a channel's statistics run."""
    return x.size // x.shape[-1] * (1 if axis is None else lax.axis_size(axis))


def _per_channel(values: Array, x: Array) -> Array:
    return values.reshape((1,) * (x.ndim - 1) + (-1,))


def _affine(x: Array, factor: Array, offset: Array) -> Array:
    y = x.astype(jnp.float32) * _per_channel(factor, x) + _per_channel(offset, x)
    return y.astype(x.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _normalize(
    x: Array, scale: Array, bias: Array, epsilon: float, axis: str | None
) -> tuple[Array, Array, Array]:
    """Return the normalized x [..., C] and the batch's mean [C] and biased variance [C]."""
    return _forward(x, scale, bias, epsilon, axis)[0]


def _forward(x, scale, bias, epsilon, axis):
    axes = tuple(range(x.ndim - 1))
    x32 = x.astype(jnp.float32)
    # Both moments in one pass over memory. Cancellation can leave a tiny negative variance.
    mean, square = jnp.mean(x32, axes), jnp.mean(jnp.square(x32), axes)
    if axis is not None:
        mean, square = lax.pmean((mean, square), axis)
    var = jnp.maximum(square - jnp.square(mean), 0)
    rstd = lax.rsqrt(var + epsilon)
    y = _affine(x, scale * rstd, bias - mean * scale * rstd)
    return (y, mean, var), (x, scale, mean, rstd)


def _backward(epsilon, axis, residuals, cotangents):
    del epsilon
    x, scale, mean, rstd = residuals
    axes = tuple(range(x.ndim - 1))
    m = _count(x, axis)
    dy = cotangents[0].astype(jnp.float32)
    centered = x.astype(jnp.float32) - _per_channel(mean, x)
    d_bias = jnp.sum(dy, axes)
    d_scale = jnp.sum(dy * centered, axes) * rstd
    # The parameters' gradients are this part's share; dx is the whole loss's, other parts' too.
    all_bias, all_scale = (d_bias, d_scale) if axis is None else lax.psum((d_bias, d_scale), axis)
    # dx = scale * rstd * (dy - mean(dy) - xhat * mean(dy * xhat)), as one sweep a * dy + b * c + d.
    factor = scale * rstd
    dx = (
        dy * _per_channel(factor, x)
        - centered * _per_channel(factor * rstd * all_scale / m, x)
        - _per_channel(factor * all_bias / m, x)
    )
    return dx.astype(x.dtype), d_scale, d_bias


_normalize.defvjp(_forward, _backward)
