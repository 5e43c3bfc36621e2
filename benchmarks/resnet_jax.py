"""JAX's side of ``benchmarks.resnet``; ``--devices=0`` is one device that uses every core.

Case names: ``net:device:format`` and ``peak:format:device``.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import jax_nets, problems, resnet
from benchmarks.worker import Case, serve
from jaxvision import runtime
from jaxvision.data.augment import normalize, pad_crop_flip, per_pixel_mean
from jaxvision.data.dataset import Dataset
from jaxvision.models.layers import Apply, apply_function
from jaxvision.training.fit import Trainer
from jaxvision.training.optimizers import caffe_sgd
from jaxvision.training.step import Task
from jaxvision.types import Array


def in_bfloat16(apply: Apply) -> Apply:
    """Return ``apply`` with images and kernels rounded to bfloat16; all else stays float32."""

    def rounded(params: dict, batch_stats: dict, images: Array, **given) -> tuple:
        def cast(path: tuple, leaf: Array) -> Array:
            return leaf.astype(jnp.bfloat16) if path[-1].key == "kernel" else leaf

        params = jax.tree_util.tree_map_with_path(cast, params)
        logits, *rest = apply(params, batch_stats, images.astype(jnp.bfloat16), **given)
        return logits.astype(jnp.float32), *rest

    return rounded


def prepare(name: str) -> Case:
    """Compile a case and train one period."""
    net, _, kind = name.split(":")
    if net == "peak":
        return peak(*name.split(":")[1:])
    data = Dataset(*resnet.images_and_labels())
    module, variables = jax_nets.build(net, plain=False)
    apply = apply_function(module)
    apply = in_bfloat16(apply) if kind == "bfloat16" else apply
    preprocess = augmented(per_pixel_mean(data.images))
    task = Task(apply, partial(caffe_sgd, resnet.WEIGHT_DECAY), preprocess)
    first = data.first(problems.BATCH[net])
    trainer = Trainer(task, data, first, len(first.labels), resnet.PERIOD)
    (call,) = trainer.calls(jax_nets.copies(variables, net, jax.device_count()))
    held = [call.start(), 0]
    units = resnet.PERIOD * jax.device_count()  # batches that one call trains on

    def period() -> None:
        state, step = held
        state, metrics = call.advance(state, step)
        jax.block_until_ready((metrics, call.evaluate(state)))
        held[:] = state, step + resnet.PERIOD

    def run(n: int) -> None:
        for _ in range(n // units):
            period()

    period()  # compiles
    return run, {"units": units, "loss": first_loss(task, variables, first)}


def augmented(mean: np.ndarray) -> Callable[[Array, Array | None], Array]:
    """Return the preprocessing: the mean off, and with a key crops and flips."""

    def preprocess(images: Array, key: Array | None) -> Array:
        inputs = normalize(images, mean)
        return inputs if key is None else pad_crop_flip(key, inputs)

    return preprocess


def first_loss(task: Task, variables: dict, data: Dataset) -> float:
    """Return the loss of the first images under the first weights, by their own moments."""

    def loss(variables: dict) -> Array:
        inputs = task.preprocess(data.images, None)
        stats = variables["batch_stats"]
        logits, _, _ = task.apply(variables["params"], stats, inputs, train=True)
        return optax.softmax_cross_entropy_with_integer_labels(logits, data.labels).mean()

    return float(jax.jit(loss)(variables))


def peak(kind: str, device: str) -> Case:
    """Measure FLOP/s of a square matrix product, the best of ten."""
    size = 8192 if device == "gpu" else 2048
    a = jnp.ones((size, size), kind)
    product = runtime.jit(lambda a: jnp.dot(a, a, preferred_element_type=jnp.float32))
    product(a).block_until_ready()
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        product(a).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return lambda n: None, {"flops_per_s": 2 * size**3 / min(seconds)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--devices", type=int, required=True)
    options = parser.parse_args()
    runtime.configure(options.devices or None)
    serve(prepare)
