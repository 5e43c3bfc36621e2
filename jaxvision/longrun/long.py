"""Train runs that take long enough to be killed: checkpoints, exact resume, a polite stop.

The loop is that of ``Trainer.fit`` (``training.calls``); here are the files and the signals.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxvision.longrun.checkpoint import Restored, refuse_not_finite
from jaxvision.longrun.files import Files, NoFiles
from jaxvision.longrun.metrics import Row, Rows, from_line, to_line
from jaxvision.longrun.owner import facts
from jaxvision.longrun.workdir import Part
from jaxvision.parallel import distributed
from jaxvision.training.calls import Reached, Runs, Training, check_steps, joined
from jaxvision.training.fit import Trainer
from jaxvision.training.looks import Look
from jaxvision.training.step import TrainState
from jaxvision.types import PyTree, UserError


class LongHistory(NamedTuple):
    """What R long runs left behind, on the host."""

    train: dict[str, np.ndarray]  # [R, E-1, ...] means over each period, values before the updates
    test: dict[str, np.ndarray]  # [R, E] at ``steps``
    steps: np.ndarray  # int [E]: 0, period, 2 period, ..., T
    variables: PyTree  # at the end, leaves [R, ...]
    looks: PyTree  # what was seen, leaves [R, steps looked at, ...]


def fit_long(
    trainer: Trainer,
    runs: Runs,
    steps: int,
    part: Part | None,
    *,
    look: Look | None = None,
    checkpoint_every: int = 1,
    progress: Callable[..., contextlib.AbstractContextManager] | None = None,
    may_diverge: bool = False,
) -> LongHistory:
    """Train every run for ``steps``, or go on from the part's newest good checkpoint.

    A run that was stopped or killed and resumed, any number of times on the same machine and
    versions, ends with the same bits as one that was not: weights, optimizer, looks and metrics
    file. SIGTERM and Ctrl-C end it after the period at hand, saved. Where several processes train
    together all make the same call; process 0 alone reads and writes the files.

    Args:
      trainer: its ``period`` is the time between two rows of metrics, and between two looks at the
        signals: some seconds to a minute is good.
      runs: R runs.
      steps: optimizer steps of every run, a multiple of ``period``.
      part: where the files go; None keeps everything in memory and leaves the signals alone.
      look: what to read from every run on the way; what was seen is in the checkpoints too.
      checkpoint_every: periods between two checkpoints; the last step always has one.
      progress: see ``progress.progress``.
      may_diverge: numbers that are not finite are a result; else they end the training.

    Raises:
      UserError: ``steps`` is no multiple of ``period``, the part was trained otherwise (other
        seeds, hyper-parameters, batch size, parts of a batch, data or looks), no checkpoint can be
        trusted, the disk refuses, or the loss is not finite.
      Stopped: a signal asked for it; what was done is saved.
    """
    check_steps(steps, trainer.period, look)
    training = Training(list(trainer.calls(runs)), look, may_diverge)
    if part is None:
        return _Course(training, steps, NoFiles(), checkpoint_every).run(progress, "training")
    owner = part.owner | (facts(trainer, runs, look) if distributed.is_main() else {})
    with Files(part, owner) as files:
        return _Course(training, steps, files, checkpoint_every).run(progress, part.name)


class _Saved(NamedTuple):
    """The arrays of a checkpoint, leaves [R, ...]."""

    state: TrainState
    looks: PyTree  # [R, steps looked at, ...], zero where the step has not come


class _Course:
    """The way of R runs from step 0, or from a checkpoint, to the last step.

    A row of metrics is begun by a period of training and made whole by the evaluation after it. A
    checkpoint holds the state and all rows, the last of them perhaps not yet evaluated.
    """

    def __init__(
        self, training: Training, steps: int, files: Files | NoFiles, save_every: int
    ) -> None:
        self.training, self.steps, self.files = training, steps, files
        self.save_every = save_every
        self.rows: Rows = [{"step": 0}]
        self.looks = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), self._seen())
        self.seconds = 0.0  # of all processes so far

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return self.rows[-1]["step"]

    def run(self, progress: Callable | None, name: str) -> LongHistory:
        """Train to the end and return what came out."""
        state = self._of_all(self.training.calls[0].shape())
        restored = self.files.restore(_Saved(state, self._seen()))
        if restored is not None:
            self._take_up(restored)
        self.files.open_metrics([to_line(row) for row in self.rows if _is_whole(row)])
        if self.step == self.steps and _is_whole(self.rows[-1]):
            return self._history(restored.state.state)
        with _shown(progress, self.steps, name, self.step) as show:
            before = time.perf_counter()
            for reached in self._reached(restored):
                trained = time.perf_counter() - before
                self._take(reached)
                self._evaluate(reached.states)
                self.seconds += time.perf_counter() - before
                self._save_if_due(reached.states)
                if reached.metrics is not None:
                    self._show(show, trained)
                before = time.perf_counter()
        return self._history(self.training.fetch(reached.states))

    def _reached(self, restored: Restored | None) -> Iterator[Reached]:
        if restored is None:
            begin = self.training.start()
        else:
            begin = self.training.resume(self.step, restored.state.state)
        return self.training.until(self.steps, begin)

    def _seen(self) -> PyTree:
        """Return shapes and dtypes of all that the look will have seen."""
        look, call = self.training.look, self.training.calls[0]
        if look is None:
            return {}
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(
                (leaf.shape[0], len(look.at), *leaf.shape[1:]), leaf.dtype
            ),
            self._of_all(call.look_shape(look)),
        )

    def _of_all(self, of_call: PyTree) -> PyTree:
        """Return shapes [R, ...] from those of one call."""
        total = sum(call.real for call in self.training.calls)
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((total, *leaf.shape[1:]), leaf.dtype), of_call
        )

    def _take_up(self, restored: Restored) -> None:
        """Bring rows, looks and seconds to where a checkpoint is."""
        rows = [from_line(line) for line in restored.note["rows"]]
        period = self.training.period
        passed = [row["step"] for row in rows]
        if passed != list(range(0, restored.step + 1, period)) or restored.step > self.steps:
            raise UserError(
                f"{self.files.directory} holds step {restored.step}, which {self.steps} steps in "
                f"periods of {period} do not pass: start afresh with --noresume"
            )
        self.rows, self.looks = rows, jax.tree.map(np.array, restored.state.looks)
        self.seconds = restored.note["seconds"]
        self.files.say(f"going on at step {self.step} of {self.steps}")

    def _take(self, reached: Reached) -> None:
        """Begin the row of a period, and keep what was seen in it."""
        if reached.metrics is not None:
            means = {
                f"train_{name}": values.mean(1, dtype=np.float64)
                for name, values in reached.metrics.items()
            }
            self.rows.append(_as_read({"step": reached.step} | means))
        for step, seen in reached.seen.items():
            at = list(self.training.look.at).index(step)

            def keep(leaf: np.ndarray, value: np.ndarray, at: int = at) -> None:
                leaf[:, at] = value

            jax.tree.map(keep, self.looks, seen)

    def _evaluate(self, states: Sequence[TrainState]) -> None:
        """Make the last row whole and write it, unless it is whole or the run is to stop."""
        if _is_whole(self.rows[-1]):
            return
        found = []
        for call, state in zip(self.training.calls, states, strict=True):
            if self.step < self.steps and self.files.should_stop():
                return
            found.append(call.fetch(call.evaluate(state)))
        tests = {f"test_{name}": value for name, value in joined(found).items()}
        self.rows[-1] = _as_read(self.rows[-1] | tests)
        self.files.append(to_line(self.rows[-1]))

    def _save_if_due(self, states: Sequence[TrainState]) -> None:
        """Save every few periods, at the end, and when asked to stop, which this then does."""
        step = self.step
        due = step > 0 and step // self.training.period % self.save_every == 0
        due = due or step == self.steps or self.files.should_stop()
        if due and step != self.files.on_disk:
            state = self.training.fetch(states)
            if not self.training.may_diverge:
                refuse_not_finite(step, state)
            note = {"rows": [to_line(row) for row in self.rows], "seconds": self.seconds}
            self.files.save(step, _Saved(state, self.looks), note)
        # Asked again, for a signal may have come during the save; no process goes on before it.
        if step == self.files.on_disk and self.files.should_stop():
            self.files.end(f"at step {step} of {self.steps}")

    def _show(self, show: Callable, seconds: float) -> None:
        """Tell the progress bar of a period that took so many seconds."""
        programs, row = self.training.calls[0].programs, self.rows[-1]
        names = {"loss": "train_loss", "error": "train_error", "test error": "test_error"}
        means = {name: float(np.mean(row[key])) for name, key in names.items() if key in row}
        epochs = row["step"] / (len(programs.train.labels) // programs.batch_size)
        images = len(row["train_loss"]) * programs.period * programs.batch_size
        show(programs.period, epoch=epochs, **means, **{"images/s": round(images / seconds)})

    def _history(self, state: TrainState) -> LongHistory:
        def gather(prefix: str) -> dict[str, np.ndarray]:
            names = [name for name in self.rows[-1] if name.startswith(prefix)]
            return {
                name.removeprefix(prefix): np.stack([r[name] for r in self.rows if name in r], 1)
                for name in names
            }

        steps = np.array([row["step"] for row in self.rows])
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        return LongHistory(gather("train_"), gather("test_"), steps, variables, self.looks)


def _is_whole(row: Row) -> bool:
    return any(name.startswith("test_") for name in row)


def _as_read(row: Row) -> Row:
    """Return a row as a resumed run will read it."""
    return from_line(to_line(row))


@contextlib.contextmanager
def _shown(progress: Callable | None, total: int, name: str, done: int) -> Iterator[Callable]:
    """Yield the function that is told of every period."""
    if progress is None:
        yield lambda *_, **__: None
    else:
        with progress(total, name, done) as bar:
            yield bar.advance
