"""Which data a run has seen: a set's name, version and content, in one small value."""

import dataclasses
import hashlib


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
    """

    name: str
    version: str
    label: str
    digest: str
    train: int
    test: int


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
