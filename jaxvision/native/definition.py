"""What ``act_conv`` is, in plain JAX: values, and derivatives of every order and mode.

The kernels are held to it, and it is used where they cannot be.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.convolution import Pair, conv2d
from jaxvision.relu import relu
from jaxvision.types import Array


class Scaled(NamedTuple):
    """Images [B, H, W, C] that are still to be mapped to ``scale * (x - center) + bias``.

    The vectors are [C]. ``center`` lies close to the mean of x, so that no digits are lost where
    the mean is large beside the deviation; 0 where there is no such thing.
    """

    x: Array
    scale: Array
    bias: Array
    center: Array

    def value(self) -> Array:
        """Return the mapped images, of the dtype of x: the vectors may be more precise."""
        scale, bias, center = (v.reshape((1,) * (self.x.ndim - 1) + (-1,)) for v in self[1:])
        mapped = scale * (self.x - center) + bias
        return mapped.astype(self.x.dtype)


class Spec(NamedTuple):
    """What is computed, beside the arrays. Operands: x, kernel, then affine and residual if any."""

    stride: int
    pads: tuple[Pair, Pair]
    wrap: bool
    relu: bool
    affine: bool
    residual: bool
    moments: bool
    keep: bool

    def named(self, operands: Sequence) -> tuple:
        """Return x, kernel, affine and residual, None for what there is not."""
        return spread(operands, (True, True, self.affine, self.residual))

    def outputs(self, outs: Sequence) -> tuple:
        """Return y, moments and h, None for what there is not."""
        return spread(outs, (True, self.moments, self.keep))


def spread(values: Sequence, places: Sequence[bool]) -> tuple:
    """Return one entry for each place: the next value where it is True, else None."""
    left = iter(values)
    return tuple(next(left) if place else None for place in places)


def taken(values: Sequence, places: Sequence[bool]) -> list:
    """Return the values whose place is True."""
    return [value for value, place in zip(values, places, strict=True) if place]


def merged(values: Sequence, others: Sequence, places: Sequence[bool]) -> list:
    """Return the values, but the next of ``others`` where the place is True."""
    left = iter(others)
    return [next(left) if place else v for v, place in zip(values, places, strict=True)]


def out_shape(spec: Spec, operands: Sequence) -> tuple[int, int, int, int]:
    """Return the shape of y."""
    x, kernel = operands[:2]
    sides = [
        (size + sum(pads) - window) // spec.stride + 1
        for size, window, pads in zip(x.shape[1:3], kernel.shape[:2], spec.pads, strict=True)
    ]
    return (x.shape[0], *sides, kernel.shape[3])


def definition(spec: Spec, *operands: Array) -> list[Array]:
    """Return y, moments [3, O] and h, as far as ``spec`` asks for them, in plain JAX."""
    x, kernel, affine, residual = spec.named(operands)
    h = x if affine is None else Scaled(x, *affine).value()
    h = h if residual is None else h + residual
    h = relu(h) if spec.relu else h
    padded, pads = h, spec.pads
    if spec.wrap:
        padded, pads = jnp.pad(h, ((0, 0), *spec.pads, (0, 0)), mode="wrap"), "VALID"
    y = conv2d(padded, kernel, spec.stride, pads)
    outs = [y]
    if spec.moments:
        outs.append(_moments(y))
    if spec.keep:
        outs.append(h)
    return outs


def _moments(y: Array) -> Array:
    y = y.astype(jnp.float32)
    axes = tuple(range(y.ndim - 1))
    center = lax.stop_gradient(jnp.mean(y, axes))
    shifted = y - center.reshape((1,) * len(axes) + (-1,))
    rest = jnp.mean(shifted, axes)
    var = jnp.mean(jnp.square(shifted), axes) - jnp.square(rest)
    # Rounding can leave a tiny negative variance to a constant channel.
    return jnp.stack([center, rest, jnp.maximum(var, 0)])


def tangents(*arrays: Array, spec: Spec, active: tuple[bool, ...]) -> list[Array]:
    """Return tangents of the outputs.

    Args:
      *arrays: the operands, the outputs (not used), and tangents of the active operands.
      spec: what is computed.
      active: which operands have a tangent.
    """
    operands, given = arrays[: len(active)], arrays[len(arrays) - sum(active) :]

    def function(*moving: Array) -> list[Array]:
        return definition(spec, *merged(operands, moving, active))

    return jax.jvp(function, taken(operands, active), list(given))[1]


def gradients(
    *arrays: Array, spec: Spec, active: tuple[bool, ...], given: tuple[bool, ...]
) -> list[Array]:
    """Return gradients of the active operands.

    Args:
      *arrays: the operands, the outputs, and the cotangents that there are.
      spec: what is computed.
      active: which operands want a gradient.
      given: which outputs have a cotangent.
    """
    operands, outs = arrays[: len(active)], arrays[len(active) : len(active) + len(given)]
    cotangents = arrays[len(active) + len(given) :]

    def function(*moving: Array) -> list[Array]:
        return definition(spec, *merged(operands, moving, active))

    zeros = [jnp.zeros_like(out) for out in outs]
    pull = jax.vjp(function, *taken(operands, active))[1]
    return list(pull(merged(zeros, cotangents, given)))
