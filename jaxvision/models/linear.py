"""Softmax regression: one dense layer on what it is given."""

import flax.linen as nn

from jaxvision.initializers import Initializer
from jaxvision.models.layers import Taps, tapped
from jaxvision.types import Array


class Linear(nn.Module):
    """One weight layer, ``output``.

    Attributes:
      num_classes: K.
      kernel_init: initializer of its kernel.
    """

    num_classes: int
    kernel_init: Initializer

    def initializer_of(self, layer: str) -> Initializer:
        """Return the initializer of a layer's kernel: see ``drawing``."""
        del layer
        return self.kernel_init

    @nn.compact
    def __call__(
        self, images: Array, *, train: bool = False, taps: Taps = None
    ) -> tuple[Array, dict[str, Array]]:
        """Map images or features [B, ...] to logits [B, K] and pre-activations by layer."""
        del train
        flat = images.reshape(images.shape[0], -1)
        logits = nn.Dense(self.num_classes, kernel_init=self.kernel_init, name="output")(flat)
        logits = tapped(logits, taps, "output")
        return logits, {"output": logits}
