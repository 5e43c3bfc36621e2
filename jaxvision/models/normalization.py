"""Batch normalization: the layer with its hand-written gradient, and the bare formula.

Autodiff of the textbook expression keeps several arrays of the activation's size alive until the
backward pass; the gradient needs only x, the channels' means and their reciprocal deviations.

Layer and formula share their statistics, which are right where a channel's mean is large beside its
deviation. E[x^2] - E[x]^2 is not: at mean/std = 3,000 float32 has no digit left of the difference.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.act_conv import Convolved, Moments, Scaled
from jaxvision.types import Array, UserError

EPSILON = 1e-5  # added to every variance, where a net is trained
_batch_axis: ContextVar[str | None] = ContextVar("batch_axis", default=None)
_keeps_own: ContextVar[bool] = ContextVar("keeps_own", default=False)


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


@contextlib.contextmanager
def own_statistics() -> Iterator[None]:
    """Nets traced inside leave a batch's own statistics where they would update running ones."""
    token = _keeps_own.set(True)
    try:
        yield
    finally:
        _keeps_own.reset(token)


class BatchNorm(nn.Module):
    """Normalization over all axes but the last (Ioffe & Szegedy 2015, arXiv 1502.03167, Alg. 1, 2).

    Parameters ``scale`` and ``bias`` [C]; ``batch_stats`` ``mean`` and ``var`` [C]. The batch is
    normalized with its own biased variance; the running variance is an average of unbiased ones,
    m / (m - 1) times the biased, as in the paper (``nn.BatchNorm`` averages the biased ones).
    ``inference`` lists the statistics that a trained net may answer with.

    With ``train=True`` derivatives are those of reverse mode (``grad``, and ``jvp`` of ``grad``); a
    bare ``jvp`` of the net is not defined. With ``train=False`` the layer is affine and it is.

    Attributes:
      momentum: weight of the old running statistics at each update.
      epsilon: added to the variance.
    """

    momentum: float = 0.9
    epsilon: float = EPSILON

    @nn.compact
    def __call__(self, x: Array | Convolved, *, train: bool) -> Array | Scaled:
        """Map x [..., C] to its normalized, scaled and shifted self.

        Of a convolution's output with its moments (without, unless ``train``) it says only how it
        is to be scaled: the next convolution does it, and no sweep over memory is left.

        ``train`` uses the batch's own statistics and updates the running ones, for which the
        ``batch_stats`` collection must be mutable.

        Raises:
          UserError: with ``train``, where a channel has one value in the whole batch.
        """
        is_convolved = isinstance(x, Convolved)
        x, given = (x.y, x.moments) if is_convolved else (x, None)
        shape = x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        var = self.variable("batch_stats", "var", jnp.ones, shape)
        if not train:
            factor = scale * lax.rsqrt(var.value + self.epsilon)
            scaled = Scaled(x, factor, bias, mean.value)
            return scaled if is_convolved else scaled.value()
        axis = _batch_axis.get()
        m = _count(x, axis)
        _check_count(m, x.shape)
        if is_convolved:
            moments = given if axis is None else _joined(given, axis)
            batch_mean, batch_var = moments.center + moments.rest, moments.var
            factor = scale * lax.rsqrt(batch_var + self.epsilon)
            y = Scaled(x, factor, bias - moments.rest * factor, moments.center)
        else:
            y, batch_mean, batch_var = _normalize(x, scale, bias, self.epsilon, axis)
        if not self.is_initializing():
            for running, new in ((mean, batch_mean), (var, batch_var * (m / (m - 1)))):
                # The rule below has no gradient for the statistics; nobody may ask for it.
                new = lax.stop_gradient(new)
                averaged = self.momentum * running.value + (1 - self.momentum) * new
                running.value = new if _keeps_own.get() else averaged
        return y


def standardize(x: Array, epsilon: float = 0.0, *, held: bool = False) -> Array:
    """Return x [..., C] with mean 0 and variance 1 in every channel: bare batch norm.

    The formula of ``BatchNorm`` without scale, shift and running statistics, differentiable in
    every mode. Closed forms speak of epsilon 0, where a constant channel gives NaN; nets that train
    take ``EPSILON``.

    Args:
      x: of two values a channel at least.
      epsilon: added to the variance.
      held: hold the statistics constant in derivatives, as in the gradient of one input alone.
    """
    moments = _moments(x, None)
    if held:
        moments = lax.stop_gradient(moments)
    return _centered(x, moments) / _per_channel(jnp.sqrt(moments.var + epsilon), x)


def _joined(moments: Moments, axis: str) -> Moments:
    """Return the moments of a batch from those of its equal parts on a mesh axis."""
    center, rest = lax.pmean((moments.center, moments.rest), axis)
    center = lax.stop_gradient(center)
    away = (moments.center - center) + (moments.rest - rest)  # of the part's mean
    return Moments(center, rest, lax.pmean(moments.var + jnp.square(away), axis))


def _moments(x: Array, axis: str | None) -> Moments:
    """Take the moments in two passes over x [..., C] (and over the mesh axis ``axis``)."""
    axes = tuple(range(x.ndim - 1))

    def means(*arrays: Array) -> list[Array]:
        here = [jnp.mean(values, axes) for values in arrays]
        return here if axis is None else lax.pmean(here, axis)

    # Any shift gives the same moments, so it has no derivative.
    rough = lax.stop_gradient(means(x.astype(jnp.float32))[0])
    shifted = _shifted(x, rough)
    rest, square = means(shifted, jnp.square(shifted))
    # Rounding can leave a tiny negative variance to a constant channel.
    return Moments(rough, rest, jnp.maximum(square - jnp.square(rest), 0))


def _shifted(x: Array, rough: Array) -> Array:
    return x.astype(jnp.float32) - _per_channel(rough, x)


def _centered(x: Array, moments: Moments) -> Array:
    return _shifted(x, moments.center) - _per_channel(moments.rest, x)


def _check_count(count: int, shape: tuple[int, ...]) -> None:
    if count > 1:
        return
    size = "x".join(str(side) for side in shape[1:-1])
    maps = f" with maps of {size}" if size else ""
    raise UserError(
        f"batch norm cannot train on one value a channel (a batch of {shape[0]}{maps}): it needs "
        "larger batches or larger images"
    )


def _count(x: Array, axis: str | None) -> int:
    """Return over how many numbers a channel's statistics run."""
    return x.size // x.shape[-1] * (1 if axis is None else lax.axis_size(axis))


def _per_channel(values: Array, x: Array) -> Array:
    return values.reshape((1,) * (x.ndim - 1) + (-1,))


def _affine(centered: Array, factor: Array, bias: Array) -> Array:
    # Not x * factor + (bias - mean * factor): that is a difference of two large numbers.
    return centered * _per_channel(factor, centered) + _per_channel(bias, centered)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _normalize(
    x: Array, scale: Array, bias: Array, epsilon: float, axis: str | None
) -> tuple[Array, Array, Array]:
    """Return the normalized x [..., C] and the batch's mean [C] and biased variance [C]."""
    return _forward(x, scale, bias, epsilon, axis)[0]


def _forward(x, scale, bias, epsilon, axis):
    moments = _moments(x, axis)
    rstd = lax.rsqrt(moments.var + epsilon)
    y = _affine(_centered(x, moments), scale * rstd, bias).astype(x.dtype)
    return (y, moments.center + moments.rest, moments.var), (x, scale, moments, rstd)


def _backward(epsilon, axis, residuals, cotangents):
    del epsilon
    x, scale, moments, rstd = residuals
    axes = tuple(range(x.ndim - 1))
    m = _count(x, axis)
    dy = cotangents[0].astype(jnp.float32)
    centered = _centered(x, moments)
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
