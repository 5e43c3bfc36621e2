"""Decoding a prepared split: a small one into memory, a large one by several processes to disk."""

import contextlib
import dataclasses
import functools
import logging
import math
import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np

from jaxvision import runtime
from jaxvision.data import cache
from jaxvision.data.dataset import Dataset
from jaxvision.progress import progress
from jaxvision.types import UserError

_BLOCK = 128  # images between two updates of the progress line; Ctrl-C waits for as many
_RESIZED = "say --image_size where the experiment has that flag, or prepare a set of one size"


@dataclasses.dataclass(frozen=True)
class Source:
    """One split of a prepared set, and what is wanted of it.

    Attributes:
      directory: of the prepared version.
      split: its name.
      image, label: names of the features.
      size: pixels of a side that images are brought to; None takes them as they are.
    """

    directory: str
    split: str
    image: str
    label: str
    size: int | None = None

    @functools.cached_property
    def builder(self) -> Any:
        """The TFDS builder, which knows the set's metadata."""
        import tensorflow_datasets as tfds  # late: it is slow, and not everybody has it

        return tfds.builder_from_directory(self.directory)

    @functools.cached_property
    def opened(self) -> Any:
        """The split's examples by index; opening raises whatever array_record and TFDS do."""
        return self.builder.as_data_source(split=self.split)

    def __len__(self) -> int:
        return self.builder.info.splits[self.split].num_examples

    def first_label(self) -> int:
        """Return the label of the first example; -1 where labels are withheld."""
        return int(self._examples(range(1))[0][self.label])

    def read(
        self, indices: range, shape: tuple[int, ...] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return images uint8 [n, H, W, C] and labels int32 [n].

        Raises:
          UserError: the files are damaged, or an image is not of ``shape`` [H, W, C] (None: that of
            the first).
        """
        images = None
        examples = self._examples(indices)
        for i, example in enumerate(examples):
            pixels = example[self.image]
            pixels = pixels if self.size is None else _square(pixels, self.size)
            if images is None:
                shape = shape or pixels.shape
                images = np.empty((len(examples), *shape), np.uint8)
            if pixels.shape != shape:
                raise UserError(
                    f"the images of {self.builder.info.full_name} differ in size (such as"
                    f" {shape[:2]} and {pixels.shape[:2]}): {_RESIZED}"
                )
            images[i] = pixels
        return images, np.array([example[self.label] for example in examples], np.int32)

    def _examples(self, indices: range) -> list[dict[str, Any]]:
        try:
            return self.opened.__getitems__(list(indices))
        except Exception as error:  # a hash mismatch, a cut file, an undecodable image
            raise damaged(self.directory, error) from error


def decode(source: Source, path: Path) -> Dataset:
    """Decode every image of a split, and keep them in the cached file ``path``.

    A small set is decoded here and returned in memory, whether or not the cache can be written. A
    large one goes straight to disk, by a process a core (threads were measured and do not help:
    the GIL is held), and is returned as a map of the file.

    Raises:
      UserError: the files are damaged, images differ in size, or the disk has no room for a large
        set.
    """
    first, _ = source.read(range(1))
    shape = (len(source), *first.shape[1:])
    if math.prod(shape) >= cache.LARGE:
        return _to_disk(source, path, shape)
    images, labels = np.empty(shape, np.uint8), np.empty(len(source), np.int32)
    with _progress(source) as bar:
        for block in _blocks(len(source)):
            rows = slice(block.start, block.stop)
            images[rows], labels[rows] = source.read(block, shape[1:])
            bar.advance(len(block))
    data = Dataset(images, labels)
    cache.write(path, data)
    return data


def damaged(directory: Any, error: Exception) -> UserError:
    """Return the one line about files that cannot be read."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return UserError(
        f"the prepared data in {directory} is damaged or incomplete: remove it and prepare it again"
        f" ({reason})"
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop two lines of advice that array_record and TFDS log as errors; everything else passes."""

    def wanted(record: logging.LogRecord) -> bool:
        advice = r"Grain requires group size 1|OpenCV is not installed"
        return not re.search(advice, str(record.msg))

    logger = logging.getLogger("absl")
    logger.addFilter(wanted)
    try:
        yield
    finally:
        logger.removeFilter(wanted)


def _square(pixels: np.ndarray, size: int) -> np.ndarray:
    """Return the middle of pixels [H, W, C] as [size, size, C], the shorter side scaled to fit."""
    from PIL import Image

    height, width, channels = pixels.shape
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    box = (left, top, left + side, top + side)
    scaled = picture.resize((size, size), Image.Resampling.BILINEAR, box)  # smooths when it shrinks
    return np.asarray(scaled).reshape(size, size, channels)


def _blocks(count: int) -> list[range]:
    return [range(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK)]


def _progress(source: Source) -> contextlib.AbstractContextManager:
    return progress(len(source), f"decoding {source.builder.info.name} {source.split}")


# A large split: this process hands out blocks, workers write them to the file.


def _to_disk(source: Source, path: Path, shape: tuple[int, ...]) -> Dataset:
    try:
        return cache.build(path, shape, functools.partial(_fill, source, shape))
    except OSError as error:
        raise UserError(
            f"{source.builder.info.full_name} {source.split} needs {math.prod(shape):,} bytes of"
            f" disk when decoded, and {path.parent} refuses ({error.strerror or error}): point"
            " XDG_CACHE_HOME at a larger disk"
        ) from error


def _fill(source: Source, shape: tuple[int, ...], file: Path, offset: int) -> np.ndarray:
    """Write all images to the file; returns the labels."""
    labels = np.empty(shape[0], np.int32)
    blocks, workers = _blocks(shape[0]), runtime.usable_cores()
    opens = dataclasses.replace(source)  # without what this process has opened
    pool = ProcessPoolExecutor(
        min(workers, len(blocks)),
        multiprocessing.get_context("spawn"),
        _begin,
        (opens, shape[1:], str(file), offset),
    )
    try:
        # Workers inherit the mask, for Ctrl-C goes to all processes of a terminal: ours ends them.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            found = pool.map(_work, blocks)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        with _progress(source) as bar:
            for block, some in zip(blocks, found, strict=True):
                labels[block.start : block.stop] = some
                bar.advance(len(block))
    except BrokenProcessPool as error:
        raise UserError("a process that decoded images was killed: out of memory?") from error
    finally:
        pool.shutdown(cancel_futures=True)
    return labels


_task: tuple[Source, tuple[int, ...], Any, int]  # of a worker


def _begin(source: Source, shape: tuple[int, ...], file: str, offset: int) -> None:
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
