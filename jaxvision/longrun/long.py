"""Train runs that take long enough to be killed: checkpoints, exact resume, a polite stop."""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxvision.longrun.checkpoint import Checkpoints, Restored
from jaxvision.longrun.lanes import Hypers, Lanes
from jaxvision.longrun.metrics import Metrics, Row, Rows, from_line, to_line
from jaxvision.longrun.stop import Stopped, StopRequest
from jaxvision.longrun.workdir import Part
from jaxvision.parallel import distributed
from jaxvision.training.fit import Runs, Trainer, check_finite
from jaxvision.types import PyTree, UserError


class LongHistory(NamedTuple):
    """What R long runs left behind, on the host."""

    train: dict[str, np.ndarray]  # [R, E-1, ...] means over each period, values before the updates
    test: dict[str, np.ndarray]  # [R, E] at ``steps``
    steps: np.ndarray  # int [E]: 0, period, 2 period, ..., T
    variables: PyTree  # at the end, leaves [R, ...]


def fit_long(
    trainer: Trainer,
    runs: Runs,
    steps: int,
    part: Part | None,
    *,
    schedule: Callable[[Rows], Hypers] | None = None,
    checkpoint_every: int = 1,
    progress: Callable[..., contextlib.AbstractContextManager] | None = None,
    may_diverge: bool = False,
) -> LongHistory:
    """Train every run for ``steps``, or go on from the part's newest good checkpoint.

    A run that was stopped or killed and resumed, any number of times on the same machine and
    versions, ends with the same bits as one that was not: weights, optimizer and metrics file.
    SIGTERM and Ctrl-C end it after the period at hand, saved. Where several processes train
    together all make the same call; process 0 alone reads and writes the files.

    Args:
      trainer: its ``period`` is the time between two rows of metrics, and between two looks at the
        signals: some seconds to a minute is good.
      runs: R runs.
      steps: optimizer steps of every run, a multiple of ``period``.
      part: where the files go; None keeps everything in memory and leaves the signals alone.
      schedule: the hyper-parameters of the next period (those it names; the others are the runs')
        as a function of the rows so far and of nothing else, so that a resumed run takes the same.
        A row is ``{'step', 'hyper', 'train_loss', 'train_error', 'test_loss', 'test_error'}`` with
        lists [R]; the first, of step 0, has neither 'hyper' nor 'train_...'.
      checkpoint_every: periods between two checkpoints; the last step always has one.
      progress: see ``report.progress.progress``.
      may_diverge: numbers that are not finite are a result; else they end the training.

    Raises:
      UserError: ``steps`` is no multiple of ``period``, the part was trained otherwise, no
        checkpoint can be trusted, the disk refuses, or the loss is not finite.
      Stopped: a signal asked for it; what was done is saved.
    """
    if steps % trainer.period:
        raise UserError(f"{steps} steps are not a whole number of periods of {trainer.period}")
    lanes = Lanes(trainer, runs)
    if part is None:
        return _Course(lanes, steps, schedule, may_diverge).run(progress, "training")
    with _Files(part, checkpoint_every) as files:
        return _Course(lanes, steps, schedule, may_diverge, files).run(progress, part.name)


class _Course:
    """The way of R runs from step 0, or from a checkpoint, to the last step.

    A row of metrics is begun by a period of training and made whole by the evaluation after it. A
    checkpoint holds the state and all rows, the last of them perhaps not yet evaluated.
    """

    def __init__(
        self,
        lanes: Lanes,
        steps: int,
        schedule: Callable[[Rows], Hypers] | None,
        may_diverge: bool,
        files: "_Files | None" = None,
    ) -> None:
        self.lanes, self.steps, self.schedule = lanes, steps, schedule
        self.may_diverge, self.files = may_diverge, files
        self.rows: Rows = [{"step": 0}]
        self.seconds = 0.0  # of all processes so far

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return self.rows[-1]["step"]

    def run(self, progress: Callable | None, name: str) -> LongHistory:
        """Train to the end and return what came out."""
        restored = self.files.restore(self) if self.files else None
        if restored is not None and self.step == self.steps and _is_whole(self.rows[-1]):
            return self._history(restored)
        period, batch = self.lanes.trainer.period, self.lanes.trainer.batch_size
        with _shown(progress, self.steps, name, self.step) as show:
            start = self.lanes.start if restored is None else self.lanes.to_devices
            states, trained = start(self.lanes.runs.hyper if restored is None else restored), 0.0
            while True:
                before = time.perf_counter()
                self._evaluate(states)
                self.seconds += trained + time.perf_counter() - before
                if self.files:
                    self.files.save_if_due(self, states)
                if trained:
                    rate = self.lanes.total * period * batch / trained
                    show(period, **self._summary(), **{"images/s": round(rate)})
                if self.step == self.steps:
                    return self._history(self.lanes.to_host(states))
                before = time.perf_counter()
                states = self._advance(states)
                trained = time.perf_counter() - before

    def should_stop(self) -> bool:
        """Whether the run is to end at this step."""
        return self.files is not None and self.files.stop.should_stop()

    def _advance(self, states: list[PyTree]) -> list[PyTree]:
        """Train for a period; begins a row."""
        total, first_step = self.lanes.total, self.step
        named = self.lanes.runs.hyper | (self.schedule(self.rows) if self.schedule else {})
        hyper = {k: np.broadcast_to(np.asarray(v, np.float32), total) for k, v in named.items()}
        states, metrics = self.lanes.advance(states, hyper)
        if not self.may_diverge:
            check_finite(metrics["loss"], first_step)
        means = {f"train_{k}": v.mean(1, dtype=np.float64) for k, v in metrics.items()}
        row = {"step": first_step + self.lanes.trainer.period, "hyper": hyper} | means
        self.rows.append(from_line(to_line(row)))  # the schedule sees what a resumed run will
        return states

    def _evaluate(self, states: list[PyTree]) -> None:
        """Make the last row whole and write it, unless it is whole or the run is to stop."""
        if _is_whole(self.rows[-1]):
            return
        last = self.step == self.steps
        found = self.lanes.evaluate(states, lambda: not last and self.should_stop())
        if found is not None:
            row = self.rows[-1] | {f"test_{name}": value for name, value in found.items()}
            self.rows[-1] = from_line(to_line(row))
            if self.files and self.files.metrics:
                self.files.metrics.append(to_line(row))

    def _summary(self) -> dict[str, Any]:
        trainer, row = self.lanes.trainer, self.rows[-1]
        epochs = row["step"] / (len(trainer.train.labels) // trainer.batch_size)
        shown = {"loss": "train_loss", "error": "train_error", "test error": "test_error"}
        means = {name: float(np.mean(row[key])) for name, key in shown.items() if key in row}
        return {"epoch": epochs} | means

    def _history(self, state: PyTree) -> LongHistory:
        def gather(prefix: str) -> dict[str, np.ndarray]:
            names = [name for name in self.rows[-1] if name.startswith(prefix)]
            return {
                name.removeprefix(prefix): np.stack([r[name] for r in self.rows if name in r], 1)
                for name in names
            }

        steps = np.array([row["step"] for row in self.rows])
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        return LongHistory(gather("train_"), gather("test_"), steps, variables)


class _Files:
    """What a course keeps on disk, in step with it; entered for as long as it runs.

    Only process 0 has the files; the others know what is in them, and stop when it stops.
    """

    def __init__(self, part: Part, every: int) -> None:
        self.part, self.every = part, every
        self.stop = StopRequest()
        self.checkpoints: Checkpoints | None = None
        self.metrics: Metrics | None = None
        self._on_disk = -1

    def __enter__(self) -> "_Files":
        with contextlib.ExitStack() as opened:
            if distributed.is_main():
                directory = self.part.directory / "checkpoints"
                checkpoints = Checkpoints(directory, self.part.owner)
                self.checkpoints = opened.enter_context(checkpoints)
            opened.enter_context(self.stop)
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._opened.__exit__(*error)

    def restore(self, course: _Course) -> PyTree | None:
        """Bring rows and metrics file to where the newest good checkpoint is; return its state."""
        template = course.lanes.template()
        found = self.checkpoints.restore(template) if self.checkpoints else None
        if distributed.several():
            found = _from_main(found, template)
        period, steps, name = course.lanes.trainer.period, course.steps, self.part.name
        if found is not None:
            course.rows = [from_line(line) for line in found.note["rows"]]
            passed = [row["step"] for row in course.rows]
            if passed != list(range(0, found.step + 1, period)) or found.step > steps:
                raise UserError(
                    f"{self.part.directory} holds step {found.step}, which {steps} steps in "
                    f"periods of {period} do not pass: start afresh with --noresume"
                )
            course.seconds = self.part.earlier_seconds = found.note["seconds"]
            self._on_disk = found.step
            _say(f"{name}: going on at step {found.step} of {steps}")
        elif (self.part.directory / "metrics.jsonl").exists():
            _say(f"{name}: there is no checkpoint, so it starts at step 0")
        if self.checkpoints:
            lines = [to_line(row) for row in course.rows if _is_whole(row)]
            self.metrics = self._opened.enter_context(
                contextlib.closing(Metrics(self.part.directory, lines, self.part.tensorboard))
            )
        return None if found is None else found.state

    def save_if_due(self, course: _Course, states: list[PyTree]) -> None:
        """Save every few periods, at the end, and when asked to stop, which this then does."""
        step = course.step
        due = step > 0 and step // course.lanes.trainer.period % self.every == 0
        due = due or step == course.steps or course.should_stop()
        if due and step != self._on_disk:
            note = {"rows": [to_line(row) for row in course.rows], "seconds": course.seconds}
            state = course.lanes.to_host(states)
            if self.checkpoints:
                self.checkpoints.save(step, state, note, may_diverge=course.may_diverge)
            self._on_disk = step
        # Asked again, for a signal may have come during the save; no process goes on before it.
        if step == self._on_disk and course.should_stop():
            where = f"at step {step} of {course.steps} of {self.part.name}, which is saved"
            raise Stopped(self.stop.agreed, where)


def _is_whole(row: Row) -> bool:
    return any(name.startswith("test_") for name in row)


def _from_main(found: Restored | None, template: PyTree) -> Restored | None:
    """Return what process 0 has ``found``, in every process."""
    told = distributed.text_from_main(json.dumps(found and [found.step, found.note]))
    if json.loads(told) is None:
        return None
    step, note = json.loads(told)
    empty = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), template)
    return Restored(step, distributed.from_main(found.state if found else empty), note)


def _say(line: str) -> None:
    if distributed.is_main():
        print(line, file=sys.stderr)


@contextlib.contextmanager
def _shown(progress: Callable | None, total: int, name: str, done: int) -> Iterator[Callable]:
    """Yield the function that is told of every period."""
    if progress is None:
        yield lambda *_, **__: None
    else:
        with progress(total, name, done) as bar:
            yield bar.advance
