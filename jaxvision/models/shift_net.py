"""A conv net on a torus, of which one knows exactly what a shift of the image can change.

Its convolutions wrap around and its last maps are averaged over the whole image, so without strides
no shift around the torus changes the logits. With strides they repeat with the total stride. What
happens between is aliasing, which a blur before each stride lessens.

Source: Zhang 2019, "Making convolutional networks shift-invariant again" (arXiv 1904.11486).
"""

import flax.linen as nn
import jax.numpy as jnp

from jaxvision.initializers import Initializer
from jaxvision.models.layers import Conv, Taps, relu, stack, tapped
from jaxvision.types import Array

STAGES = 3


class ShiftNet(nn.Module):
    """Three stages of 3x3 convolutions, max pools with stride between, average pool, one layer.

    Attributes:
      depth: convolutions of a stage.
      width: channels of the first stage; each stage doubles them.
      num_classes: K.
      kernel_init: initializer of every kernel.
      stride: of each of the two pools; the total stride is its square.
      blur: taps of the binomial filter before each stride: 3 is [1, 2, 1] / 4 in both directions, 1
        is none.
    """

    depth: int
    width: int
    num_classes: int
    kernel_init: Initializer
    stride: int = 2
    blur: int = 1

    def initializer_of(self, layer: str) -> Initializer:
        """Return the initializer of a layer's kernel: see ``drawing``."""
        del layer
        return self.kernel_init

    @nn.compact
    def __call__(
        self, images: Array, *, train: bool = False, taps: Taps = None
    ) -> tuple[Array, dict[str, Array]]:
        """Map images [B, H, W, C] to logits [B, K] and pre-activations by layer.

        The exact laws hold where the total stride divides H and W.
        """
        del train
        conv = {"kernel_size": 3, "padding": "WRAP", "kernel_init": self.kernel_init}
        x, activations = images, {}
        for number in range(STAGES):
            if number:
                x = self._pooled(relu(x))
            name, features = f"stage{number + 1}", self.width * 2**number
            x = Conv(features, name=f"{name}_first", **conv)(x)
            activations[f"{name}_first"] = x = tapped(x, taps, f"{name}_first")
            if self.depth > 1:
                rest = Conv(features, activate=True, name=f"{name}_rest", **conv)
                x, activations[f"{name}_rest"] = stack(rest, x, self.depth - 1, taps)
        x = relu(x).mean((1, 2))
        logits = nn.Dense(self.num_classes, name="logits", kernel_init=self.kernel_init)(x)
        activations["logits"] = logits = tapped(logits, taps, "logits")
        return logits, activations

    def _pooled(self, x: Array) -> Array:
        """Take the maximum of 2x2 neighbors everywhere, blur, and keep every ``stride``-th."""
        for axis in (1, 2):
            x = jnp.maximum(x, jnp.roll(x, -1, axis))
        for axis in (1, 2):
            for _ in range(self.blur - 1):  # a binomial filter is a mean of neighbors, repeated
                x = (x + jnp.roll(x, -1, axis)) / 2
        return x[:, :: self.stride, :: self.stride]
