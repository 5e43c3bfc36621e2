"""Train many runs of one architecture (seeds x grid) with one compiled program."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from jaxvision import runtime
from jaxvision.data.dataset import Dataset
from jaxvision.parallel.feed import Held, Streamed, fits
from jaxvision.parallel.mesh import data_devices, fetch, make_mesh, on_mesh
from jaxvision.parallel.shards import Split
from jaxvision.random import stream
from jaxvision.training.escape import escape_step
from jaxvision.training.mapping import Mapping, choose_mapping, map_runs
from jaxvision.training.step import (
    Hyper,
    Task,
    TrainState,
    batch_sums,
    evaluate,
    initial_state,
    mean_of,
    take_steps,
    train_step,
)
from jaxvision.types import Array, PyTree, UserError


class Runs(NamedTuple):
    """R runs of one architecture; every leaf has a leading axis R."""

    variables: PyTree  # {'params', 'batch_stats'} at the start
    seeds: np.ndarray  # int32 [R]: order, augmentation, dropout; equal seeds pair runs
    hyper: dict[str, np.ndarray]  # float32 [R] each


class History(NamedTuple):
    """What R runs left behind, on the host."""

    train: dict[str, np.ndarray]  # [R, T, ...] per step, values before that step's update
    test: dict[str, np.ndarray]  # [R, E] at ``test_steps``
    test_steps: np.ndarray  # int [E]: 0, period, 2 period, ..., T
    variables: PyTree  # at the end, leaves [R, ...]

    def escape_step(self, threshold: float, window: int = 10) -> np.ndarray:
        """First step [R] whose next ``window`` losses average below ``threshold`` (nats).

        T, the number of steps, for a run that never does: a censored time.
        """
        return escape_step(self.train["loss"], threshold, window)

    def diverged_step(self) -> np.ndarray:
        """First step [R] with a non-finite training loss; -1 for a run that stayed finite."""
        bad = ~np.isfinite(self.train["loss"])
        return np.where(bad.any(1), bad.argmax(1), -1)


def check_periods(config: Any, *flags: str) -> None:
    """Raise UserError unless each of the config's ``flags`` is a multiple of its ``period``."""
    for flag in flags:
        if (steps := getattr(config, flag)) % config.period:
            raise UserError(f"--{flag}={steps} must be a multiple of --period={config.period}")


def disjoint_seeds(first: int, count: int, tuning: int) -> tuple[range, range]:
    """Return the seeds of a comparison and those, from 1000, that choose its rates.

    Raises:
      UserError: they have one in common.
    """
    seeds, others = range(first, first + count), range(1000, 1000 + tuning)
    if first < others.stop and seeds.stop > others.start:
        raise UserError(
            f"seeds {first} to {seeds[-1]} meet {others.start} to {others[-1]}, which choose the"
            " rates: take others by --first_seed"
        )
    return seeds, others


def epoch_order(seed: Array, epoch: Array, size: int) -> Array:
    """Return the permutation int32 [size] in which an epoch visits the training set."""
    return jax.random.permutation(stream(seed, "order", epoch), size)


def batch_rows(seed: Array, start: Array, steps: int, size: int, batch_size: int) -> Array:
    """Return the training rows int32 [steps, batch_size] of steps ``start``, ``start + 1``, ...

    A pure function of (seed, step). The rows left over at the end of an epoch are skipped.
    """
    per_epoch = size // batch_size
    epochs = start // per_epoch + jnp.arange(-(-steps // per_epoch) + 1)
    order = jax.vmap(lambda epoch: epoch_order(seed, epoch, size))(epochs)
    order = order[:, : per_epoch * batch_size].reshape(-1, batch_size)
    return lax.dynamic_slice_in_dim(order, start % per_epoch, steps)


@dataclass(frozen=True, eq=False)
class Trainer:
    """A task on a data set: the programs that train and evaluate its runs, compiled once each.

    Attributes:
      task: the functions of one run.
      train, test: the data: whole on every device where it fits (``feed.room_for_data``), else
        streamed to them. The numbers are the same.
      batch_size: images a step.
      period: steps between two evaluations: one compiled call, or one a chunk of streamed images.
      mapping: how runs share a device; None chooses by net and backend.
      runs_per_call: runs trained by one call, a multiple of the mesh's ``run`` axis; None means one
        a device under ``map``, all of them under ``vmap``. Fewer are padded, more taken in turn.
      mesh: the devices; the batch of a step is split over its ``data`` axis.
      shards: None, or the parts that a batch is cut into whatever the devices (``Split``): batch
        statistics are then a part's own, and the numbers the same bits on any number of devices.
    """

    task: Task
    train: Dataset
    test: Dataset
    batch_size: int
    period: int
    mapping: Mapping | None = None
    runs_per_call: int | None = None
    mesh: Mesh = field(default_factory=make_mesh)
    shards: int | None = None

    def __post_init__(self) -> None:
        self._split.check(self.batch_size)
        if self.batch_size > len(self.train.labels):
            raise UserError(
                f"batch size {self.batch_size} exceeds the {len(self.train.labels)} training images"
            )

    @property
    def _split(self) -> Split:
        return Split(data_devices(self.mesh), self.shards)

    @cached_property
    def _programs(self) -> dict[str, Callable]:
        return {}

    def _program(self, name: str, params: PyTree) -> Callable:
        """Return the program ``name``; one object for this trainer's life, so it compiles once."""
        if name not in self._programs:
            mapping = self.mapping or choose_mapping(params)
            mapped = map_runs(getattr(self, f"_{name}"), mapping, self.mesh)
            # The state, and nothing that is read again.
            donated = (0,) if name in ("advance", "advance_on") else ()
            self._programs[name] = runtime.jit(mapped, donate_argnums=donated)
        return self._programs[name]

    def _start(self, variables: PyTree, hyper: Hyper, shared: None) -> TrainState:
        return initial_state(self.task, variables, hyper)

    def _advance(
        self, state: TrainState, seed: Array, hyper: Hyper, data: Dataset
    ) -> tuple[TrainState, dict[str, Array]]:
        rows = batch_rows(seed, state.step, self.period, len(data.labels), self.batch_size)

        def body(state: TrainState, rows: Array) -> tuple[TrainState, dict[str, Array]]:
            batch = data.images[rows], data.labels[rows]
            return train_step(self.task, state, *batch, hyper, seed, self._split)

        return lax.scan(body, state, rows)

    def _evaluate(self, state: TrainState, data: Dataset) -> dict[str, Array]:
        devices = self._split.devices
        return evaluate(self.task, state, data.images, data.labels, self._eval_batch, devices)

    # The same for streamed data: rows of a period, training on a chunk, sums of a chunk, their end.

    def _rows(self, step: Array, seed: Array, shared: None) -> Array:
        return batch_rows(seed, step, self.period, len(self.train.labels), self.batch_size)

    def _advance_on(
        self, state: TrainState, seed: Array, hyper: Hyper, batches: PyTree, count: Array
    ) -> tuple[TrainState, dict[str, Array]]:
        return take_steps(self.task, state, batches, count, hyper, seed, self._split)

    def _sums(self, state: TrainState, chunk: PyTree) -> tuple[Array, Array]:
        return batch_sums(self.task, state, *chunk, self._eval_batch, self._split.devices)

    def _total(self, sums: tuple[Array, Array], shared: None) -> dict[str, Array]:
        return mean_of(sums, len(self.test.labels))

    @property
    def _eval_batch(self) -> int:
        return max(self.batch_size, 128)

    def feed(self) -> Held | Streamed:
        """Return what brings the data to the devices; held data stay there as long as it does."""
        if fits(self.train, self.test):
            return Held(self.train, self.test, self.mesh)
        sizes = self.batch_size, self._eval_batch
        return Streamed(self.train, self.test, self.mesh, *sizes)

    def fit(
        self,
        runs: Runs,
        steps: int,
        advance: Callable[[int], None] = lambda _: None,
        *,
        may_diverge: bool = False,
    ) -> History:
        """Train every run for ``steps`` (a multiple of ``period``) and return their histories.

        Args:
          runs: R runs; R is padded to a multiple of ``runs_per_call``.
          steps: optimizer steps of every run.
          advance: told the number of (run, step) pairs finished after every compiled call.
          may_diverge: a run whose loss stops being finite is a result: its history holds the NaNs
            and ``History.diverged_step`` their first step. Else it ends the training.

        Raises:
          UserError: ``steps`` is not a multiple of ``period``, or a loss is not finite.
        """
        if steps % self.period:
            raise UserError(f"{steps} steps are not a whole number of periods of {self.period}")
        parts, feed = [], self.feed()
        for part, real in self._calls(runs):
            told = partial(advance, real * self.period)  # copies that fill the call do not count
            done = self._fit_call(part, feed, steps, told, may_diverge)
            parts.append(jax.tree.map(lambda leaf, real=real: leaf[:real], done))
        train, test, variables = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
        return History(train, test, np.arange(0, steps + 1, self.period), variables)

    def stopwatch(self, runs: Runs) -> Callable[[], float]:
        """Return a clock: each call trains the first call's runs for a period, returns seconds."""
        part, _ = next(self._calls(runs))
        feed = self.feed()
        variables, seeds, hyper = on_mesh(tuple(part), self.mesh, P("run"))
        programs = partial(self._program, params=variables["params"])

        def seconds() -> float:
            state = jax.block_until_ready(programs("start")(variables, hyper, None))
            before = time.perf_counter()
            jax.block_until_ready(feed.advance(programs, state, seeds, hyper))
            return time.perf_counter() - before

        seconds()  # compiles
        return seconds

    def _calls(self, runs: Runs) -> Iterator[tuple[Runs, int]]:
        """Cut the runs into calls of one size; yields each with the number of real runs in it."""
        total, devices = len(runs.seeds), self.mesh.shape["run"]
        mapping = self.mapping or choose_mapping(runs.variables["params"])
        per_call = self.runs_per_call or (devices if mapping == "map" else total)
        per_call = -(-per_call // devices) * devices
        for first in range(0, total, per_call):
            rows = np.minimum(np.arange(first, first + per_call), total - 1)
            yield (
                jax.tree.map(lambda leaf, rows=rows: leaf[rows], runs),
                min(per_call, total - first),
            )

    def _fit_call(
        self,
        runs: Runs,
        feed: Held | Streamed,
        steps: int,
        advance: Callable[[], None],
        may_diverge: bool,
    ) -> tuple[dict, dict, PyTree]:
        programs = partial(self._program, params=runs.variables["params"])
        variables, seeds, hyper = on_mesh(tuple(runs), self.mesh, P("run"))
        state = programs("start")(variables, hyper, None)
        feed.compile(programs, state, seeds, hyper)
        evaluated, history = [feed.evaluate(programs, state)], []
        for _ in range(steps // self.period):
            state, metrics = feed.advance(programs, state, seeds, hyper)
            evaluated.append(feed.evaluate(programs, state))
            history.append(fetch(metrics))
            if not may_diverge:
                check_finite(history[-1]["loss"], (len(history) - 1) * self.period)
            advance()
        train_history = jax.tree.map(lambda *parts: np.concatenate(parts, axis=1), *history)
        test_history = jax.tree.map(lambda *parts: np.stack(parts, axis=1), *fetch(evaluated))
        final = {"params": state.params, "batch_stats": state.batch_stats}
        return train_history, test_history, fetch(final)


def check_finite(loss: np.ndarray, first_step: int) -> None:
    """Raise UserError at the first step with a non-finite loss [R, T]; T starts at first_step."""
    bad = ~np.isfinite(loss).all(0)
    if bad.any():
        step = first_step + int(bad.argmax())
        raise UserError(f"the loss is not finite at step {step}: lower the learning rate")
