"""Which data a run has seen: a set's name, version and content, in one small value."""

import dataclasses
import hashlib
from typing import Any


@dataclasses.dataclass(frozen=True)
class Identity:
    """What tells a loaded set from every other.

    Attributes:
      name: of the set, with its config: ``cifar10``, ``imagenet_resized/32x32``.
      version: as its description says; "" for an embedded set.
      label: the class label that is learned, where the set has several; "" where it has one.
      digest: 12 hex digits of the content. They change with one pixel, one label, the order of the
        examples or the number of classes, and with nothing else: not with where the set lies, how
        its files are cut or when they were written.
      train: number of training images.
      test: number of test images.
      classes: of a user's own set, whose name says nothing: the K names in the order of the labels.
    """

    name: str
    version: str
    label: str
    digest: str
    train: int
    test: int
    classes: tuple[str, ...] = ()

    def recorded(self) -> dict[str, Any]:
        """Return what a record says of the set, as JSON gives it back."""
        known = dataclasses.asdict(self)
        classes = list(known.pop("classes"))
        return known | ({"classes": classes} if classes else {})


def combined(train: str, test: str, num_classes: int) -> str:
    """Return the digest of a set from the digests of its two splits."""
    return hashlib.sha256(f"{train} {test} {num_classes}".encode()).hexdigest()[:12]


_loaded: dict[Identity, None] = {}  # a set that keeps its order


def note(identity: Identity) -> None:
    """Remember that a set was loaded."""
    _loaded[identity] = None


def identities() -> tuple[Identity, ...]:
    """Return the identities of the sets that this process has loaded, in order, each once."""
    return tuple(_loaded)


def forget_identities() -> None:
    """Begin anew, as at the start of another run in the same process."""
    _loaded.clear()
