"""The nets of a GAN for short clips: two streams, or one, and a judge of space and time.

Source: Vondrick, Pirsiavash & Torralba 2016 (arXiv 1609.02612), sections 2 and 3, and the authors'
code for what the paper leaves open. Kernels are 4x4x4 of stride 2, weights N(0, .01), batch norm
and ReLU in the generator, batch norm from the second layer on and LeakyReLU .2 in the
discriminator. (Their gains begin at N(1, .02), ours at 1; layers that batch norm follows have no
bias here, its shift does their work; their two logits are one here, the difference.)

Two streams: a clip is ``m * f + (1 - m) * b``. The foreground f and its mask m, in (0, 1), come
from transposed convolutions over time, rows and columns; the background b is one picture for all
frames. One stream, the paper's control, is the same net with a mask of 1: the clip is f.

Every size halves from layer to layer, so T, H and W are multiples of 2 to the number of layers:
the paper's four layers take 32 frames of 64x64 to 2 of 4x4.
"""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from jaxvision.initializers import Initializer, fixed
from jaxvision.models.dcgan import LEAK, STRIDE, ConvTranspose
from jaxvision.models.normalization import BatchNorm
from jaxvision.models.space_time import Conv3D, ConvTranspose3D
from jaxvision.types import Array, PyTree, UserError

KERNEL = 4  # frames, rows and columns of every window
STD = 0.01  # of every weight at the start
_EPSILON = 1e-3  # of the discriminator's batch norm

ClipShape = tuple[int, int, int, int]  # T, H, W, C


class Streams(NamedTuple):
    """What a generator makes of B codes.

    Attributes:
      clip: [B, T, H, W, C] in [-1, 1].
      foreground: [B, T, H, W, C].
      mask: [B, T, H, W, 1], how much of each pixel is foreground.
      background: [B, H, W, C], the same in all frames.
    """

    clip: Array
    foreground: Array
    mask: Array
    background: Array


def composed(foreground: Array, mask: Array, background: Array) -> Array:
    """Return ``m * f + (1 - m) * b``: equation 2 of the paper.

    Args:
      foreground: [B, T, H, W, C].
      mask: [B, T, H, W, 1].
      background: [B, H, W, C], repeated in time.
    """
    still = background[:, None]
    return mask * foreground + (1 - mask) * still


def one_stream(streams: Streams) -> Streams:
    """Return the clips of the foreground alone, its mask 1: the control with one stream."""
    whole = jnp.ones_like(streams.mask)
    return streams._replace(clip=streams.foreground, mask=whole)


def base_of(shape: ClipShape, layers: int) -> tuple[int, int, int]:
    """Return T, H, W of the smallest maps: of 32 frames of 64x64, in four layers, 2, 4, 4.

    Raises:
      UserError: a size is not a multiple of 2 to the number of layers.
    """
    whole = STRIDE**layers
    frames, height, width = shape[:3]
    if frames % whole or height % whole or width % whole:
        raise UserError(
            f"{frames} frames of {height}x{width} cannot be halved {layers} times: frames and "
            f"pixels of a side must be multiples of {whole}"
        )
    return frames // whole, height // whole, width // whole


class Generator(nn.Module):
    """Codes to clips; layers ``start``, ``up1``, ... of the foreground, ``still...`` behind it.

    Attributes:
      clip_shape: T, H, W, C of the clips.
      width: channels of the last hidden layer; each before it has twice as many.
      layers: transposed convolutions of each stream, the paper's 4.
    """

    clip_shape: ClipShape
    width: int
    layers: int

    def initializer_of(self, layer: str) -> Initializer:
        """Return the initializer of a layer's kernel: see ``drawing``."""
        del layer
        return fixed(STD)

    @nn.compact
    def __call__(self, codes: Array, *, train: bool = False) -> Streams:
        """Map codes [B, Z] to clips, and to what they are composed of.

        ``train`` normalizes by the batch and updates the running statistics, for which the
        collection ``batch_stats`` must be mutable.
        """
        channels = self.clip_shape[-1]
        painted = self._moving(codes, channels + 1, train)
        foreground = jnp.tanh(painted[..., :channels])
        mask = nn.sigmoid(painted[..., channels:])
        background = jnp.tanh(self._still(codes, channels, train))
        clip = composed(foreground, mask, background)
        return Streams(clip, foreground, mask, background)

    def _moving(self, codes: Array, outputs: int, train: bool) -> Array:
        """Return clips [B, T, H, W, outputs] before their nonlinearity."""
        base = base_of(self.clip_shape, self.layers)
        x = self._start(codes, base, "start", train)
        for layer in range(1, self.layers + 1):
            is_last = layer == self.layers
            size = tuple(STRIDE**layer * side for side in base)
            x = ConvTranspose3D(
                outputs if is_last else x.shape[-1] // 2,
                size,
                KERNEL,
                STRIDE,
                fixed(STD),
                use_bias=is_last,
                name=f"up{layer}",
            )(x)
            if not is_last:
                x = nn.relu(BatchNorm(name=f"norm{layer}")(x, train=train))
        return x

    def _still(self, codes: Array, channels: int, train: bool) -> Array:
        """Return pictures [B, H, W, channels] before their nonlinearity."""
        _, height, width = base_of(self.clip_shape, self.layers)
        x = self._start(codes, (height, width), "still_start", train)
        for layer in range(1, self.layers + 1):
            is_last = layer == self.layers
            grown = STRIDE**layer
            x = ConvTranspose(
                channels if is_last else x.shape[-1] // 2,
                (grown * height, grown * width),
                KERNEL,
                fixed(STD),
                name=f"still{layer}",
            )(x)
            if not is_last:
                x = nn.relu(BatchNorm(name=f"still_norm{layer}")(x, train=train))
        return x

    def _start(self, codes: Array, base: tuple[int, ...], name: str, train: bool) -> Array:
        """Return the smallest maps [B, *base, C]: a transposed convolution of one point."""
        most = self.width * 2 ** (self.layers - 1)
        units = most
        for side in base:
            units *= side
        x = nn.Dense(units, use_bias=False, kernel_init=fixed(STD), name=name)(codes)
        x = x.reshape(-1, *base, most)
        return nn.relu(BatchNorm(name=f"{name}_norm")(x, train=train))


class Discriminator(nn.Module):
    """Clips in [-1, 1] to logits: convolutions over time and space, ``conv1``, ``conv2``, ...

    Attributes:
      width: channels of the first convolution; each further has twice as many.
      layers: how many, the paper's 4.
    """

    width: int
    layers: int

    def initializer_of(self, layer: str) -> Initializer:
        """Return the initializer of a layer's kernel: see ``drawing``."""
        del layer
        return fixed(STD)

    @nn.compact
    def __call__(self, clips: Array, *, train: bool = False) -> Array:
        """Map clips [B, T, H, W, C] to logits [B].

        ``train`` as in ``Generator``: the batch is real or generated, never both.
        """
        base_of(clips.shape[1:], self.layers)
        x = clips
        for layer in range(1, self.layers + 1):
            is_first = layer == 1
            x = Conv3D(
                self.width * 2 ** (layer - 1),
                KERNEL,
                STRIDE,
                fixed(STD),
                use_bias=is_first,
                name=f"conv{layer}",
            )(x)
            if not is_first:
                x = BatchNorm(epsilon=_EPSILON, name=f"norm{layer}")(x, train=train)
            x = nn.leaky_relu(x, LEAK)
        flat = x.reshape(x.shape[0], -1)
        return nn.Dense(1, kernel_init=fixed(STD), name="logits")(flat)[:, 0]


# (variables, codes [B, Z], train) -> (what is painted, new batch statistics)
Paint = Callable[[dict[str, PyTree], Array, bool], tuple[Streams, PyTree]]
# (variables, clips [B, T, H, W, C], train) -> (logits [B], new batch statistics)
Judge = Callable[[dict[str, PyTree], Array, bool], tuple[Array, PyTree]]


def painting(generator: Generator) -> Paint:
    """Return a generator as a function of its variables."""

    def paint(variables: dict[str, PyTree], codes: Array, train: bool) -> tuple[Streams, PyTree]:
        return _applied(generator, variables, codes, train)

    return paint


def judging(discriminator: Discriminator) -> Judge:
    """Return a discriminator as a function of its variables."""

    def judge(variables: dict[str, PyTree], clips: Array, train: bool) -> tuple[Array, PyTree]:
        return _applied(discriminator, variables, clips, train)

    return judge


def _applied(
    net: nn.Module, variables: dict[str, PyTree], x: Array, train: bool
) -> tuple[PyTree, PyTree]:
    """Return what a net makes of x, and its batch statistics afterwards."""
    mutable = ["batch_stats"] if train else []
    found, updated = net.apply(variables, x, train=train, mutable=mutable)
    return found, updated.get("batch_stats", variables["batch_stats"])
