"""Thousands of small trainings over depth, gain and seed: one compiled program for all.

Depth is the trip count of a loop, hence a traced number: one compilation serves every depth, and no
layer is computed to be masked away. Reverse-mode autodiff refuses such loops, so this cannot be a
``Task`` of ``Trainer``: the backward loop stands here. It has every layer's gradient in hand once,
and takes the layer's optimizer step on the spot: the gradient of a whole net is never in memory.

Layers lead, runs follow ([L, R, ...]): a layer of all runs is one block of memory. ``vmap`` goes
around what one layer computes, not around the loops: an updated slice would become a scatter.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
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
from jaxvision.parallel.feed import fits
from jaxvision.parallel.mesh import fetch, make_mesh, on_mesh
from jaxvision.random import stream
from jaxvision.training.losses import cross_entropy
from jaxvision.training.order import Orders
from jaxvision.types import Array, Hyper, PyTree, UserError


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
    """R trainings between two calls; a layer is (params {'kernel', 'bias'}, optimizer state)."""

    input: tuple[PyTree, PyTree]  # leaves [R, ...]
    hidden: tuple[PyTree, PyTree]  # leaves [L, R, ...]
    output: tuple[PyTree, PyTree]  # leaves [R, ...]
    step: Array  # int32 []


_SPECS = _State(P("run"), P(None, "run"), P("run"), P())


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
      deepest: weight layers of the deepest net, at least 3; memory is held for as many.
      runs_per_call: trainings side by side in one call, over all devices.
    """

    nonlinearity: Callable[[Array, Array], Array]
    optimizer: Callable[[Hyper], optax.GradientTransformation]
    preprocess: Callable[[Array], Array]
    train: Dataset
    width: int
    batch_size: int
    period: int
    deepest: int
    runs_per_call: int
    mesh: Mesh = field(default_factory=partial(make_mesh, data=1))

    def __post_init__(self) -> None:
        if self.batch_size > len(self.train.labels):
            raise UserError(
                f"batch size {self.batch_size} exceeds the {len(self.train.labels)} training images"
            )
        if not fits(self.train):
            raise UserError(
                f"a sweep over depths holds its data on every device: {self.train.images.nbytes:,}"
                " bytes of images do not fit there"
            )

    def fit(
        self,
        cells: Cells,
        steps: int,
        advance: Callable[[int], None] = lambda _: None,
        finished: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        """Train every cell for ``steps`` (a multiple of ``period``); divergence is a result.

        Args:
          cells: R trainings, in any order.
          steps: optimizer steps of every cell.
          advance: told the number of trainings finished, call by call.
          finished: (which cells [r], losses [r, t] so far) -> bool [r]. A call's trainings stop
            together when all of them have finished; the steps they save are NaN.

        Returns:
          ``loss`` (nats) and ``error`` (fraction) [R, steps] of each batch, before the step.

        Raises UserError where ``period`` does not divide ``steps``, or a depth is out of range.
        """
        if steps % self.period:
            raise UserError(f"{steps} steps are not a whole number of periods of {self.period}")
        if min(cells.depths) < 2 or max(cells.depths) > self.deepest:
            raise UserError(f"a net of this sweep has 2 to {self.deepest} weight layers")
        unseen = np.full((len(cells.seeds), steps), np.nan, np.float32)
        history = {"loss": unseen, "error": unseen.copy()}
        data = on_mesh((self.train.images, self.train.labels), self.mesh, P())
        for rows, real in self._calls(cells.depths):
            runs = jax.tree.map(lambda leaf, rows=rows: leaf[rows], cells._replace(depths=None))
            runs = on_mesh(runs, self.mesh, P("run"))
            shared = on_mesh(np.int32(cells.depths[rows[0]] - 2), self.mesh, P()), *data
            state = self.start(runs, shared)
            orders = Orders(cells.seeds[rows], len(self.train.labels), self.batch_size)
            for first in range(0, steps, self.period):
                order = np.swapaxes(orders.rows(first, self.period), 0, 1)
                order = on_mesh(order, self.mesh, P(None, "run"))
                state, metrics = self.advance(state, runs, order, shared)
                for name, values in fetch(metrics).items():
                    history[name][rows[:real], first : first + self.period] = values.T[:real]
                done = history["loss"][rows[:real], : first + self.period]
                if finished is not None and finished(rows[:real], done).all():
                    break
            advance(real)
        return history

    def _calls(self, depths: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
        """Cut the cells into calls of one depth: padded rows and how many of them are real."""
        devices = self.mesh.shape["run"]
        per_call = -(-self.runs_per_call // devices) * devices
        for depth in sorted(set(depths.tolist()), reverse=True):
            rows = np.flatnonzero(depths == depth)
            for first in range(0, len(rows), per_call):
                real = rows[first : first + per_call]
                yield np.resize(real, per_call), len(real)

    @cached_property
    def start(self) -> Callable:
        """``(runs, shared) -> state``, compiled once."""
        spread = partial(jax.shard_map, mesh=self.mesh, check_vma=False)
        return runtime.jit(spread(self._start, in_specs=(P("run"), P()), out_specs=_SPECS))

    @cached_property
    def advance(self) -> Callable:
        """``(state, runs, order, shared) -> (state, metrics [T, R])``, compiled once.

        It takes the state. ``order`` [T, R, B] are the rows of the training set.
        """
        spread = partial(jax.shard_map, mesh=self.mesh, check_vma=False)
        steps = P(None, "run")
        ins = _SPECS, P("run"), steps, P()
        train = spread(self._train, in_specs=ins, out_specs=(_SPECS, steps))
        return runtime.jit(train, donate_argnums=0)

    def _start(self, runs: Cells, shared: tuple) -> _State:
        hidden, images, _ = shared
        inputs, classes = int(np.prod(images.shape[1:])), int(self.train.labels.max()) + 1

        def layer(kind: int, fan_in: int, units: int, l: Array | int = 0) -> tuple[PyTree, PyTree]:
            def draw(run: Cells) -> tuple[PyTree, PyTree]:
                key = stream(run.seeds, "init", kind, l)
                normal = jax.random.normal(key, (fan_in + 1, units))  # the biases in row 0
                kernel = normal[1:] * run.sigma_w / np.sqrt(fan_in)
                params = {"kernel": kernel, "bias": normal[0] * run.sigma_b}
                return params, self.optimizer(run.hyper).init(params)

            return jax.vmap(draw)(runs)

        shapes = jax.eval_shape(lambda: layer(1, self.width, self.width))
        empty = jax.tree.map(lambda s: jnp.zeros((self.deepest - 2, *s.shape), s.dtype), shapes)
        stacked = lax.fori_loop(
            0, hidden, lambda l, s: _put(s, l, layer(1, self.width, self.width, l)), empty
        )
        first, last = layer(0, inputs, self.width), layer(2, self.width, classes)
        return _State(first, stacked, last, jnp.int32(0))

    def _train(
        self, state: _State, runs: Cells, order: Array, shared: tuple
    ) -> tuple[_State, dict]:
        hidden, images, labels = shared
        kept = jnp.zeros((self.deepest - 2, len(runs.seeds), self.batch_size, self.width))

        def body(carry: tuple, rows: Array) -> tuple[tuple, dict]:
            inputs = self.preprocess(images[rows.reshape(-1)]).reshape(*rows.shape, -1)
            return self._step(*carry, inputs, labels[rows], hidden, runs)

        (state, _), metrics = lax.scan(body, (state, kept), order)
        return state, metrics

    def _step(
        self, state: _State, kept: Array, inputs: Array, labels: Array, hidden: Array, runs: Cells
    ) -> tuple[tuple[_State, Array], dict]:
        """Take one step; ``kept`` [L, R, B, width] is scratch for the pre-activations."""
        keys = jax.vmap(lambda seed: stream(seed, "dropout", state.step))(runs.seeds)

        def activate(h: Array, l: Array) -> Array:
            return jax.vmap(self.nonlinearity)(h, jax.vmap(jax.random.fold_in, (0, None))(keys, l))

        def trained(layer: tuple[PyTree, PyTree], x: Array, delta: Array) -> tuple[PyTree, PyTree]:
            return self._trained(runs.hyper, layer, x, delta)

        def forward(l: Array, carry: tuple) -> tuple:
            h, kept = carry
            return _dense(_take(state.hidden[0], l), activate(h, l)), _put(kept, l, h)

        def backward(layer: tuple, h: Array, l: Array, delta: Array) -> tuple[Array, tuple]:
            x, pull = jax.vjp(lambda h: activate(h, l), h)
            (below,) = pull(delta @ jnp.swapaxes(layer[0]["kernel"], 1, 2))
            return below, trained(layer, x, delta)

        def backward_hidden(i: Array, carry: tuple) -> tuple:
            delta, stacked = carry
            l = hidden - 1 - i
            # Read before written, and said so: else XLA copies the whole stack at every layer.
            layer = lax.optimization_barrier(_take(stacked, l))
            delta, layer = backward(layer, _take(kept, l), l, delta)
            return delta, _put(stacked, l, layer)

        start = _dense(state.input[0], inputs), kept
        h, kept = lax.fori_loop(0, hidden, forward, start)
        logits = _dense(state.output[0], activate(h, hidden))
        losses = cross_entropy(logits, labels)
        delta = jax.nn.softmax(logits) - jax.nn.one_hot(labels, logits.shape[-1])
        delta, output = backward(state.output, h, hidden, delta / self.batch_size)
        delta, stacked = lax.fori_loop(0, hidden, backward_hidden, (delta, state.hidden))
        after = _State(trained(state.input, inputs, delta), stacked, output, state.step + 1)
        return (after, kept), {
            "loss": losses.mean(1),
            "error": (logits.argmax(-1) != labels).mean(1),
        }

    def _trained(
        self, hyper: Hyper, layer: tuple[PyTree, PyTree], x: Array, delta: Array
    ) -> tuple[PyTree, PyTree]:
        """Return a layer after its step: x [R, B, I] went in, delta [R, B, O] came back."""
        # Without the barrier XLA puts the transposition into the product: half as fast.
        kernel = lax.optimization_barrier(jnp.swapaxes(x, 1, 2)) @ delta

        @jax.vmap
        def update(hyper: Hyper, layer: tuple[PyTree, PyTree], gradient: PyTree) -> tuple:
            params, opt_state = layer
            updates, opt_state = self.optimizer(hyper).update(gradient, opt_state, params)
            return optax.apply_updates(params, updates), opt_state

        return update(hyper, layer, {"kernel": kernel, "bias": delta.sum(1)})


def _dense(params: PyTree, x: Array) -> Array:
    return x @ params["kernel"] + params["bias"][:, None]


def _take(stacked: PyTree, l: Array) -> PyTree:
    return jax.tree.map(lambda leaf: lax.dynamic_index_in_dim(leaf, l, keepdims=False), stacked)


def _put(stacked: PyTree, l: Array, one: PyTree) -> PyTree:
    return jax.tree.map(lambda s, o: lax.dynamic_update_index_in_dim(s, o, l, 0), stacked, one)
