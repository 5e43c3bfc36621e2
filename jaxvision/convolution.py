"""The one convolution the library owns: fast and loop-safe on CPU, ``lax`` itself on GPU and TPU.

XLA:CPU runs a convolution fast only in the layout b01f_01io->b01f (images NHWC, kernels HWIO). It
rewrites other layouts into that one in a program's entry computation alone; the convolutions that
autodiff writes for gradients, and the grouped ones that ``vmap`` over kernels writes, fall to scalar
loops inside ``scan``, ``map`` and ``while`` (20-50 times slower, jax-ml/jax#12868).

So on CPU a convolution is a primitive of our own. It computes what ``lax.conv_general_dilated``
computes, and its derivative rules are written by hand:

* It is bilinear, and both transposes of a (strided, padded, dilated) convolution are again such
  convolutions with the roles of stride and dilation exchanged. They are written in the fast layout
  with the same primitive, so derivatives of every order and mode (``grad``, ``jvp``, Hessian-vector
  products) stay fast everywhere.
* ``vmap`` over images folds the mapped axis into the batch; ``vmap`` over kernels maps in sequence.
"""

import contextlib
from collections.abc import Iterator
from functools import partial

import jax
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxvision import runtime
from jaxvision.types import Array

Pair = tuple[int, int]
Padding = str | tuple[Pair, Pair]
_LAYOUT = ("NHWC", "HWIO", "NHWC")
_plain = False


def conv2d(
    x: Array, kernel: Array, stride: int | Pair = 1, padding: Padding = "SAME"
) -> Array:
    """Return the cross-correlation of images with a kernel (what deep learning calls convolution).

    Args:
      x: [B, H, W, C] images.
      kernel: [h, w, C, O], of the dtype of ``x``.
      stride: step of the window, one number or (rows, columns).
      padding: 'SAME' (zeros, output size ceil(H / stride), the odd zero at the end), 'VALID', or
        ((top, bottom), (left, right)) counts of zeros.

    Returns:
      [B, H', W', O].
    """
    strides = (stride, stride) if isinstance(stride, int) else tuple(stride)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding)
    padding = tuple((int(low), int(high)) for low, high in padding)
    if _plain or "conv" in runtime.disabled() or jax.default_backend() != "cpu":
        return _lax(x, kernel, strides, padding)
    return _convolve(x, kernel, strides, padding)


@contextlib.contextmanager
def plain_lax() -> Iterator[None]:
    """Trace ``conv2d`` as ``lax.conv_general_dilated`` inside this context: the off switch in code."""
    global _plain
    before, _plain = _plain, True
    try:
        yield
    finally:
        _plain = before


def _lax(
    x: Array,
    kernel: Array,
    strides: Pair,
    padding: tuple[Pair, Pair],
    input_dilation: Pair = (1, 1),
    kernel_dilation: Pair = (1, 1),
) -> Array:
    return lax.conv_general_dilated(
        x, kernel, strides, padding, input_dilation, kernel_dilation, _LAYOUT
    )


_conv_p = Primitive("conv2d")


def _convolve(
    x: Array,
    kernel: Array,
    strides: Pair,
    padding: tuple[Pair, Pair],
    input_dilation: Pair = (1, 1),
    kernel_dilation: Pair = (1, 1),
) -> Array:
    return _conv_p.bind(
        x,
        kernel,
        strides=strides,
        padding=padding,
        input_dilation=input_dilation,
        kernel_dilation=kernel_dilation,
    )


def _abstract(x, kernel, **geometry):
    """Shape, dtype and mesh axes of the result: whatever lax says of the same convolution."""
    dimensions = lax.conv_dimension_numbers(x.shape, kernel.shape, _LAYOUT)
    out, _ = lax.conv_general_dilated_p.abstract_eval(
        x,
        kernel,
        window_strides=geometry["strides"],
        padding=geometry["padding"],
        lhs_dilation=geometry["input_dilation"],
        rhs_dilation=geometry["kernel_dilation"],
        dimension_numbers=dimensions,
        feature_group_count=1,
        batch_group_count=1,
        precision=None,
        preferred_element_type=None,
    )
    return out


def _transpose_input(cotangent, x, kernel, *, strides, padding, input_dilation, kernel_dilation):
    """Gradient with respect to the images: convolve with the turned kernel, channels exchanged."""
    pads = []
    for axis in (0, 1):
        size, window, out = _extents(
            x.aval.shape, kernel.shape, cotangent.shape, axis, strides, input_dilation,
            kernel_dilation,
        )
        low = window - 1 - padding[axis][0]
        pads.append((low, size + window - 1 - out - low))
    turned = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
    # The barrier makes XLA store the gradient once; without it the elementwise work before it is
    # repeated inside each of its readers.
    cotangent = lax.optimization_barrier(cotangent)
    return _convolve(cotangent, turned, input_dilation, tuple(pads), strides, kernel_dilation)


def _transpose_kernel(cotangent, x, kernel, *, strides, padding, input_dilation, kernel_dilation):
    """Gradient with respect to the kernel: the channels are the batch, the cotangent the window."""
    pads = []
    for axis in (0, 1):
        size, window, out = _extents(
            x.shape, kernel.aval.shape, cotangent.shape, axis, strides, input_dilation,
            kernel_dilation,
        )
        low = padding[axis][0]
        pads.append((low, window - 1 + out - size - low))
    x, cotangent = lax.optimization_barrier((x, cotangent))
    images, window = lax.optimization_barrier(
        (x.transpose(3, 1, 2, 0), cotangent.transpose(1, 2, 0, 3))
    )
    gradient = _convolve(images, window, kernel_dilation, tuple(pads), input_dilation, strides)
    return gradient.transpose(1, 2, 0, 3)


def _extents(x_shape, kernel_shape, out_shape, axis, strides, input_dilation, kernel_dilation):
    """Sizes along one image axis with dilation holes counted: input, window, strided output."""
    return (
        (x_shape[1 + axis] - 1) * input_dilation[axis] + 1,
        (kernel_shape[axis] - 1) * kernel_dilation[axis] + 1,
        (out_shape[1 + axis] - 1) * strides[axis] + 1,
    )


def _batch(arguments, axes, **geometry):
    x, kernel = arguments
    x_axis, kernel_axis = axes
    if kernel_axis is None:
        x = jax.numpy.moveaxis(x, x_axis, 0)
        out = _convolve(x.reshape(-1, *x.shape[2:]), kernel, **geometry)
        return out.reshape(*x.shape[:2], *out.shape[1:]), 0
    kernel = jax.numpy.moveaxis(kernel, kernel_axis, 0)
    if x_axis is None:
        return lax.map(lambda k: _convolve(x, k, **geometry), kernel), 0
    x = jax.numpy.moveaxis(x, x_axis, 0)
    return lax.map(lambda pair: _convolve(*pair, **geometry), (x, kernel)), 0


_conv_p.def_impl(_lax)
_conv_p.def_abstract_eval(_abstract)
ad.defbilinear(_conv_p, _transpose_input, _transpose_kernel)
batching.primitive_batchers[_conv_p] = _batch
mlir.register_lowering(_conv_p, mlir.lower_fun(_lax, multiple_results=False))
