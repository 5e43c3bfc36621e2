"""What is found at a path before anything is decoded, and the words of every kind of it."""

import re
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from jaxvision.data.decode import Readable
from jaxvision.types import UserError

TRAIN = ("train", "training")
TEST = ("test", "testing")
VALIDATION = ("val", "valid", "validation")
_DIGITS = re.compile(r"([0-9]+)")
_LONGEST_NAME = 40  # letters of a class that are shown


class Part(Readable, Protocol):
    """One split: its labels are known, its images are read when they are asked for.

    Attributes:
      labels: int32 [N], each in [0, K).
    """

    labels: np.ndarray

    def take(self, rows: np.ndarray, title: str) -> "Part":
        """Return some of its images, by ascending ``rows``, as a part of their own."""


class Found(NamedTuple):
    """What lies at a path.

    Attributes:
      train: the training images.
      test: the images to judge by; None where a part of ``train`` is to be held out.
      classes: K names.
      label: the label that is learned, where there are several; "" where there is one.
      key: what changes when a file does: names, sizes, times. JSON can hold it.
      left_out: what lies there too and is not used, in words.
      alike: ``(train, test) -> (train, test)``; looks at all images and makes both parts decode to
        the same height, width and channels, or raises UserError. Not called where the decoded
        images are cached.
    """

    train: Part
    test: Part | None
    classes: tuple[str, ...]
    label: str
    key: list[Any]
    left_out: list[str]
    alike: Callable[[Part, Part], tuple[Part, Part]]


def natural(name: str) -> tuple[Any, ...]:
    """Return a key that sorts as people count: frame2 before frame12, whatever the case.

    Accents count the same whether a letter carries them or they stand beside it, as file systems
    have it.
    """
    pieces = _DIGITS.split(same(name))
    for at in range(1, len(pieces), 2):
        number = pieces[at].lstrip("0")
        pieces[at] = (len(number), number)
    return (*pieces, name)


def same(name: str) -> str:
    """Return what two names share that differ in case or in how accents are kept."""
    return composed(composed(name).casefold())


def composed(name: str) -> str:
    """Return a name with its accents as part of their letters."""
    return unicodedata.normalize("NFC", name)


def stamp(path: Path) -> tuple[int, int]:
    """Return what changes with a file's content: its size and its time."""
    try:
        status = path.stat()
    except OSError:  # a link that leads nowhere, which is told when it is read
        return (0, 0)
    return status.st_size, status.st_mtime_ns


def counted(things: list[str], one: str, several: str) -> str:
    """Return how many things there are, with the first as an example."""
    if len(things) == 1:
        return f"1 {one} ({listed(things)})"
    return f"{len(things):,} {several}, such as {listed(things[:1])}"


def listed(things: Iterable[str], most: int = 3) -> str:
    """Return the first few of some names in words, and how many more there are."""
    names = list(things)
    shown = [f"{name[:_LONGEST_NAME]!r}" for name in names[:most]]
    if len(names) > most:
        shown.append(f"{len(names) - most:,} more")
    return ", ".join(shown)


def numbered(
    values: list[np.ndarray], names: tuple[str, ...], place: str
) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """Return labels as int32 in [0, K) and the names of the K classes.

    A class of which no image is there has a number only where it has a name.

    Args:
      values: labels [N] of each part, integers or texts.
      names: what the integers mean, where that is known. Without them a class is a value that
        occurs, in natural order, and its name is how the value is written.
      place: what is read, for the refusal.

    Raises:
      UserError: a label has no name.
    """
    if len({some.dtype.kind for some in values}) > 1:
        raise UserError(f"the labels of {place} are integers in one split and texts in the other")
    if names:
        return [_named(some, names, place) for some in values], names
    occurring = np.unique(np.concatenate(values))
    if occurring.dtype.kind == "i" and occurring[0] < 0:
        raise UserError(
            f"{place} holds the label {occurring[0]}, and classes count from 0: leave out examples"
            " that have no label"
        )
    if occurring.dtype.kind == "U":
        order = sorted(range(len(occurring)), key=lambda at: natural(str(occurring[at])))
    else:
        order = list(range(len(occurring)))
    places = np.empty(len(order), np.int32)
    places[order] = np.arange(len(order))
    labels = [places[np.searchsorted(occurring, some)] for some in values]
    return labels, tuple(str(occurring[at]) for at in order)


def _named(values: np.ndarray, names: tuple[str, ...], place: str) -> np.ndarray:
    """Return labels as int32 where the names of the classes are known, by number or by name."""
    if values.dtype.kind == "U":
        number = {name: at for at, name in enumerate(names)}
        labels = np.array([number.get(value, -1) for value in values.tolist()])
    else:
        labels = values
    outside = np.flatnonzero((labels < 0) | (labels >= len(names)))
    if len(outside):
        raise UserError(
            f"example {outside[0]} of {place} has label {values[outside[0]]}, but it names"
            f" {len(names)} classes, 0 to {len(names) - 1}: correct the labels or the names"
        )
    return labels.astype(np.int32)
