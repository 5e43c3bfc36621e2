"""Decoded images on disk, so that a set is decoded once: one file a split, checked by SHA-256.

A file is ``npy(images) npy(labels) sha256-of-all-before``. It is written beside its name and moved
into place, so a reader sees a whole file or none, whoever else is writing. It is read as a memory
map: a set may be larger than memory, and processes of one host share its pages.
"""

import contextlib
import fcntl
import hashlib
import math
import mmap
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from jaxvision.data.dataset import Dataset
from jaxvision.progress import progress

LARGE = 1 << 30  # bytes of a set that is worth a progress line, worker processes, a file first
_DIGEST_BYTES = hashlib.sha256().digest_size
_MIB = 1 << 20


def directory() -> Path:
    """Return ``$XDG_CACHE_HOME/jaxvision/data`` (``~/.cache`` by default); it may not exist yet."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(root) / "jaxvision" / "data"


def notice(line: str) -> None:
    """Tell the user something that needs no action, on stderr."""
    print(f"jaxvision: {line}", file=sys.stderr)


def read(path: Path) -> Dataset | None:
    """Return the cached split, or None where there is none or it is damaged (with a notice).

    The images are a read-only map of the file, not in memory. All of it is read and hashed first,
    1 to 2 GB a second from a disk that is as fast: some two minutes for ImageNet at 224 pixels.
    """
    try:
        with open(path, "rb") as file:
            if _intact(file):
                return _mapped(file)
        notice(f"the cached file {path} is damaged; decoding its source again")
        with contextlib.suppress(OSError):
            path.unlink()  # make room for its successor
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        notice(f"cannot read the cache ({error}); decoding its source again")
    return None


def read_ahead(array: np.ndarray, rows: np.ndarray) -> None:
    """Ask the system to fetch rows of a mapped array; does nothing for one in memory.

    Left to page faults, a cold disk gave a tenth of the rows a second: it was asked for few pages
    at a time.
    """
    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if not isinstance(owner, mmap.mmap) or not hasattr(mmap, "MADV_WILLNEED"):
        return
    start = array.ctypes.data - np.frombuffer(owner, np.uint8).ctypes.data
    for row in rows.ravel().tolist():
        first = start + row * array.strides[0]
        page = first - first % mmap.PAGESIZE
        owner.madvise(mmap.MADV_WILLNEED, page, first + array[0].nbytes - page)


def write(path: Path, data: Dataset) -> None:
    """Store a split. A cache that cannot be written (a full disk) costs time, not the run."""

    def fill(partial: Path, offset: int) -> np.ndarray:
        with open(partial, "r+b") as file:
            file.seek(offset)
            file.write(data.images.data)
        return data.labels

    try:
        build(path, data.images.shape, fill)
    except OSError as error:
        notice(f"cannot write the cache ({error}); the set will be decoded again next time")


def build(path: Path, shape: tuple[int, ...], fill: Callable[[Path, int], np.ndarray]) -> Dataset:
    """Store a split that need not fit in memory; returns it mapped.

    One process makes it while others wait; what a killed one has left is written over.

    Args:
      path: of the cached file.
      shape: of the images, uint8 [N, H, W, C]. Their room on the disk is taken before anything is
        decoded.
      fill: ``(file, offset) -> labels int32 [N]``; writes the images' bytes into the named file,
        the first at ``offset``.

    Raises:
      OSError: the disk refuses. Nothing partial is left then, nor after Ctrl-C.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    with _alone(partial) as file:
        try:
            if path.exists() and (made := read(path)) is not None:  # by the one we waited for
                return made
            file.truncate(0)
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            offset = file.tell()
            file.flush()
            if hasattr(os, "posix_fallocate"):  # not on macOS, where a full disk is met later
                os.posix_fallocate(file.fileno(), 0, offset + math.prod(shape))
            labels = fill(partial, offset)
            file.seek(offset + math.prod(shape))
            _finish(file, labels)
            os.replace(partial, path)
            return _mapped(file)
        finally:
            with contextlib.suppress(OSError):
                partial.unlink()


@contextlib.contextmanager
def _alone(partial: Path) -> Iterator[BinaryIO]:
    """Open a partial file that nobody else writes; waits for one who does."""
    while True:
        with os.fdopen(os.open(partial, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                notice(f"another process is writing {partial.stem}: waiting for it")
                fcntl.flock(file, fcntl.LOCK_EX)
            # It may have been finished and renamed, or given up and removed, before it was ours.
            if partial.exists() and os.path.samestat(os.fstat(file.fileno()), partial.stat()):
                yield file
                return


def _finish(file: BinaryIO, labels: np.ndarray) -> None:
    """Append what follows the images."""
    np.save(file, labels, allow_pickle=False)
    end = file.tell()
    file.seek(0)
    with _shown(end, "hashing the decoded images") as advance:
        digest = _digest(file, end, advance)
    file.write(digest)
    file.flush()


def _mapped(file: BinaryIO) -> Dataset:
    file.seek(0)
    if np.lib.format.read_magic(file) != (1, 0):
        raise OSError(f"{file.name} is of an unknown version of npy")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    if fortran_order or dtype != np.uint8:
        raise OSError(f"{file.name} does not hold rows of bytes")
    start = file.tell()
    images = np.memmap(file, np.uint8, "r", start, shape)
    file.seek(start + images.size)
    return Dataset(np.asarray(images), np.load(file, allow_pickle=False))


def _intact(file: BinaryIO) -> bool:
    """Say whether an open file ends in the digest of everything before it."""
    size = os.fstat(file.fileno()).st_size
    left = max(size - _DIGEST_BYTES, 0)
    with _shown(size, f"checking {Path(file.name).stem}") as advance:
        digest = _digest(file, left, advance)
    return file.read() == digest


def _digest(file: BinaryIO, left: int, advance: Callable[[int], None]) -> bytes:
    """Return the SHA-256 of the next ``left`` bytes."""
    digest = hashlib.sha256()
    while left > 0 and (block := file.read(min(left, _MIB))):
        digest.update(block)
        left -= len(block)
        advance(1)
    return digest.digest()


@contextlib.contextmanager
def _shown(size: int, what: str) -> Iterator[Callable[[int], None]]:
    """Yield the function that is told of every MiB; shows nothing for a small file."""
    if size < LARGE:
        yield lambda _: None
    else:
        with progress(-(-size // _MIB), f"{what}, MiB") as bar:
            yield bar.advance
