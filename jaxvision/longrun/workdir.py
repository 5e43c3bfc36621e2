"""Where long runs keep their files: one directory a config, held by one process at a time.

``<root>/<experiment>-<preset>-<hash of the config>/`` holds ``config.json``, the lock, and one
directory for each part (a net trained on its own) with its metrics and checkpoints. Running the
same command again finds the same directory and goes on where it was, unless the data have changed.
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
import tempfile
from pathlib import Path
from typing import Any

import jax

from jaxvision import data
from jaxvision.longrun.checkpoint import Owner
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
      owner: whose the checkpoints are; those of another are refused (see ``Checkpoints``).
      earlier_seconds: training time that earlier processes put in; ``fit_long`` sets it.
    """

    def __init__(
        self,
        directory: str | os.PathLike,
        tensorboard: bool = False,
        owner: Owner | None = None,
    ) -> None:
        self.directory = Path(directory).absolute()
        self.tensorboard = tensorboard
        self.owner = owner or {}
        self.earlier_seconds = 0.0

    @property
    def name(self) -> str:
        """The part's name within its run."""
        return self.directory.name


class Workdir:
    """The directory of one run, locked from its first part on until the run is left.

    Nothing is made, and nothing emptied, before the first part is asked for: ask when all else has
    been checked and the data are loaded, for a run's identity includes them. While entered, SIGTERM
    and Ctrl-C raise ``Stopped``; inside ``fit_long`` they are polled. Of several processes that
    train together only process 0 locks, reads and writes it.

    Args:
      root: directory of all runs; made if missing.
      experiment, preset: names.
      config: the config's fields, JSON values.
      resume: go on with what the directory holds; False empties it first.
      tensorboard: whether the parts write TensorBoard events.
      source: the experiment's file; a change of it, or of the package, is said and recorded.

    Attributes:
      directory: of the run.
      earlier: from the first part on, others that made what lies here, each with the names of what
        'differs'.

    Raises:
      UserError: the root cannot be followed, or a file or a link has the directory's name.
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
        self.directory = records.run_directory(root, name)
        self.earlier: list[dict[str, Any]] = []
        self._run = {"experiment": experiment, "preset": preset, "config": config}
        self._resume, self._tensorboard = resume, tensorboard
        self._sources = () if source is None else (source,)
        self._parts: dict[str, Part] = {}
        self._held: contextlib.ExitStack | None = None  # while entered
        self._is_open = False

    def __enter__(self) -> "Workdir":
        """Listen for signals, and look whether the directory could be made.

        Raises:
          UserError: it could not.
        """
        if distributed.is_main():
            _check_usable(self.directory)
        with contextlib.ExitStack() as held:
            held.enter_context(on_sigterm("between two parts"))
            self._held = held.pop_all()
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        self._is_open = False
        self._held.close()
        if kind is KeyboardInterrupt:
            raise Stopped(signal.SIGINT, "between two parts") from None

    def part(self, name: str) -> Part:
        """Return the part ``name``; the same object each time.

        The first one makes the directory, or empties it where the run is not to be resumed.

        Raises:
          UserError: the name is no name of a directory, another process holds the run, what lies
            there is another run's or was trained on other data, or the disk refuses.
        """
        directory = records.run_directory(self.directory, name)
        if not self._is_open:
            self._open()
        if name not in self._parts:
            owner = {"part": name, "run": self.directory.name, "data": _told(_data())}
            self._parts[name] = Part(directory, self._tensorboard, owner)
        return self._parts[name]

    @property
    def earlier_seconds(self) -> float:
        """Training time of the parts so far that earlier processes put in."""
        return sum(part.earlier_seconds for part in self._parts.values())

    def _open(self) -> None:
        """Make and lock the directory, and check that it is this run's."""
        if self._held is None:
            raise RuntimeError("enter the Workdir before asking for its parts")
        if distributed.is_main():
            try:
                self.directory.mkdir(parents=True, exist_ok=True)
                self._held.callback(os.close, _lock(self.directory))
                if not self._resume:
                    self._empty()
                for left in self.directory.glob(f"*{_TEMPORARY}"):  # by a process that was killed
                    left.unlink()
                self._check_config()
            except OSError as error:
                raise UserError(_refused(self.directory, error)) from error
        self._is_open = True

    def _empty(self) -> None:
        found = [path for path in self.directory.iterdir() if path.name != _LOCK]
        if found:
            print(f"starting afresh: emptying {self.directory}", file=sys.stderr)
        for path in found:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def _check_config(self) -> None:
        """Write what is run, by what and on what, or hold it against what was written before."""
        path, now = self.directory / "config.json", self._maker()
        wanted = json.loads(json.dumps(self._run))
        run, makers = _read_config(path)
        if run is not None and run != wanted:
            raise UserError(f"{path} is of another run: choose another place with --workdir")
        if not any(self.directory.glob("*/checkpoints/*")):
            makers = []  # whoever it was has left nothing
        self._check_data(makers, now)
        told = [maker | {"differs": _differences(maker, now)} for maker in makers]
        self.earlier = [maker for maker in told if maker["differs"]]
        if len(self.earlier) == len(makers):  # this one is new here
            temporary = path.with_suffix(_TEMPORARY)
            text = json.dumps(wanted | {"makers": [*makers, now]}, indent=1)
            temporary.write_text(text + "\n", encoding="utf-8")
            os.replace(temporary, path)
        self._say_what_differs(now)

    def _check_data(self, makers: list[dict[str, Any]], now: dict[str, Any]) -> None:
        for maker in makers:
            before = maker.get("data", now["data"])
            if before != now["data"]:
                raise UserError(
                    f"{self.directory} was trained on {_told(before)}, the data are now "
                    f"{_told(now['data'])}: --noresume trains anew, another --workdir keeps both"
                )

    def _maker(self) -> dict[str, Any]:
        """Return what trains now, and on what: code, versions, devices, data."""
        known = provenance.describe(datetime.datetime.now(datetime.UTC), 0.0)
        names = ("started", "commit", "dirty", "versions", "device", "device_count")
        return {name: known[name] for name in names} | {
            "code": provenance.code_hash(*self._sources),
            "processes": jax.process_count(),
            "data_devices": data_devices(make_mesh()),
            "native kernels": known["native_kernels"],
            "data": _data(),
        }

    def _say_what_differs(self, now: dict[str, Any]) -> None:
        first = {name: maker for maker in reversed(self.earlier) for name in maker["differs"]}
        for name, maker in first.items():
            line = (
                f"begun with {name} {maker.get(name)}, goes on with {now[name]}: its numbers may "
                "differ from an uninterrupted run's"
            )
            if name == "code" and "code" not in maker:
                line = (
                    "config.json is missing or damaged, so which code trained the nets here is not"
                    " known. What they have learned is kept, and the record will say so; "
                    "--noresume trains them anew"
                )
            elif name == "code":
                line = (
                    "the code has changed since nets here were trained "
                    f"({provenance.line(maker)}). What they have learned is kept, and the record "
                    "will say so; --noresume trains them anew"
                )
            print(f"{self.directory.name}: {line}", file=sys.stderr)


def _differences(maker: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return the names of what differs and may change a net's numbers; unknown code differs."""
    names = ("versions", "device", "device_count", "processes", "data_devices", "native kernels")
    differ = [name for name in names if maker.get(name, now[name]) != now[name]]
    return differ if maker.get("code") == now["code"] else ["code", *differ]


def _read_config(path: Path) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Return the run that a ``config.json`` names and who made it; (None, [{}]) if unreadable."""
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        makers = [dict(maker) for maker in run.pop("makers")]
        for maker in makers:
            _told(maker.get("data", []))
    # None there, or damaged: it can be any text at all.
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None, [{}]
    return run, makers


def _data() -> list[dict[str, Any]]:
    """Return what identifies the data that this process has loaded."""
    return [identity.recorded() for identity in data.identities()]


def _told(identities: list[dict[str, Any]]) -> str:
    """Return the identities of data sets in words."""
    told = []
    for each in identities:
        name = " ".join(filter(None, [each["name"], each["version"]]))
        label = f"labels {each['label']}, " if each["label"] else ""
        images = f"{each['train']} and {each['test']} images"
        told.append(f"{name} ({label}{images}, digest {each['digest']})")
    return " and ".join(told) or "no data set"


def _check_usable(directory: Path) -> None:
    """Raise UserError where ``directory`` could not be made or written; makes nothing."""
    parent = directory
    try:
        while not parent.exists():
            parent = parent.parent
        with tempfile.TemporaryDirectory(prefix=".jaxvision-", dir=parent):
            pass
    except OSError as error:
        raise UserError(_refused(directory, error)) from error


def _refused(place: str | os.PathLike, error: Exception) -> str:
    why = getattr(error, "strerror", None) or error
    return f"cannot use {place}: {why}; choose another place with --workdir"


_LOCK, _TEMPORARY = "lock", ".tmp"


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
