"""What a long training keeps on disk, and the signals that it listens to."""

import contextlib
import json
import sys
from typing import Any

import jax
import numpy as np

from jaxvision.longrun.checkpoint import Checkpoints, Owner, Restored
from jaxvision.longrun.metrics import Metrics
from jaxvision.longrun.stop import Stopped, StopRequest
from jaxvision.longrun.workdir import Part
from jaxvision.parallel import distributed
from jaxvision.types import PyTree


class NoFiles:
    """Nothing on disk and no signals: training that is kept in memory."""

    on_disk = -1

    def restore(self, template: PyTree) -> None:
        """Find nothing."""

    def open_metrics(self, lines: list[str]) -> None:
        """Do nothing."""

    def append(self, line: str) -> None:
        """Do nothing."""

    def save(self, step: int, saved: PyTree, note: dict) -> None:
        """Do nothing."""

    def should_stop(self) -> bool:
        """Return False."""
        return False


class Files:
    """What is kept on disk; entered for as long as a course runs.

    Only process 0 has the files; the others know what is in them, and stop when it stops.

    Attributes:
      directory: of the part.
      on_disk: the step of the newest checkpoint, -1 where there is none.
    """

    def __init__(self, part: Part, owner: Owner) -> None:
        self.part, self.owner, self.directory = part, owner, part.directory
        self.on_disk = -1
        self._stop = StopRequest()
        self._checkpoints: Checkpoints | None = None
        self._metrics: Metrics | None = None

    def __enter__(self) -> "Files":
        with contextlib.ExitStack() as opened:
            if distributed.is_main():
                checkpoints = Checkpoints(self.directory / "checkpoints", self.owner)
                self._checkpoints = opened.enter_context(checkpoints)
            opened.enter_context(self._stop)
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._opened.__exit__(*error)

    def restore(self, template: PyTree) -> Restored | None:
        """Return the newest good checkpoint, in every process."""
        found = self._checkpoints.restore(template) if self._checkpoints else None
        if distributed.several():
            found = _from_main(found, template)
        if found is not None:
            self.on_disk, self.part.earlier_seconds = found.step, found.note["seconds"]
        elif (self.directory / "metrics.jsonl").exists():
            self.say("there is no checkpoint, so it starts at step 0")
        return found

    def say(self, what: str) -> None:
        """Tell the user, once."""
        if distributed.is_main():
            print(f"{self.part.name}: {what}", file=sys.stderr)

    def open_metrics(self, lines: list[str]) -> None:
        """Bring the metrics file to these lines."""
        if self._checkpoints:
            metrics = Metrics(self.directory, lines, self.part.tensorboard)
            self._metrics = self._opened.enter_context(contextlib.closing(metrics))

    def append(self, line: str) -> None:
        """Write a row of metrics."""
        if self._metrics:
            self._metrics.append(line)

    def save(self, step: int, saved: PyTree, note: dict) -> None:
        """Write a checkpoint."""
        if self._checkpoints:  # what a look has seen may be what it likes
            self._checkpoints.save(step, saved, note, may_diverge=True)
        self.on_disk = step

    def should_stop(self) -> bool:
        """Whether a signal has come, to whichever process: all ask at the same places."""
        return self._stop.should_stop()

    def end(self, where: str) -> None:
        """Stop, as a signal has asked."""
        raise Stopped(self._stop.agreed, f"{where} of {self.part.name}, which is saved")


def _from_main(found: Restored | None, template: PyTree) -> Restored | None:
    """Return what process 0 has ``found``, in every process."""
    told = distributed.text_from_main(json.dumps(found and [found.step, found.note]))
    if json.loads(told) is None:
        return None
    step, note = json.loads(told)
    empty = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), template)
    return Restored(step, distributed.from_main(found.state if found else empty), note)
