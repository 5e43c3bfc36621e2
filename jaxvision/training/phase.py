"""Thousands of small trainings over depth, gain and seed: one compiled program for all.

Depth is the trip count of a loop, hence a traced number: one compilation serves every depth, and no
layer is computed to be masked away. Reverse-mode autodiff refuses such loops, so the backward loop
stands here. It has every layer's gradient in hand once, and takes the layer's optimizer step on the
spot: the gradient of a whole net is never in memory.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from jaxvision import runtime
from jaxvision.data.dataset import Dataset
from jaxvision.random import stream
from jaxvision.training.fit import batch_rows
from jaxvision.training.mesh import fetch, make_mesh, on_mesh
from jaxvision.training.step import Hyper
from jaxvision.training.sweep import map_runs
from jaxvision.types import Array, PyTree, UserError


class Cells(NamedTuple):
    """R trainings, leaves [R]. Weights are drawn N(0, sigma_w^2 / fan_in), biases N(0, sigma_b^2).

    Cells that share a seed share the order of the data and the standardized draws of their first
    layers, whatever their depth: their differences are paired.
    """

    depths: np.ndarray  # int: weight layers, the first and the last included, at least 2
    seeds: np.ndarray  # int32
    sigma_w: np.ndarray  # float32
    sigma_b: np.ndarray  # float32
    hyper: dict[str, np.ndarray]  # float32 each: what the optimizer reads


class _State(NamedTuple):
    """One training between two calls; every leaf of ``hidden`` has a leading axis [longest]."""

    input: tuple[PyTree, PyTree]  # params {'kernel', 'bias'} and optimizer state
    hidden: tuple[PyTree, PyTree]
    output: tuple[PyTree, PyTree]
    step: Array


@dataclass(frozen=True)
class DepthSweep:
    """Nets of constant width and every depth on one data set.

    Attributes:
      nonlinearity: ``(pre-activations [B, width], key) -> [B, width]``, before every layer but the
        first; whatever a layer does beside its matrix product: activation, normalization, dropout.
      optimizer: from the traced hyper-parameters to an optax transformation; it is given one
        layer's ``{'kernel', 'bias'}`` at a time, so it must treat leaves one by one.
      preprocess: uint8 images [B, H, W, C] -> float32, the same shape.
      train: the data, held whole on every device.
      width: units of every hidden layer.
      batch_size: images a step.
      period: steps of one compiled call.
      runs_per_call: trainings side by side in one call, over all devices.
    """

    nonlinearity: Callable[[Array, Array], Array]
    optimizer: Callable[[Hyper], optax.GradientTransformation]
    preprocess: Callable[[Array], Array]
    train: Dataset
    width: int
    batch_size: int
    period: int
    runs_per_call: int
    mesh: Mesh = field(default_factory=make_mesh)

    def __post_init__(self) -> None:
        if self.batch_size > len(self.train.labels):
            raise UserError(
                f"batch size {self.batch_size} exceeds the {len(self.train.labels)} training images"
            )

    def fit(
        self,
        cells: Cells,
        steps: int,
        advance: Callable[[int], None] = lambda _: None,
        finished: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        """Train every cell for ``steps`` (a multiple of ``period``); divergence is a result.

        Args:
          cells: R trainings, in any order.
          steps: optimizer steps of every cell.
          advance: told the number of trainings finished after each of them.
          finished: losses [r, t] so far -> bool [r]. A call's trainings stop together when all of
            them have finished; the steps they save are NaN.

        Returns:
          ``loss`` (nats) and ``error`` (fraction) [R, steps] of each step's batch before its update.
        """
        if steps % self.period:
            raise UserError(f"{steps} steps are not a whole number of periods of {self.period}")
        history = {
            name: np.full((len(cells.seeds), steps), np.nan, np.float32) for name in _METRICS
        }
        data = on_mesh((self.train.images, self.train.labels), self.mesh, P())
        start, train = self._programs(max(1, int(np.max(cells.depths)) - 2))
        for rows, real in self._calls(cells.depths):
            runs = jax.tree.map(lambda leaf, rows=rows: leaf[rows], cells._replace(depths=None))
            runs = on_mesh(runs, self.mesh, P("run"))
            hidden = jnp.int32(cells.depths[rows[0]] - 2)
            state = start(runs, (hidden, *data))
            for first in range(0, steps, self.period):
                state, metrics = train(state, runs, (hidden, *data))
                for name, values in fetch(metrics).items():
                    history[name][rows[:real], first : first + self.period] = values[:real]
                done = history["loss"][rows[:real], : first + self.period]
                if finished is not None and finished(done).all():
                    break
            advance(real)
        return history

    def _calls(self, depths: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
        """Cut the cells into calls of one depth; yields padded rows and how many of them are real."""
        devices = self.mesh.shape["run"]
        per_call = -(-self.runs_per_call // devices) * devices
        for depth in sorted(set(depths.tolist()), reverse=True):
            rows = np.flatnonzero(depths == depth)
            for first in range(0, len(rows), per_call):
                part = rows[first : first + per_call]
                yield np.resize(part, per_call), len(part)

    @cached_property
    def _compiled(self) -> dict[int, tuple[Callable, Callable]]:
        return {}

    def _programs(self, longest: int) -> tuple[Callable, Callable]:
        if longest not in self._compiled:

            def start(run: Cells, shared: tuple) -> _State:
                return self._start(run, shared, longest)

            self._compiled[longest] = (
                runtime.jit(map_runs(start, "vmap", self.mesh)),
                runtime.jit(map_runs(self._train, "vmap", self.mesh), donate_argnums=0),
            )
        return self._compiled[longest]

    def _start(self, run: Cells, shared: tuple, longest: int) -> _State:
        hidden, images, labels = shared
        optimizer = self.optimizer(run.hyper)
        keys = [stream(run.seeds, "init", part) for part in range(3)]
        inputs, classes = int(np.prod(images.shape[1:])), int(self.train.labels.max()) + 1

        def layer(key: Array, fan_in: int, units: int) -> PyTree:
            kernel = jax.random.normal(key, (fan_in, units)) * run.sigma_w / np.sqrt(fan_in)
            bias = jax.random.normal(jax.random.fold_in(key, 0), (units,)) * run.sigma_b
            return {"kernel": kernel, "bias": bias}

        def with_state(params: PyTree) -> tuple[PyTree, PyTree]:
            return params, optimizer.init(params)

        def draw(l: Array, stacked: PyTree) -> PyTree:
            params = layer(jax.random.fold_in(keys[1], l), self.width, self.width)
            return _put(stacked, l, with_state(params))

        shapes = jax.eval_shape(lambda: with_state(layer(keys[1], self.width, self.width)))
        empty = jax.tree.map(lambda leaf: jnp.zeros((longest, *leaf.shape), leaf.dtype), shapes)
        return _State(
            with_state(layer(keys[0], inputs, self.width)),
            lax.fori_loop(0, hidden, draw, empty),
            with_state(layer(keys[2], self.width, classes)),
            jnp.int32(0),
        )

    def _train(self, state: _State, cell: Cells, shared: tuple) -> tuple[_State, dict]:
        hidden, images, labels = shared
        rows = batch_rows(cell.seeds, state.step, self.period, len(labels), self.batch_size)
        longest = jax.tree.leaves(state.hidden)[0].shape[0]
        kept = jnp.zeros((longest, self.batch_size, self.width))

        def body(carry: tuple, rows: Array) -> tuple[tuple, dict]:
            inputs = self.preprocess(images[rows]).reshape(self.batch_size, -1)
            return self._step(*carry, inputs, labels[rows], hidden, cell)

        (state, _), metrics = lax.scan(body, (state, kept), rows)
        return state, metrics

    def _step(
        self,
        state: _State,
        kept: Array,
        inputs: Array,
        labels: Array,
        hidden: Array,
        cell: Cells,
    ) -> tuple[tuple[_State, Array], dict]:
        """Take one step; ``kept`` [longest, B, width] is scratch for the pre-activations."""
        optimizer = self.optimizer(cell.hyper)
        key = stream(cell.seeds, "dropout", state.step)

        def update(layer: tuple[PyTree, PyTree], gradient: PyTree) -> tuple[PyTree, PyTree]:
            params, opt_state = layer
            updates, opt_state = optimizer.update(gradient, opt_state, params)
            return optax.apply_updates(params, updates), opt_state

        def layer(params: PyTree, h: Array, l: Array) -> Array:
            return _dense(params, self.nonlinearity(h, jax.random.fold_in(key, l)))

        def forward(l: Array, carry: tuple) -> tuple:
            h, kept = carry
            return layer(_take(state.hidden[0], l), h, l), _put(kept, l, h)

        def loss_function(params: PyTree, h: Array) -> tuple[Array, Array]:
            logits = layer(params, h, hidden)
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return losses.mean(), jnp.mean(jnp.argmax(logits, -1) != labels)

        h, pull_input = jax.vjp(lambda params: _dense(params, inputs), state.input[0])
        h, kept = lax.fori_loop(0, hidden, forward, (h, kept))
        (loss, error), (gradient, delta) = jax.value_and_grad(
            loss_function, argnums=(0, 1), has_aux=True
        )(state.output[0], h)

        def backward(i: Array, carry: tuple) -> tuple:
            delta, stacked = carry
            l = hidden - 1 - i
            # Read before written, and said so: else XLA copies the whole stack at every layer.
            one = lax.optimization_barrier(_take(stacked, l))
            _, pull = jax.vjp(lambda params, h: layer(params, h, l), one[0], _take(kept, l))
            gradient, delta = pull(delta)
            return delta, _put(stacked, l, update(one, gradient))

        delta, stacked = lax.fori_loop(0, hidden, backward, (delta, state.hidden))
        after = _State(
            update(state.input, *pull_input(delta)),
            stacked,
            update(state.output, gradient),
            state.step + 1,
        )
        return (after, kept), {"loss": loss, "error": error}


_METRICS = ("loss", "error")


def _dense(params: PyTree, x: Array) -> Array:
    return x @ params["kernel"] + params["bias"]


def _take(stacked: PyTree, l: Array) -> PyTree:
    return jax.tree.map(lambda leaf: lax.dynamic_index_in_dim(leaf, l, keepdims=False), stacked)


def _put(stacked: PyTree, l: Array, one: PyTree) -> PyTree:
    return jax.tree.map(
        lambda leaf, value: lax.dynamic_update_index_in_dim(leaf, value, l, 0), stacked, one
    )
