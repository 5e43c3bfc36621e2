"""A multilayer perceptron whose batch norm, noise and dropout are numbers that a program is told.

One compiled program thus trains every mixture of them, as it trains every learning rate.
"""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.initializers import Initializer
from jaxvision.models.layers import Taps, tapped
from jaxvision.models.normalization import EPSILON, BatchNorm
from jaxvision.types import Array


class Switches(NamedTuple):
    """What a net has; each a scalar, traced.

    Attributes:
      normalized: 1 for batch norm before every nonlinearity, 0 for a bias in its place.
      noise: strength of the noise after it in train mode, 0 for none: see ``perturbed``.
      dropout: share of a layer's outputs set to 0 in train mode; the others grow in proportion.
    """

    normalized: Array
    noise: Array
    dropout: Array


class Draws(NamedTuple):
    """Random numbers of U(0, 1) for one layer: by unit [1, F], or by image and unit [B, F]."""

    shift: Array
    stretch: Array
    stray: Array
    kept: Array


def perturbed(x: Array, strength: Array, draws: Draws) -> Array:
    """Return x [B, F] with its units' moments moved by a random amount.

    After Santurkar et al. 2018 (arXiv 1805.11604), section 2.2: noise of nonzero mean and
    variance other than one, whose distribution changes at every step. Here a unit is shifted by
    U(-1, 1) and stretched by 1 + U(0, 1), both times ``strength``; every image strays from its
    unit's shift by up to a fifth of the strength.
    """
    shift = 2 * draws.shift - 1
    stray = 0.4 * draws.stray - 0.2
    return x * (1 + strength * draws.stretch) + strength * (shift + stray)


def dropped(x: Array, share: Array, draws: Draws) -> Array:
    """Return x [B, F] with a ``share`` of its numbers 0, the others larger in proportion."""
    return jnp.where(draws.kept >= share, x / (1 - share), 0.0)


def _drawn(key: Array, layers: int, images: int, units: int) -> list[Draws]:
    """Return every layer's numbers, drawn together: a draw apart takes long to compile."""
    of_units, of_images = jax.random.split(key)
    fine = jax.random.uniform(of_units, (layers, 2, 1, units))
    # 256 levels, a quarter of the price of all.
    levels = jax.random.bits(of_images, (layers, 2, images, units), jnp.uint8)
    coarse = (levels.astype(jnp.float32) + 0.5) / 256
    return [Draws(*fine[i], *coarse[i]) for i in range(layers)]


class _Layer(nn.Module):
    """Weights, then batch norm or a bias in its place."""

    features: int
    kernel_init: Initializer
    epsilon: float

    @nn.compact
    def __call__(self, x: Array, switches: Switches, *, train: bool) -> Array:
        """Map x [B, I] to [B, features]."""
        dense = nn.Dense(self.features, use_bias=False, kernel_init=self.kernel_init, name="dense")
        x = dense(x)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        normalized = BatchNorm(epsilon=self.epsilon, name="norm")(x, train=train)
        return jnp.where(switches.normalized > 0, normalized, x + bias[None])


class SwitchedMLP(nn.Module):
    """``depth`` weight layers of constant width: ``layer1``, ``layer2``, ..., ``output``.

    An activation is what enters the nonlinearity, after batch norm and noise. In train mode the
    model needs a ``dropout`` key.

    Attributes:
      depth: number of weight layers, at least 2.
      width: units of every hidden layer.
      num_classes: K.
      kernel_init: initializer of every kernel.
      nonlinearity: after every layer but the last.
      epsilon: added to batch norm's variances.
    """

    depth: int
    width: int
    num_classes: int
    kernel_init: Initializer
    nonlinearity: Callable[[Array], Array] = jax.nn.sigmoid
    epsilon: float = EPSILON

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
        switches: Switches = Switches(1.0, 0.0, 0.0),  # noqa: B008 (a tuple)
    ) -> tuple[Array, dict[str, Array]]:
        """Map images [B, ...] to logits [B, K] and pre-activations by layer."""
        x = images.reshape(images.shape[0], -1)
        draws = None
        if train:
            draws = _drawn(self.make_rng("dropout"), self.depth - 1, len(x), self.width)
        activations = {}
        for i in range(1, self.depth):
            layer = _Layer(self.width, self.kernel_init, self.epsilon, name=f"layer{i}")
            x = layer(x, switches, train=train)
            if draws is not None:
                x = perturbed(x, switches.noise, draws[i - 1])
            activations[f"layer{i}/dense"] = x = tapped(x, taps, f"layer{i}/dense")
            x = self.nonlinearity(x)
            if draws is not None:
                x = dropped(x, switches.dropout, draws[i - 1])
        logits = nn.Dense(self.num_classes, kernel_init=self.kernel_init, name="output")(x)
        logits = tapped(logits, taps, "output")
        return logits, activations | {"output": logits}
