"""A conv net made to learn small color images fast, behind a first layer that is not trained.

In the spirit of Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU" (arXiv 2404.00498,
section 3): a fixed whitening convolution, blocks of two convolutions with a pool between, layers
that begin as identities as far as they can, small logits. Here every nonlinearity is the library's
ReLU, batch norm has scales, and the whitened channels have no biases: to train them would cost the
gradient of the widest maps, a twelfth of a step.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.act_conv import act_conv
from jaxvision.convolution import Padding, Pair
from jaxvision.initializers import Initializer
from jaxvision.models.layers import ActConv, Taps, max_pool, relu, tapped
from jaxvision.models.normalization import BatchNorm
from jaxvision.types import Array, PyTree

WINDOW = 2  # side of the patches that are whitened
WHITENING = "whitening"
NOISE = 5e-4  # added to a component's variance: what is weaker stays weak
LOGIT_SCALE = 1 / 9


class WhitenedConvNet(nn.Module):
    """Whitening, then blocks of conv3x3 - max pool - norm - ReLU - conv3x3 - norm - ReLU.

    The largest value of every map goes through a dense layer without biases. The whitening kernel
    [2, 2, C, 8 C] lies among the ``batch_stats``, since the data decide it: it is zero until
    ``whitened`` puts it there.

    Attributes:
      widths: channels of each block.
      num_classes: K.
      kernel_init: of every kernel, as far as ``identity_first`` leaves it.
    """

    widths: tuple[int, ...]
    num_classes: int
    kernel_init: Initializer

    @nn.compact
    def __call__(
        self,
        images: Array,
        *,
        train: bool = False,
        taps: Taps = None,
    ) -> tuple[Array, dict[str, Array]]:
        """Map images [B, H, W, C] to logits [B, K] and pre-activations by layer."""
        kernel = self._whitening(images)
        x = act_conv(images, kernel, padding="VALID", relu=False).y
        sides = x.shape[1:3]
        activations = {}
        for i, width in enumerate(self.widths):
            first = f"{2 * i + 1}"
            x = self._conv(width, first, _pads(sides))(x).y
            x = BatchNorm(name=f"norm{first}")(max_pool(x), train=train)
            x = tapped(x, taps, f"conv{first}")
            activations[f"conv{first}"] = x
            second = f"{2 * i + 2}"
            convolved = self._conv(width, second)(x, moments=train)
            scaled = BatchNorm(name=f"norm{second}")(convolved, train=train)
            value = tapped(scaled.value(), taps, f"conv{second}")
            activations[f"conv{second}"] = value
            sides = value.shape[1:3]
            x = scaled if taps is None else value  # scaled, the next convolution reads it faster
        logits = LOGIT_SCALE * self._dense()(_largest(relu(value)))
        logits = tapped(logits, taps, "logits")
        activations["logits"] = logits
        return logits, activations

    def _whitening(self, images: Array) -> Array:
        channels = images.shape[-1]
        patch = WINDOW**2 * channels
        shape = (WINDOW, WINDOW, channels, 2 * patch)
        return self.variable("batch_stats", WHITENING, jnp.zeros, shape).value

    def _conv(self, width: int, number: str, padding: Padding | None = None) -> ActConv:
        return ActConv(
            width,
            kernel_size=3,
            stride=1,
            kernel_init=identity_first(self.kernel_init),
            padding=padding,
            name=f"conv{number}",
        )

    def _dense(self) -> nn.Dense:
        return nn.Dense(
            self.num_classes,
            use_bias=False,
            kernel_init=self.kernel_init,
            name="logits",
        )


def _largest(x: Array) -> Array:
    """Return the largest value [B, C] of every map [B, H, W, C], by its place.

    XLA may compute a norm's output for the gradient again, to the last bit apart from the first
    time. The gradient of ``max`` looks for the element that is equal to the maximum, and then finds
    another number of them than there are.
    """
    batch, _, _, channels = x.shape
    flat = x.reshape(batch, -1, channels)
    places = jnp.argmax(flat, axis=1)
    chosen = jax.nn.one_hot(places, flat.shape[1], axis=1, dtype=x.dtype)
    return (chosen * flat).sum(1)


def whitened(variables: PyTree, images: Array) -> PyTree:
    """Return a net's variables, or those of R nets, with the whitening kernel of some images.

    Args:
      variables: ``{'params', 'batch_stats'}`` of a ``WhitenedConvNet``, on the host.
      images: [N, H, W, C], as the net takes them.
    """
    kernel = whitening_kernel(np.asarray(images))
    stats = dict(variables["batch_stats"])
    shape = stats[WHITENING].shape
    stats[WHITENING] = np.broadcast_to(kernel, shape).copy()
    return variables | {"batch_stats": stats}


def whitening_kernel(images: np.ndarray, noise: float = NOISE) -> np.ndarray:
    """Return the principal components of 2x2 patches and their negatives, float32 [2, 2, C, 8 C].

    Convolved with the images, a component of variance v comes out with v / (v + noise): all
    channels but the weakest are white, and each half uncorrelated.

    Args:
      images: [N, H, W, C], sides of two pixels or more.
      noise: variance that is not worth being amplified, of the images' own unit.
    """
    channels = images.shape[-1]
    patches = _patches(images)
    variances, components = np.linalg.eigh(np.cov(patches.T))
    variances = np.maximum(variances, 0)  # rounding may leave a tiny negative one
    smallest = np.finfo(np.float32).tiny
    deviations = np.sqrt(np.maximum(variances + noise, smallest))
    kernel = components / deviations
    kernel = kernel.reshape(WINDOW, WINDOW, channels, -1)
    both = np.concatenate([kernel, -kernel], axis=-1)
    return both.astype(np.float32)


def _patches(images: np.ndarray) -> np.ndarray:
    """Return all 2x2 patches [P, 4 C], in the order of a kernel's axes."""
    _, height, width, _ = images.shape
    parts = []
    for row in range(WINDOW):
        rows = slice(row, height - 1 + row)
        for column in range(WINDOW):
            columns = slice(column, width - 1 + column)
            parts.append(images[:, rows, columns])
    patches = np.concatenate(parts, axis=-1)
    return patches.reshape(-1, patches.shape[-1])


def identity_first(init: Initializer) -> Initializer:
    """Return ``init`` with the first output channels of a convolution handing on its inputs."""

    def draw(
        key: Array,
        shape: tuple[int, ...],
        dtype: jnp.dtype = jnp.float32,
    ) -> Array:
        rows, columns, inputs, outputs = shape
        drawn = init(key, shape, dtype)
        identity = jnp.eye(inputs, outputs, dtype=dtype)
        handing = jnp.zeros_like(drawn)
        handing = handing.at[rows // 2, columns // 2].set(identity)
        is_handing = jnp.arange(outputs) < inputs
        return jnp.where(is_handing, handing, drawn)

    return draw


def _pads(sides: tuple[int, int]) -> tuple[Pair, Pair]:
    """Return zeros around maps that are convolved and pooled: no pool drops a row or column."""
    even, odd = (1, 1), (1, 0)
    rows, columns = (odd if side % 2 and side > 1 else even for side in sides)
    return rows, columns
