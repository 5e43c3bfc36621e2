"""Convolutions over time, rows and columns, and their transposes.

A window of several frames is a window of one frame with more channels. So the frames that a window
reaches are laid beside each other as channels, and the library's convolution over rows and columns
does the rest: the same numbers as ``lax.conv_general_dilated`` over three axes, whose gradients are
scalar loops on CPU. The transpose lays frames back where they came from and adds what overlaps.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.conv_transpose import conv_transpose2d
from jaxvision.convolution import conv2d
from jaxvision.initializers import Initializer
from jaxvision.types import Array

Extent = tuple[int, int, int]  # T, H, W


def conv3d(x: Array, kernel: Array, stride: int) -> Array:
    """Return the cross-correlation of clips with a kernel, padding 'SAME' on all three axes.

    Args:
      x: [B, T, H, W, C].
      kernel: [t, h, w, C, O].
      stride: of time, rows and columns.

    Returns:
      [B, T', H', W', O], every size over the stride, rounded up.
    """
    windows = _windows(x, len(kernel), stride)
    maps = conv2d(_frames_as_batch(windows), _as_channels(kernel), stride)
    return maps.reshape(*windows.shape[:2], *maps.shape[1:])


def conv_transpose3d(
    y: Array,
    kernel: Array,
    stride: int,
    size: Extent,
) -> Array:
    """Return the transpose of ``conv3d(., kernel, stride)`` applied to maps.

    Args:
      y: [B, t, h, w, O].
      kernel: the convolution's own, [t, h, w, C, O].
      stride: of the convolution.
      size: T, H, W of the result, which the convolution maps to t, h, w.

    Returns:
      [B, T, H, W, C].

    Raises:
      UserError: no convolution of clips of that size gives such maps.
    """
    batch, frames = y.shape[:2]
    clips = jax.ShapeDtypeStruct((batch, *size, kernel.shape[3]), y.dtype)

    def windows(x: Array) -> Array:
        return _windows(x, len(kernel), stride)

    laid = conv_transpose2d(
        _frames_as_batch(y),
        _as_channels(kernel),
        stride,
        "SAME",
        size[1:],
    )
    laid = laid.reshape(batch, frames, *laid.shape[1:])
    lay_back = jax.linear_transpose(windows, clips)
    (added,) = lay_back(laid)
    return added


def _windows(x: Array, reach: int, stride: int) -> Array:
    """Return the frames of every window beside each other, [B, T', H, W, reach * C]."""
    frames = x.shape[1]
    count = -(-frames // stride)
    around = max((count - 1) * stride + reach - frames, 0)
    before = around // 2
    after = around - before
    none = (0, 0)
    padded = jnp.pad(x, (none, (before, after), none, none, none))
    last = (count - 1) * stride + 1
    parts = [padded[:, first : first + last : stride] for first in range(reach)]
    return jnp.concatenate(parts, axis=-1)


def _as_channels(kernel: Array) -> Array:
    """Return a kernel [t, h, w, C, O] as that of one frame with t * C channels."""
    t, h, w, c, o = kernel.shape
    inside = jnp.moveaxis(kernel, 0, 2)
    return inside.reshape(h, w, t * c, o)


def _frames_as_batch(x: Array) -> Array:
    return x.reshape(-1, *x.shape[2:])


class Conv3D(nn.Module):
    """``conv3d`` with a kernel of its own, and a bias where asked for.

    Attributes:
      features: output channels.
      kernel_size: frames, rows and columns of the window.
      stride: of all three.
      kernel_init: initializer of the kernel.
      use_bias: whether it has a bias.
    """

    features: int
    kernel_size: int
    stride: int
    kernel_init: Initializer
    use_bias: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map x [B, T, H, W, C] to [B, T', H', W', features]."""
        shape = (*[self.kernel_size] * 3, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        y = conv3d(x, kernel, self.stride)
        return _biased(self, y)


class ConvTranspose3D(nn.Module):
    """``conv_transpose3d`` with a kernel of its own, [k, k, k, features, C].

    Attributes as those of ``Conv3D``; ``size`` is T, H, W of the result.
    """

    features: int
    size: Extent
    kernel_size: int
    stride: int
    kernel_init: Initializer
    use_bias: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map x [B, t, h, w, C] to [B, *size, features]."""
        shape = (*[self.kernel_size] * 3, self.features, x.shape[-1])
        kernel = self.param("kernel", self.kernel_init, shape)
        y = conv_transpose3d(x, kernel, self.stride, self.size)
        return _biased(self, y)


def _biased(layer: nn.Module, y: Array) -> Array:
    if not layer.use_bias:
        return y
    channels = y.shape[-1:]
    bias = layer.param("bias", nn.initializers.zeros, channels)
    return y + jnp.broadcast_to(bias, y.shape)
