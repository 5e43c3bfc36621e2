"""One training step and one evaluation, as pure functions of arrays."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxvision.models.layers import stacked_axes
from jaxvision.parallel.shards import AXIS, Split, over_parts, whole_batch
from jaxvision.random import stream
from jaxvision.training.losses import Loss, cross_entropy
from jaxvision.training.schedules import Optimizer, rate_used
from jaxvision.trees import named_leaves
from jaxvision.types import Array, Hyper, PyTree


class TrainState(NamedTuple):
    """Everything a run carries from step to step: arrays only."""

    params: PyTree
    batch_stats: PyTree
    opt_state: PyTree
    step: Array  # int32 [], steps done so far


class Observed(NamedTuple):
    """What a probe may look at inside a step."""

    activations: dict[str, Array]  # pre-activations by layer, in depth order
    tap_gradients: dict[str, Array]  # by layer, [] or [l]: |delta|^2, delta = dloss/dpre-activation
    gradients: PyTree  # of the loss, like params
    params: PyTree  # before the update
    updates: PyTree  # what the step adds to params


Probe = Callable[[Observed], dict[str, Array]]


def zero_taps(params: PyTree) -> dict[str, Array]:
    """Return one zero scalar per layer that has a kernel ([l] where layers are stacked)."""
    return {
        name.removesuffix("/kernel"): jnp.zeros(leaf.shape[: stacked_axes(name, leaf)])
        for name, leaf in named_leaves(params).items()
        if name.endswith("kernel")
    }


class Examples(NamedTuple):
    """What a step learns from: the batch, or what an opponent has made of it."""

    inputs: Array  # [M, ...], as ``Task.preprocess`` returns them
    labels: Array  # int32 [M]
    weights: Array | None  # [M], sum 1: the share of each in the loss; None: all alike


# (inputs -> logits of the net as it is, inputs, labels, noise like inputs, hyper) -> Examples
Opponent = Callable[[Callable[[Array], Array], Array, Array, Array, Hyper], Examples]


@dataclass(frozen=True)
class Task:
    """The functions one training run is made of.

    Attributes:
      apply: see ``models.layers.apply_function``.
      optimizer: from the run's traced hyper-parameters to an optax transformation. Where it takes
        extra arguments it is told the batch's training ``error`` (see ``schedules``).
      preprocess: ``(uint8 images [B, H, W, C], key or None) -> float32 images``; a key asks for the
        training-time augmentation.
      loss: ``(logits [B, K], labels [B]) -> [B]``; a step lowers its mean, evaluation reports it.
      probe: what to watch inside every step; None watches loss and error alone.
      told: hyper-parameters that every step hands to ``apply`` by their names, such as a dropout
        rate; evaluation does not.
      taps: from the parameters to what ``apply`` gets as ``taps`` where there is a probe.
      opponent: turns the inputs of every step against the net that takes it, which answers as in
        evaluation, with noise from U(-1, 1) to start from. The loss's gradient does not go through
        it. None leaves the batch as it is. See ``adversarial.train``.
    """

    apply: Callable
    optimizer: Optimizer
    preprocess: Callable[[Array, Array | None], Array]
    loss: Loss = cross_entropy
    probe: Probe | None = None
    told: tuple[str, ...] = ()
    taps: Callable[[PyTree], dict] = zero_taps
    opponent: Opponent | None = None

    # What ``Programs`` compile, and all that they ask of a task: whatever else is trained (a game
    # of two nets) has these three.

    def start(self, variables: PyTree, hyper: Hyper) -> TrainState:
        """Return the state before the first step."""
        return initial_state(self, variables, hyper)

    def step(
        self,
        state: TrainState,
        images: Array,
        labels: Array,
        hyper: Hyper,
        seed: Array,
        split: Split = Split(),  # noqa: B008 (a tuple)
    ) -> tuple[TrainState, dict[str, Array]]:
        """Take one step: see ``train_step``."""
        return train_step(self, state, images, labels, hyper, seed, split)

    def sums(
        self, state: TrainState, images: Array, labels: Array, *sizes: Array | int
    ) -> tuple[Array, Array]:
        """Return what evaluation adds up: see ``batch_sums``, which takes the sizes."""
        return batch_sums(self, state, images, labels, *sizes)


def initial_state(task: Task, variables: PyTree, hyper: Hyper) -> TrainState:
    """Return the state of a run that starts from ``variables`` (params and batch_stats)."""
    opt_state = task.optimizer(hyper).init(variables["params"])
    return TrainState(variables["params"], variables["batch_stats"], opt_state, jnp.int32(0))


def train_step(
    task: Task,
    state: TrainState,
    images: Array,
    labels: Array,
    hyper: Hyper,
    seed: Array,
    split: Split = Split(),  # noqa: B008 (a tuple)
) -> tuple[TrainState, dict[str, Array]]:
    """Take one optimizer step on images uint8 [B, H, W, C] and labels int32 [B].

    Args:
      task: the functions of the run.
      state: before the step.
      images: whole on every device, so that augmentation does not depend on the split.
      labels: likewise.
      hyper: the run's hyper-parameters.
      seed: the run's seed.
      split: how the batch is shared out over devices; dropout then draws for each part.

    Returns:
      The next state and metrics: ``loss`` (the task's, mean) and ``error`` (fraction) of this batch
      before the update, ``learning_rate`` where it is scheduled, and what the task's probe returns.
    """
    inputs = task.preprocess(images, stream(seed, "augment", state.step))
    dropout_key = stream(seed, "dropout", state.step)
    taps = None if task.probe is None else task.taps(state.params)
    noise = None
    if task.opponent is not None:  # drawn whole, so that it does not depend on the split
        key = stream(seed, "attack", state.step)
        noise = jax.random.uniform(key, inputs.shape, minval=-1.0)
    sums, activations = over_parts(
        lambda rows, key: _part(task, state, *rows, taps, key, hyper, split),
        (inputs, labels, noise),
        dropout_key,
        split,
    )
    if split.parts > 1:
        activations = OrderedDict(
            (name, whole_batch(x, taps[name].ndim)) for name, x in activations.items()
        )
    optimizer = optax.with_extra_args_support(task.optimizer(hyper))
    updates, opt_state = optimizer.update(
        sums.gradients, state.opt_state, state.params, error=sums.error
    )
    params = optax.apply_updates(state.params, updates)
    metrics = {"loss": sums.loss, "error": sums.error} | rate_used(opt_state)
    if task.probe is not None:
        metrics |= task.probe(
            Observed(activations, sums.tap_gradients, sums.gradients, state.params, updates)
        )
    return TrainState(params, sums.batch_stats, opt_state, state.step + 1), metrics


class _Sums(NamedTuple):
    """A part's share of the batch's numbers: their sum over the parts is the batch's."""

    loss: Array
    error: Array
    batch_stats: PyTree
    gradients: PyTree
    tap_gradients: dict[str, Array] | None


def _part(
    task: Task,
    state: TrainState,
    inputs: Array,
    labels: Array,
    noise: Array | None,
    taps: dict[str, Array] | None,
    dropout_key: Array,
    hyper: Hyper,
    split: Split,
) -> tuple[_Sums, dict[str, Array]]:
    """Return the shares of one part of the batch, and its activations where a probe wants them."""
    axis = split.statistics_axis
    options = {name: hyper[name] for name in task.told}
    if axis is not None:
        options["batch_axis"] = axis
    inputs, labels, weights = _examples(task, state, inputs, labels, noise, hyper)

    def share(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda x: x / split.parts, tree) if split.parts > 1 else tree

    def loss_function(params: PyTree, taps: PyTree) -> tuple[Array, tuple]:
        logits, activations, batch_stats = task.apply(
            params,
            state.batch_stats,
            inputs,
            train=True,
            taps=taps,
            dropout_key=dropout_key,
            **options,
        )
        loss = _mean(task.loss(logits, labels), weights)
        return share(loss), (logits, activations, batch_stats)

    (loss, (logits, activations, batch_stats)), (gradients, tap_gradients) = jax.value_and_grad(
        loss_function, argnums=(0, 1), has_aux=True
    )(state.params, taps)
    error = share(_mean(jnp.argmax(logits, -1) != labels, weights))
    sums = _Sums(loss, error, share(batch_stats), gradients, tap_gradients)
    return sums, OrderedDict() if task.probe is None else activations


def _examples(
    task: Task,
    state: TrainState,
    inputs: Array,
    labels: Array,
    noise: Array | None,
    hyper: Hyper,
) -> Examples:
    """Return what a part learns from: itself, or what the opponent makes of it."""
    if task.opponent is None:
        return Examples(inputs, labels, None)

    def net(inputs: Array) -> Array:
        return task.apply(state.params, state.batch_stats, inputs, train=False)[0]

    return task.opponent(net, inputs, labels, noise, hyper)


def _mean(values: Array, weights: Array | None) -> Array:
    """Return the mean of values [M], by weights of sum 1 where there are some."""
    if weights is None:
        return values.mean()
    return jnp.sum(weights * values.astype(weights.dtype))


def take_steps(
    task: Task,
    state: TrainState,
    batch: Callable[[Array], tuple[Array, Array]],
    length: int,
    count: Array,
    hyper: Hyper,
    seed: Array,
    split: Split = Split(),  # noqa: B008 (a tuple)
) -> tuple[TrainState, dict[str, Array]]:
    """Take ``count`` steps: a scan of ``train_step``, the same bits.

    Args:
      task: the functions of the run.
      state: before the first step.
      batch: i, from 0 -> images uint8 [B, H, W, C] and labels int32 [B] of the i-th step.
      length: T, the most steps there can be.
      count: traced, so that one program serves shorter stretches of steps too. And it hides the
        number of rounds: XLA would take a loop of one round apart and round otherwise.
      hyper: the run's hyper-parameters.
      seed: the run's seed.
      split: how a batch is shared out over devices.

    Returns:
      The state after ``count`` steps, and their metrics [T, ...], zero where no step was taken.
    """

    @partial(jax.jit, inline=True)  # traced once, not for its shapes and again in the loop
    def step(state: TrainState, i: Array) -> tuple[TrainState, dict[str, Array]]:
        return task.step(state, *batch(i), hyper, seed, split)

    def round_(i: Array, carry: tuple[TrainState, PyTree]) -> tuple[TrainState, PyTree]:
        state, stacked = carry
        state, metrics = step(state, i)
        put = partial(lax.dynamic_update_index_in_dim, index=i, axis=0)
        return state, jax.tree.map(put, stacked, metrics)

    _, shapes = jax.eval_shape(step, state, jnp.int32(0))
    empty = jax.tree.map(lambda x: jnp.zeros((length, *x.shape), x.dtype), shapes)
    return lax.fori_loop(0, count, round_, (state, empty))


def evaluate(
    task: Task, state: TrainState, images: Array, labels: Array, batch_size: int, devices: int = 1
) -> dict:
    """Return mean ``loss`` (the task's) and ``error`` (fraction) over images uint8 [N, H, W, C].

    Every image counts once: the last batch is filled up with images of weight zero. Batches are
    dealt out to the ``devices`` of the mesh axis ``data``; the sums are made in one order.
    """
    count = images.shape[0]
    return mean_of(task.sums(state, images, labels, count, batch_size, devices), count)


def batch_sums(
    task: Task,
    state: TrainState,
    images: Array,
    labels: Array,
    count: Array | int,
    batch_size: int,
    devices: int = 1,
) -> tuple[Array, Array]:
    """Return each batch's sum of losses and number of errors, both [ceil(N / batch_size)].

    Only the first ``count`` images count; see ``evaluate``.
    """
    batches = -(-images.shape[0] // batch_size)
    here = -(-batches // devices)  # on each device; surplus batches have no image
    rows = jnp.arange(here * batch_size).reshape(here, batch_size)
    if devices > 1:
        rows += lax.axis_index(AXIS) * rows.size

    def one_batch(rows: Array) -> tuple[Array, Array]:
        index = jnp.minimum(rows, count - 1)
        inputs = task.preprocess(images[index], None)
        logits, _, _ = task.apply(state.params, state.batch_stats, inputs, train=False)
        losses = task.loss(logits, labels[index])
        wrong = jnp.argmax(logits, -1) != labels[index]
        keep = rows < count
        return jnp.sum(jnp.where(keep, losses, 0.0)), jnp.sum(wrong & keep)

    sums = lax.map(one_batch, rows)
    if devices > 1:
        sums = jax.tree.map(lambda x: lax.all_gather(x, AXIS, tiled=True)[:batches], sums)
    return sums


def mean_of(sums: tuple[Array, Array], count: int) -> dict[str, Array]:
    """Return ``loss`` and ``error`` of ``count`` images from what ``batch_sums`` found."""
    losses, wrong = sums
    return {"loss": losses.sum() / count, "error": wrong.sum() / count}
