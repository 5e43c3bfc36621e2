"""Checkpoints that can be trusted: written whole, read back at once, hashed leaf by leaf.

Orbax writes them; this module closes what orbax leaves open. It restores a flipped bit in a large
array without a word, casts to another dtype, skips a save by returning False, loses a save that
nobody waits for, and stops at a damaged newest step instead of taking the one before. Here every
step carries a seal, the SHA-256 of each leaf and whose it is. A step whose seal does not fit is
never used; one that is another run's is refused.
"""

import asyncio
import contextlib
import functools
import logging
import os
import re
import shutil
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxvision.longrun import sealed
from jaxvision.longrun.sealed import Damaged
from jaxvision.trees import named_leaves
from jaxvision.types import PyTree, UserError

KEEP = 3  # steps: a damaged one still leaves two to fall back on
Owner = dict[str, Any]  # whose a checkpoint is, in JSON values

_UNFINISHED = "*.orbax-checkpoint-tmp*"
_WAITS = (0, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2)  # seconds before each look at what is unfinished
_QUIET = 3  # looks that find nothing, after which the threads of a failed save have ended


class Restored(NamedTuple):
    """A verified checkpoint."""

    step: int
    state: PyTree  # numpy leaves
    note: Any  # the JSON value saved beside it


class Checkpoints:
    """The newest steps of one run in a directory; a context manager.

    One process at a time: whoever opens it holds a lock on the run (see ``Workdir``).

    Args:
      directory: made if missing. What a killed save left in it is removed.
      owner: whose they are, such as ``{"part": "resnet8", "run": ...}``; kept in every seal.

    Raises:
      UserError: the directory cannot be made or read.
    """

    def __init__(self, directory: str | os.PathLike, owner: Owner | None = None) -> None:
        self.directory = Path(directory).absolute()
        self._owner = owner or {}
        # Synchronous: a save that has returned is on disk, whatever happens next. And by process 0
        # alone: orbax would wait for the others at every turn.
        ocp = _orbax()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=KEEP,
            enable_async_checkpointing=False,
            cleanup_tmp_directories=True,
            create=False,
            multiprocessing_options=ocp.options.MultiprocessingOptions(
                primary_host=0, active_processes={0}, barrier_sync_key_prefix="jaxvision"
            ),
        )
        _hush()
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._remove_unfinished()
            self._manager = ocp.CheckpointManager(self.directory, options=options)
        except OSError as error:
            raise UserError(f"cannot use {self.directory}: {error.strerror or error}") from error

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._manager.wait_until_finished()
        finally:
            self._manager.close()

    def save(self, step: int, state: PyTree, note: Any, *, may_diverge: bool = False) -> None:
        """Write ``state`` as ``step`` and read it back; older steps than the last 3 go.

        Args:
          step: must be newer than every step on disk.
          state: tree of arrays, whole on this host.
          note: JSON value kept, and hashed, beside the state.
          may_diverge: store numbers that are not finite too.

        Raises:
          UserError: the state is not finite, the step is not new, or the disk refuses. The older
            steps stay as they were.
        """
        state = jax.tree.map(np.asarray, state)
        if not may_diverge:
            refuse_not_finite(step, state)
        seal = sealed.seal(state, step=step, note=note, owner=self._owner)
        args = _orbax().args
        items = args.Composite(state=args.StandardSave(state), seal=args.JsonSave(seal))
        try:
            written = self._manager.save(step, args=items)
            self._manager.wait_until_finished()
            if not written:
                newest = self._manager.latest_step()
                raise UserError(f"step {step} is not newer than step {newest} in {self.directory}")
            _bring_to_disk(self.directory / str(step))
            self._read(step, state)
        # The kinds of error with which orbax and tensorstore report what the disk did.
        except (OSError, ValueError, Damaged) as error:
            with contextlib.suppress(OSError):
                self._remove_unfinished(quiet=_QUIET)
            shutil.rmtree(self.directory / str(step), ignore_errors=True)
            raise UserError(
                f"cannot save step {step} in {self.directory}: {_reason(error)}; "
                "older checkpoints stay good: mend this and run again"
            ) from error

    def restore(self, template: PyTree) -> Restored | None:
        """Return the newest step that verifies, None where there is no step at all.

        Steps that do not verify are named on stderr with the reason, and put aside as
        ``<step>.damaged`` once an older one has been read.

        Args:
          template: tree of arrays with the structure, shapes and dtypes that are wanted.

        Raises:
          UserError: steps exist but none verifies, or one is another owner's, or was made of other
            leaves, shapes or dtypes. Nothing is changed.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        damaged = []
        for step in steps:
            try:
                found = self._read(step, template)
            except Damaged as reason:
                print(f"checkpoint {self.directory}/{step} skipped: {reason}", file=sys.stderr)
                damaged.append(step)
                continue
            for bad in damaged:
                self._put_aside(bad)
            return found
        if steps:
            raise UserError(
                f"none of the {len(steps)} checkpoints in {self.directory} can be trusted: "
                "put back a copy, or start afresh with --noresume"
            )
        return None

    def _read(self, step: int, template: PyTree) -> Restored:
        """Return one step; ``Damaged`` unless everything in it is as it was written."""
        args = _orbax().args
        with _whatever_it_raises():
            seal = self._manager.restore(step, args=args.Composite(seal=args.JsonRestore()))
            seal = dict(seal.seal)
        if not sealed.is_whole(seal):
            raise Damaged("its seal has changed on disk")
        if seal["step"] != step:
            raise Damaged(f"it was written as step {seal['step']}")
        path = self.directory / str(step)
        _check_same(path, seal.get("owner", {}), self._owner)
        _check_same(path, seal["kinds"], sealed.kinds(template))
        with _whatever_it_raises():
            restore = args.StandardRestore(jax.tree.map(_empty, template))
            state = self._manager.restore(step, args=args.Composite(state=restore)).state
        if changed := sealed.changed_leaves(seal, state):
            raise Damaged(f"{changed[0]} has changed on disk ({len(changed)} leaves in all)")
        return Restored(step, state, seal["note"])

    def _put_aside(self, step: int) -> None:
        # Renamed rather than removed: the reason may be a disk that is ill for a moment.
        aside = self.directory / f"{step}.damaged"
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(self.directory / str(step), aside)
        self._manager.reload()

    def _remove_unfinished(self, quiet: int = 1) -> None:
        """Remove what unfinished saves left.

        The threads of a save that has just failed may still write into it, and make it anew.

        Args:
          quiet: how often, one after the other, nothing must be there.

        Raises:
          OSError: the disk refuses.
        """
        empty = 0
        for wait in _WAITS:
            time.sleep(wait)
            left = list(self.directory.glob(_UNFINISHED))
            empty = 0 if left else empty + 1
            if empty == quiet:
                return
            for path in left:
                shutil.rmtree(path, ignore_errors=True)
        for path in self.directory.glob(_UNFINISHED):
            shutil.rmtree(path)


def _bring_to_disk(folder: Path) -> None:
    """Wait until a folder and all in it would survive a power cut; orbax leaves the seal to luck.

    Raises:
      OSError: the disk refuses.
    """
    for place, _, files in os.walk(folder, topdown=False):
        for path in [*(Path(place, name) for name in files), Path(place)]:
            _wait_for(path)
    _wait_for(folder.parent)


def _wait_for(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _empty(leaf: Any) -> np.ndarray:
    """Return a numpy target of the leaf's shape and dtype that takes no memory."""
    return np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape)


def _check_same(path: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name in [*found, *wanted]:
        there, here = found.get(name, "nothing"), wanted.get(name, "nothing")
        if there != here:
            raise UserError(
                f"checkpoint {path} is of another run: {name} is {there} there and {here} here; "
                "put its own back, or start afresh with --noresume"
            )


def refuse_not_finite(step: int, state: PyTree) -> None:
    """Raise UserError where a number of the state is not finite."""
    for name, leaf in named_leaves(state).items():
        if not np.isfinite(np.asarray(leaf, np.float32)).all():
            raise UserError(
                f"{name} is not finite at step {step}: lower the learning rate "
                "(nothing was saved; older checkpoints stay good)"
            )


def _reason(error: Exception) -> str:
    """Return what went wrong in a few words; the system's own where it refused something."""
    text = " ".join(str(error).split())
    code = re.search(r"os_error_code='(\d+)'", text)  # as tensorstore tells it
    number = int(code[1]) if code else getattr(error, "errno", None)
    return os.strerror(number) if number else text[:160] or type(error).__name__


def _orbax() -> ModuleType:
    """Import Orbax when a run is kept: it takes a quarter of a second."""
    import orbax.checkpoint

    return orbax.checkpoint


@contextlib.contextmanager
def _whatever_it_raises() -> Iterator[None]:
    """Turn every error of a read into ``Damaged``: a broken file may raise anything."""
    try:
        yield
    except Exception as error:
        raise Damaged(f"it cannot be read ({_reason(error)})") from error


# What orbax says of its own accord is held back: what went wrong is told once, in one line, by us.
# For good and not only during a call, for its threads outlive the call that failed.


@functools.cache
def _hush() -> None:
    """Keep from stderr what orbax logs, and what it leaves behind when a read or write fails.

    The first failure ends its event loop. The other reads and writes are then reported by whoever
    finds them, later and with tracebacks.
    """
    logging.getLogger("absl").addFilter(_is_not_orbax)
    logging.getLogger("asyncio").addFilter(_is_not_orphan)
    # Which of its hundred kinds of coroutines are left differs from failure to failure, and the
    # warning does not say whose it is. Nothing else here runs coroutines.
    warnings.filterwarnings("ignore", "coroutine '.*' was never awaited", RuntimeWarning)
    hook = sys.unraisablehook

    def without_orphans(unraisable: Any) -> None:
        closed = str(unraisable.exc_value) == "Event loop is closed"
        half_made = unraisable.object is asyncio.BaseEventLoop.__del__
        if not closed and not half_made:
            hook(unraisable)

    sys.unraisablehook = without_orphans


def _is_not_orbax(record: logging.LogRecord) -> bool:
    return not Path(record.pathname).is_relative_to(Path(_orbax().__file__).parent)


def _is_not_orphan(record: logging.LogRecord) -> bool:
    return "exception was never retrieved" not in record.getMessage()
