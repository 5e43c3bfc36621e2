"""One training step and one evaluation, as pure functions of arrays."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxvision.random import stream
from jaxvision.trees import named_leaves
from jaxvision.types import Array, PyTree

Hyper = dict[str, Array]  # traced scalars: one program serves a whole grid of them


class TrainState(NamedTuple):
    """Everything a run carries from step to step: arrays only."""

    params: PyTree
    batch_stats: PyTree
    opt_state: PyTree
    step: Array  # int32 [], steps done so far


class Observed(NamedTuple):
    """What a probe may look at inside a step."""

    activations: dict[str, Array]  # pre-activations by layer, in depth order
    tap_gradients: dict[
        str, Array
    ]  # squared norm of delta (dloss/dpre-activation) by layer, [] or [l]
    gradients: PyTree  # of the loss, like params
    params: PyTree  # before the update
    updates: PyTree  # what the step adds to params


Probe = Callable[[Observed], dict[str, Array]]


@dataclass(frozen=True)
class Task:
    """The functions one training run is made of.

    Attributes:
      apply: see ``models.layers.apply_function``.
      optimizer: from the run's traced hyper-parameters to an optax transformation.
      preprocess: ``(uint8 images [B, H, W, C], key or None) -> float32 images``; a key asks for the
        training-time augmentation.
      probe: what to watch inside every step; None watches loss and error alone.
    """

    apply: Callable
    optimizer: Callable[[Hyper], optax.GradientTransformation]
    preprocess: Callable[[Array, Array | None], Array]
    probe: Probe | None = None


def initial_state(task: Task, variables: PyTree, hyper: Hyper) -> TrainState:
    """Return the state of a run that starts from ``variables`` (params and batch_stats)."""
    opt_state = task.optimizer(hyper).init(variables["params"])
    return TrainState(variables["params"], variables["batch_stats"], opt_state, jnp.int32(0))


def zero_taps(params: PyTree) -> dict[str, Array]:
    """Return one zero scalar per layer that has a kernel ([l] where layers are stacked)."""
    kernels = {n: k for n, k in named_leaves(params).items() if n.endswith("kernel")}
    return {  # stacked kernels have an odd number of axes: [l, I, O] and [l, h, w, I, O]
        name.removesuffix("/kernel"): jnp.zeros(kernel.shape[: kernel.ndim % 2])
        for name, kernel in kernels.items()
    }


def train_step(
    task: Task, state: TrainState, images: Array, labels: Array, hyper: Hyper, seed: Array
) -> tuple[TrainState, dict[str, Array]]:
    """Take one optimizer step on images uint8 [B, H, W, C] and labels int32 [B].

    Returns:
      The next state and metrics: ``loss`` (nats) and ``error`` (fraction) of this batch before the
      update, and whatever the task's probe returns.
    """
    inputs = task.preprocess(images, stream(seed, "augment", state.step))
    dropout_key = stream(seed, "dropout", state.step)
    taps = None if task.probe is None else zero_taps(state.params)

    def loss_function(params: PyTree, taps: PyTree) -> tuple[Array, tuple]:
        logits, activations, batch_stats = task.apply(
            params, state.batch_stats, inputs, train=True, taps=taps, dropout_key=dropout_key
        )
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        return loss, (logits, activations, batch_stats)

    (loss, (logits, activations, batch_stats)), (gradients, tap_gradients) = jax.value_and_grad(
        loss_function, argnums=(0, 1), has_aux=True
    )(state.params, taps)
    updates, opt_state = task.optimizer(hyper).update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    metrics = {"loss": loss, "error": jnp.mean(jnp.argmax(logits, -1) != labels)}
    if task.probe is not None:
        metrics |= task.probe(
            Observed(activations, tap_gradients, gradients, state.params, updates)
        )
    return TrainState(params, batch_stats, opt_state, state.step + 1), metrics


def evaluate(task: Task, state: TrainState, images: Array, labels: Array, batch_size: int) -> dict:
    """Return mean ``loss`` (nats) and ``error`` (fraction) over images uint8 [N, H, W, C].

    Every image counts once: the last batch is filled up with images of weight zero.
    """
    count = images.shape[0]
    batches = -(-count // batch_size)
    rows = jnp.arange(batches * batch_size).reshape(batches, batch_size)

    def one_batch(rows: Array) -> tuple[Array, Array]:
        index = jnp.minimum(rows, count - 1)
        inputs = task.preprocess(images[index], None)
        logits, _, _ = task.apply(state.params, state.batch_stats, inputs, train=False)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels[index])
        wrong = jnp.argmax(logits, -1) != labels[index]
        keep = rows < count
        return jnp.sum(jnp.where(keep, losses, 0.0)), jnp.sum(wrong & keep)

    losses, wrong = lax.map(one_batch, rows)
    return {"loss": losses.sum() / count, "error": wrong.sum() / count}
