"""Dropout: noise that multiplies what a layer sees while it trains, and a perceptron that has it.

Source: Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting"
(JMLR 15), sections 4 and 10. Inverted, as in all frameworks: what is kept is divided by the
probability of keeping it, so evaluation scales nothing. That is the paper's scaling of the weights.

The probability is an argument, hence may be traced: one program serves a sweep over it.
"""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.initializers import Initializer
from jaxvision.models.layers import Taps, relu, tapped
from jaxvision.models.normalization import BatchNorm
from jaxvision.random import attainable, bernoulli
from jaxvision.types import Array

Noise = Literal["bernoulli", "gaussian"]


def dropped(key: Array, x: Array, keep: Array | float, noise: Noise = "bernoulli") -> Array:
    """Return x [...] times independent noise of mean 1 and variance (1 - keep) / keep.

    Args:
      key: a typed key; another one for every layer, step and run.
      x: what the next layer would see.
      keep: probability [] of keeping a unit, in (0, 1]. At 1 Bernoulli noise leaves x as it is;
        elsewhere its probability is rounded to 16 bits.
      noise: "bernoulli", 0 or 1 / keep (section 4), or "gaussian", N(1, (1 - keep) / keep) (section
        10).
    """
    if noise == "gaussian":
        deviation = jnp.sqrt((1 - keep) / keep)
        return x * (1 + deviation * jax.random.normal(key, x.shape))
    keep = attainable(keep)  # what is divided by, so that the mean is exact
    kept = bernoulli(key, keep, x.shape)
    return jnp.where(kept, x / keep.astype(x.dtype), 0.0)


class DropoutMLP(nn.Module):
    """``depth`` weight layers: ``layer1``, ``layer2``, ..., ``output``, with dropout before each.

    Noise is drawn where ``apply`` is given a ``dropout_key``: in every training step, and in
    evaluation only by those who ask for it (Monte-Carlo dropout). Without a key it is the identity.

    Attributes:
      depth: number of weight layers, at least 2.
      width: units of every hidden layer.
      num_classes: K.
      kernel_init: initializer of every kernel.
      noise: see ``dropped``.
      normalized: batch norm, ``norm1``, ``norm2``, ..., before every ReLU.
    """

    depth: int
    width: int
    num_classes: int
    kernel_init: Initializer
    noise: Noise = "bernoulli"
    normalized: bool = False

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
        keep_input: Array | float = 1.0,
        keep: Array | float = 1.0,
        keep_last: Array | float | None = None,
    ) -> tuple[Array, dict[str, Array]]:
        """Map images [B, ...] to logits [B, K] and pre-activations by layer.

        Args:
          images: of the batch.
          train: batch norm takes the batch's statistics.
          taps: see ``layers``.
          keep_input: probability of keeping a pixel.
          keep: of keeping a hidden unit.
          keep_last: of keeping one of the last hidden layer; None takes ``keep``.

        Raises:
          ValueError: a training step gives no key.
        """
        noisy = self.has_rng("dropout")
        if train and not noisy:
            raise ValueError("a net with dropout trains with a dropout_key")
        key = self.make_rng("dropout") if noisy else None

        def drop(x: Array, place: int, keep: Array | float) -> Array:
            if key is None:
                return x
            return dropped(jax.random.fold_in(key, place), x, keep, self.noise)

        x = drop(images.reshape(images.shape[0], -1), 0, keep_input)
        activations = {}
        for place in range(1, self.depth):
            name = f"layer{place}"
            x = nn.Dense(self.width, name=name, kernel_init=self.kernel_init)(x)
            activations[name] = x = tapped(x, taps, name)
            if self.normalized:
                x = BatchNorm(name=f"norm{place}")(x, train=train)
            is_last = place == self.depth - 1 and keep_last is not None
            x = drop(relu(x), place, keep_last if is_last else keep)
        logits = nn.Dense(self.num_classes, name="output", kernel_init=self.kernel_init)(x)
        logits = tapped(logits, taps, "output")
        return logits, activations | {"output": logits}
