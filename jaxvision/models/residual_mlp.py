"""Multilayer perceptrons without biases: plain or residual, with or without batch normalization.

``mlp`` lists the other deep dense nets.
"""

from collections.abc import Callable

import flax.linen as nn

from jaxvision.initializers import Initializer
from jaxvision.models.layers import Taps, relu, scan_layers, tapped
from jaxvision.models.normalization import BatchNorm
from jaxvision.taps import gradient_tap
from jaxvision.types import Array


class Branch(nn.Module):
    """Normalization (if wanted), nonlinearity, weights: what every layer but the first computes."""

    features: int
    normalized: bool
    kernel_init: Initializer
    nonlinearity: Callable[[Array], Array]

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Map pre-activations x [B, I] to the next ones [B, features]."""
        if self.normalized:
            x = BatchNorm(name="norm")(x, train=train)
        dense = nn.Dense(self.features, use_bias=False, kernel_init=self.kernel_init, name="dense")
        return dense(self.nonlinearity(x))


class ResidualMLP(nn.Module):
    """``depth`` weight layers without biases: ``input``, ``depth - 2`` scanned ones, ``output``.

    A hidden layer computes ``f(x) = W phi(BN(x))``; a plain net puts it in place of x, a residual
    one adds it to x (He et al. 2016's "full pre-activation"). An activation is what the weights put
    out, after the addition where there is one.

    Attributes:
      depth: number of weight layers, at least 3.
      width: units of every hidden layer.
      num_classes: K.
      kernel_init: initialiser of every kernel.
      nonlinearity: phi, before every layer but the first.
      residual: add a hidden layer's output to its input.
      normalized: batch normalization before every nonlinearity.
    """

    depth: int
    width: int
    num_classes: int
    kernel_init: Initializer
    nonlinearity: Callable[[Array], Array] = relu
    residual: bool = False
    normalized: bool = False

    def initializer_of(self, layer: str) -> Initializer:
        """Return the initializer of a layer's kernel: see ``drawing``."""
        del layer
        return self.kernel_init

    @nn.compact
    def __call__(
        self, images: Array, *, train: bool = False, taps: Taps = None
    ) -> tuple[Array, dict[str, Array]]:
        """Map images [B, ...] to logits [B, K] and pre-activations by layer."""
        flat = images.reshape(images.shape[0], -1)
        first = nn.Dense(self.width, use_bias=False, kernel_init=self.kernel_init, name="input")
        x = tapped(first(flat), taps, "input")
        activations = {"input": x}

        def body(branch: Branch, x: Array, tap: Array | None) -> tuple[Array, Array]:
            y = branch(x, train=train)
            y = x + y if self.residual else y
            y = y if tap is None else gradient_tap(y, tap)
            return y, y

        scan = scan_layers(body, "hidden", self.depth - 2)
        kind = (self.normalized, self.kernel_init, self.nonlinearity)
        hidden = Branch(self.width, *kind, name="hidden")
        hidden_taps = None if taps is None else taps["hidden/dense"]
        x, activations["hidden/dense"] = scan(hidden, x, hidden_taps)
        logits = Branch(self.num_classes, *kind, name="output")(x, train=train)
        activations["output/dense"] = logits = tapped(logits, taps, "output/dense")
        return logits, activations
