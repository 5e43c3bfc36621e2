"""Parameters of published ImageNet nets, layer by layer: arithmetic on their tables of layers.

AlexNet (Krizhevsky et al. 2012, and its groupless successor of arXiv 1404.5997), VGG (Simonyan &
Zisserman 2015, arXiv 1409.1556, table 1) and GoogLeNet (Szegedy et al. 2015, arXiv 1409.4842, table
1). Weights and biases count; these nets have no batch normalization. Residual nets are counted by
their own code, see ``parameters_of``.
"""

from collections.abc import Iterable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.models.alexnet import NAMES, checked_layers
from jaxvision.types import UserError

CLASSES = 1000


class Wide(NamedTuple):
    """A convolution of AlexNet: window, channels that it puts out, groups."""

    window: int
    features: int
    groups: int = 1


ALEXNET = {
    1: Wide(11, 96),
    2: Wide(5, 256, groups=2),
    3: Wide(3, 384),
    4: Wide(3, 384, groups=2),
    5: Wide(3, 256, groups=2),
}
ONE_WEIRD_TRICK = {
    1: Wide(11, 64),
    2: Wide(5, 192),
    3: Wide(3, 384),
    4: Wide(3, 256),
    5: Wide(3, 256),
}
# Convolutions of 3x3 in each of the five stages, and their channels.
VGG_STAGES = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
VGG_CHANNELS = (64, 128, 256, 512, 512)


class Inception(NamedTuple):
    """Channels that the branches of an inception module put out (GoogLeNet's table 1)."""

    one: int  # 1x1
    three_reduced: int  # 1x1 before the 3x3
    three: int
    five_reduced: int  # 1x1 before the 5x5
    five: int
    pooled: int  # 1x1 after the max pool

    @property
    def features(self) -> int:
        """Channels of the module's output."""
        return self.one + self.three + self.five + self.pooled

    def parameters(self, inputs: int) -> int:
        """Return the module's parameters for ``inputs`` channels."""
        return (
            conv(1, inputs, self.one)
            + conv(1, inputs, self.three_reduced)
            + conv(3, self.three_reduced, self.three)
            + conv(1, inputs, self.five_reduced)
            + conv(5, self.five_reduced, self.five)
            + conv(1, inputs, self.pooled)
        )


GOOGLENET = {
    "3a": Inception(64, 96, 128, 16, 32, 32),
    "3b": Inception(128, 128, 192, 32, 96, 64),
    "4a": Inception(192, 96, 208, 16, 48, 64),
    "4b": Inception(160, 112, 224, 24, 64, 64),
    "4c": Inception(128, 128, 256, 24, 64, 64),
    "4d": Inception(112, 144, 288, 32, 64, 64),
    "4e": Inception(256, 160, 320, 32, 128, 128),
    "5a": Inception(256, 160, 320, 32, 128, 128),
    "5b": Inception(384, 192, 384, 48, 128, 128),
}
_AUXILIARY = ("4a", "4d")  # modules that a second and a third classifier look at


def conv(window: int, inputs: int, outputs: int, groups: int = 1) -> int:
    """Return the parameters of a convolution with biases."""
    return window * window * (inputs // groups) * outputs + outputs


def dense(inputs: int, outputs: int) -> int:
    """Return the parameters of a dense layer with biases."""
    return inputs * outputs + outputs


def alexnet_parameters(
    removed: Iterable[int] = (), *, grouped: bool = True, units: int = 4096
) -> dict[str, int]:
    """Return AlexNet's parameters by layer, for images of 227 pixels.

    Args:
      removed: layers left out, see ``alexnet``.
      grouped: layers 2, 4 and 5 in two groups, as published.
      units: of layers 6 and 7.

    Raises:
      UserError: a layer cannot be removed.
    """
    table = {
        number: layer if grouped else layer._replace(groups=1) for number, layer in ALEXNET.items()
    }
    return _alexnet(table, units, checked_layers(removed))


def one_weird_trick_parameters() -> dict[str, int]:
    """Return the parameters by layer of arXiv 1404.5997's net, which torchvision calls AlexNet."""
    return _alexnet(ONE_WEIRD_TRICK, 4096, ())


def _alexnet(table: dict[int, Wide], units: int, removed: tuple[int, ...]) -> dict[str, int]:
    counts, features = {}, 3
    for number, layer in table.items():
        if number not in removed:
            counts[NAMES[number]] = conv(layer.window, features, layer.features, layer.groups)
            features = layer.features
    features *= 6 * 6  # pixels of the last maps
    for number in (6, 7):
        if number not in removed:
            counts[NAMES[number]] = dense(features, units)
            features = units
    return counts | {NAMES[8]: dense(features, CLASSES)}


def vgg_parameters(depth: int) -> dict[str, int]:
    """Return VGG's parameters by stage and dense layer.

    Raises:
      UserError: the paper has no net of ``depth`` layers.
    """
    if depth not in VGG_STAGES:
        raise UserError(f"VGG has {', '.join(map(str, VGG_STAGES))} layers, not {depth}")
    counts, features = {}, 3
    stages = zip(VGG_STAGES[depth], VGG_CHANNELS, strict=True)
    for i, (layers, channels) in enumerate(stages, start=1):
        first = conv(3, features, channels)
        counts[f"stage{i}"] = first + (layers - 1) * conv(3, channels, channels)
        features = channels
    head = {"fc1": dense(7 * 7 * features, 4096), "fc2": dense(4096, 4096)}
    return counts | head | {"fc3": dense(4096, CLASSES)}


def googlenet_parameters(*, auxiliary: bool = False) -> dict[str, int]:
    """Return GoogLeNet's parameters by module; ``auxiliary``: with the classifiers of training."""
    counts = {"conv1": conv(7, 3, 64), "conv2": conv(1, 64, 64) + conv(3, 64, 192)}
    features = 192
    for name, module in GOOGLENET.items():
        counts[name] = module.parameters(features)
        features = module.features
        if auxiliary and name in _AUXILIARY:
            head = conv(1, features, 128) + dense(4 * 4 * 128, 1024) + dense(1024, CLASSES)
            counts[f"auxiliary{name}"] = head
    return counts | {"fc": dense(features, CLASSES)}


def parameters_of(model: nn.Module, image_size: int) -> dict[str, int]:
    """Return a model's parameters by its top-level modules for RGB images; nothing is computed."""
    images = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x), images)
    return {
        name: sum(leaf.size for leaf in jax.tree.leaves(module))
        for name, module in variables["params"].items()
    }
