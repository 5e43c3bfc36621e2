"""Image files as one split: in folders or in the rows of a Parquet file, read by the same code."""

import dataclasses
import warnings
from collections.abc import Iterator
from typing import BinaryIO, Protocol

import numpy as np

from jaxvision.data.names import printable
from jaxvision.data.pixels import Look, ModeError, decoded, look, squared
from jaxvision.progress import progress, silent
from jaxvision.types import UserError

_MANY = 5000  # files whose headers take long enough for a line of progress


class Files(Protocol):
    """Image files by number."""

    def opened(self, number: int) -> BinaryIO:
        """Open a file; raises OSError where it cannot be had."""

    def called(self, number: int) -> str:
        """Return how a user finds the file."""


@dataclasses.dataclass(frozen=True, eq=False)
class Pictures:
    """One split of image files; a ``found.Part``.

    Attributes:
      title: what a line of progress calls it.
      place: the path as the user wrote it.
      files: where the images are.
      rows: int [N], the numbers of its files.
      labels: int32 [N].
      size: pixels of a side that images are brought to; None takes them as they are.
      channels: 1, or 3 where any file of either split is in color.
    """

    title: str
    place: str
    files: Files
    rows: np.ndarray
    labels: np.ndarray
    size: int | None
    channels: int = 3
    in_order = False

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        return self.title

    def take(self, rows: np.ndarray, title: str) -> "Pictures":
        """Return some of the images as a split of their own."""
        return dataclasses.replace(
            self, rows=self.rows[rows], labels=self.labels[rows], title=title
        )

    def read(
        self, indices: range, shape: tuple[int, ...] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return images uint8 [n, H, W, C] and labels int32 [n].

        Raises:
          UserError: a file is damaged; the line names it.
        """
        rows = slice(indices.start, indices.stop)
        numbers = self.rows[rows].tolist()
        pixels = [self._pixels(number) for number in numbers]
        images = [each for each in pixels if not isinstance(each, str)]
        if len(images) < len(pixels):
            raise _refused([each for each in pixels if isinstance(each, str)])
        for number, image in zip(numbers, images, strict=True):
            if image.shape != (shape or images[0].shape):  # it has changed since it was looked at
                raise UserError(f"{self.files.called(number)} changes while it is read: try again")
        return np.stack(images), self.labels[rows]

    def _pixels(self, number: int) -> np.ndarray | str:
        """Return an image, or which file it is and why it is none."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a tag that is broken beside sound pixels
                with self.files.opened(number) as file:
                    pixels = decoded(file.read(), self.channels, upright=True)
        except Exception as error:  # whatever Pillow raises for damage
            return f"{self.files.called(number)} ({_reason(error)})"
        return pixels if self.size is None else squared(pixels, self.size)


def alike(train: Pictures, test: Pictures) -> tuple[Pictures, Pictures]:
    """Look at the headers of all files, and let both splits show them in the same channels.

    Raises:
      UserError: files are no images, or they differ in size and none is asked for.
    """
    colored = False
    sizes: dict[tuple[int, int], str] = {}  # with the first file of each
    faults = []
    for name, seen in _looks(train, test):
        if isinstance(seen, str):
            faults.append(f"{name} ({seen})")
        else:
            colored |= not seen.gray
            sizes.setdefault(seen.size, name)
    if faults:
        raise _refused(faults)
    if len(sizes) > 1 and train.size is None:
        (one, first), (other, second), *_ = sizes.items()
        raise UserError(
            f"the images of {train.place} differ in size, such as {first} ({_by(one)}) and"
            f" {second} ({_by(other)}): --dataset={train.place}@64px scales all of them to 64 x 64"
            " pixels, as --image_size=64 does where the experiment has it"
        )
    channels = 3 if colored else 1
    return (
        dataclasses.replace(train, channels=channels),
        dataclasses.replace(test, channels=channels),
    )


def _looks(*splits: Pictures) -> Iterator[tuple[str, Look | str]]:
    """Yield the name of every file with what its header says, or with what is wrong with it."""
    total = sum(map(len, splits))
    show = progress if total >= _MANY else silent
    with show(total, f"looking at the images of {printable(splits[0].place)}") as bar:
        for split in splits:
            for number in split.rows.tolist():
                yield split.files.called(number), _look(split.files, number)
                bar.advance()


def _look(files: Files, number: int) -> Look | str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with files.opened(number) as file:
                return look(file)
    except Exception as error:  # whatever Pillow raises for what it does not know
        return _reason(error)


def _refused(faults: list[str]) -> UserError:
    some = "this file" if len(faults) == 1 else f"{len(faults):,} files, such as this one,"
    return UserError(f"{some} cannot be read as an image: {faults[0]}; mend it, or take it away")


def _reason(error: Exception) -> str:
    """Return why a file is no image, without the address that Pillow writes."""
    if isinstance(error, ModeError):
        return f"it keeps {error}, which has no meaning in 8 bits"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = (text.strip().splitlines() or [type(error).__name__])[0]
    if "cannot identify image file" in text:
        return "its content is of no image format that is read here"
    return text


def _by(size: tuple[int, int]) -> str:
    return " x ".join(map(str, size))
