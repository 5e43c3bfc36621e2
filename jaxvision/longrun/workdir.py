"""Where long runs keep their files: one directory a config, held by one process at a time.

``<root>/<experiment>-<preset>-<hash of the config>/`` holds ``config.json``, the lock, and one
directory for each part (a net trained on its own) with its metrics and checkpoints. Running the
same command again finds the same directory and goes on where it was.
"""

import contextlib
import datetime
import fcntl
import hashlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import jax

from jaxvision.longrun.stop import Stopped, on_sigterm
from jaxvision.parallel import distributed
from jaxvision.parallel.mesh import data_devices, make_mesh
from jaxvision.report import provenance
from jaxvision.report import record as records
from jaxvision.types import UserError


def config_hash(config: dict[str, Any]) -> str:
    """Return eight hexadecimal digits that stand for a config's values."""
    text = json.dumps(config, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


class Part:
    """The files of one call of ``fit_long``.

    Attributes:
      directory: holds ``metrics.jsonl``, ``checkpoints/`` and perhaps ``tensorboard/``.
      tensorboard: whether to write TensorBoard events.
      earlier_seconds: training time that earlier processes put in; ``fit_long`` sets it.
    """

    def __init__(self, directory: str | os.PathLike, tensorboard: bool = False) -> None:
        self.directory = Path(directory).absolute()
        self.tensorboard = tensorboard
        self.earlier_seconds = 0.0

    @property
    def name(self) -> str:
        """The part's name within its run."""
        return self.directory.name


class Workdir:
    """The directory of one run, locked while it is entered.

    While entered, SIGTERM and Ctrl-C raise ``Stopped``; inside ``fit_long`` they are polled. Of
    several processes that train together only process 0 locks, reads and writes it.

    Args:
      root: directory of all runs; made if missing.
      experiment, preset: names.
      config: the config's fields, JSON values.
      resume: go on with what the directory holds; False empties it first.
      tensorboard: whether the parts write TensorBoard events.
      source: the experiment's file; a change of it, or of the package, is said and recorded.
    """

    def __init__(
        self,
        root: str | os.PathLike,
        experiment: str,
        preset: str,
        config: dict[str, Any],
        *,
        resume: bool = True,
        tensorboard: bool = False,
        source: str | os.PathLike | None = None,
    ) -> None:
        name = f"{experiment}-{preset}-{config_hash(config)}"
        self.directory = records.run_directory(Path(root).expanduser(), name)
        self._run = {"experiment": experiment, "preset": preset, "config": config}
        self._resume, self._tensorboard = resume, tensorboard
        self._sources = () if source is None else (source,)
        self._parts: dict[str, Part] = {}
        # Once entered: others that made what lies here, each with the names of what 'differs'.
        self.earlier: list[dict[str, Any]] = []

    def part(self, name: str) -> Part:
        """Return the part ``name``; the same object each time."""
        if name not in self._parts:
            directory = records.run_directory(self.directory, name)
            self._parts[name] = Part(directory, self._tensorboard)
        return self._parts[name]

    @property
    def earlier_seconds(self) -> float:
        """Training time of the parts so far that earlier processes put in."""
        return sum(part.earlier_seconds for part in self._parts.values())

    def __enter__(self) -> "Workdir":
        """Lock the directory and check that it is this run's.

        Raises:
          UserError: another process holds it, it is another run's, or the disk refuses.
        """
        with contextlib.ExitStack() as undo:
            try:
                if distributed.is_main():
                    self.directory.mkdir(parents=True, exist_ok=True)
                    undo.callback(os.close, _lock(self.directory))
                    if not self._resume:
                        self._empty()
                    self._check_config()
            except OSError as error:
                what = f"cannot use {self.directory}: {error.strerror or error}"
                raise UserError(f"{what}; choose another place with --workdir") from error
            undo.enter_context(on_sigterm("between two parts"))
            self._undo = undo.pop_all()
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        self._undo.close()
        if kind is KeyboardInterrupt:
            raise Stopped(signal.SIGINT, "between two parts") from None

    def _empty(self) -> None:
        found = [path for path in self.directory.iterdir() if path.name != _LOCK]
        if found:
            print(f"starting afresh: emptying {self.directory}", file=sys.stderr)
        for path in found:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def _check_config(self) -> None:
        """Write what is run and by what, or hold it against what was written before."""
        path, now = self.directory / "config.json", self._maker()
        wanted = json.loads(json.dumps(self._run))
        try:
            run = json.loads(path.read_text(encoding="utf-8"))
            makers = [dict(maker) for maker in run.pop("makers")]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none, or damaged
            run, makers = wanted, [{}]
        if run != wanted:
            raise UserError(f"{path} is of another run: choose another place with --workdir")
        if not any(self.directory.glob("*/checkpoints/*")):
            makers = []  # whoever it was has left nothing
        told = [maker | {"differs": _differences(maker, now)} for maker in makers]
        self.earlier = [maker for maker in told if maker["differs"]]
        if len(self.earlier) == len(makers):  # this one is new here
            temporary = path.with_suffix(".tmp")
            text = json.dumps(wanted | {"makers": [*makers, now]}, indent=1)
            temporary.write_text(text + "\n", encoding="utf-8")
            os.replace(temporary, path)
        self._say_what_differs(now)

    def _maker(self) -> dict[str, Any]:
        """Return what trains now: code, versions, devices."""
        known = provenance.describe(datetime.datetime.now(datetime.UTC), 0.0)
        names = ("started", "commit", "dirty", "versions", "device", "device_count")
        return {name: known[name] for name in names} | {
            "code": provenance.code_hash(*self._sources),
            "processes": jax.process_count(),
            "data_devices": data_devices(make_mesh()),
        }

    def _say_what_differs(self, now: dict[str, Any]) -> None:
        first = {name: maker for maker in reversed(self.earlier) for name in maker["differs"]}
        for name, maker in first.items():
            line = (
                f"begun with {name} {maker.get(name)}, goes on with {now[name]}: its numbers may "
                "differ from an uninterrupted run's"
            )
            if name == "code":
                line = (
                    "the code has changed since nets here were trained "
                    f"({provenance.line(maker)}). What they have learned is kept, and the record "
                    "will say so; --noresume trains them anew"
                )
            print(f"{self.directory.name}: {line}", file=sys.stderr)


def _differences(maker: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return the names of what differs and may change a net's numbers; unknown code differs."""
    names = ("versions", "device", "device_count", "processes", "data_devices")
    differ = [name for name in names if maker.get(name, now[name]) != now[name]]
    return differ if maker.get("code") == now["code"] else ["code", *differ]


_LOCK = "lock"


def _lock(directory: Path) -> int:
    """Return the descriptor that holds the lock; it ends with it, or with the process."""
    descriptor = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise UserError(
            f"{directory} is in use by process {holder}: wait for it, stop it, or give another "
            "--workdir"
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
