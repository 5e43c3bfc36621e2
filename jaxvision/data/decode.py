"""Decoding a split: a small one into memory, a large one by several processes to disk."""

import contextlib
import dataclasses
import functools
import logging
import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from jaxvision import runtime
from jaxvision.data import cache
from jaxvision.data.dataset import Dataset
from jaxvision.data.names import printable
from jaxvision.data.source import blocks
from jaxvision.progress import progress
from jaxvision.types import UserError

_BLOCK = 128  # images between two updates of the progress line; Ctrl-C waits for as many


class Readable(Protocol):
    """A dataclass that is one split, ``Source`` or a user's own, to be read in blocks.

    Attributes:
      title: what a line of progress calls it.
      in_order: whether it is read well from its first image to its last alone.
    """

    title: str
    in_order: bool

    def __len__(self) -> int:
        """Return the number of its images."""

    def read(
        self, indices: range, shape: tuple[int, ...] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return images uint8 [n, H, W, C] and labels int32 [n]."""


def decode(source: Readable, path: Path) -> cache.Stored:
    """Decode every image of a split, and keep them in the cached file ``path``.

    A small set is decoded here and returned in memory, whether or not the cache can be written. A
    large one goes straight to disk, by a process a core (threads were measured and do not help:
    the GIL is held), and is returned as a map of the file.

    Raises:
      UserError: the files are damaged or not as described, images differ in size, or the disk has
        no room for a large set.
    """
    first, _ = source.read(range(1))
    shape = (len(source), *first.shape[1:])
    if math.prod(shape) >= cache.LARGE:
        return _to_disk(source, path, shape)
    images, labels = np.empty(shape, np.uint8), np.empty(len(source), np.int32)
    with _progress(source) as bar:
        for block in blocks(len(source), _BLOCK):
            rows = slice(block.start, block.stop)
            images[rows], labels[rows] = source.read(block, shape[1:])
            bar.advance(len(block))
    data = Dataset(images, labels)
    cache.write(path, data)
    return cache.in_memory(data)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop a line of advice that array_record logs as an error; everything else passes."""

    def wanted(record: logging.LogRecord) -> bool:
        return "Grain requires group size 1" not in str(record.msg)

    logger = logging.getLogger("absl")
    logger.addFilter(wanted)
    try:
        yield
    finally:
        logger.removeFilter(wanted)


def _progress(source: Readable) -> contextlib.AbstractContextManager:
    return progress(len(source), f"decoding {printable(source.title)}")


# A large split: this process hands out blocks, workers write them to the file.


def _to_disk(source: Readable, path: Path, shape: tuple[int, ...]) -> cache.Stored:
    try:
        fill = _fill_in_order if source.in_order else _fill
        return cache.build(path, shape, functools.partial(fill, source, shape))
    except OSError as error:
        raise UserError(
            f"{source} needs {math.prod(shape):,} bytes of disk when decoded, and {path.parent}"
            f" refuses ({error.strerror or error}): point XDG_CACHE_HOME at a larger disk"
        ) from error


def _fill_in_order(source: Readable, shape: tuple[int, ...], file: Path, offset: int) -> np.ndarray:
    """Write all images to the file, in this process; returns the labels."""
    labels = np.empty(shape[0], np.int32)
    with open(file, "r+b") as out, _progress(source) as bar:
        out.seek(offset)
        for block in blocks(shape[0], _BLOCK):
            images, labels[block.start : block.stop] = source.read(block, shape[1:])
            out.write(memoryview(np.ascontiguousarray(images)).cast("B"))
            bar.advance(len(block))
    return labels


def _fill(source: Readable, shape: tuple[int, ...], file: Path, offset: int) -> np.ndarray:
    """Write all images to the file; returns the labels."""
    labels = np.empty(shape[0], np.int32)
    work, workers = blocks(shape[0], _BLOCK), runtime.usable_cores()
    opens = dataclasses.replace(source)  # without what this process has opened
    pool = ProcessPoolExecutor(
        min(workers, len(work)),
        multiprocessing.get_context("spawn"),
        _begin,
        (opens, shape[1:], str(file), offset),
    )
    try:
        # Workers inherit the mask, for Ctrl-C goes to all processes of a terminal: ours ends them.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            found = pool.map(_work, work)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        with _progress(source) as bar:
            for block, some in zip(work, found, strict=True):
                labels[block.start : block.stop] = some
                bar.advance(len(block))
    except BrokenProcessPool as error:
        raise UserError("a process that decoded images was killed: out of memory?") from error
    finally:
        pool.shutdown(cancel_futures=True)
    return labels


_task: tuple[Readable, tuple[int, ...], Any, int]  # of a worker


def _begin(source: Readable, shape: tuple[int, ...], file: str, offset: int) -> None:
    """Make this process a worker, which ends when its parent does, however that may be."""
    global _task
    _task = source, shape, os.open(file, os.O_WRONLY), offset

    def end_with_parent() -> None:
        wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _work(block: range) -> np.ndarray:
    """Decode a block and write it in its place; returns its labels."""
    source, shape, file, offset = _task
    with quiet():
        images, labels = source.read(block, shape)
    left, at = memoryview(images).cast("B"), offset + block.start * math.prod(shape)
    while left:  # pwrite may write less; a full disk is an OSError, where a map would be a SIGBUS
        written = os.pwrite(file, left, at)
        left, at = left[written:], at + written
    return labels
