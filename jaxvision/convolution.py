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
from jaxvision.types import Array, UserError

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
    padding = _pads(x.shape[1:3], kernel.shape[:2], strides, padding)
    if not _is_own():
        return _lax(x, kernel, strides, padding)
    ones = (1, 1)
    # The barriers here and in the gradients make XLA store what enters a convolution once; without
    # them the elementwise work before it is repeated inside each of its readers.
    x = lax.optimization_barrier(x)
    return _convolve(
        x, kernel, strides=strides, padding=padding, input_dilation=ones, kernel_dilation=ones
    )


def _pads(size: Pair, window: Pair, strides: Pair, padding: Padding) -> tuple[Pair, Pair]:
    """Return the counts of zeros around images of a size."""
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(size, window, strides, padding)
    rows, columns = ((int(low), int(high)) for low, high in padding)
    return rows, columns


def _is_own() -> bool:
    """Whether convolutions are this module's own, not ``lax``'s."""
    return jax.default_backend() == "cpu" and "conv" not in runtime.disabled()


def conv_transpose2d(
    y: Array,
    kernel: Array,
    stride: int | Pair = 1,
    padding: Padding = "SAME",
    size: Pair | None = None,
) -> Array:
    """Return the transpose of ``conv2d(., kernel, stride, padding)`` applied to maps.

    It is the gradient of that convolution with respect to its images, and nothing else: each value
    of a map lays down the kernel, times itself, where the convolution would have read.

    Args:
      y: [B, h, w, O] maps.
      kernel: [rows, columns, C, O], the convolution's own, of the dtype of ``y``.
      stride: of the convolution, one number or (rows, columns).
      padding: of the convolution, as ``conv2d`` takes it.
      size: (H, W) of the result. A strided convolution maps several sizes to h x w; None takes
        stride times h where the padding is 'SAME', else the smallest: (h - 1) stride + rows, less
        the zeros of both sides.

    Returns:
      [B, H, W, C].

    Raises:
      UserError: no convolution of images of that size gives maps of h x w.
    """
    strides = (stride, stride) if isinstance(stride, int) else tuple(stride)
    if size is None:
        size = _transposed_size(y.shape[1:3], kernel.shape[:2], strides, padding)
    images = jax.ShapeDtypeStruct((y.shape[0], *size, kernel.shape[2]), y.dtype)

    def forward(images: Array) -> Array:
        return conv2d(images, kernel, strides, padding)

    made = jax.eval_shape(forward, images).shape[1:3] if min(size) > 0 else None
    if made != y.shape[1:3]:
        height, width = y.shape[1:3]
        raise UserError(
            f"no convolution of images of {size[0]}x{size[1]} gives maps of {height}x{width}: "
            "choose another size, stride or padding"
        )
    if strides == (1, 1) or not _is_own():
        (transposed,) = jax.linear_transpose(forward, images)(y)
        return transposed
    return _by_phases(y, kernel, strides, _pads(size, kernel.shape[:2], strides, padding), size)


def _by_phases(
    y: Array, kernel: Array, strides: Pair, padding: tuple[Pair, Pair], size: Pair
) -> Array:
    """Compute a strided transposed convolution as one of stride 1, phases beside channels.

    Spread out by zeros, the maps would be convolved with as many of them; and where a window is
    larger than a map XLA exchanges the two, which leaves its fast layout. Here row r of the images
    is row r // stride of maps that hold a channel for every phase r % stride: a third of the time.
    """
    b = y.shape[0]
    *window, c, out = kernel.shape
    reach = [-(-side // stride) for side, stride in zip(window, strides, strict=True)]
    spare = [n * stride - k for n, stride, k in zip(reach, strides, window, strict=True)]
    kernel = jnp.pad(kernel, ((0, spare[0]), (0, spare[1]), (0, 0), (0, 0)))
    kernel = kernel.reshape(reach[0], strides[0], reach[1], strides[1], c, out)
    kernel = kernel[::-1, :, ::-1].transpose(0, 2, 5, 1, 3, 4).reshape(*reach, out, -1)
    lows = [low for low, _ in padding]
    counts = [-(-(n + low) // stride) for n, low, stride in zip(size, lows, strides, strict=True)]
    around = [
        (n - 1, count - maps, 0) for n, count, maps in zip(reach, counts, y.shape[1:3], strict=True)
    ]
    none = (0, 0, 0)
    # Zeros as numbers of the maps, so that gradients find maps no smaller than their windows.
    y = lax.pad(y, jnp.zeros((), y.dtype), (none, *around, none))
    x = conv2d(y, kernel, 1, "VALID").reshape(b, *counts, *strides, c)
    x = x.transpose(0, 1, 3, 2, 4, 5).reshape(b, counts[0] * strides[0], -1, c)
    return x[:, lows[0] : lows[0] + size[0], lows[1] : lows[1] + size[1]]


def _transposed_size(maps: Pair, window: Pair, strides: Pair, padding: Padding) -> Pair:
    """Return the size of the images that a transposed convolution gives by default."""
    if padding == "SAME":
        return maps[0] * strides[0], maps[1] * strides[1]
    pads = ((0, 0), (0, 0)) if padding == "VALID" else padding
    rows, columns = (
        (count - 1) * stride + reach - sum(zeros)
        for count, stride, reach, zeros in zip(maps, strides, window, pads, strict=True)
    )
    return rows, columns


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
    return _lax(x, kernel, (1, 1), (padding[0], (0, 0))).reshape(b, -1, width, out)


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
