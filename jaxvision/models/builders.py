"""The nets and initializers that a spec can name, and what sizes each net takes.

A builder gets what the data and the spec's initializer decide, and the net's own sizes by name::

    NETS["resnet"](10, (32, 32, 3), he_backward(), depth=20, width=16)

To make another net nameable, write its builder here and give it a line in ``NETS``.
"""

from collections.abc import Callable

import flax.linen as nn

from jaxvision import initializers
from jaxvision.models import alexnet as alexnets
from jaxvision.models.layers import Initializer
from jaxvision.models.linear import Linear
from jaxvision.models.mlp import MLP
from jaxvision.models.plain import PlainConvNet, he2015_net
from jaxvision.models.residual_mlp import ResidualMLP
from jaxvision.models.resnet import ResNet, cifar_resnet
from jaxvision.models.shallow import ShallowConvNet
from jaxvision.models.shift_net import ShiftNet
from jaxvision.models.whitened import WhitenedConvNet

ImageShape = tuple[int, int, int]  # H, W, C


def mlp(
    num_classes: int, image_shape: ImageShape, kernel_init: Initializer, *, depth: int, width: int
) -> MLP:
    """Return a dense ReLU net of ``depth`` weight layers, at least 3, and ``width`` units."""
    del image_shape
    return MLP(depth, width, num_classes, kernel_init)


def sigmoid_mlp(
    num_classes: int, image_shape: ImageShape, kernel_init: Initializer, *, depth: int, width: int
) -> MLP:
    """Return a dense net of sigmoids, otherwise as ``mlp``."""
    del image_shape
    return MLP(depth, width, num_classes, kernel_init, nn.sigmoid)


def normalized_mlp(
    num_classes: int, image_shape: ImageShape, kernel_init: Initializer, *, depth: int, width: int
) -> ResidualMLP:
    """Return a dense ReLU net with batch norm before each ReLU, without other biases."""
    del image_shape
    return ResidualMLP(depth, width, num_classes, kernel_init, normalized=True)


def linear(num_classes: int, image_shape: ImageShape, kernel_init: Initializer) -> Linear:
    """Return softmax regression on pixels."""
    del image_shape
    return Linear(num_classes, kernel_init)


def he2015(
    num_classes: int, image_shape: ImageShape, kernel_init: Initializer, *, depth: int, width: int
) -> PlainConvNet:
    """Return the conv net of He et al. 2015 with 14, 22 or 30 layers, ``width`` channels first."""
    return he2015_net(depth, width, num_classes, kernel_init, image_shape[0])


def plain(
    num_classes: int, image_shape: ImageShape, kernel_init: Initializer, *, depth: int, width: int
) -> ResNet:
    """Return the net without shortcuts of He et al. 2016: 6n+2 layers, ``width`` channels first."""
    del image_shape
    return cifar_resnet(depth, num_classes, "none", kernel_init, width)


def resnet(
    num_classes: int, image_shape: ImageShape, kernel_init: Initializer, *, depth: int, width: int
) -> ResNet:
    """Return the residual net of He et al. 2016 with option A, otherwise as ``plain``."""
    del image_shape
    return cifar_resnet(depth, num_classes, "A", kernel_init, width)


def alexnet(
    num_classes: int,
    image_shape: ImageShape,
    kernel_init: Initializer,
    *,
    width: int,
    dense: int,
    removed: tuple[int, ...] = (),
) -> alexnets.AlexNet:
    """Return AlexNet, ``width`` channels first, ``dense`` units, without ``removed`` layers."""
    return alexnets.alexnet(width, dense, num_classes, kernel_init, image_shape[0], removed)


def shallow(
    num_classes: int,
    image_shape: ImageShape,
    kernel_init: Initializer,
    *,
    channels: tuple[int, ...],
    units: int,
    pooled: bool | tuple[bool, ...] = True,
    normalized: bool = False,
) -> ShallowConvNet:
    """Return a conv net with a convolution for each of ``channels`` and ``units`` dense ones.

    ``pooled``: a max pool after each convolution, or after which of them. ``normalized``: batch
    norm after each convolution and its pool.
    """
    del image_shape
    return ShallowConvNet(
        tuple(channels), units, num_classes, kernel_init, pooled, normalized=normalized
    )


def shift(
    num_classes: int,
    image_shape: ImageShape,
    kernel_init: Initializer,
    *,
    depth: int,
    width: int,
    blur: int = 1,
) -> ShiftNet:
    """Return the net on a torus, ``depth`` convolutions a stage, ``blur`` taps at each stride."""
    del image_shape
    return ShiftNet(depth, width, num_classes, kernel_init, blur=blur)


def whitened(
    num_classes: int,
    image_shape: ImageShape,
    kernel_init: Initializer,
    *,
    widths: tuple[int, ...],
) -> WhitenedConvNet:
    """Return a conv net behind a whitening layer, a block of two convolutions for each width."""
    del image_shape
    return WhitenedConvNet(tuple(widths), num_classes, kernel_init)


NETS: dict[str, Callable[..., nn.Module]] = {
    "mlp": mlp,
    "sigmoid_mlp": sigmoid_mlp,
    "normalized_mlp": normalized_mlp,
    "linear": linear,
    "he2015": he2015,
    "plain": plain,
    "resnet": resnet,
    "alexnet": alexnet,
    "shallow": shallow,
    "shift": shift,
    "whitened": whitened,
}

INITIALIZERS: dict[str, Callable[[], Initializer]] = {
    "xavier_he2015": initializers.xavier_he2015,
    "glorot2010": initializers.glorot2010,
    "he_forward": initializers.he_forward,
    "he_backward": initializers.he_backward,
    "small_he": initializers.small_he,
    "flax_default": initializers.flax_default,
    "torch_default": initializers.torch_default,
}
