"""JAX's side: the nets of ``problems`` in the library's layers and in plain Flax.

Case names: ``net`` (jaxvision), ``net:flax`` (plain Flax, unrolled, no settings), ``net:scan``
(jaxvision, steps in one scan), ``net:sweep`` (8 seeds at once; times are per step and seed).
"""

import argparse
import time
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import PartitionSpec

from benchmarks import problems
from benchmarks.worker import serve
from jaxvision import runtime
from jaxvision.models.layers import Conv, stack
from jaxvision.models.resnet import cifar_resnet
from jaxvision.parallel.mesh import make_mesh, on_mesh
from jaxvision.training.mapping import map_runs

SEEDS = 8
SCAN = 6


class StackedNet(nn.Module):
    """``conv*`` and ``mlp`` from the library's layers: the equal layers in a scan."""

    depth: int
    features: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = True) -> tuple[jax.Array, dict]:
        """Map images [B, H, W, C] or [B, I] to logits."""
        length = self.depth - 2
        if x.ndim == 4:
            x = Conv(self.features, name="first")(x)
            rest = Conv(self.features, activate=True, name="rest")
            x, _ = stack(rest, x, length, None)
        else:
            x = nn.Dense(self.features, name="first")(x)
            x, _ = stack(nn.Dense(self.features, name="rest"), x, length, None, nn.relu)
        x = nn.relu(x)
        return nn.Dense(problems.CLASSES, name="logits")(x.mean((1, 2)) if x.ndim == 4 else x), {}


class FlaxNet(nn.Module):
    """The same nets as one writes them in plain Flax."""

    net: str

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = True) -> tuple[jax.Array, dict]:
        """Map images [B, H, W, C] or [B, I] to logits."""
        if self.net in problems.RESNET_BLOCKS:
            x = self.residual(x, train)
        else:
            for kernel in problems.kernels(self.net)[:-1]:
                width = kernel.shape[-1]
                x = nn.relu(nn.Dense(width)(x) if x.ndim == 2 else nn.Conv(width, (3, 3))(x))
        return nn.Dense(problems.CLASSES)(x.mean((1, 2)) if x.ndim == 4 else x), {}

    def residual(self, x: jax.Array, train: bool) -> jax.Array:
        """The convolutional part of a ResNet, option A."""

        def conv_norm(x: jax.Array, width: int, stride: int = 1) -> jax.Array:
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
    """Return a module and its variables with the kernels of ``problems``."""
    images, _ = problems.batch(net)
    kernels = problems.kernels(net, depth)
    if plain:
        module, order = FlaxNet(net), natural
    elif net in problems.RESNET_BLOCKS:
        module, order = cifar_resnet(int(net.removeprefix("resnet"))), stacked_resnet
    else:
        module, order = StackedNet(depth, kernels[0].shape[-1]), stacked_chain
    shapes = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, train=True), images)
    filled = {"kernel": None, "scale": jnp.ones, "var": jnp.ones}
    ordered = order(kernels, shapes["params"])

    def fill(path: tuple, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        names = [part.key for part in path]
        if names[-1] == "kernel":
            return jnp.asarray(ordered["/".join(names[1:-1])])
        return (filled.get(names[-1]) or jnp.zeros)(leaf.shape)

    return module, jax.tree_util.tree_map_with_path(fill, shapes)


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


def make_step(module: nn.Module, net: str) -> tuple[Callable, Callable]:
    """Return ``start(variables) -> state`` and ``step(state, batch) -> (state, loss)``."""
    optimizer = optax.sgd(problems.RATE[net], momentum=problems.MOMENTUM)

    def start(variables: dict) -> tuple:
        stats = variables.get("batch_stats", {})
        return variables["params"], stats, optimizer.init(variables["params"])

    def step(state: tuple, batch: tuple) -> tuple:
        params, stats, opt_state = state
        images, labels = batch

        def loss_function(params: dict) -> tuple:
            (logits, _), updated = module.apply(
                {"params": params, "batch_stats": stats},
                images,
                train=True,
                mutable=["batch_stats"],
            )
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
            return loss, updated.get("batch_stats", {})

        (loss, new), gradients = jax.value_and_grad(loss_function, has_aux=True)(params)
        updates, opt_state = optimizer.update(gradients, opt_state)
        return (optax.apply_updates(params, updates), new, opt_state), loss

    return start, step


def prepare(name: str, depth: int = problems.DEPTH) -> tuple:
    """Compile a case and take six steps."""
    net, _, kind = name.partition(":")
    module, variables = build(net, kind == "flax", depth)
    start, step = make_step(module, net)
    batch = tuple(jnp.asarray(a) for a in problems.batch(net))
    program, units = step, 1
    state = start(variables)
    if kind in ("scan", "sweep"):
        units = SCAN

        def program(state: tuple, batch: tuple) -> tuple:
            return lax.scan(lambda state, _: step(state, batch), state, length=SCAN)

    if kind == "sweep":
        units = SCAN * SEEDS
        mesh = make_mesh()
        program = map_runs(program, "vmap" if net == "mlp" else "map", mesh)
        runs = jax.tree.map(lambda a: jnp.broadcast_to(a, (SEEDS, *a.shape)), state)
        state = on_mesh(runs, mesh, PartitionSpec("run"))
        batch = on_mesh(batch, mesh, PartitionSpec())
    compiler = jax.jit if kind == "flax" else runtime.jit
    cpu = time.process_time()
    compiled = compiler(program, donate_argnums=0).lower(state, batch).compile()
    facts = {
        "compile_cpu_s": time.process_time() - cpu,
        "temporary_mb": compiled.memory_analysis().temp_size_in_bytes / 2**20,
    }
    held = [jax.tree.map(jnp.copy, state)]

    def run(n: int) -> jax.Array:
        for _ in range(max(1, n // units)):
            held[0], loss = compiled(held[0], batch)
        return loss.block_until_ready()

    losses = [run(1) for _ in range(6 if units == 1 else 1)]
    facts["losses"] = [float(value) for value in np.ravel(losses)[:6]]
    return run, facts | {"units": units}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", choices=("flax", "threads", "devices"), required=True)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--first_step", help="measure a start: prepare this case, then out")
    options = parser.parse_args()
    if options.mode != "flax":
        runtime.configure(options.devices if options.mode == "devices" else None)
    if options.first_step:
        prepare(options.first_step)
    else:
        serve(prepare)
