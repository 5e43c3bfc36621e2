"""Multilayer perceptron of constant width, its hidden layers scanned.

Beside it: ``residual_mlp`` (no biases; skips, batch norm), ``training.depth_sweep`` (many depths in
one program), ``dynamics.random_nets`` and ``dynamics.isometry`` (random nets, never trained).
"""

from collections.abc import Callable

import flax.linen as nn

from jaxvision.initializers import Initializer
from jaxvision.models.layers import Taps, relu, stack, tapped
from jaxvision.types import Array


class MLP(nn.Module):
    """``depth`` weight layers: ``input``, ``depth - 2`` stacked ``hidden`` ones, ``output``.

    Attributes:
      depth: number of weight layers, at least 3.
      width: units of every hidden layer.
      num_classes: K.
      kernel_init: initialiser of every kernel.
      nonlinearity: applied before every layer but the first.
    """

    depth: int
    width: int
    num_classes: int
    kernel_init: Initializer
    nonlinearity: Callable[[Array], Array] = relu

    def initializer_of(self, layer: str) -> Initializer:
        """Return the initializer of a layer's kernel: see ``drawing``."""
        del layer
        return self.kernel_init

    @nn.compact
    def __call__(
        self, images: Array, *, train: bool = False, taps: Taps = None
    ) -> tuple[Array, dict[str, Array]]:
        """Map images [B, ...] to logits [B, K] and pre-activations by layer."""
        del train
        dense = {"kernel_init": self.kernel_init}
        x = nn.Dense(self.width, name="input", **dense)(images.reshape(images.shape[0], -1))
        x = tapped(x, taps, "input")
        activations = {"input": x}
        hidden = nn.Dense(self.width, name="hidden", **dense)
        x, activations["hidden"] = stack(hidden, x, self.depth - 2, taps, self.nonlinearity)
        logits = nn.Dense(self.num_classes, name="output", **dense)(self.nonlinearity(x))
        logits = tapped(logits, taps, "output")
        return logits, activations | {"output": logits}
