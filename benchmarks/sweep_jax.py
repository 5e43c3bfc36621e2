"""JAX's sides of ``benchmarks.sweep``: ``--mode=jaxvision`` and ``--mode=flax``."""

import argparse
from functools import partial
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import sweep
from benchmarks.worker import Case, serve
from jaxvision import initializers, runtime
from jaxvision.data import load
from jaxvision.data.augment import normalize, per_pixel_mean
from jaxvision.data.dataset import Dataset
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.layers import apply_function, is_stacked
from jaxvision.models.mlp import MLP
from jaxvision.models.plain import he2015_net
from jaxvision.random import stream
from jaxvision.training.fit import Runs, Trainer
from jaxvision.training.optimizers import sgd
from jaxvision.training.order import batch_rows
from jaxvision.training.step import Task

INITS = {"xavier": initializers.xavier_he2015, "he": initializers.he_backward}
STAGES = ("stage1_first", "stage1_rest", "stage2_first", "stage2_rest")
ORDER = {  # of depth
    "mlp": ("input", "hidden", "output"),
    "conv": ("stem", *STAGES, "dense1", "dense2", "logits"),
}


def prepare_jaxvision(net: str, folder: str) -> Case:
    """Draw the weights, leave them and the batches in the folder, train the sweep twice."""
    data = load("digits")
    test = Dataset(*(a[: sweep.TEST_IMAGES] for a in data.test[:2]))
    mean = per_pixel_mean(data.train.images)
    scale = float(np.std(data.train.images - mean))
    models = {}
    for name, make in INITS.items():
        size = data.num_classes, make()
        models[name] = MLP(30, 64, *size) if net == "mlp" else he2015_net(30, 8, *size, 8)
    inits, rates, seeds = zip(*sweep.RUNS, strict=True)
    drawn = [
        initialize_runs(models[init], stream(seed, "init", 0)[None], data.train.images.shape[1:])
        for init, seed in zip(inits, seeds, strict=True)
    ]
    variables = jax.tree.map(lambda *leaves: np.concatenate(leaves), *drawn)
    hyper = {
        "learning_rate": np.array(rates, np.float32),
        "train_biases": np.ones(len(rates), np.float32),
    }
    runs = Runs(variables, np.array(seeds, np.int32), hyper)
    task = Task(
        apply_function(models["he"]),
        partial(sgd, sweep.WEIGHT_DECAY),
        lambda images, key: normalize(images, mean, scale),
    )
    trainer = Trainer(task, data.train, test, sweep.BATCH, sweep.PERIOD)
    size = len(data.train.labels), sweep.BATCH
    np.savez(
        Path(folder) / f"{net}.npz",
        images=(data.train.images - mean) / np.float32(scale),
        labels=data.train.labels.astype(np.int64),
        test_images=(test.images - mean) / np.float32(scale),
        test_labels=test.labels.astype(np.int64),
        rows=[batch_rows(seed, 0, sweep.STEPS, *size) for seed in runs.seeds],
        rates=hyper["learning_rate"],
        **{f"kernel{l}": k for l, k in enumerate(by_depth(variables["params"], ORDER[net]))},
    )

    def train(_: list[int]) -> np.ndarray:
        return trainer.fit(runs, sweep.STEPS, may_diverge=True).train["loss"]

    return sweep.make_case(train, at_once=len(sweep.RUNS))


def by_depth(params: dict, order: tuple[str, ...]) -> list[np.ndarray]:
    """Return the kernels [R, ...] of every layer; stacked ones [R, l, ...] are taken apart."""
    kernels = []
    for name in order:
        kernel = params[name]["kernel"]
        assert not params[name]["bias"].any(), "the others start from zero biases"
        stacked = is_stacked(name, kernel[0])
        kernels += list(np.moveaxis(kernel, 1, 0)) if stacked else [kernel]
    return kernels


class FlaxNet(nn.Module):
    """The net whose kernels (HWIO and [I, O]) have these shapes, as one writes it in plain Flax."""

    shapes: tuple[tuple[int, ...], ...]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map images [B, H, W, C] to logits."""
        for l, shape in enumerate(self.shapes):
            if len(shape) == 4:
                x = nn.max_pool(x, (2, 2), (2, 2)) if l == sweep.POOLED else x
                x = nn.relu(x) if l > 0 else x
                x = nn.Conv(shape[3], shape[:2], padding="CIRCULAR", name=f"layer{l}")(x)
            else:
                x = nn.relu(x) if l > 0 else x
                if x.ndim == 4:  # the first dense layer: of pixels, or of a pyramid
                    pooled = (
                        [x] if l == 0 else [x, *(nn.max_pool(x, (k, k), (k, k)) for k in (2, 4))]
                    )
                    x = jnp.concatenate([y.reshape(len(y), -1) for y in pooled], 1)
                x = nn.Dense(shape[1], name=f"layer{l}")(x)
        return x


def prepare_flax(net: str, folder: str) -> Case:
    """Build the net and train two runs."""
    data = dict(np.load(Path(folder) / f"{net}.npz"))
    kernels = [data[f"kernel{l}"] for l in range(30)]
    model = FlaxNet(tuple(kernel.shape[1:] for kernel in kernels))
    cross_entropy = optax.softmax_cross_entropy_with_integer_labels

    def optimizer(rate: jax.Array | float) -> optax.GradientTransformation:
        decay = optax.add_decayed_weights(sweep.WEIGHT_DECAY)
        return optax.chain(decay, optax.sgd(rate, momentum=sweep.MOMENTUM))

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params: dict, opt_state: tuple, images: jax.Array, labels: jax.Array, rate: jax.Array):
        def loss_function(params: dict) -> jax.Array:
            return cross_entropy(model.apply({"params": params}, images), labels).mean()

        loss, gradients = jax.value_and_grad(loss_function)(params)
        updates, opt_state = optimizer(rate).update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    @jax.jit
    def evaluate(params: dict) -> tuple[jax.Array, jax.Array]:
        logits, labels = model.apply({"params": params}, data["test_images"]), data["test_labels"]
        return cross_entropy(logits, labels).mean(), jnp.mean(jnp.argmax(logits, -1) != labels)

    def train_one(run: int) -> np.ndarray:
        params = {
            f"layer{l}": {"kernel": jnp.array(k[run]), "bias": jnp.zeros(k.shape[-1])}
            for l, k in enumerate(kernels)
        }
        opt_state = optimizer(0.0).init(params)
        losses, tests = [], [evaluate(params)]
        for number, rows in enumerate(data["rows"][run], start=1):
            batch = data["images"][rows], data["labels"][rows]
            params, opt_state, loss = step(params, opt_state, *batch, data["rates"][run])
            losses.append(loss)
            if number % sweep.PERIOD == 0:
                tests.append(evaluate(params))
        return np.array(jax.device_get((losses, tests))[0])

    return sweep.make_case(lambda runs: [train_one(run) for run in runs], at_once=2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", choices=("jaxvision", "flax"), required=True)
    if parser.parse_args().mode == "jaxvision":
        runtime.configure(sweep.CORES)
        serve(prepare_jaxvision)
    else:
        serve(prepare_flax)
