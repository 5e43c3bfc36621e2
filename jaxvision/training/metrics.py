"""A run's metrics: JSON lines, the truth; TensorBoard events, a view that is made from them."""

import json
import math
import os
import shutil
import sys
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
      UserError: the disk refuses, or tensorboardX is not installed.
    """

    def __init__(self, directory: Path, lines: list[str], tensorboard: bool = False) -> None:
        self.path = directory / "metrics.jsonl"
        self._events = _event_writer(directory / "tensorboard") if tensorboard else None
        text = "".join(f"{line}\n" for line in lines)
        try:
            if lines and not (
                self.path.exists() and self.path.read_text(errors="replace").startswith(text)
            ):
                print(f"{self.path} was damaged: written anew", file=sys.stderr)
            _replace(self.path, text)
            self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115 (open until close)
        except OSError as error:
            raise self._refused(error) from error
        for line in lines:
            self._to_tensorboard(line)

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
        self._to_tensorboard(line)

    def close(self) -> None:
        """Close the files."""
        try:
            self._file.close()
        except OSError as error:  # what a full disk left in the buffer
            raise self._refused(error) from error
        finally:
            if self._events:
                self._events.close()

    def _to_tensorboard(self, line: str) -> None:
        if self._events is None:
            return
        row = from_line(line)
        step = row.pop("step")
        for name, values in (row | row.pop("hyper", {})).items():
            for run, value in enumerate(values):
                if np.ndim(value) == 0:  # per-layer values have no curve there
                    self._events.add_scalar(f"{name}/run{run}", value, step)
        self._events.flush()

    def _refused(self, error: OSError) -> UserError:
        return UserError(
            f"cannot write {self.path}: {error.strerror or error}; mend this and run again"
        )


def _event_writer(directory: Path) -> Any:
    try:
        from tensorboardX import SummaryWriter  # optional
    except ImportError as error:
        raise UserError(
            "--tensorboard needs tensorboardX: pip install 'jaxvision[tensorboard]'"
        ) from error
    shutil.rmtree(directory, ignore_errors=True)  # events cannot be cut; they are written anew
    return SummaryWriter(str(directory))


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
