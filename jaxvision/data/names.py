"""How a data set is named: one grammar for loading it, preparing it and telling runs apart.

    cifar10   imagenet_resized/32x32      a set below the data directory, perhaps one of its configs
    ./mine   ../mine   ~/mine   /mine     a directory that holds prepared versions, or data of the
                                          user's own: a folder of class folders, a file
    cifar10:3.0.2   cifar10:3.*.*         a version, as TensorFlow Datasets writes it; the newest
                                          that fits. cifar10/3.0.2 is the same
    cifar10_n@worse_label                 the class label to learn, where a set has several
    ./mine@64px                           every image scaled to a square of so many pixels a side

The sign is ``@`` because no name, config or version of TensorFlow Datasets holds one, and no shell
or makefile reads it. Only the standard library is used: ``prepare.py`` runs with nothing else.
"""

import dataclasses
import os
import re
from pathlib import Path

_VERSION = re.compile(r"(\d+|\*)(\.(\d+|\*)){2}")
_SIZE = re.compile(r"(\d{1,5})px")
_LARGEST = 4096  # pixels of a side: an image of 48 MiB
_EXAMPLES = "such as 3.0.2 or 3.*.*"


@dataclasses.dataclass(frozen=True)
class SetName:
    """The parts of a name; ``str`` puts them together in the one spelling.

    Attributes:
      base: a name below the data directory, or a path.
      version: ``1.2.3``, with ``*`` for any number; "" is the newest.
      label: the feature that is the label; "" leaves the choice to the set's own description.
      size: pixels of a side that the images are scaled to; 0 leaves them as they are.
    """

    base: str
    version: str = ""
    label: str = ""
    size: int = 0

    def __str__(self) -> str:
        version = f":{self.version}" if self.version else ""
        label = f"@{self.label}" if self.label else ""
        size = f"@{self.size}px" if self.size else ""
        return f"{self.base}{version}{label}{size}"

    @property
    def is_path(self) -> bool:
        """Whether the base is a path rather than a name below the data directory."""
        return self.base.startswith((".", "~", "/"))

    def directory(self, root: Path) -> Path:
        """Return the directory that holds the versions, or the configs, of the set."""
        return Path(os.path.expanduser(self.base)) if self.is_path else root / self.base

    def fits(self, version: str) -> bool:
        """Say whether a directory of this name is a version that is asked for."""
        if not re.fullmatch(r"\d+\.\d+\.\d+", version):
            return False  # such as 1.0.0.incompleteABC, which an interrupted build leaves
        wanted = self.version or "*.*.*"
        pairs = zip(wanted.split("."), version.split("."), strict=True)
        return all(want in ("*", found) for want, found in pairs)


def parse(text: str) -> SetName:
    """Return the parts of a name.

    Raises:
      ValueError: what follows a colon is no version, or what follows an @ is no label or size.
    """
    tidy, size = _without_size(_tidy(text), text)
    base, at, label = tidy.rpartition("@")
    if not at or "/" in label:  # an @ within a path
        base, label = tidy, ""
    elif not label or ":" in label or _VERSION.fullmatch(label):
        raise ValueError(
            f"{text!r} ends in no label: a label is written name@label, a version name:version"
            f" ({_EXAMPLES}), a size name@64px, all of them name:version@label@64px"
        )
    base = _tidy(base)
    head, colon, version = base.rpartition(":")
    if not colon or "/" in version:
        head, version = base, ""
    elif not _VERSION.fullmatch(version):
        raise ValueError(f"{text!r} ends in no version: what follows the colon is one {_EXAMPLES}")
    base = _tidy(head)
    before, slash, last = base.rpartition("/")
    # After a directory a@b, a colon would be part of what follows its @.
    if slash and not version and _VERSION.fullmatch(last) and "@" not in before.split("/")[-1]:
        base, version = before or "/", last
    return SetName(base, version, label, size)


def printable(text: str) -> str:
    """Return text with what would move a terminal's cursor written as an escape."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _without_size(tidy: str, text: str) -> tuple[str, int]:
    """Split the pixels off the end of a name; 0 where it names none."""
    base, _, last = tidy.rpartition("@")
    found = _SIZE.fullmatch(last)
    if not base or not found:
        return tidy, 0
    if int(found[1]) == 0:
        raise ValueError(f"{text!r} names images of no pixel: at least name@1px")
    if int(found[1]) > _LARGEST:
        raise ValueError(f"{text!r} names images too large: at most name@{_LARGEST}px")
    return _tidy(base), int(found[1])


def _tidy(base: str) -> str:
    """Return a name or path without empty steps and steps that stay where they are."""
    steps = [step for step in base.split("/") if step not in ("", ".")]
    if base.startswith("/"):
        return "/" + "/".join(steps)
    if base.split("/")[0] == "." and steps[:1] != [".."]:
        steps.insert(0, ".")
    return "/".join(steps)
