"""One run of a series: what is sent to a worker, what it does there, and what it answers."""

import collections
import dataclasses
import importlib.metadata
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from jaxvision.cluster import ledger
from jaxvision.report import provenance

ROOT = Path(__file__).resolve().parents[2]
TAIL = 20  # lines that are kept of a run
# Exit codes that ask to be started again: another process was lost, SIGTERM, and a kill.
AGAIN = (os.EX_UNAVAILABLE, os.EX_TEMPFAIL)


@dataclasses.dataclass(frozen=True)
class Run:
    """One command.

    Attributes:
      name: what messages call it; no other of its series has it.
      arguments: what follows the interpreter: ``-m``, ``experiments``, the name, the flags.
      record: the directory that it writes; every worker sees it under this path.
    """

    name: str
    arguments: tuple[str, ...]
    record: Path


@dataclasses.dataclass(frozen=True)
class Layout:
    """What all runs of a series have in common.

    Attributes:
      directory: in which they are started.
      cores: how many CPU devices each makes, whatever its machine has: numbers may depend on it.
      code: see ``code_here``; a worker that has other code refuses.
      environment: variables, as ``environment_here`` has them where the series is submitted.
      again: run what is done already too.
    """

    directory: Path
    cores: int
    code: dict[str, str]
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    again: bool = False


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
      code: its exit code.
      lines: the last that it printed.
      seconds: how long it took.
      kept: it had been done before.
    """

    code: int
    lines: tuple[str, ...] = ()
    seconds: float = 0.0
    kept: bool = False


class Interrupted(Exception):
    """A run was stopped by something that is none of its own doing, and may be tried again."""


class SchedulerLost(Exception):
    """Nobody hands out runs any more: the series must be started again."""


def code_here() -> dict[str, str]:
    """Return what a number may depend on beside command and layout: our code, JAX, Python."""
    files = sorted((ROOT / "experiments").rglob("*.py"))
    return {
        "code": provenance.code_hash(*files),
        "jax": importlib.metadata.version("jax"),
        "python": ".".join(platform.python_version_tuple()[:2]),
    }


def environment_here() -> dict[str, str]:
    """Return the variables that JAX, our own code and data sets by name look at."""
    prefixes = ("JAX", "XLA_", "TFDS_")
    return {name: value for name, value in os.environ.items() if name.startswith(prefixes)}


def execute(run: Run, layout: Layout, tell: Callable[[str], None]) -> Outcome:
    """Run the command in a process of its own and wait for it, unless it has been done.

    A command that a signal ended, or that asks to be started again, is ``Interrupted``; any other
    failure would come back the second time, and is an outcome.

    Args:
      run: what to run.
      layout: of the series.
      tell: is called with every line that the run prints on stderr.

    Raises:
      Interrupted: try again.
    """
    mine = code_here()
    if differs := [name for name, value in layout.code.items() if mine[name] != value]:
        what = ", ".join(f"{name} {mine[name]}, not {layout.code[name]}" for name in differs)
        return Outcome(os.EX_CONFIG, (f"error: {platform.node()} has other code: {what}",))
    made_by = {"arguments": list(run.arguments), "cores": layout.cores, **layout.code}
    made_by["environment"] = {
        name: value for name, value in layout.environment.items() if "CACHE" not in name
    }
    if not layout.again and ledger.is_done(run.record, made_by):
        return Outcome(0, kept=True)
    started = time.monotonic()
    try:
        code, lines = _run(run, layout, tell)
    except OSError as error:
        return Outcome(os.EX_CONFIG, (f"error: cannot run in {layout.directory}: {error}",))
    seconds = time.monotonic() - started
    if code in AGAIN or code > 128:
        last = lines[-1] if lines else "it printed nothing"
        raise Interrupted(f"{run.name} was ended by {_cause(code)} ({last})")
    if code == 0:
        try:
            ledger.note(run.record, made_by)
        except OSError as error:
            what = f"error: no whole record in {run.record}: {error.strerror}"
            return Outcome(os.EX_IOERR, (what,), seconds)
    return Outcome(code, tuple(lines), seconds)


def _run(run: Run, layout: Layout, tell: Callable[[str], None]) -> tuple[int, list[str]]:
    """Return the exit code and the last lines."""
    command = [sys.executable, *run.arguments]
    lines = collections.deque(maxlen=TAIL)
    with subprocess.Popen(
        [sys.executable, "-m", "jaxvision.leash", "--", *command],
        cwd=layout.directory,
        env=_environment(layout),
        stdin=subprocess.PIPE,  # the leash: it breaks when this process ends
        stdout=subprocess.DEVNULL,  # the table of verdicts: the record has them
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stderr:
            lines.append(line.rstrip())
            tell(line.rstrip())
        return process.wait(), list(lines)


def _environment(layout: Layout) -> dict[str, str]:
    """Return the variables of a run: like on a machine of so many cores, on any."""
    own = environment_here()
    kept = {name: value for name, value in os.environ.items() if name not in own}
    path = os.pathsep.join(filter(None, (str(ROOT), kept.get("PYTHONPATH", ""))))
    # Dask sets those of the linear algebra to one.
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    laid_out = dict.fromkeys((*threads, "JAXVISION_CORES"), f"{layout.cores}")
    return kept | layout.environment | laid_out | {"PYTHONPATH": path}


def _cause(code: int) -> str:
    number = code - 128
    names = {each.value: each.name for each in signal.Signals}
    return names.get(number, f"exit code {code}")
