"""Plain and residual nets of He, Zhang, Ren & Sun 2016 (arXiv 1512.03385), from the same code."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Self

import flax.linen as nn
import jax.numpy as jnp

from jaxvision.act_conv import Convolved, Scaled
from jaxvision.initializers import Initializer, flax_default, he_backward
from jaxvision.models.layers import ActConv, Taps, layers_a_round, relu, scan_layers, tapped
from jaxvision.models.normalization import BatchNorm
from jaxvision.types import Array, UserError

Shortcut = Literal["none", "A", "B", "C"]

HE_NORMAL = he_backward()
HEAD = flax_default()  # the paper does not say how it drew its dense layer
CIFAR_DEPTHS = (20, 32, 44, 56, 110, 1202)
# Blocks of the four stages, and whether a block is a bottleneck (Table 1).
IMAGENET_STAGES = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}


class Activation(NamedTuple):
    """A pre-activation that the next convolution computes: ``scaled`` images plus ``residual``."""

    scaled: Scaled
    residual: Array | None = None

    @classmethod
    def of(cls, x: Array) -> Self:
        """Return a pre-activation that has been computed."""
        ones = jnp.ones(x.shape[-1], jnp.float32)
        return cls(Scaled(x, ones, 0 * ones, 0 * ones))

    @property
    def shape(self) -> tuple[int, ...]:
        """[B, H, W, C]."""
        return self.scaled.x.shape

    def value(self) -> Array:
        """Return the pre-activation [B, H, W, C] itself."""
        x = self.scaled.value()
        return x if self.residual is None else x + self.residual

    def convolved(self, conv: ActConv, **given: bool) -> Convolved:
        """Return ``conv`` of the pre-activation's ReLU; ``given`` as in ``act_conv``."""
        return conv(self.scaled, residual=self.residual, **given)

    def seen(self, activations: dict[str, Array], taps: Taps, name: str) -> Self:
        """Put the value among the activations, through its tap if there are taps.

        What nobody reads of them is not computed.
        """
        activations[name] = tapped(self.value(), taps, name)
        return self if taps is None else Activation.of(activations[name])


class Block(nn.Module):
    """Two 3x3 convolutions, or 1x1, 3x3, 1x1 (bottleneck), with batch normalization.

    Attributes:
      features: channels of the 3x3 convolutions; a bottleneck puts out four times as many.
      stride: of the first convolution and of the shortcut.
      shortcut: 'none' is a plain net's block. Where shapes differ 'A' subsamples and pads with zero
        channels and 'B' projects with a 1x1 convolution; 'C' projects always.
      bottleneck: which of the two forms.
      kernel_init: initialiser of the kernels.
    """

    features: int
    stride: int
    shortcut: Shortcut
    bottleneck: bool
    kernel_init: Initializer

    @nn.compact
    def __call__(
        self, x: Activation, taps: Taps, keep: Array | None, train: bool
    ) -> tuple[Activation, dict[str, Array]]:
        """Map a pre-activation of shape [B, H, W, C] to the block's and to those inside it.

        ``keep`` is a boolean: False leaves the block out, see ``ResNet``.
        """
        widths = (self.features,) * 2 + (4 * self.features,) * self.bottleneck
        windows = (1, 3, 1) if self.bottleneck else (3, 3)
        activations, carried = {}, None
        for i, (width, window) in enumerate(zip(widths, windows, strict=True), start=1):
            conv = ActConv(
                width, window, self.stride if i == 1 else 1, self.kernel_init, name=f"conv{i}"
            )
            convolved = x.convolved(conv, moments=train, keep=i == 1)
            if i == 1:
                carried = convolved.h
            x = Activation(BatchNorm(name=f"norm{i}")(convolved, train=train))
            if i < len(widths):
                x = x.seen(activations, taps, f"conv{i}")
        if self.shortcut != "none":
            x = x if keep is None else Activation.of(jnp.where(keep, x.value(), 0))
            x = x._replace(residual=self._shortcut(carried, x.shape, taps, activations, train))
        elif keep is not None and x.shape == carried.shape:
            x = Activation.of(jnp.where(keep, x.value(), carried))
        return x.seen(activations, taps, f"conv{i}"), activations

    def _shortcut(self, carried, shape, taps, activations, train):
        if self.shortcut == "C" or (self.shortcut == "B" and carried.shape != shape):
            conv = ActConv(shape[-1], 1, self.stride, self.kernel_init, name="shortcut")
            convolved = conv(carried, relu=False, moments=train)
            x = Activation(BatchNorm(name="shortcut_norm")(convolved, train=train))
            return x.seen(activations, taps, "shortcut").value()
        return subsample_and_pad(carried, self.stride, shape[-1])


def subsample_and_pad(x: Array, stride: int, channels: int) -> Array:
    """Return option A's shortcut of x [..., H, W, C]: every ``stride``-th pixel, zero channels."""
    x = x[..., ::stride, ::stride, :]
    return jnp.pad(x, ((0, 0),) * (x.ndim - 1) + ((0, channels - x.shape[-1]),))


class ResNet(nn.Module):
    """Stem, stages of blocks, global average pool and one dense layer.

    An activation is a batch normalization's output before the ReLU, at a block's end after the
    addition. Blocks of one shape are stacked and run in ``nn.scan``: ``stage2_first/conv1`` is one
    layer, ``stage2_rest/conv1`` is [l, ...].

    Attributes:
      stages: blocks of each stage; from one to the next resolution halves and width doubles.
      features: width of the first stage.
      num_classes: K.
      shortcut: see ``Block``; 'none' is the plain net.
      bottleneck: see ``Block``.
      large_images: stem 7x7 stride 2 and 3x3 max pool (ImageNet) instead of 3x3 (CIFAR).
      kernel_init: initializer of the convolutions.
    """

    stages: tuple[int, ...]
    features: int
    num_classes: int
    shortcut: Shortcut = "A"
    bottleneck: bool = False
    large_images: bool = False
    kernel_init: Initializer = HE_NORMAL

    @property
    def keeps_shape(self) -> tuple[bool, ...]:
        """Whether a block's output has its input's shape, for every block in depth order."""
        stages = enumerate(self.stages)
        return sum(((i == 0 and not self.bottleneck, *[True] * (n - 1)) for i, n in stages), ())

    def initializer_of(self, layer: str) -> Initializer:
        """Return the initializer of a layer's kernel: see ``drawing``."""
        return HEAD if layer == "logits" else self.kernel_init

    @nn.compact
    def __call__(
        self,
        images: Array,
        *,
        train: bool = False,
        taps: Taps = None,
        keep: Array | None = None,
    ) -> tuple[Array, dict[str, Array]]:
        """Map images [B, H, W, C] to logits [B, K] and pre-activations by layer.

        ``keep`` is a boolean for every block: a block left out passes on its shortcut, in a plain
        net its input; a plain block that changes the shape stays whatever ``keep`` says.
        """
        window, stride = (7, 2) if self.large_images else (3, 1)
        stem = ActConv(self.features, window, stride, self.kernel_init, name="stem")
        convolved = stem(images, relu=False, moments=train)
        x = Activation(BatchNorm(name="stem_norm")(convolved, train=train))
        activations = {}
        x = x.seen(activations, taps, "stem")
        if self.large_images:  # of pre-activations: max and ReLU commute
            x = Activation.of(stem_pool(x.value()))
        done = 0
        for i, blocks in enumerate(self.stages):
            kind = (self.shortcut, self.bottleneck, self.kernel_init)
            features, stride = self.features * 2**i, 1 if i == 0 else 2
            kept = None if keep is None else keep[done : done + blocks]
            done += blocks
            if i > 0 or self.bottleneck:
                name = f"stage{i + 1}_first"
                first = Block(features, stride, *kind, name=name)
                x, inner = first(x, _within(taps, name), None if kept is None else kept[0], train)
                activations |= _prefixed(inner, name)
                kept = None if kept is None else kept[1:]
                blocks -= 1
            if blocks:
                name = f"stage{i + 1}_rest"
                rest = Block(features, 1, *kind, name=name)
                x = _as_carried(x, residual=self.shortcut != "none" and taps is None)
                scan = _scan(rest, blocks, layers_a_round(x.scaled.x, blocks), train)
                x, inner = scan(rest, x, _within(taps, name), kept)
                activations |= _prefixed(inner, name)
        x = relu(x.value()).mean((1, 2))
        dense = nn.Dense(self.num_classes, kernel_init=HEAD, name="logits")
        logits = tapped(dense(x), taps, "logits")
        return logits, activations | {"logits": logits}


def stem_pool(x: Array) -> Array:
    """Return the 3x3 max pool, stride 2, of the ImageNet nets."""
    return nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))


def _as_carried(x: Activation, residual: bool) -> Activation:
    """Return what a scan over blocks carries: with a residual, if the blocks end in an addition."""
    if residual and x.residual is None:
        return x._replace(residual=jnp.zeros(x.shape, x.scaled.x.dtype))
    return x


def _scan(block: Block, length: int, unroll: int, train: bool):
    def body(
        block: Block, x: Activation, taps: Taps, keep: Array | None
    ) -> tuple[Activation, dict]:
        return block(x, taps, keep, train)

    return scan_layers(body, block.name, length, unroll)


def _within(taps: Taps, prefix: str) -> Taps:
    if taps is None:
        return None
    return {n.removeprefix(f"{prefix}/"): t for n, t in taps.items() if n.startswith(f"{prefix}/")}


def _prefixed(activations: dict[str, Array], prefix: str) -> dict[str, Array]:
    """Full names, in depth order (``nn.scan`` returns them sorted, which is that order too)."""
    return {f"{prefix}/{name}": x for name, x in activations.items()}


def cifar_resnet(
    depth: int,
    num_classes: int = 10,
    shortcut: Shortcut = "A",
    kernel_init: Initializer = HE_NORMAL,
    features: int = 16,
) -> ResNet:
    """Return the 6n+2-layer net for 32x32 images (section 4.2: widths 16, 32, 64; option A).

    ``features`` is the width of the first stage, where it is not to be the paper's.

    Raises:
      UserError: ``depth`` is not 6n+2 with n at least 1, or ``shortcut`` has no such option.
    """
    n, rest = divmod(depth - 2, 6)
    if rest or n < 1:
        raise UserError(f"depth={depth}: a CIFAR net has 6n+2 layers, such as {CIFAR_DEPTHS}")
    _check(shortcut)
    return ResNet(
        (n, n, n),
        features,
        num_classes,
        shortcut,
        kernel_init=kernel_init,
    )


def imagenet_resnet(
    depth: int,
    num_classes: int = 1000,
    shortcut: Shortcut = "B",
    kernel_init: Initializer = HE_NORMAL,
    features: int = 64,
) -> ResNet:
    """Return the net of Table 1 with 18, 34, 50, 101 or 152 layers for images of 224 pixels.

    ``features`` is the width of the first stage, where it is not to be the paper's.

    Raises:
      UserError: the paper has no net of this depth, or ``shortcut`` has no such option.
    """
    if depth not in IMAGENET_STAGES:
        raise UserError(f"depth={depth}: the ImageNet nets have {tuple(IMAGENET_STAGES)} layers")
    _check(shortcut)
    stages, bottleneck = IMAGENET_STAGES[depth]
    return ResNet(
        stages,
        features,
        num_classes,
        shortcut,
        bottleneck,
        large_images=True,
        kernel_init=kernel_init,
    )


def nets_of_depths(depths: Sequence[int], imagenet: bool) -> Callable[..., ResNet]:
    """Return ``imagenet_resnet`` or ``cifar_resnet``, once it is sure that it has all ``depths``.

    Raises:
      UserError: it lacks one; names some that it has.
    """
    make, such = (imagenet_resnet, "18,34") if imagenet else (cifar_resnet, "20,32")
    try:
        for depth in depths:
            make(depth)
    except UserError as error:
        raise UserError(f"{error}; choose others, as in --depths={such}") from error
    return make


def _check(shortcut: str) -> None:
    if shortcut not in ("none", "A", "B", "C"):
        raise UserError(f"shortcut={shortcut}: use none (a plain net), A, B or C")
