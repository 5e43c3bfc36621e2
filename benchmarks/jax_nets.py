"""The nets of ``problems`` in the library's layers and in plain Flax, from the same kernels."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import problems
from jaxvision.models.layers import Conv, stack
from jaxvision.models.resnet import cifar_resnet
from jaxvision.training.calls import Runs
from jaxvision.types import Array, PyTree


class StackedNet(nn.Module):
    """``conv*`` and ``mlp`` from the library's layers: the equal layers in a stack."""

    depth: int
    features: int
    dense: bool

    @nn.compact
    def __call__(
        self, x: Array, train: bool = True, taps: PyTree = None
    ) -> tuple[Array, dict[str, Array]]:
        """Map images [B, H, W, C] to logits; there is nothing to tap."""
        del train, taps
        length = self.depth - 2
        if not self.dense:
            x = Conv(self.features, name="first")(x)
            rest = Conv(self.features, activate=True, name="rest")
            x, _ = stack(rest, x, length, None)
        else:
            x = nn.Dense(self.features, name="first")(x.reshape((len(x), -1)))
            x, _ = stack(nn.Dense(self.features, name="rest"), x, length, None, nn.relu)
        x = nn.relu(x)
        return nn.Dense(problems.CLASSES, name="logits")(x.mean((1, 2)) if x.ndim == 4 else x), {}


class FlaxNet(nn.Module):
    """The same nets as one writes them in plain Flax."""

    net: str

    @nn.compact
    def __call__(self, x: Array, train: bool = True) -> tuple[Array, dict]:
        """Map images [B, H, W, C] to logits."""
        x = x.reshape((len(x), -1)) if self.net == "mlp" else x
        if self.net in problems.RESNET_BLOCKS:
            x = self.residual(x, train)
        else:
            for kernel in problems.kernels(self.net)[:-1]:
                width = kernel.shape[-1]
                x = nn.relu(nn.Dense(width)(x) if x.ndim == 2 else nn.Conv(width, (3, 3))(x))
        return nn.Dense(problems.CLASSES)(x.mean((1, 2)) if x.ndim == 4 else x), {}

    def residual(self, x: Array, train: bool) -> Array:
        """The convolutional part of a ResNet, option A."""

        def conv_norm(x: Array, width: int, stride: int = 1) -> Array:
            x = nn.Conv(width, (3, 3), stride, ((1, 1), (1, 1)), use_bias=False)(x)
            return nn.BatchNorm(not train, momentum=0.9)(x)

        x = nn.relu(conv_norm(x, 16))
        for width in problems.RESNET_WIDTHS:
            for _ in range(problems.RESNET_BLOCKS[self.net]):
                extra = width - x.shape[-1]
                stride = 2 if extra else 1
                y = conv_norm(nn.relu(conv_norm(x, width, stride)), width)
                shortcut = jnp.pad(x[:, ::stride, ::stride], ((0, 0),) * 3 + ((0, extra),))
                x = nn.relu(y + shortcut)
        return x


def build(net: str, plain: bool, depth: int = problems.DEPTH) -> tuple[nn.Module, dict]:
    """Return a module and its variables, of which the kernels are those of ``problems``."""
    images = problems.inputs(problems.batch(net)[0])
    kernels = problems.kernels(net, depth)
    if plain:
        module, order = FlaxNet(net), natural
    elif net in problems.RESNET_BLOCKS:
        module, order = cifar_resnet(int(net.removeprefix("resnet"))), stacked_resnet
    else:
        module, order = StackedNet(depth, kernels[0].shape[-1], net == "mlp"), stacked_chain
    shapes = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, train=True), images)
    filled = {"kernel": None, "scale": jnp.ones, "var": jnp.ones}
    ordered = order(kernels, shapes["params"])

    def fill(path: tuple, leaf: jax.ShapeDtypeStruct) -> Array:
        names = [part.key for part in path]
        if names[-1] == "kernel":
            return jnp.asarray(ordered["/".join(names[1:-1])])
        return (filled.get(names[-1]) or jnp.zeros)(leaf.shape)

    return module, {"batch_stats": {}} | jax.tree_util.tree_map_with_path(fill, shapes)


def natural(kernels: list[np.ndarray], params: dict) -> dict[str, np.ndarray]:
    """Flax's automatic names in order of creation: Conv_0, Conv_1, ..., Dense_0."""
    split = [name.split("_") for name in params if not name.startswith("BatchNorm")]
    names = sorted((kind, int(number)) for kind, number in split)
    return {f"{k}_{n}": kernel for (k, n), kernel in zip(names, kernels, strict=True)}


def stacked_chain(kernels: list[np.ndarray], _: dict) -> dict[str, np.ndarray]:
    """First, the stack of equal ones, logits."""
    return {"first": kernels[0], "rest": np.stack(kernels[1:-1]), "logits": kernels[-1]}


def stacked_resnet(kernels: list[np.ndarray], _: dict) -> dict[str, np.ndarray]:
    """The library's names: the blocks of a stage that have one shape are stacked."""
    ordered = {"stem": kernels[0], "logits": kernels[-1]}
    n = (len(kernels) - 2) // 6
    for i in range(3):
        for j in (0, 1):
            stage = kernels[1 + 2 * n * i + j : 1 + 2 * n * (i + 1) : 2]
            if i > 0:
                ordered[f"stage{i + 1}_first/conv{j + 1}"] = stage[0]
            ordered[f"stage{i + 1}_rest/conv{j + 1}"] = np.stack(stage[1 if i > 0 else 0 :])
    return ordered


def copies(variables: dict, net: str, count: int) -> Runs:
    """Return ``count`` runs from the same weights, on seeds of their own."""
    return Runs(
        jax.tree.map(lambda leaf: np.stack([leaf] * count), variables),
        np.arange(count, dtype=np.int32),
        {"learning_rate": np.full(count, problems.RATE[net], np.float32)},
    )
