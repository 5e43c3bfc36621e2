"""A run's metrics: JSON lines, the truth; TensorBoard events, a view that is made from them."""

import contextlib
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxvision.types import UserError

Row = dict[str, Any]
Rows = list[Row]


def to_line(row: Row) -> str:
    """Return a row as one line of JSON; floats read back exactly.

    Numbers that are not finite, which JSON lacks, become the strings 'nan', 'inf' and '-inf'.
    """
    return json.dumps(_plain(row), allow_nan=False)


def from_line(line: str) -> Row:
    """Return the row that ``to_line`` was given, arrays as lists of floats."""
    return _numbers(json.loads(line))


class Metrics:
    """The files ``metrics.jsonl`` and, if wanted, ``tensorboard/`` of one run.

    Args:
      directory: holds both; exists.
      lines: the rows so far. What the files held beyond them, or otherwise, goes.
      tensorboard: whether to write events too.

    Raises:
      UserError: the disk refuses the lines, or tensorboardX is not installed. Where it refuses the
        events that is said once, and the run goes on without them.
    """

    def __init__(self, directory: Path, lines: list[str], tensorboard: bool = False) -> None:
        self.path = directory / "metrics.jsonl"
        self._events = _Events(directory / "tensorboard") if tensorboard else None
        text = "".join(f"{line}\n" for line in lines)
        try:
            if lines and not _read(self.path).startswith(text):
                print(f"{self.path} was damaged: written anew", file=sys.stderr)
            _replace(self.path, text)
            self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115 (open until close)
        except OSError as error:
            raise self._refused(error) from error
        if self._events:
            self._events.begin(lines)

    def append(self, line: str) -> None:
        """Write one row; it is on disk when this returns.

        Raises:
          UserError: the disk refuses; the rows before stay.
        """
        try:
            self._file.write(f"{line}\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._refused(error) from error
        if self._events:
            self._events.add([line])

    def close(self) -> None:
        """Close the files."""
        try:
            self._file.close()
        except OSError as error:  # what a full disk left in the buffer
            raise self._refused(error) from error
        finally:
            if self._events:
                self._events.close()

    def _refused(self, error: OSError) -> UserError:
        return UserError(
            f"cannot write {self.path}: {error.strerror or error}; mend this and run again"
        )


class _Events:
    """TensorBoard events: given up, in one line, where the disk refuses.

    Written without tensorboardX's ``SummaryWriter``: the thread it writes from dies of a full disk,
    and whoever hands it events then waits forever.
    """

    def __init__(self, directory: Path) -> None:
        try:
            from tensorboardX import record_writer, summary  # optional
            from tensorboardX.proto.event_pb2 import Event
        except ImportError as error:
            raise UserError("--tensorboard needs tensorboardX: pip install tensorboardX") from error
        self._open, self._event, self._scalar = record_writer.RecordWriter, Event, summary.scalar
        self._directory, self._file = directory, None

    def begin(self, lines: list[str]) -> None:
        """Make them anew, for events cannot be cut."""
        with self._given_up_if_refused():
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory.mkdir()
            self._file = self._open(str(self._directory / f"events.out.tfevents.{os.getpid()}"))
            self._write(file_version="brain.Event:2")
        self.add(lines)

    def add(self, lines: list[str]) -> None:
        """Write rows; they are on disk when this returns."""
        if self._file is None:
            return
        with self._given_up_if_refused():
            for row in map(from_line, lines):
                step = row.pop("step")
                for name, values in row.items():
                    for run, value in enumerate(values):
                        if np.ndim(value) == 0:  # per-layer values have no curve there
                            summary = self._scalar(f"{name}/run{run}", value)
                            self._write(step=step, summary=summary)
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            with self._given_up_if_refused():
                self._file.close()

    def _write(self, **what: Any) -> None:
        event = self._event(wall_time=time.time(), **what)
        self._file.write(event.SerializeToString())

    @contextlib.contextmanager
    def _given_up_if_refused(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            what = f"cannot write {self._directory}: {error.strerror or error}"
            print(f"{what}; going on without TensorBoard events", file=sys.stderr)
            if self._file is not None:
                with contextlib.suppress(OSError):
                    self._file.close()
                self._file = None


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _replace(path: Path, text: str) -> None:
    """Make the file hold ``text``; whoever dies on the way leaves it as it was."""
    temporary = path.with_suffix(".tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _numbers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return float(value) if isinstance(value, str) else value
