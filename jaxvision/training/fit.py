"""Train many runs of one architecture (seeds x grid) with one compiled program."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, get_args

import jax
import numpy as np
from jax.sharding import Mesh

from jaxvision.data.dataset import Dataset
from jaxvision.parallel.feed import Held, Streamed, fits
from jaxvision.parallel.mesh import data_devices, make_mesh
from jaxvision.parallel.shards import Split
from jaxvision.training.calls import Call, Runs, Training, check_pools, check_steps, joined
from jaxvision.training.escape import escape_step, plateau
from jaxvision.training.looks import Look, Moment, watch_step
from jaxvision.training.mapping import Mapping, choose_mapping
from jaxvision.training.programs import Programs
from jaxvision.training.step import Probe, Task
from jaxvision.types import Array, PyTree, UserError


class History(NamedTuple):
    """What R runs left behind, on the host."""

    train: dict[str, np.ndarray]  # [R, T, ...] per step, values before that step's update
    test: dict[str, np.ndarray]  # [R, E] at ``test_steps``
    test_steps: np.ndarray  # int [E]: 0, period, 2 period, ..., T
    variables: PyTree  # at the end, leaves [R, ...]
    plateau: np.ndarray  # [R, T] nats: loss of a net that knows the shares of the classes alone
    label_entropy: float  # nats; what the plateau is on average
    looks: PyTree = None  # what was seen, leaves [R, steps looked at, ...]

    def escape_step(self, share: float = 0.9, window: int = 10) -> np.ndarray:
        """First step [R] whose next ``window`` losses average below a ``share`` of the plateau.

        That is by 1 - ``share`` of the labels' entropy below what the same batches cost a net that
        knows the shares of the classes alone. The number of steps, a censored time, for a run that
        never gets there. Cross-entropy is meant.
        """
        threshold = self.plateau - (1 - share) * self.label_entropy
        return escape_step(self.train["loss"], threshold, window)

    def diverged_step(self) -> np.ndarray:
        """First step [R] with a non-finite training loss; -1 for a run that stayed finite."""
        bad = ~np.isfinite(self.train["loss"])
        return np.where(bad.any(1), bad.argmax(1), -1)


@dataclass(frozen=True, eq=False)
class Trainer:
    """A task on a data set: the programs that train and evaluate its runs, compiled once each.

    Attributes:
      task: the functions of one run.
      train, test: the data: whole on every device where it fits (``feed.room_for_data``), else
        streamed to them. The numbers are the same.
      batch_size: images a step.
      period: steps between two evaluations: one compiled call, or one a chunk of streamed images.
      mapping: how runs share a device; None chooses by the net.
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
        self.split.check(self.batch_size)
        if self.batch_size > len(self.train.labels):
            raise UserError(
                f"batch size {self.batch_size} exceeds the {len(self.train.labels)} training images"
            )

    @property
    def split(self) -> Split:
        """How the batch of a step is cut into parts."""
        return Split(data_devices(self.mesh), self.shards)

    def programs(self, params: PyTree) -> Programs:
        """Return what is compiled for runs of a net with ``params`` [R, ...], always the same."""
        return self._programs[self.mapping or choose_mapping(params)]

    @cached_property
    def _programs(self) -> dict[Mapping, Programs]:
        common = (
            self.mesh,
            self.split,
            self.batch_size,
            max(self.batch_size, 128),  # images of a batch in evaluation
            self.period,
            self.train,
            self.test,
        )
        return {mapping: Programs(self.task, mapping, *common) for mapping in get_args(Mapping)}

    def calls(self, runs: Runs) -> Iterator[Call]:
        """Cut the runs into calls of one size; their data stay on the devices as long as they.

        Raises:
          UserError: the runs' pools are smaller than a batch.
        """
        check_pools(runs.pools, len(self.train.labels), self.batch_size)
        programs = self.programs(runs.variables["params"])
        feed = Held(programs) if fits(self.train, self.test) else Streamed(programs)
        total, devices = len(runs.seeds), self.mesh.shape["run"]
        per_call = self.runs_per_call or (devices if programs.mapping == "map" else total)
        per_call = -(-per_call // devices) * devices
        for first in range(0, total, per_call):
            rows = np.minimum(np.arange(first, first + per_call), total - 1)
            filled = jax.tree.map(lambda leaf, rows=rows: leaf[rows], runs)
            yield Call(programs, feed, filled, min(per_call, total - first))

    def watch_step(self, probe: Probe) -> Callable[[Moment, PyTree], dict[str, Array]]:
        """Return the function of a ``Look`` at the next step through ``probe``, for this trainer.

        What the probe would return inside that step, with ``loss`` and ``error``, at the price of
        one step; the step itself is not taken.
        """
        return watch_step(self.task, probe, self.split)

    def fit(
        self,
        runs: Runs,
        steps: int,
        advance: Callable[[int], None] = lambda _: None,
        *,
        look: Look | None = None,
        may_diverge: bool = False,
    ) -> History:
        """Train every run for ``steps`` (a multiple of ``period``) and return their histories.

        Args:
          runs: R runs; R is padded to a multiple of ``runs_per_call``.
          steps: optimizer steps of every run.
          advance: told the number of (run, step) pairs finished after every compiled call.
          look: what to read from every run on the way; no bit of the training depends on it.
          may_diverge: a run whose loss stops being finite is a result: its history holds the NaNs
            and ``History.diverged_step`` their first step. Else it ends the training.

        Raises:
          UserError: ``steps`` is not a multiple of ``period``, a look is at no step of the run, or
            a loss is not finite.
        """
        check_steps(steps, self.period, look)
        found = [
            _fit_call(Training([call], look, may_diverge), steps, advance)
            for call in self.calls(runs)
        ]
        train, test, variables, looks = joined(found)
        test_steps = np.arange(0, steps + 1, self.period)
        level = plateau(self.train.labels, runs.seeds, steps, self.batch_size, pools=runs.pools)
        entropy = self.train.label_entropy
        return History(train, test, test_steps, variables, level, entropy, looks)

    def stopwatch(self, runs: Runs) -> Callable[[], float]:
        """Return a clock: each call trains the first call's runs for a period, returns seconds."""
        call = next(self.calls(runs))

        def seconds() -> float:
            state = jax.block_until_ready(call.start())
            before = time.perf_counter()
            jax.block_until_ready(call.advance(state, 0))
            return time.perf_counter() - before

        seconds()  # compiles
        return seconds


def _fit_call(
    training: Training, steps: int, advance: Callable[[int], None]
) -> tuple[dict, dict, PyTree, PyTree]:
    """Train one call; returns train and test history, the variables, and what was seen."""
    (call,) = training.calls
    train, test, seen = [], [], {}
    for reached in training.until(steps, training.start()):
        test.append(call.evaluate(reached.states[0]))
        seen |= reached.seen
        if reached.metrics is not None:
            train.append(reached.metrics)
            advance(call.real * training.period)  # copies that fill the call do not count
    (state,) = reached.states
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    test = jax.tree.map(lambda *values: np.stack(values, axis=1), *call.fetch(test))
    looks = {} if training.look is None else training.look.stacked(seen)
    return joined(train, axis=1), test, call.fetch(variables), looks
