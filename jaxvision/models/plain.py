"""Plain ReLU conv nets in the shapes of He et al. 2015 (arXiv 1502.01852), scaled down."""

from typing import NamedTuple

import flax.linen as nn

from jaxvision.initializers import Initializer
from jaxvision.models.layers import (
    Conv,
    Taps,
    max_pool,
    relu,
    spatial_pyramid,
    stack,
    tapped,
)
from jaxvision.types import Array, UserError


class Stage(NamedTuple):
    """``layers`` convolutions of one kernel size and width at one resolution."""

    layers: int
    features: int
    kernel_size: int


class PlainConvNet(nn.Module):
    """Stem convolution, stages with a 2x2 max pool between, pyramid pooling, three dense layers.

    Takes images of any size: a direction is pooled while it has two pixels, and the pyramid has as
    many bins as the shorter one.

    Attributes:
      stem_features: width of the first 3x3 convolution.
      stages: in depth order.
      head_width: units of the two hidden dense layers.
      num_classes: K.
      kernel_init: initialiser of every kernel.
      pool_stem: max pool after the stem (images of 32 pixels and more).
    """

    stem_features: int
    stages: tuple[Stage, ...]
    head_width: int
    num_classes: int
    kernel_init: Initializer
    pool_stem: bool = False

    def initializer_of(self, layer: str) -> Initializer:
        """Return the initializer of a layer's kernel: see ``drawing``."""
        del layer
        return self.kernel_init

    @nn.compact
    def __call__(
        self, images: Array, *, train: bool = False, taps: Taps = None
    ) -> tuple[Array, dict[str, Array]]:
        """Map images [B, H, W, C] to logits [B, K] and pre-activations by layer."""
        del train
        init = {"kernel_init": self.kernel_init}
        conv = init | {"padding": "WRAP"}
        activations = {}
        x = Conv(self.stem_features, name="stem", **conv)(images)
        activations["stem"] = x = tapped(x, taps, "stem")
        for i, stage in enumerate(self.stages, start=1):
            if i > 1 or self.pool_stem:
                x = max_pool(x)  # of pre-activations: max and ReLU commute
            name = f"stage{i}"
            shape = stage.features, stage.kernel_size
            x = Conv(*shape, activate=True, name=f"{name}_first", **conv)(x)
            activations[f"{name}_first"] = x = tapped(x, taps, f"{name}_first")
            rest = Conv(*shape, activate=True, name=f"{name}_rest", **conv)
            x, activations[f"{name}_rest"] = stack(rest, x, stage.layers - 1, taps)
        x = spatial_pyramid(relu(x), tuple(b for b in (4, 2, 1) if b <= min(x.shape[1:3])))
        for name in ("dense1", "dense2"):
            x = nn.Dense(self.head_width, name=name, **init)(x)
            activations[name] = x = tapped(x, taps, name)
            x = relu(x)
        logits = nn.Dense(self.num_classes, name="logits", **init)(x)
        activations["logits"] = logits = tapped(logits, taps, "logits")
        return logits, activations


def he2015_net(
    depth: int, width: int, num_classes: int, kernel_init: Initializer, image_size: int
) -> PlainConvNet:
    """Return the paper's net of 14, 22 or 30 weight layers, ``width`` channels in its stem.

    14 and 30 layers: Table 1's 2x2 convolutions, 4 in the second stage, 6 or 22 in the third. 22:
    model B of Table 3, three stages of six 3x3 convolutions. Widths keep the paper's ratios roughly
    (64:128:256 and 96:256:512:512). The last maps of square images of 8 pixels or more are at least
    2x2; smaller and thinner images are pooled as far as they go, each direction by itself.

    ``image_size`` is the images' height: the stem is pooled too where it is 32 or more.

    Raises:
      UserError: the paper has no net of this depth.
    """
    shapes = {
        14: (Stage(4, 2 * width, 2), Stage(6, 4 * width, 2)),
        22: (Stage(6, 2 * width, 3), Stage(6, 4 * width, 3), Stage(6, 4 * width, 3)),
        30: (Stage(4, 2 * width, 2), Stage(22, 4 * width, 2)),
    }
    if depth not in shapes:
        raise UserError(f"He et al. 2015 has nets of 14, 22 and 30 layers, not {depth}")
    return PlainConvNet(
        width, shapes[depth], 16 * width, num_classes, kernel_init, pool_stem=image_size >= 32
    )
