"""Gradient taps: read the norm of a gradient where it flows, at the price of one scalar.

The gradient that arrives at a pre-activation (the paper's delta) is no parameter gradient, so
``jax.grad`` does not return it. Adding a zero array of the activation's shape and differentiating
with respect to it works but stores every delta. A tap is an identity with a made-up derivative
instead: the "gradient" of its scalar is the sum of squares of whatever flows back through it.
"""

import jax
import jax.numpy as jnp

from jaxvision.types import Array


@jax.custom_vjp
def gradient_tap(x: Array, tap: Array) -> Array:
    """Return ``x``. The cotangent of the scalar ``tap`` is the squared norm of x's cotangent.

    Args:
      x: any array; its value and its gradient pass unchanged.
      tap: a float32 scalar; its value is never read.
    """
    del tap
    return x


def _forward(x: Array, tap: Array) -> tuple[Array, None]:
    del tap
    return x, None


def _backward(_: None, cotangent: Array) -> tuple[Array, Array]:
    return cotangent, jnp.sum(jnp.square(cotangent.astype(jnp.float32)))


gradient_tap.defvjp(_forward, _backward)


@jax.custom_vjp
def normalizing_tap(x: Array, tap: Array) -> Array:
    """Return ``x``. As ``gradient_tap``, but x's cotangent goes on with norm 1 (zero stays zero).

    In a chain of taps each reads the squared factor between the tap above and itself. Their product
    from the top down to a tap is what ``gradient_tap`` reads there, and their logarithms add up
    where its number is too small or too large for float32. Gradients below a tap are directions.
    """
    del tap
    return x


def _backward_normalized(_: None, cotangent: Array) -> tuple[Array, Array]:
    _, squared = _backward(None, cotangent)
    norm = jnp.sqrt(squared)
    return (cotangent / jnp.where(norm == 0, 1, norm)).astype(cotangent.dtype), squared


normalizing_tap.defvjp(_forward, _backward_normalized)
