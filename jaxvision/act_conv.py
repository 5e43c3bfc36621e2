"""Activation, convolution and the result's moments as one operation.

    h = relu(scale * (x - center) + bias + residual),    y = conv(h, kernel),    moments of y

Each part but the convolution can be left out. With the moments, batch normalization is arithmetic
on [C] vectors: it becomes the ``Scaled`` input of the next convolution, and none of its sweeps over
memory is left. Kept for the gradient are x and y, each layer's output once; h is computed again.

On CPU kernels of our own compute it (``native/act_conv.cc``). Where there are none, or they do not
take the shapes, or where another backward rule than the gradient is asked for (``relu``), it is its
definition in JAX (``native/definition.py``). Derivatives of second order and forward mode are
always those of the definition.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

from jaxvision.convolution import Padding, Pair
from jaxvision.native import primitives, switch
from jaxvision.native.definition import Scaled, Spec, definition, out_shape
from jaxvision.relu import current_rule
from jaxvision.types import Array, UserError

__all__ = ["Convolved", "Moments", "Scaled", "act_conv"]

LARGEST_WINDOW = 7
LARGEST_IMAGE = 1 << 28  # numbers, before or after the convolution


class Moments(NamedTuple):
    """Mean ``center + rest`` and biased variance of every channel, float32 [O].

    ``center`` is the mean as float32 has it; it has no derivative, since any center gives the same
    moments, and ``rest`` has the mean's. The variance is taken about it and does not cancel.
    """

    center: Array
    rest: Array
    var: Array


class Convolved(NamedTuple):
    """What ``act_conv`` returns: y [B, H', W', O], and what else was asked for."""

    y: Array
    moments: Moments | None
    h: Array | None


def act_conv(
    x: Array | Scaled,
    kernel: Array,
    stride: int = 1,
    padding: Padding = "SAME",
    *,
    relu: bool = True,
    residual: Array | None = None,
    moments: bool = False,
    keep: bool = False,
) -> Convolved:
    """Return the convolution of h = relu(x + residual), and what else is asked for.

    Args:
      x: [B, H, W, C], or such images that are scaled first.
      kernel: [k, k, C, O], of the dtype of x.
      stride: step of the window.
      padding: of h; as in ``conv2d``, or 'WRAP': stride 1 on a torus.
      relu: False leaves the ReLU out.
      residual: of x's shape, added before the ReLU.
      moments: put out the moments of y.
      keep: put out h.

    Raises:
      UserError: the batch is empty.
    """
    images = x.x if isinstance(x, Scaled) else x
    if images.shape[0] == 0:
        raise UserError("a convolution got an empty batch: it needs one image at least")
    pads, wrap = _pads(images.shape, kernel.shape, stride, padding)
    operands = [images, kernel]
    if isinstance(x, Scaled):
        operands.append(jnp.stack([x.scale, x.bias, x.center]))
    if residual is not None:
        operands.append(residual)
    spec = Spec(
        stride, pads, wrap, relu, isinstance(x, Scaled), residual is not None, moments, keep
    )
    y, sums, h = _compute(spec, operands)
    return Convolved(y, None if sums is None else Moments(*sums), h if keep else None)


def _pads(x_shape, kernel_shape, stride: int, padding: Padding) -> tuple[tuple[Pair, Pair], bool]:
    """Return zeros, or pixels of the torus, to add at the four sides; and whether it is a torus."""
    window = kernel_shape[:2]
    if padding == "WRAP":
        if stride != 1:
            raise UserError(f"stride={stride}: padding 'WRAP' has stride 1")
        return tuple(((k - 1) // 2, k // 2) for k in window), True
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(x_shape[1:3], window, (stride, stride), padding)
    return tuple((int(low), int(high)) for low, high in padding), False


def _compute(spec: Spec, operands: Sequence[Array]) -> tuple:
    is_plain = not spec.relu or current_rule() == "gradient"
    if not (is_plain and is_taken(spec, operands) and switch.is_on()):
        return spec.outputs(definition(spec, *operands))
    # The gradient needs h where a residual has gone into it.
    spec = spec._replace(keep=spec.keep or spec.residual)
    return spec.outputs(primitives.forward(spec, operands))


def is_taken(spec: Spec, operands: Sequence[Array]) -> bool:
    """Whether the kernels take these arrays. They trust in the shapes, so all are looked at.

    Args:
      spec: what is to be computed.
      operands: as ``spec`` names them; shapes and dtypes are enough.
    """
    x, kernel, affine, residual = spec.named(operands)
    if x.ndim != 4 or kernel.ndim != 4 or kernel.shape[2] != x.shape[3]:
        return False
    if affine is not None and affine.shape != (3, x.shape[3]):
        return False
    if residual is not None and residual.shape != x.shape:
        return False
    rows, columns = kernel.shape[:2]
    if rows != columns or rows > LARGEST_WINDOW or spec.stride not in (1, 2):
        return False
    if any(operand.dtype != jnp.float32 or operand.size == 0 for operand in operands):
        return False
    if any(not 0 <= pad < rows for pads in spec.pads for pad in pads):
        return False
    images = (x.shape, out_shape(spec, operands))
    return all(0 < math.prod(shape[1:]) <= LARGEST_IMAGE for shape in images)
