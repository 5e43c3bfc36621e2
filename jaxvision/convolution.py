"""The one convolution the library owns: fast and loop-safe on CPU, ``lax`` itself on GPU and TPU.

XLA:CPU runs a convolution fast only in the layout b01f_01io->b01f (images NHWC, kernels HWIO). It
rewrites other layouts into that one in a program's entry computation alone; the convolutions that
autodiff writes for gradients, and the grouped ones of ``vmap`` over kernels, fall to scalar loops
inside ``scan``, ``map`` and ``while`` (20-50 times slower, jax-ml/jax#12868).

So on CPU a convolution is a primitive of our own. It computes what ``lax.conv_general_dilated``
computes, and its derivative rules are written by hand:

* It is bilinear, and both transposes of a (strided, padded, dilated) convolution are again such
  convolutions with the roles of stride and dilation exchanged. They are written in the fast layout
  with the same primitive, so derivatives of every order and mode (``grad``, ``jvp``, Hessian-vector
  products) stay fast everywhere.
* ``vmap`` over images folds the mapped axis into the batch; ``vmap`` over kernels maps in sequence.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxvision import runtime
from jaxvision.types import Array

Pair = tuple[int, int]
Padding = str | tuple[Pair, Pair]
_LAYOUT = ("NHWC", "HWIO", "NHWC")


def conv2d(x: Array, kernel: Array, stride: int | Pair = 1, padding: Padding = "SAME") -> Array:
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
    padding = pads_of(x.shape[1:3], kernel.shape[:2], strides, padding)
    if not is_own() or _is_spread(x) or _is_spread(kernel):
        return _lax(x, kernel, strides, padding)
    ones = (1, 1)
    # The barriers here and in the gradients make XLA store what enters a convolution once; without
    # them the elementwise work before it is repeated inside each of its readers.
    x = lax.optimization_barrier(x)
    return _convolve(
        x, kernel, strides=strides, padding=padding, input_dilation=ones, kernel_dilation=ones
    )


def pads_of(size: Pair, window: Pair, strides: Pair, padding: Padding) -> tuple[Pair, Pair]:
    """Return the counts of zeros around images of a size."""
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(size, window, strides, padding)
    rows, columns = ((int(low), int(high)) for low, high in padding)
    return rows, columns


def is_own() -> bool:
    """Return whether convolutions are this module's own, not ``lax``'s."""
    return jax.default_backend() == "cpu" and "conv" not in runtime.disabled()


def _is_spread(array: Array) -> bool:
    """Whether its type says which mesh axes it lies on: ``lax`` alone knows rules for that."""
    return any(axis is not None for axis in jax.typeof(array).sharding.spec)


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


def _convolve(x: Array, kernel: Array, **geometry) -> Array:
    """Bind the primitive; ``geometry`` is strides, padding, input_dilation and kernel_dilation."""
    return _conv_p.bind(x, kernel, **geometry)


def _compute(x: Array, kernel: Array, **geometry) -> Array:
    """The convolution as CPU code: small channels are folded in pairs of columns first."""
    if min(pad for pads in geometry["padding"] for pad in pads) < 0:
        x, geometry = _cropped(x, geometry)
    if _is_foldable(x.shape, kernel.shape, geometry):
        return _folded(x, kernel, geometry["padding"])
    return _lax(x, kernel, **geometry)


def _cropped(x: Array, geometry: dict) -> tuple[Array, dict]:
    """Cut off what a negative padding cuts off.

    Gradients of convolutions with more padding than window have such; jaxlib 0.10.2's CPU code for
    them reads outside the image.
    """
    spatial = [
        (min(low, 0), min(high, 0), dilation - 1)
        for (low, high), dilation in zip(
            geometry["padding"], geometry["input_dilation"], strict=True
        )
    ]
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *spatial, (0, 0, 0)))
    padding = tuple((max(low, 0), max(high, 0)) for low, high in geometry["padding"])
    return x, geometry | {"padding": padding, "input_dilation": (1, 1)}


def _is_foldable(x_shape, kernel_shape, geometry) -> bool:
    if max(kernel_shape[2:]) > 16 or kernel_shape[1] == 1:
        return False
    width = x_shape[2] + sum(geometry["padding"][1]) - kernel_shape[1] + 1
    plain = all(geometry[k] == (1, 1) for k in ("strides", "input_dilation", "kernel_dilation"))
    return plain and width > 0 and width % 2 == 0


def _folded(x: Array, kernel: Array, padding: tuple[Pair, Pair]) -> Array:
    """Compute two neighboring output columns as channels of one, from pairs of input columns.

    Up to 16 channels fill a core's vector registers badly. Twice the channels at half the width
    cost 4/3 of the multiplications for a window of three columns; a whole step of a net of 16
    channels takes 0.74 of the time, of 12 channels 0.6.
    """
    b, h, w, c = x.shape
    rows, columns, _, out = kernel.shape
    pairs = (columns + 2) // 2  # pairs of input columns that a pair of windows touches
    width = w + sum(padding[1]) - columns + 1
    reach = width - 2 + 2 * pairs  # input columns needed, a zero column at the end for even windows
    low = padding[1][0]
    none = (0, 0, 0)
    # lax.pad, because the last column may lie in no window: then its count is negative.
    x = lax.pad(x, jnp.zeros((), x.dtype), (none, none, (low, reach - w - low, 0), none))
    x = x.reshape(b, h, reach // 2, 2 * c)
    spare = 2 * pairs - columns
    both = [jnp.pad(kernel, ((0, 0), (shift, spare - shift), (0, 0), (0, 0))) for shift in (0, 1)]
    kernel = jnp.stack(both, axis=3).reshape(rows, pairs, 2 * c, 2 * out)
    height = h + sum(padding[0]) - rows + 1
    return _lax(x, kernel, (1, 1), (padding[0], (0, 0))).reshape(b, height, width, out)


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
        out_sharding=None,
    )
    return out


def _transpose_input(cotangent, x, kernel, **geometry):
    """Gradient with respect to the images: convolve with the turned kernel, channels exchanged."""
    extents = _extents(x.aval.shape, kernel.shape, cotangent.shape, geometry)
    pads = []
    for (size, window, out), (before, _) in zip(extents, geometry["padding"], strict=True):
        low = window - 1 - before
        pads.append((low, size + window - 1 - out - low))
    turned = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
    cotangent = lax.optimization_barrier(cotangent)
    return _convolve(
        cotangent,
        turned,
        strides=geometry["input_dilation"],
        padding=tuple(pads),
        input_dilation=geometry["strides"],
        kernel_dilation=geometry["kernel_dilation"],
    )


def _transpose_kernel(cotangent, x, kernel, **geometry):
    """Gradient with respect to the kernel: the channels are the batch, the cotangent the window."""
    extents = _extents(x.shape, kernel.aval.shape, cotangent.shape, geometry)
    pads = [
        (low, window - 1 + out - size - low)
        for (size, window, out), (low, _) in zip(extents, geometry["padding"], strict=True)
    ]
    x, cotangent = lax.optimization_barrier((x, cotangent))
    images, window = lax.optimization_barrier(
        (x.transpose(3, 1, 2, 0), cotangent.transpose(1, 2, 0, 3))
    )
    gradient = _convolve(
        images,
        window,
        strides=geometry["kernel_dilation"],
        padding=tuple(pads),
        input_dilation=geometry["input_dilation"],
        kernel_dilation=geometry["strides"],
    )
    return gradient.transpose(1, 2, 0, 3)


def _extents(x_shape, kernel_shape, out_shape, geometry) -> list[tuple[int, int, int]]:
    """Per image axis: input, window and strided output sizes, dilation's holes counted."""
    return [
        (
            (x_shape[1 + axis] - 1) * geometry["input_dilation"][axis] + 1,
            (kernel_shape[axis] - 1) * geometry["kernel_dilation"][axis] + 1,
            (out_shape[1 + axis] - 1) * geometry["strides"][axis] + 1,
        )
        for axis in (0, 1)
    ]


def _batch(arguments, axes, **geometry):
    x, kernel = arguments
    x_axis, kernel_axis = axes
    if kernel_axis is None:
        x = jnp.moveaxis(x, x_axis, 0)
        out = _convolve(x.reshape(-1, *x.shape[2:]), kernel, **geometry)
        return out.reshape(*x.shape[:2], *out.shape[1:]), 0
    kernel = jnp.moveaxis(kernel, kernel_axis, 0)
    if x_axis is None:
        return lax.map(lambda k: _convolve(x, k, **geometry), kernel), 0
    x = jnp.moveaxis(x, x_axis, 0)
    return lax.map(lambda pair: _convolve(*pair, **geometry), (x, kernel)), 0


_conv_p.def_impl(_compute)
_conv_p.def_abstract_eval(_abstract)
ad.defbilinear(_conv_p, _transpose_input, _transpose_kernel)
batching.primitive_batchers[_conv_p] = _batch
mlir.register_lowering(_conv_p, mlir.lower_fun(_compute, multiple_results=False))
