"""A net that makes images from the features that another net has of them.

Source: Dosovitskiy & Brox 2016, "Generating images with perceptual similarity metrics based on deep
networks" (arXiv 1602.02644), and the authors' nets, which Nguyen et al. 2016 (arXiv 1605.09304) use
as a prior: dense layers, then pairs of an up-convolution (4x4, stride 2) and a convolution (3x3),
LeakyReLU .3 after each. Theirs inverts the 4,096 numbers of a layer by three dense layers; how many
there are here is a choice, and so are the channels. The last layer is a convolution into tanh,
theirs an up-convolution without bounds.

Sizes double as those of ``dcgan`` halve: images are exactly as large as asked.
"""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from jaxvision.initializers import Initializer, fixed, he_forward
from jaxvision.models.dcgan import STRIDE, ConvTranspose, sizes
from jaxvision.models.layers import Conv
from jaxvision.types import Array, PyTree, UserError

LEAK = 0.3
WINDOW = 4  # side of the up-convolutions' windows
LEAST = 2  # channels of the last up-convolution

# (variables, codes [B, Z]) -> images [B, H, W, C] in (-1, 1)
Paint = Callable[[dict[str, PyTree], Array], Array]


class Inverter(nn.Module):
    """Codes to images in (-1, 1): ``dense1``, ..., then ``up1``, ``conv1``, ..., ``image``.

    Attributes:
      image_shape: H, W, C of the images.
      width: channels after the last up-convolution; each before it has twice as many.
      layers: up-convolutions.
      units: of each dense layer before the one that makes the first maps.
    """

    image_shape: tuple[int, int, int]
    width: int
    layers: int
    units: tuple[int, ...] = ()

    def initializer_of(self, layer: str) -> Initializer:
        """Return the initializer of a layer's kernel: see ``drawing``."""
        of_ups = {
            f"up{index}": _up_initializer(self._channels(index - 1))
            for index in range(1, self.layers + 1)
        }
        return of_ups.get(layer, he_forward())

    def _channels(self, layer: int) -> int:
        """Return the channels after an up-convolution, counted from 1; of 0, before the first."""
        return self.width * 2 ** (self.layers - layer)

    @nn.compact
    def __call__(self, codes: Array, *, train: bool = False) -> Array:
        """Map codes [B, Z] to images [B, H, W, C]; ``train`` changes nothing.

        Raises:
          UserError: the images are too small for so many layers, or the width is below 2.
        """
        del train
        if self.width < LEAST:
            raise UserError(f"an inverter has at least {LEAST} channels, not {self.width}")
        height, width, channels = self.image_shape
        rows = sizes(height, self.layers)
        columns = sizes(width, self.layers)
        x = codes
        for index, units in enumerate(self.units, start=1):
            x = nn.Dense(units, kernel_init=he_forward(), name=f"dense{index}")(x)
            x = nn.leaky_relu(x, LEAK)
        most = self._channels(0)
        first = rows[-1] * columns[-1] * most
        x = nn.Dense(first, kernel_init=he_forward(), name="maps")(x)
        x = nn.leaky_relu(x, LEAK).reshape(-1, rows[-1], columns[-1], most)
        for layer in range(1, self.layers + 1):
            size = (rows[-1 - layer], columns[-1 - layer])
            x = self._enlarged(x, layer, size)
        return jnp.tanh(Conv(channels, kernel_init=he_forward(), name="image")(x))

    def _enlarged(self, x: Array, layer: int, size: tuple[int, int]) -> Array:
        """Return maps of twice the size and half the channels, by an up-convolution and another."""
        features = self._channels(layer)
        up = ConvTranspose(
            features,
            size,
            WINDOW,
            _up_initializer(x.shape[-1]),
            name=f"up{layer}",
        )
        x = nn.leaky_relu(up(x), LEAK)
        if layer == self.layers:
            return x
        conv = Conv(features, kernel_init=he_forward(), name=f"conv{layer}")
        return nn.leaky_relu(conv(x), LEAK)


def _up_initializer(channels: int) -> Initializer:
    """Return a Gaussian that keeps the signal: a pixel sees (WINDOW / STRIDE)^2 taps a channel."""
    taps = (WINDOW // STRIDE) ** 2
    return fixed((2 / (taps * channels)) ** 0.5)


def painting(inverter: Inverter) -> Paint:
    """Return ``(variables, codes [B, Z]) -> images [B, H, W, C]`` in (-1, 1)."""

    def paint(variables: dict[str, PyTree], codes: Array) -> Array:
        return inverter.apply({"params": variables["params"]}, codes)

    return paint
