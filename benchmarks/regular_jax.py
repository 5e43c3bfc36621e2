"""JAX's side of ``benchmarks.regular``. Case names: ``dropout:64``, ``batch_norm:256``, ..."""

import time
from functools import partial
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import regular
from benchmarks.worker import Case, serve
from jaxvision import runtime
from jaxvision.data.augment import normalize
from jaxvision.data.dataset import Dataset
from jaxvision.initializers import he_forward
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.dropout import DropoutMLP
from jaxvision.models.layers import apply_function
from jaxvision.models.residual_mlp import ResidualMLP
from jaxvision.random import stream
from jaxvision.training.calls import Runs
from jaxvision.training.fit import Trainer
from jaxvision.training.optimizers import momentum_sgd
from jaxvision.training.order import batch_rows
from jaxvision.training.step import Task

SHAPE = (28, 28, 1)
CLASSES = 10
MEAN, STD = np.float32(127.5), np.float32(74.0)  # of the random pixels
RUNS_PER_CALL = 16  # more do not fit the cache, fewer do not fill the vectors


def images(count: int, seed: int) -> Dataset:
    """Return random images with a class each."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, *SHAPE), dtype=np.uint8)
    return Dataset(pixels, rng.integers(0, CLASSES, count).astype(np.int32))


def model_of(net: str, width: int) -> nn.Module:
    """Return a net of two hidden layers."""
    size = 3, width, CLASSES, he_forward()
    return DropoutMLP(*size) if net == "dropout" else ResidualMLP(*size, normalized=True)


def hyper_of(net: str) -> dict[str, np.ndarray]:
    """Return the hyper-parameters of every run."""
    levels = np.array([level for level, _ in regular.RUNS])
    momentum = np.full(len(levels), regular.MOMENTUM, np.float32)
    if net == "batch_norm":
        return {"momentum": momentum, "learning_rate": np.float32(regular.RATES)[levels]}
    keep = np.float32(regular.KEEPS)[levels]
    rate = np.full(len(levels), regular.LEARNING_RATE, np.float32)
    keep_input = np.float32(regular.keep_input(keep))
    return {"momentum": momentum, "learning_rate": rate, "keep": keep, "keep_input": keep_input}


def kernels(params: dict) -> list[np.ndarray]:
    """Return the kernels [R, I, O] in depth order."""
    if "layer1" in params:
        return [params[name]["kernel"] for name in ("layer1", "layer2", "output")]
    inner = params["hidden"]["dense"]["kernel"][:, 0]  # a stack of one layer
    return [params["input"]["kernel"], inner, params["output"]["dense"]["kernel"]]


def prepare(case: str, folder: str) -> Case:
    """Draw the weights, leave them and the batches in the folder, train the sweep twice."""
    net, _, width = case.partition(":")
    train, test = images(regular.IMAGES, 0), images(regular.TEST_IMAGES, 1)
    model = model_of(net, int(width))
    keys = jnp.stack([stream(seed, "init", 0) for seed in range(regular.SEEDS)])
    drawn = initialize_runs(model, keys, SHAPE)
    seeds = np.array([seed for _, seed in regular.RUNS], np.int32)
    variables = jax.tree.map(lambda leaf: leaf[seeds], drawn)
    runs = Runs(variables, seeds, hyper_of(net))
    task = Task(
        apply_function(model),
        partial(momentum_sgd, 0.0),
        lambda images, key: normalize(images, MEAN, STD),
        told=("keep", "keep_input") if net == "dropout" else (),
    )
    sizes = regular.BATCH, regular.PERIOD
    trainer = Trainer(task, train, test, *sizes, runs_per_call=RUNS_PER_CALL)
    order = len(train.labels), regular.BATCH
    np.savez(
        Path(folder) / f"{net}{width}.npz",
        images=train.images.reshape(len(train.labels), -1),
        labels=train.labels.astype(np.int64),
        test_images=test.images.reshape(len(test.labels), -1),
        test_labels=test.labels.astype(np.int64),
        mean=MEAN,
        std=STD,
        rows=[batch_rows(seed, 0, regular.STEPS, *order) for seed in range(regular.SEEDS)],
        **{f"kernel{layer}": kernel for layer, kernel in enumerate(kernels(drawn["params"]))},
    )

    def fit() -> np.ndarray:
        return trainer.fit(runs, regular.STEPS, may_diverge=True).train["loss"]

    seconds = []
    for _ in range(2):
        start = time.process_time()
        losses = fit()
        seconds.append(time.process_time() - start)
    per_fit = len(seeds) * regular.STEPS

    def run(n: int) -> None:
        for _ in range(n // per_fit):
            fit()

    checked = losses[list(regular.CHECKED), : regular.CHECKED_STEPS]
    return run, {
        "losses": checked.tolist(),
        "first_cpu_s": seconds[0] - seconds[1],
        "n": per_fit,
    }


if __name__ == "__main__":
    runtime.configure(regular.CORES)
    serve(prepare)
