"""The transposed convolution: the gradient of a convolution for its images, and nothing else.

On CPU the native kernels compute it and its derivatives of every order (``native/linear.py``).
Where there are none, or they do not take the shapes, a strided one is a convolution of stride 1
with a channel for every phase of the stride. On GPU and TPU it is what ``lax`` makes of the
gradient.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.act_conv import is_taken
from jaxvision.convolution import Padding, Pair, conv2d, is_own, pads_of
from jaxvision.native import linear, switch
from jaxvision.native.definition import Spec
from jaxvision.types import Array, UserError


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
      UserError: maps and kernel do not fit, or no convolution of images of that size gives maps of
        h x w.
    """
    if y.ndim != 4 or kernel.ndim != 4 or y.shape[3] != kernel.shape[3]:
        raise UserError(
            f"maps of shape {y.shape} do not fit a kernel of shape {kernel.shape}: they are "
            "[B, h, w, O] and [rows, columns, C, O]"
        )
    strides = (stride, stride) if isinstance(stride, int) else tuple(stride)
    window = kernel.shape[:2]
    if size is None:
        size = _transposed_size(y.shape[1:3], window, strides, padding)
    images = jax.ShapeDtypeStruct((y.shape[0], *size, kernel.shape[2]), y.dtype)

    def forward(images: Array) -> Array:
        return conv2d(images, kernel, strides, padding)

    _check(forward, images, y.shape[1:3])
    pads = pads_of(size, window, strides, padding)
    if geometry := _native(images, kernel, strides, pads):
        return linear.images(y, kernel, geometry)
    return _plain(y, kernel, strides, pads, size)


def defined(name: str, first: Array, second: Array, geometry: linear.Geometry) -> Array:
    """Return, in plain JAX, what one of the three primitives of ``native/linear.py`` computes.

    Without kernels the same program stands in its place, so who reads programs sees one net.

    Args:
      name: 'conv_images', 'conv_maps' or 'conv_kernel'.
      first: the primitive's operand; so is ``second``.
      second: see ``first``.
      geometry: of the convolution.
    """

    def images(y: Array, kernel: Array) -> Array:
        strides = (geometry.stride, geometry.stride)
        return _plain(y, kernel, strides, geometry.pads, geometry.size)

    if name == "conv_images":
        return images(first, second)
    if name == "conv_maps":
        shape = (first.shape[0], *geometry.maps(), second.shape[3])
        maps = jax.ShapeDtypeStruct(shape, first.dtype)
        (transposed,) = jax.linear_transpose(lambda y: images(y, second), maps)(first)
        return transposed
    shape = (geometry.window, geometry.window, first.shape[3], second.shape[3])
    kernel = jax.ShapeDtypeStruct(shape, first.dtype)
    (transposed,) = jax.linear_transpose(lambda kernel: images(second, kernel), kernel)(first)
    return transposed


def _plain(y: Array, kernel: Array, strides: Pair, pads: tuple[Pair, Pair], size: Pair) -> Array:
    """Compute the transposed convolution without the kernels."""
    if strides != (1, 1) and is_own():
        return _by_phases(y, kernel, strides, pads, size)
    images = jax.ShapeDtypeStruct((y.shape[0], *size, kernel.shape[2]), y.dtype)
    (transposed,) = jax.linear_transpose(lambda x: conv2d(x, kernel, strides, pads), images)(y)
    return transposed


def _check(forward: Callable[[Array], Array], images: jax.ShapeDtypeStruct, maps: Pair) -> None:
    """Raise unless the convolution of images of that size gives such maps."""
    sides = images.shape[1:3]
    if min(sides) > 0 and jax.eval_shape(forward, images).shape[1:3] == maps:
        return
    raise UserError(
        f"no convolution of images of {sides[0]}x{sides[1]} gives maps of {maps[0]}x{maps[1]}: "
        "choose another size, stride or padding"
    )


def _native(
    images: jax.ShapeDtypeStruct, kernel: Array, strides: Pair, pads: tuple[Pair, Pair]
) -> linear.Geometry | None:
    """Return what the kernels are told, None where they are not on or do not take the shapes."""
    stride = strides[0]
    nothing_else = dict.fromkeys(Spec._fields[2:], False)
    convolution = Spec(stride, pads, **nothing_else)
    if strides != (stride, stride) or not is_taken(convolution, (images, kernel)):
        return None
    if not switch.is_on():
        return None
    return linear.Geometry(kernel.shape[0], stride, pads, images.shape[1:3])


def _by_phases(
    y: Array, kernel: Array, strides: Pair, padding: tuple[Pair, Pair], size: Pair
) -> Array:
    """Compute a strided transposed convolution as one of stride 1, phases beside channels.

    Spread out by zeros, the maps would be convolved with as many of them; and where a window is
    larger than a map XLA exchanges the two, which leaves its fast layout. Here row r of the images
    is row r // stride of maps that hold a channel for every phase r % stride: a third of the time.
    """
    b, *maps, _ = y.shape
    *window, c, _ = kernel.shape
    lows = [low for low, _ in padding]
    counts = [-(-(n + low) // stride) for n, low, stride in zip(size, lows, strides, strict=True)]
    reach = [-(-k // stride) for k, stride in zip(window, strides, strict=True)]
    # Zeros as numbers of the maps, so that gradients find maps no smaller than their windows.
    rows, columns = (
        (taps - 1, count - side, 0) for taps, count, side in zip(reach, counts, maps, strict=True)
    )
    none = (0, 0, 0)
    y = lax.pad(y, jnp.zeros((), y.dtype), (none, rows, columns, none))
    x = conv2d(y, _phases_as_channels(kernel, strides), 1, "VALID")
    x = x.reshape(b, *counts, *strides, c)
    x = x.transpose(0, 1, 3, 2, 4, 5)
    x = x.reshape(b, counts[0] * strides[0], counts[1] * strides[1], c)
    top, left = lows
    return x[:, top : top + size[0], left : left + size[1]]


def _phases_as_channels(kernel: Array, strides: Pair) -> Array:
    """Return the turned kernel [taps, taps, O, phases * C]: every stride-th tap is a phase's."""
    rows, columns, c, out = kernel.shape
    above, beside = strides
    kernel = jnp.pad(kernel, ((0, -rows % above), (0, -columns % beside), (0, 0), (0, 0)))
    rows, columns = kernel.shape[0] // above, kernel.shape[1] // beside
    kernel = kernel.reshape(rows, above, columns, beside, c, out)
    kernel = kernel[::-1, :, ::-1]
    kernel = kernel.transpose(0, 2, 5, 1, 3, 4)
    return kernel.reshape(rows, columns, out, above * beside * c)


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
