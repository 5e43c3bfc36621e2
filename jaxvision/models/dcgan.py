"""The two nets of DCGAN, at any size of images: strided convolutions and their transposes.

Source: Radford, Metz & Chintala 2015 (arXiv 1511.06434), section 3, and the authors' code for what
the paper leaves open: kernels of 5x5 and stride 2, no biases, weights N(0, .02), batch norm in both
nets but neither at the generator's output nor at the discriminator's input, the generator's first
by unit; ReLU and tanh in the generator, LeakyReLU .2 in the discriminator. (Their gains begin at
N(1, .02), ours at 1.)

Sizes halve and round up: 28 goes to 14, 7, 4, and the generator comes back through the same sizes,
so its images are exactly as large as asked.

Batch norm: with ``train=True`` each call normalizes by the batch that it gets, so real and
generated images come in calls of their own. To sample, the authors' code takes the statistics of
the batch that is sampled, by which an image depends on its company. ``train=False`` takes the
running ones: an image alone is what it is in a batch.
"""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from jaxvision.conv_transpose import conv_transpose2d
from jaxvision.initializers import Initializer, fixed
from jaxvision.models.layers import Conv
from jaxvision.models.normalization import BatchNorm
from jaxvision.types import Array, PyTree, UserError

STRIDE = 2
LEAK = 0.2
STD = 0.02  # of every weight at the start

# (variables, codes or images, train) -> (images or logits, new batch statistics)
Net = Callable[[dict[str, PyTree], Array, bool], tuple[Array, PyTree]]


def sizes(side: int, layers: int) -> list[int]:
    """Return the sides of the maps from the image down: of 28, in four layers, 28, 14, 7, 4, 2.

    Raises:
      UserError: the side is 1 before the last layer.
    """
    found = [side]
    for _ in range(layers):
        if found[-1] <= 1:
            raise UserError(
                f"images of {side} pixels cannot be halved {layers} times: take fewer layers or "
                "larger images"
            )
        found.append(-(-found[-1] // STRIDE))
    return found


class ConvTranspose(nn.Module):
    """Transposed convolution of stride 2 without bias, to maps of a given size.

    Its kernel is that of the convolution which it transposes: [k, k, features, C].
    """

    features: int
    size: tuple[int, int]
    kernel_size: int
    kernel_init: Initializer

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map x [B, h, w, C] to [B, *size, features]."""
        shape = (self.kernel_size, self.kernel_size, self.features, x.shape[-1])
        kernel = self.param("kernel", self.kernel_init, shape)
        return conv_transpose2d(x, kernel, STRIDE, "SAME", self.size)


class Generator(nn.Module):
    """Codes to images in (-1, 1): ``dense``, ``up1``, ``up2``, ..., batch norm before each ``up``.

    Attributes:
      image_shape: H, W, C of the images.
      width: channels of the last hidden layer; each before it has twice as many.
      layers: transposed convolutions; the paper has 3 for 32 pixels and 4 for 64.
      kernel_size: of each.
    """

    image_shape: tuple[int, int, int]
    width: int
    layers: int
    kernel_size: int = 5

    def initializer_of(self, layer: str) -> Initializer:
        """Return the initializer of a layer's kernel: see ``drawing``."""
        del layer
        return fixed(STD)

    @nn.compact
    def __call__(self, codes: Array, *, train: bool = False) -> Array:
        """Map codes [B, Z] to images [B, H, W, C].

        ``train`` normalizes by the batch and updates the running statistics, for which the
        collection ``batch_stats`` must be mutable.
        """
        height, width, channels = self.image_shape
        rows = sizes(height, self.layers)
        columns = sizes(width, self.layers)
        most = self.width * 2 ** (self.layers - 1)
        units = rows[-1] * columns[-1] * most
        x = nn.Dense(units, use_bias=False, kernel_init=fixed(STD), name="dense")(codes)
        x = nn.relu(BatchNorm(name="norm0")(x, train=train))
        x = x.reshape(-1, rows[-1], columns[-1], most)
        for layer in range(1, self.layers + 1):
            size = (rows[-1 - layer], columns[-1 - layer])
            is_last = layer == self.layers
            features = channels if is_last else most // 2**layer
            x = ConvTranspose(
                features,
                size,
                self.kernel_size,
                fixed(STD),
                name=f"up{layer}",
            )(x)
            if not is_last:
                x = nn.relu(BatchNorm(name=f"norm{layer}")(x, train=train))
        return jnp.tanh(x)


class Discriminator(nn.Module):
    """Images in [-1, 1] to logits: convolutions ``conv1``, ``conv2``, ... of stride 2.

    Attributes:
      width: channels of the first convolution; each further has twice as many.
      layers: how many.
      kernel_size: of each.
    """

    width: int
    layers: int
    kernel_size: int = 5

    def initializer_of(self, layer: str) -> Initializer:
        """Return the initializer of a layer's kernel: see ``drawing``."""
        del layer
        return fixed(STD)

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> tuple[Array, list[Array]]:
        """Map images [B, H, W, C] to logits [B], and to each convolution's output after LeakyReLU.

        ``train`` as in ``Generator``: the batch is real or generated, never both.
        """
        x = images
        hidden = []
        for layer in range(1, self.layers + 1):
            x = Conv(
                self.width * 2 ** (layer - 1),
                self.kernel_size,
                STRIDE,
                use_bias=False,
                kernel_init=fixed(STD),
                name=f"conv{layer}",
            )(x)
            if layer > 1:
                x = BatchNorm(name=f"norm{layer}")(x, train=train)
            x = nn.leaky_relu(x, LEAK)
            hidden.append(x)
        flat = x.reshape(x.shape[0], -1)
        logits = nn.Dense(1, use_bias=False, kernel_init=fixed(STD), name="logits")(flat)
        return logits[:, 0], hidden


def painting(generator: Generator) -> Net:
    """Return ``(variables, codes [B, Z], train) -> (images, new batch statistics)``."""

    def paint(variables: dict[str, PyTree], codes: Array, train: bool) -> tuple[Array, PyTree]:
        return _applied(generator, variables, codes, train)

    return paint


def judging(discriminator: Discriminator) -> Net:
    """Return ``(variables, images [B, H, W, C], train) -> (logits [B], new batch statistics)``."""

    def judge(variables: dict[str, PyTree], images: Array, train: bool) -> tuple[Array, PyTree]:
        (logits, _), updated = _applied(discriminator, variables, images, train)
        return logits, updated

    return judge


def features(
    discriminator: Discriminator, variables: dict[str, PyTree], images: Array, side: int = 4
) -> Array:
    """Return a discriminator's features of images [B, F], as section 5.1 of the paper has them.

    Every convolution's output, max-pooled to at most ``side`` x ``side`` cells, one after the
    other. As in the authors' code the statistics are estimated anew, here from these very images:
    hand over all that are to be compared in one call, no generated ones among them.
    """
    (_, hidden), _ = _applied(discriminator, variables, images, train=True)
    pooled = [_pooled(maps, side) for maps in hidden]
    return jnp.concatenate([maps.reshape(maps.shape[0], -1) for maps in pooled], axis=1)


def _pooled(maps: Array, side: int) -> Array:
    """Return maps [B, H, W, C] max-pooled to at most side x side cells of equal size.

    Maps that do not divide are filled up by minus infinity.
    """
    b, h, w, c = maps.shape
    rows = -(-h // side)
    columns = -(-w // side)
    high, wide = -(-h // rows), -(-w // columns)
    added = ((0, 0), (0, high * rows - h), (0, wide * columns - w), (0, 0))
    padded = jnp.pad(maps, added, constant_values=-jnp.inf)
    return padded.reshape(b, high, rows, wide, columns, c).max((2, 4))


def _applied(
    model: nn.Module, variables: dict[str, PyTree], x: Array, train: bool
) -> tuple[PyTree, PyTree]:
    """Return what a net makes of x, and its batch statistics afterwards."""
    mutable = ["batch_stats"] if train else []
    found, updated = model.apply(variables, x, train=train, mutable=mutable)
    return found, updated.get("batch_stats", variables["batch_stats"])
