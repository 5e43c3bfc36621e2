"""Decoded images on disk, so that a set is decoded once: one file a split, checked by SHA-256.

A file is ``npy(images) npy(labels) sha256-of-all-before``. It is written beside its name and moved
into place, so a reader sees a whole file or none, whoever else is writing.
"""

import contextlib
import hashlib
import os
import sys
from pathlib import Path

import numpy as np

from jaxvision.data.dataset import Dataset

_DIGEST_BYTES = hashlib.sha256().digest_size


def directory() -> Path:
    """Return ``$XDG_CACHE_HOME/jaxvision/data`` (``~/.cache`` by default); it may not exist yet."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(root) / "jaxvision" / "data"


def notice(line: str) -> None:
    """Tell the user something that needs no action, on stderr."""
    print(f"jaxvision: {line}", file=sys.stderr)


def read(path: Path) -> Dataset | None:
    """Return the cached split, or None where there is none or it is damaged (with a notice)."""
    try:
        with open(path, "rb") as file:
            if not _intact(file):
                notice(f"the cached file {path} is damaged; decoding its source again")
                return None
            file.seek(0)
            images = np.load(file, allow_pickle=False)
            return Dataset(images, np.load(file, allow_pickle=False))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        notice(f"cannot read the cache ({error}); decoding its source again")
        return None


def write(path: Path, data: Dataset) -> None:
    """Store a split. A cache that cannot be written (a full disk) costs time, not the run."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "w+b") as file:
            np.save(file, data.images, allow_pickle=False)
            np.save(file, data.labels, allow_pickle=False)
            file.seek(0)
            file.write(hashlib.file_digest(file, "sha256").digest())
        os.replace(partial, path)
    except OSError as error:
        notice(f"cannot write the cache ({error}); the set will be decoded again next time")
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def _intact(file) -> bool:
    """Say whether an open file ends in the digest of everything before it."""
    left = os.fstat(file.fileno()).st_size - _DIGEST_BYTES
    digest = hashlib.sha256()
    while left > 0:
        block = file.read(min(left, 1 << 20))
        digest.update(block)
        left -= len(block)
    return file.read() == digest.digest()
