"""AlexNet (Krizhevsky, Sutskever & Hinton 2012), whole or with layers removed, at any size.

Layers are numbered 1 to 8 as in the papers that remove them (Zeiler & Fergus 2014, arXiv 1311.2901,
table 3): ``conv1`` to ``conv5``, ``fc6``, ``fc7``, ``fc8``. Max pools follow layers 1, 2 and 5.
Local response normalization is left out, and so are the published net's two groups, which stood
for two GPUs.
"""

from collections.abc import Iterable

import flax.linen as nn
import jax.numpy as jnp

from jaxvision.initializers import Initializer
from jaxvision.models.dropout import dropped
from jaxvision.models.layers import Conv, Taps, max_pool, relu, tapped
from jaxvision.types import Array, UserError

NAMES = {i: f"conv{i}" for i in range(1, 6)} | {i: f"fc{i}" for i in range(6, 9)}
REMOVABLE = (3, 4, 6, 7)  # those that Zeiler & Fergus removed
_POOLED = (1, 2, 5)
_DROPPED = (6, 7)
SMALLEST_LARGE_IMAGE = 67  # of which the pools of the published net leave one pixel


class AlexNet(nn.Module):
    """Five convolutions and three dense layers; takes images of any size.

    Attributes:
      widths: channels or units of layers 1 to 7.
      num_classes: K.
      kernel_init: initializer of every kernel.
      stride: of layer 1; ignored with ``large_images``.
      removed: layers left out, some of ``REMOVABLE``; what follows takes what comes before.
      dropout: share of the units of layers 6 and 7 that training drops.
      large_images: the published net's windows: 11x11 with stride 4, 5x5, pools of 3x3 with stride
        2. Else 5x5, 3x3, pools of 2x2, for small images.
    """

    widths: tuple[int, ...]
    num_classes: int
    kernel_init: Initializer
    stride: int = 1
    removed: tuple[int, ...] = ()
    dropout: float = 0.0
    large_images: bool = False

    def initializer_of(self, layer: str) -> Initializer:
        """Return the initializer of a layer's kernel: see ``drawing``."""
        del layer
        return self.kernel_init

    @nn.compact
    def __call__(
        self,
        images: Array,
        *,
        train: bool = False,
        taps: Taps = None,
        keep: Array | None = None,
    ) -> tuple[Array, dict[str, Array]]:
        """Map images [B, H, W, C] to logits [B, K] and pre-activations by layer.

        ``keep`` is a boolean for every layer of ``REMOVABLE``: a layer that is not kept passes its
        input on, padded with zeros where it would widen it.

        Raises:
          UserError: ``keep`` is given and a layer would narrow its input, or images are too small
            for ``large_images``.
        """
        if self.large_images and min(images.shape[1:3]) < SMALLEST_LARGE_IMAGE:
            least = SMALLEST_LARGE_IMAGE
            raise UserError(f"the published AlexNet takes images of {least} pixels and more")
        x, activations = images, {}
        for number, name in NAMES.items():
            if number == 6:
                x = x.reshape(x.shape[0], -1)
            if number not in self.removed:
                y = self._layer(number, x)
                if keep is not None and number in REMOVABLE:
                    passed = passed_on(number, x, y.shape[-1])
                    y = jnp.where(keep[REMOVABLE.index(number)], y, passed)
                activations[name] = x = tapped(y, taps, name)
                if number in _DROPPED and self.dropout and train:
                    x = dropped(self.make_rng("dropout"), x, 1 - self.dropout)
            if number in _POOLED:  # of pre-activations: max and ReLU commute
                x = self._pooled(x)
        return x, activations

    def _layer(self, number: int, x: Array) -> Array:
        """Return the pre-activation of a layer; x is that of the layer before, or images."""
        init = {"kernel_init": self.kernel_init, "name": NAMES[number]}
        if number >= 6:
            units = self.num_classes if number == 8 else self.widths[number - 1]
            return nn.Dense(units, **init)(relu(x))
        window, stride, padding = 3, 1, "SAME"
        if number == 1:
            window, stride = 5, self.stride
            if self.large_images:
                window, stride, padding = 11, 4, "VALID"
        elif number == 2 and self.large_images:
            window = 5
        conv = Conv(self.widths[number - 1], window, stride, padding, activate=number > 1, **init)
        return conv(x)

    def _pooled(self, x: Array) -> Array:
        return nn.max_pool(x, (3, 3), (2, 2)) if self.large_images else max_pool(x)


def passed_on(number: int, x: Array, width: int) -> Array:
    """Return x [..., C] with zeros for the channels up to ``width``: a layer's input as its output.

    Raises:
      UserError: x has more than ``width`` channels; ``number`` names the layer.
    """
    extra = width - x.shape[-1]
    if extra < 0:
        raise UserError(
            f"AlexNet's layer {number} narrows {x.shape[-1]} channels to {width}: its input does "
            "not fit in its place; make the layer wider"
        )
    return jnp.pad(x, ((0, 0),) * (x.ndim - 1) + ((0, extra),))


def alexnet(
    width: int,
    dense: int,
    num_classes: int,
    kernel_init: Initializer,
    image_size: int,
    removed: Iterable[int] = (),
    *,
    dropout: float = 0.0,
    large_images: bool = False,
) -> AlexNet:
    """Return AlexNet with its five convolutions in the paper's proportions, 3:8:12:12:8.

    Args:
      width: channels of layer 1, a multiple of 3; the paper has 96.
      dense: units of layers 6 and 7; the paper has 4096.
      num_classes: K.
      kernel_init: initializer of every kernel.
      image_size: the images' height: layer 1 has stride 2 where it is 32 or more.
      removed: layers left out.
      dropout: see ``AlexNet``.
      large_images: see ``AlexNet``.

    Raises:
      UserError: ``width`` is no multiple of 3, or a layer cannot be removed.
    """
    if width % 3:
        raise UserError(f"width={width}: AlexNet's layers are 3:8:12:12:8 wide, so use 12 or 24")
    third = width // 3
    widths = (3 * third, 8 * third, 12 * third, 12 * third, 8 * third, dense, dense)
    return AlexNet(
        widths,
        num_classes,
        kernel_init,
        stride=2 if image_size >= 32 else 1,
        removed=checked_layers(removed),
        dropout=dropout,
        large_images=large_images,
    )


def checked_layers(numbers: Iterable[int]) -> tuple[int, ...]:
    """Return layers to remove in order, each once.

    Raises:
      UserError: one of them cannot be removed.
    """
    numbers = sorted(set(numbers))
    for number in numbers:
        if number not in NAMES:
            raise UserError(f"AlexNet has layers 1 to 8, not {number}: remove 3, 4, 6 or 7")
        if number not in REMOVABLE:
            raise UserError(f"AlexNet's layer {number} cannot be removed: remove 3, 4, 6 or 7")
    return tuple(numbers)
