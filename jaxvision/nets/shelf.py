"""Where trained runs lie: a folder for each key, in it a sealed file for each seed.

What cannot be read is trained again, and what cannot be written is trained again next time. Both
are said in one line, and neither ends a program.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from jaxvision.data import cache
from jaxvision.longrun import sealed
from jaxvision.nets.training import Net, Run
from jaxvision.progress import note
from jaxvision.trees import named_leaves
from jaxvision.types import PyTree


def default_directory() -> Path:
    """Return ``$XDG_CACHE_HOME/jaxvision/nets`` (``~/.cache`` by default)."""
    return cache.directory().with_name("nets")


class Shelf:
    """The runs of one net on disk.

    Args:
      directory: of all nets; made when the first one is kept.
      net: whose runs lie here.
    """

    def __init__(self, directory: Path, net: Net) -> None:
        self._net, self._folder = net, directory / net.key
        self._template = named_leaves(net.template())
        self._said: set[str] = set()

    @property
    def unfinished(self) -> Path:
        """The folder of trainings that are not done."""
        return self._folder / "unfinished"

    def read(self, seed: int) -> Run | None:
        """Return the run of a seed; None where there is none, or none that can be trusted."""
        path = self._path(seed)
        try:
            arrays, facts = sealed.read(path)
            self._check(seed, arrays, facts)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except sealed.Damaged as reason:
            self._say(f"the net in {path} cannot be used ({reason}): training it anew")
            return None
        except OSError as error:
            self._say(f"cannot read {path} ({error.strerror or error}): training the net anew")
            return None
        return Run({step: self._tree(arrays, step) for step in facts["steps"]}, facts["note"])

    def write(self, seed: int, run: Run) -> None:
        """Keep a run, in one piece; call it while ``locked``."""
        arrays = {
            _name(step, leaf): value
            for step, tree in run.weights.items()
            for leaf, value in named_leaves(tree).items()
        }
        facts = self._owner(seed) | {"steps": sorted(run.weights), "note": run.note}
        try:
            sealed.write(self._path(seed), arrays, **facts)
        except OSError as error:
            self._give_up(error)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Let no other process train this net meanwhile; waits for one that does, and says so."""
        with contextlib.ExitStack() as held:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                descriptor = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
                held.callback(os.close, descriptor)
                self._wait(descriptor)
                self._describe()
            except OSError as error:
                self._give_up(error)
            yield

    def _wait(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            note(f"process {holder} is training {self._net.spec}: waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)

    def _describe(self) -> None:
        """Write for people what lies here, and remove what a killed process has left."""
        for left in self._folder.glob("*.new"):
            left.unlink()
        text = json.dumps(dataclasses.asdict(self._net.spec), indent=1)
        (self._folder / "spec.json").write_text(f"{text}\n", encoding="utf-8")

    def _give_up(self, error: OSError) -> None:
        why = error.strerror or error
        self._say(f"cannot keep nets in {self._folder} ({why}): training them again next time")

    def _say(self, line: str) -> None:
        """Tell the user, once: a file is read again when the lock is held."""
        if line not in self._said:
            note(line)
        self._said.add(line)

    def _path(self, seed: int) -> Path:
        return self._folder / f"seed{seed}.npz"

    def _owner(self, seed: int) -> dict[str, str | int]:
        return {"key": self._net.key, "seed": seed}

    def _check(self, seed: int, arrays: dict[str, np.ndarray], facts: sealed.Seal) -> None:
        """Raise ``Damaged`` where a file is whole but another net's."""
        for name, wanted in self._owner(seed).items():
            if facts.get(name) != wanted:
                raise sealed.Damaged(f"it is of {name} {facts.get(name)}")
        kinds = {
            _name(step, leaf): kind
            for step in facts["steps"]
            for leaf, kind in sealed.kinds(self._template).items()
        }
        if facts["kinds"] != kinds or self._net.spec.steps not in facts["steps"]:
            raise sealed.Damaged("it has other leaves")

    def _tree(self, arrays: dict[str, np.ndarray], step: int) -> PyTree:
        template = self._net.template()
        leaves = [arrays[_name(step, leaf)] for leaf in self._template]
        return jax.tree.unflatten(jax.tree.structure(template), leaves)


def _name(step: int, leaf: str) -> str:
    return f"{step}/{leaf}"
