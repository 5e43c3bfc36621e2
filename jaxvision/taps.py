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
