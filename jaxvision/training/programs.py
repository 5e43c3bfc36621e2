"""The compiled functions that train, evaluate and look at R runs of one task."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from jax import lax
from jax.sharding import Mesh

from jaxvision import runtime
from jaxvision.data.dataset import Dataset
from jaxvision.parallel.shards import Split
from jaxvision.training.looks import Moment
from jaxvision.training.mapping import Mapping, map_runs
from jaxvision.training.step import (
    Task,
    TrainState,
    evaluate,
    mean_of,
    take_steps,
)
from jaxvision.types import Array, Hyper, PyTree

Metrics = dict[str, Array]


@dataclass(frozen=True, eq=False)
class Programs:
    """Each attribute is one compiled function, made when it is first read and compiled once.

    All are mapped over runs: arguments and results have a leading axis [R, ...], but for the last
    argument, which the runs share. The signatures in the docstrings are those of one run.

    Attributes:
      task: the functions of one run; a game of two nets in its place has the same three methods.
      mapping: how runs share a device.
      mesh: the devices.
      split: how the batch of a step is shared out.
      batch_size, eval_batch_size: images of a step and of a batch in evaluation.
      period: steps between two evaluations.
      train, test: the data; only their shapes are compiled in.
    """

    task: Task
    mapping: Mapping
    mesh: Mesh
    split: Split
    batch_size: int
    eval_batch_size: int
    period: int
    train: Dataset
    test: Dataset

    def _compiled(self, function: Callable, donate: tuple[int, ...] = ()) -> Callable:
        mapped = map_runs(function, self.mapping, self.mesh)
        return runtime.jit(mapped, donate_argnums=donate)

    @cached_property
    def start(self) -> Callable:
        """``(variables, hyper, None) -> state`` before the first step."""

        def start(variables: PyTree, hyper: Hyper, shared: None) -> TrainState:
            return self.task.start(variables, hyper)

        return self._compiled(start)

    # Data that the devices hold.

    @cached_property
    def advance(self) -> Callable:
        """``(state, seed, hyper, rows, data) -> (state, metrics)``; takes the state.

        A step for each of ``rows`` [T, B] of the training set; metrics [T, ...].
        """

        def advance(
            state: TrainState, seed: Array, hyper: Hyper, rows: Array, data: Dataset
        ) -> tuple[TrainState, Metrics]:
            def body(state: TrainState, rows: Array) -> tuple[TrainState, Metrics]:
                batch = data.images[rows], data.labels[rows]
                return self.task.step(state, *batch, hyper, seed, self.split)

            return lax.scan(body, state, rows)

        return self._compiled(advance, donate=(0,))

    @cached_property
    def advance_some(self) -> Callable:
        """``(state, seed, hyper, rows, (data, count))``: ``advance`` by only ``count`` steps."""

        def advance_some(
            state: TrainState, seed: Array, hyper: Hyper, rows: Array, shared: tuple[Dataset, Array]
        ) -> tuple[TrainState, Metrics]:
            data, count = shared

            def batch(i: Array) -> tuple[Array, Array]:
                at = lax.dynamic_index_in_dim(rows, i, keepdims=False)
                return data.images[at], data.labels[at]

            return take_steps(self.task, state, batch, len(rows), count, hyper, seed, self.split)

        return self._compiled(advance_some, donate=(0,))

    @cached_property
    def evaluate(self) -> Callable:
        """``(state, data) -> {'loss', 'error'}``."""

        def on_all(state: TrainState, data: Dataset) -> Metrics:
            sizes = self.eval_batch_size, self.split.devices
            return evaluate(self.task, state, data.images, data.labels, *sizes)

        return self._compiled(on_all)

    # Data that are streamed, a chunk at a time.

    @cached_property
    def advance_on(self) -> Callable:
        """``(state, seed, hyper, (images, labels), count) -> (state, metrics)``; takes the state.

        Trains on the first ``count`` batches of a chunk [T, B, ...].
        """

        def advance_on(
            state: TrainState, seed: Array, hyper: Hyper, chunk: tuple[Array, Array], count: Array
        ) -> tuple[TrainState, Metrics]:
            def batch(i: Array) -> tuple[Array, ...]:
                return tuple(lax.dynamic_index_in_dim(x, i, keepdims=False) for x in chunk)

            length = chunk[1].shape[0]
            return take_steps(self.task, state, batch, length, count, hyper, seed, self.split)

        return self._compiled(advance_on, donate=(0,))

    @cached_property
    def sums(self) -> Callable:
        """``(state, (images, labels, count)) -> sums`` over the batches of a chunk."""

        def sums(state: TrainState, chunk: PyTree) -> tuple[Array, Array]:
            sizes = self.eval_batch_size, self.split.devices
            return self.task.sums(state, *chunk, *sizes)

        return self._compiled(sums)

    @cached_property
    def total(self) -> Callable:
        """``(sums, None) -> {'loss', 'error'}`` from the sums of all chunks."""

        def total(sums: tuple[Array, Array], shared: None) -> Metrics:
            return mean_of(sums, len(self.test.labels))

        return self._compiled(total)

    # Looks.

    @cached_property
    def _looks(self) -> dict[Callable, Callable]:
        return {}

    def look(self, function: Callable[[Moment, PyTree], PyTree]) -> Callable:
        """Return ``(state, seed, hyper, batch, data) -> numbers`` of a look's function."""

        def look(
            state: TrainState,
            seed: Array,
            hyper: Hyper,
            batch: tuple[Array, Array],
            data: PyTree,
        ) -> PyTree:
            return function(Moment(state, seed, hyper, *batch), data)

        if function not in self._looks:
            self._looks[function] = self._compiled(look)
        return self._looks[function]
