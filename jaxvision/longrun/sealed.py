"""Seals: what arrays must be to be trusted, down to the bit; and files that carry theirs.

A seal is a JSON table of facts about some arrays, with the SHA-256 of each leaf and one of its own.
Whoever reads arrays and seal back can tell whether either has changed.
"""

import contextlib
import hashlib
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from jaxvision.trees import named_leaves
from jaxvision.types import PyTree

Seal = dict[str, Any]  # JSON values

_SEAL = "seal"  # the name of its entry in a file; no leaf has it, for theirs end in '.npy'


class Damaged(Exception):
    """Why a file cannot be trusted."""


def seal(tree: PyTree, **facts: Any) -> Seal:
    """Return the seal of a tree of arrays: the facts, kinds and hashes of its leaves."""
    made = facts | {"kinds": kinds(tree), "sha256s": _hashes(tree)}
    return made | {"sha256": _own_hash(made)}


def is_whole(found: Seal) -> bool:
    """Whether a seal is as it was made."""
    return found.get("sha256") == _own_hash(found)


def changed_leaves(found: Seal, tree: PyTree) -> list[str]:
    """Return the names of the leaves that are not what they were when the seal was made."""
    now = _hashes(tree)
    return [name for name, digest in found["sha256s"].items() if now.get(name) != digest]


def kinds(tree: PyTree) -> dict[str, str]:
    """Return dtype and shape of every leaf by name, as in ``float32[3, 64]``."""
    return {
        name: f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}"
        for name, leaf in named_leaves(tree).items()
    }


def write(path: Path, arrays: dict[str, np.ndarray], **facts: Any) -> None:
    """Write arrays and their seal as one file, which is there whole or not at all.

    Raises:
      OSError: the disk refuses; what had the name before stays.
    """
    partial = path.with_name(f"{path.name}.new")
    try:
        with open(partial, "wb") as file:
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr(_SEAL, json.dumps(seal(arrays, **facts)))
                for name, array in arrays.items():
                    archive.writestr(f"{name}.npy", _bytes_of(array))
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def read(path: Path) -> tuple[dict[str, np.ndarray], Seal]:
    """Return the arrays of a file and their seal.

    Raises:
      Damaged: something in it is not as it was written.
      OSError: there is no such file, or the disk refuses.
    """
    content = path.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found = dict(json.loads(archive.read(_SEAL)))
            arrays = {name: _array_of(archive.read(f"{name}.npy")) for name in found["sha256s"]}
            whole = is_whole(found)
    except Exception as error:  # a changed byte can make anything of an archive, a table, an array
        raise Damaged("it cannot be read") from error
    if not whole:
        raise Damaged("its seal has changed")
    if changed := changed_leaves(found, arrays):
        raise Damaged(f"{changed[0]} has changed")
    return arrays, found


def _bytes_of(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=False)
    return buffer.getvalue()


def _array_of(content: bytes) -> np.ndarray:
    return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)


def _own_hash(found: Seal) -> str:
    facts = {name: value for name, value in found.items() if name != "sha256"}
    return _sha256(json.dumps(facts, sort_keys=True).encode())


def _hashes(tree: PyTree) -> dict[str, str]:
    # As bytes: bfloat16 has no buffer that hashlib reads.
    return {
        name: _sha256(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8))
        for name, leaf in named_leaves(tree).items()
    }


def _sha256(content: Any) -> str:
    return hashlib.sha256(content).hexdigest()
