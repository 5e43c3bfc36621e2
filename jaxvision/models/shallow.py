"""Conv nets of a few layers: those on which adversarial training is usually studied.

With channels 32 and 64, pooled, and 1,024 units it is the MNIST net of Madry et al. 2018 (arXiv
1706.06083); with 4 channels, neither pooled nor with hidden units, the net in which Andriushchenko
& Flammarion 2020 (arXiv 2007.02617) show catastrophic overfitting.
"""

import flax.linen as nn

from jaxvision.initializers import Initializer
from jaxvision.models.layers import Conv, Taps, max_pool, relu, tapped
from jaxvision.models.normalization import BatchNorm
from jaxvision.types import Array


class ShallowConvNet(nn.Module):
    """Convolutions ``conv1``, ..., each with ReLU and perhaps a 2x2 max pool; then dense layers.

    Attributes:
      channels: of each convolution.
      units: of the hidden dense layer, ``dense``; 0 leaves it out.
      num_classes: K.
      kernel_init: initializer of every kernel.
      pooled: a max pool after each convolution, or after which of them.
      kernel_size: side of the windows.
      normalized: batch norm, ``norm1``, ..., instead of the convolutions' biases; after the pool.
    """

    channels: tuple[int, ...]
    units: int
    num_classes: int
    kernel_init: Initializer
    pooled: bool | tuple[bool, ...] = True
    kernel_size: int = 3
    normalized: bool = False

    def initializer_of(self, layer: str) -> Initializer:
        """Return the initializer of a layer's kernel: see ``drawing``."""
        del layer
        return self.kernel_init

    @nn.compact
    def __call__(
        self, images: Array, *, train: bool = False, taps: Taps = None
    ) -> tuple[Array, dict[str, Array]]:
        """Map images [B, H, W, C] to logits [B, K] and pre-activations by layer."""
        init = {"kernel_init": self.kernel_init}
        conv = init | {"use_bias": not self.normalized}
        pooled = self.pooled
        if not isinstance(pooled, tuple):
            pooled = (pooled,) * len(self.channels)
        x, activations = images, {}
        for i, channels in enumerate(self.channels, start=1):
            name = f"conv{i}"
            x = Conv(channels, self.kernel_size, activate=i > 1, name=name, **conv)(x)
            is_pooled = pooled[i - 1]
            if self.normalized:
                # Of a norm's output XLA may compute a pool and its gradient apart, to the last bit
                # apart: no element is then the largest, and the gradient is 0 / 0.
                x = max_pool(x) if is_pooled else x
                x = BatchNorm(name=f"norm{i}")(x, train=train)
            activations[name] = x = tapped(x, taps, name)
            if is_pooled and not self.normalized:
                x = max_pool(x)  # of pre-activations: max and ReLU commute
        x = relu(x.reshape(x.shape[0], -1))
        if self.units:
            x = nn.Dense(self.units, name="dense", **init)(x)
            activations["dense"] = x = tapped(x, taps, "dense")
            x = relu(x)
        logits = nn.Dense(self.num_classes, name="logits", **init)(x)
        activations["logits"] = logits = tapped(logits, taps, "logits")
        return logits, activations
