"""The loop that trains: runs cut into calls, advanced period by period, stopped where one looks.

``Trainer.fit`` takes the calls one after the other. ``longrun.fit_long`` takes them all at a time,
and adds files and signals.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import PartitionSpec as P

from jaxvision import runtime
from jaxvision.parallel.feed import Held, Streamed, shape_on, shapes_taken, taken
from jaxvision.parallel.mesh import fetch, on_mesh
from jaxvision.training.looks import Look
from jaxvision.training.order import Orders
from jaxvision.training.programs import Programs
from jaxvision.training.step import TrainState
from jaxvision.types import PyTree, UserError


class Runs(NamedTuple):
    """R runs of one architecture; every leaf has a leading axis R."""

    variables: PyTree  # {'params', 'batch_stats'} at the start
    seeds: np.ndarray  # int32 [R]: order, augmentation, dropout; equal seeds pair runs
    hyper: dict[str, np.ndarray]  # float32 [R] each
    # int32 [R, M]: the training rows that each run draws from, one as often as it stands there; an
    # epoch is M of them. None: all training images. Runs of other subsets so share a program.
    pools: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Call:
    """The runs that one compiled call trains; copies of the last one fill it up to its size.

    Attributes:
      programs: the compiled functions.
      feed: what brings the data to the devices.
      runs: of the call, the copies included, on the host.
      real: how many are no copies.
    """

    programs: Programs
    feed: Held | Streamed
    runs: Runs
    real: int

    @cached_property
    def _driven(self) -> tuple[PyTree, PyTree]:
        """Seeds and hyper-parameters on the devices."""
        return self._spread((self.runs.seeds, self.runs.hyper))

    def _shapes(self, tree: PyTree, spec: P = P("run")) -> PyTree:  # noqa: B008 (a tuple)
        """Return the tree's shapes as they lie on the mesh: others would be traced anew."""
        mesh = self.programs.mesh
        return jax.tree.map(lambda leaf: shape_on(mesh, spec, leaf.shape, leaf.dtype), tree)

    @cached_property
    def _orders(self) -> Orders:
        programs = self.programs
        size = len(programs.train.labels)
        return Orders(self.runs.seeds, size, programs.batch_size, self.runs.pools)

    @property
    def _next_batch_shape(self) -> tuple[PyTree, PyTree]:
        programs = self.programs
        rows = len(self.runs.seeds), programs.batch_size
        return shapes_taken(programs.train, rows, programs.mesh, P("run"))

    def _next_batch(self, step: int) -> tuple[PyTree, PyTree]:
        """Return images and labels [R, B, ...] of a step, on the devices."""
        rows = self._orders.rows(step, 1)[:, 0]
        return taken(self.programs.train, rows, self.programs.mesh, P("run"))

    def _spread(self, tree: PyTree) -> PyTree:
        return on_mesh(tree, self.programs.mesh, P("run"))

    def shape(self) -> TrainState:
        """Return shapes and dtypes of the call's state [R, ...]; computes nothing."""
        runs = self._shapes((self.runs.variables, self.runs.hyper))
        return self._shapes(self.programs.start.eval_shape(*runs, None))

    def look_shape(self, look: Look) -> PyTree:
        """Return shapes and dtypes of what a look sees [R, ...]; computes nothing."""
        program = self.programs.look(look.function)
        runs = self.shape(), *self._shapes((self.runs.seeds, self.runs.hyper))
        return program.eval_shape(*runs, self._next_batch_shape, self._shapes(look.data, P()))

    def start(self) -> TrainState:
        """Return the state at step 0."""
        return self.programs.start(self._spread(self.runs.variables), self._driven[1], None)

    def place(self, tree: PyTree) -> PyTree:
        """Return a tree of the real runs on the devices, filled up with copies."""
        rows = np.minimum(np.arange(len(self.runs.seeds)), self.real - 1)
        return self._spread(jax.tree.map(lambda leaf: leaf[rows], tree))

    def fetch(self, tree: PyTree) -> PyTree:
        """Return a tree of the real runs on the host."""
        return jax.tree.map(lambda leaf: leaf[: self.real], fetch(tree))

    def compile(self, state: TrainState, look: Look | None = None, data: PyTree = None) -> None:
        """Compile what training calls, side by side; ``data`` is the look's, on the devices."""
        cut = look is not None and look.cuts(self.programs.period)
        programs = self.feed.to_compile(state, *self._driven, cut)
        if look is not None:
            arguments = state, *self._driven, self._next_batch_shape, data
            programs.append((self.programs.look(look.function), arguments))
        runtime.compile_together(*programs)

    def advance(
        self, state: TrainState, step: int, count: int | None = None
    ) -> tuple[TrainState, dict]:
        """Train from ``step`` on for a period, or ``count`` steps.

        Returns:
          The state, and the metrics [R, steps, ...].
        """
        rows = self._orders.rows(step, self.programs.period)
        return self.feed.advance(state, *self._driven, rows, count)

    def evaluate(self, state: TrainState) -> dict:
        """Return the test metrics, on the devices."""
        return self.feed.evaluate(state)

    def look(self, state: TrainState, step: int, look: Look, data: PyTree) -> PyTree:
        """Return what a look sees of the real runs; ``data`` is the look's, on the devices."""
        program = self.programs.look(look.function)
        return self.fetch(program(state, *self._driven, self._next_batch(step), data))


def joined(parts: Sequence[PyTree], axis: int = 0) -> PyTree:
    """Return trees of numpy arrays as one: leaf by leaf one after the other on ``axis``."""
    return jax.tree.map(lambda *leaves: np.concatenate(leaves, axis), *parts)


class Reached(NamedTuple):
    """Where the runs have come to, at the end of a period.

    Attributes:
      step: steps done.
      states: on the devices, one a call. Training gives them up when it goes on.
      metrics: of the period's steps, [R, period, ...] on the host; None before the first period.
      seen: what the look saw since the last time, [R, ...] on the host, by step.
    """

    step: int
    states: list[TrainState]
    metrics: dict[str, np.ndarray] | None
    seen: dict[int, PyTree]


@dataclass(frozen=True, eq=False)
class Training:
    """The runs of some calls of one trainer, trained side by side, period by period.

    Attributes:
      calls: at least one.
      look: what to read on the way, or nothing.
      may_diverge: go on with losses that are not finite; else they are a UserError.
    """

    calls: Sequence[Call]
    look: Look | None = None
    may_diverge: bool = False

    @property
    def period(self) -> int:
        """Steps between two stops."""
        return self.calls[0].programs.period

    @cached_property
    def _look_data(self) -> PyTree:
        data = None if self.look is None else self.look.data
        return on_mesh(data, self.calls[0].programs.mesh, P())

    def start(self) -> Reached:
        """Return the runs at step 0, looked at."""
        states = [call.start() for call in self.calls]
        return Reached(0, states, None, self._see(0, states))

    def resume(self, step: int, state: PyTree) -> Reached:
        """Return the runs at ``step``; ``state`` is theirs, leaves [R, ...]."""
        states, first = [], 0
        for call in self.calls:
            of_call = slice(first, first + call.real)
            states.append(call.place(jax.tree.map(lambda leaf, rows=of_call: leaf[rows], state)))
            first += call.real
        return Reached(step, states, None, {})

    def until(self, steps: int, reached: Reached) -> Iterator[Reached]:
        """Yield the runs as they are, and after each period up to ``steps``."""
        self.calls[0].compile(reached.states[0], self.look, self._look_data)
        yield reached
        while reached.step < steps:
            reached = self._advance(reached)
            yield reached

    def fetch(self, trees: Sequence[PyTree]) -> PyTree:
        """Return one tree of all runs on the host from one tree a call."""
        pairs = zip(self.calls, trees, strict=True)
        return joined([call.fetch(tree) for call, tree in pairs])

    def _advance(self, reached: Reached) -> Reached:
        """Train for a period, by way of the steps inside it that are looked at."""
        cut = self.look is not None and self.look.cuts(self.period)
        step, states, found, seen = reached.step, reached.states, [], {}
        end = step + self.period
        while step < end:
            stop = min({end, *(at for at in self.look.at if at > step)}) if cut else end
            count = stop - step if cut else None
            pairs = zip(self.calls, states, strict=True)
            done = [call.advance(state, step, count) for call, state in pairs]
            states = [state for state, _ in done]
            metrics = self.fetch([metrics for _, metrics in done])
            if not self.may_diverge:
                check_finite(metrics["loss"], step)
            step = stop
            found.append(metrics)
            seen |= self._see(step, states)
        return Reached(end, states, joined(found, axis=1), seen)

    def _see(self, step: int, states: Sequence[TrainState]) -> dict[int, PyTree]:
        if self.look is None or step not in self.look.at:
            return {}
        pairs = zip(self.calls, states, strict=True)
        seen = [call.look(state, step, self.look, self._look_data) for call, state in pairs]
        return {step: joined(seen)}


def check_steps(steps: int, period: int, look: Look | None) -> None:
    """Raise UserError unless a run has whole periods and the steps that are looked at."""
    if steps % period:
        raise UserError(f"{steps} steps are not a whole number of periods of {period}")
    if look is not None:
        look.check(steps)


def check_pools(pools: np.ndarray | None, images: int, batch_size: int) -> None:
    """Raise UserError unless a pool [R, M] fills a batch, ValueError unless it holds rows."""
    if pools is None:
        return
    if batch_size > pools.shape[1]:
        raise UserError(f"batch size {batch_size} exceeds the {pools.shape[1]} images of a pool")
    if pools.min() < 0 or pools.max() >= images:
        raise ValueError(f"a pool names row {pools.max()} of {images} training images")


def check_finite(loss: np.ndarray, first_step: int) -> None:
    """Raise UserError at the first step with a non-finite loss [R, T]; T starts at first_step."""
    bad = ~np.isfinite(loss).all(0)
    if bad.any():
        step = first_step + int(bad.argmax())
        raise UserError(f"the loss is not finite at step {step}: lower the learning rate")
