"""Decoded images on disk, so that a set is decoded once: one file a split, checked by SHA-256.

A file is a header of 128 bytes with the shape, the images' bytes, the labels as little-endian
int32, and the SHA-256 of all before, which serves as the digest of the split's content. It is
written beside its name and moved into place, so a reader sees a whole file or none, whoever else is
writing. It is read as a memory map: a set may be larger than memory, and processes of one host
share its pages.
"""

import contextlib
import fcntl
import hashlib
import math
import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from jaxvision import runtime
from jaxvision.data.dataset import Dataset
from jaxvision.progress import note, progress

LARGE = 1 << 30  # bytes of a set that is worth a progress line, worker processes, a file first
_DIGEST_BYTES = hashlib.sha256().digest_size
_HEADER_BYTES = 128
_KIND = "jaxvision images 3"
_LABEL = np.dtype("<i4")
_MIB = 1 << 20


class Stored(NamedTuple):
    """A split and the digest of its content, 64 hex digits: the same in memory and on disk."""

    data: Dataset
    digest: str


def in_memory(data: Dataset) -> Stored:
    """Return a split with the digest that its cached file would have, and of its masks."""
    digest = hashlib.sha256(_header(data.images.shape))
    digest.update(np.ascontiguousarray(data.images))
    digest.update(np.ascontiguousarray(data.labels, _LABEL))
    if data.masks is not None:
        digest.update(np.packbits(data.masks))
    return Stored(data, digest.hexdigest())


def directory() -> Path:
    """Return ``$XDG_CACHE_HOME/jaxvision/data`` (``~/.cache`` by default); it may not exist yet."""
    return runtime.user_cache() / "jaxvision" / "data"


def read(path: Path) -> Stored | None:
    """Return the cached split, or None where there is none or it is damaged (with a note).

    The images are a read-only map of the file, not in memory. All of it is read and hashed first,
    1 to 2 GB a second from a disk that is as fast: some two minutes for ImageNet at 224 pixels.
    """
    try:
        with open(path, "rb") as file:
            digest = _intact(file)
            if digest:
                return _mapped(file, digest)
        note(f"the cached file {path} is damaged; decoding its source again")
        with contextlib.suppress(OSError):
            path.unlink()  # make room for its successor
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        note(f"cannot read the cache ({error}); decoding its source again")
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
        note(f"cannot write the cache ({error}); the set will be decoded again next time")


def build(path: Path, shape: tuple[int, ...], fill: Callable[[Path, int], np.ndarray]) -> Stored:
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
            file.write(_header(shape))
            file.flush()
            if hasattr(os, "posix_fallocate"):  # not on macOS, where a full disk is met later
                os.posix_fallocate(file.fileno(), 0, _HEADER_BYTES + math.prod(shape))
            labels = fill(partial, _HEADER_BYTES)
            file.seek(_HEADER_BYTES + math.prod(shape))
            digest = _finish(file, labels)
            os.replace(partial, path)
            return _mapped(file, digest)
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
                note(f"another process is writing {partial.stem}: waiting for it")
                fcntl.flock(file, fcntl.LOCK_EX)
            # It may have been finished and renamed, or given up and removed, before it was ours.
            if partial.exists() and os.path.samestat(os.fstat(file.fileno()), partial.stat()):
                yield file
                return


def _finish(file: BinaryIO, labels: np.ndarray) -> str:
    """Append what follows the images; returns the digest."""
    file.write(np.ascontiguousarray(labels, _LABEL))
    end = file.tell()
    file.seek(0)
    with _shown(end, "hashing the decoded images") as advance:
        digest = _digest(file, end, advance)
    file.write(digest)
    file.flush()
    return digest.hex()


def _header(shape: tuple[int, ...]) -> bytes:
    """Return what a file begins with: no format of a library, whose next release may differ."""
    return f"{_KIND} {' '.join(map(str, shape))}\n".ljust(_HEADER_BYTES).encode()


def _mapped(file: BinaryIO, digest: str) -> Stored:
    """Return the split that an intact file holds."""
    file.seek(0)
    header = file.read(_HEADER_BYTES).decode()
    if not header.startswith(_KIND):
        raise OSError(f"{file.name} is a file of another kind")
    shape = tuple(map(int, header.removeprefix(_KIND).split()))
    images = np.memmap(file, np.uint8, "r", _HEADER_BYTES, shape)
    file.seek(_HEADER_BYTES + images.size)
    labels = np.frombuffer(file.read(shape[0] * _LABEL.itemsize), _LABEL)
    return Stored(Dataset(np.asarray(images), labels.astype(np.int32)), digest)


def _intact(file: BinaryIO) -> str:
    """Return the digest of an open file that ends in that of everything before it, else ""."""
    size = os.fstat(file.fileno()).st_size
    left = max(size - _DIGEST_BYTES, 0)
    with _shown(size, f"checking {Path(file.name).stem}") as advance:
        digest = _digest(file, left, advance)
    return digest.hex() if file.read() == digest else ""


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
