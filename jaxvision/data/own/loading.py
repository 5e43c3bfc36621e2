"""Loading what a user brings: what kind it is, its splits, its decoded copy, what is said of it."""

import contextlib
import enum
import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxvision.data import cache
from jaxvision.data.classes import compare
from jaxvision.data.dataset import Dataset, Splits, hold_out_rows
from jaxvision.data.decode import decode
from jaxvision.data.identity import Identity, combined, identities
from jaxvision.data.names import SetName, printable
from jaxvision.data.own import folder, npz, parquet
from jaxvision.data.own.found import Found, Part, listed
from jaxvision.progress import note
from jaxvision.types import UserError

_FORMAT = 1  # raise it when the meaning of the cached arrays changes
_KINDS = "a folder with a folder of images for each class, an .npz, or Parquet files with images"
_SHOWN = 5  # classes whose images are counted in the line


class Kind(enum.Enum):
    """What a user's own data are."""

    FOLDER = "a folder of class folders"
    NPZ = "an .npz"
    PARQUET = "Parquet files"


def kind_of(path: Path) -> Kind | None:
    """Return what lies at a path; None where it is no data of a user's own.

    Raises:
      UserError: it is a file of another kind, or must not be read.
    """
    if os.path.isfile(path):
        if path.suffix.lower() == ".npz":
            return Kind.NPZ
        if parquet.is_parquet(path.name):
            return Kind.PARQUET
        raise UserError(f"{str(path)!r} is nothing that can be learned from: that is {_KINDS}")
    if not os.path.isdir(path):
        return None
    kind = None
    with _unreadable_is_told(path):
        for name in folder.files_below(path):
            if parquet.is_parquet(name):
                return Kind.PARQUET
            if folder.is_image(name):
                kind = Kind.FOLDER
    return kind


@contextlib.contextmanager
def _unreadable_is_told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or path
        raise UserError(f"{str(where)!r} cannot be read: {error.strerror or error}") from error


def load(name: SetName, path: Path, kind: Kind, size: int | None = None) -> Splits:
    """Load what lies at a path, decoding it at most once: then it is a map of a cached file.

    Where there is no test split, a fifth of the images of every class is held out, drawn once and
    for all: the same images give the same splits.

    Args:
      name: how the user named it.
      path: a folder or a file.
      kind: what lies there.
      size: pixels of a side; each image is scaled until its shorter side has so many, and the
        middle of the longer one is kept. None takes images as they are.

    Raises:
      UserError: it is none of the kinds, or anything in it cannot be learned from; the line says
        which file and what to do.
    """
    if name.version:
        raise UserError(f"{name.base!r} is data of your own, which has no version {name.version}")
    with _unreadable_is_told(path):
        found = _find(name, path, kind, size)
        # Names of folders may hold what no record can: bytes that are no text, a terminal's signs.
        classes = tuple(map(printable, found.classes))
        splits = {"train": found.train, "test": found.test}
        if found.test is None:
            splits = _held_out(found.train, name.base, path.resolve().name)
        learned, judged = splits["train"].labels, splits["test"].labels
        _check_several(learned, classes, name.base)
        compare(learned, judged, classes, name.base)
        train, test = _decoded(splits, found, path, size)
    identity = Identity(
        printable(path.resolve().name),
        version="",
        label=found.label,
        digest=combined(train.digest, test.digest, len(classes)),
        train=len(train.data.labels),
        test=len(test.data.labels),
        classes=classes,
    )
    if identity not in identities():
        note(_told(name.base, found, train.data, test.data, identity))
    return Splits(str(name), train.data, test.data, classes, identity)


def _find(name: SetName, path: Path, kind: Kind, size: int | None) -> Found:
    if kind is Kind.NPZ:
        return npz.find(path, name.label, size)
    if kind is Kind.PARQUET:
        return parquet.find(path, name.base, name.label, size)
    if name.label:
        raise UserError(
            f"{name.base!r} has the labels that its class folders say: leave out @{name.label}"
        )
    return folder.find(path, name.base, size)


def _held_out(data: Part, place: str, title: str) -> dict[str, Part]:
    """Return two parts of all images: to learn from, and to judge by."""
    rows = hold_out_rows(data.labels)
    if not len(rows[1]):
        raise UserError(
            f"{place!r} has no test split, and no class has a second image that could be held out"
        )
    train, test = rows
    return {
        "train": data.take(train, f"{title} train"),
        "test": data.take(test, f"{title} test"),
    }


def _check_several(labels: np.ndarray, classes: tuple[str, ...], place: str) -> None:
    """Refuse training images of one class alone."""
    learned = np.unique(labels)
    if len(learned) < 2:
        only = listed(classes[label] for label in learned)
        raise UserError(
            f"all {len(labels)} training images of {place!r} are of one class, {only}: there is"
            " nothing to tell apart"
        )


def _decoded(
    splits: dict[str, Part], found: Found, path: Path, size: int | None
) -> list[cache.Stored]:
    """Return both splits from the cache, or decode them and fill it."""
    parts = [_FORMAT, str(path.resolve()), found.key, found.classes, found.label, size]
    # The text of a name may hold bytes that no encoding knows: ASCII with escapes stands for all.
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    stem = re.sub(r"[^\w.]+", "_", path.resolve().name)[:40]
    scaled = f"-{size}px" if size else ""
    files = {name: cache.directory() / f"{stem}-{name}{scaled}-{key}.images" for name in splits}
    stored = {name: cache.read(file) for name, file in files.items()}
    if None in stored.values():
        looked = dict(zip(splits, found.alike(*splits.values()), strict=True))
        for name, file in files.items():
            stored[name] = stored[name] or decode(looked[name], file)
    return list(stored.values())


def _told(place: str, found: Found, train: Dataset, test: Dataset, identity: Identity) -> str:
    """Return what was found in one line."""
    counts = np.bincount(
        np.concatenate([train.labels, test.labels]), minlength=len(found.classes)
    ).tolist()
    named = [f"{name} {count:,}" for name, count in zip(found.classes, counts, strict=True)]
    shown = ", ".join(named[:_SHOWN]) + (", ..." if len(named) > _SHOWN else "")
    held_out = "" if found.test is not None else " (a fifth of every class, held out)"
    shape = " x ".join(map(str, train.images.shape[1:]))
    left_out = f"; left out: {'; '.join(found.left_out)}" if found.left_out else ""
    return (
        f"{place}: {len(named):,} classes ({shown}), {identity.train:,} training and"
        f" {identity.test:,} test images{held_out} of {shape}; content {identity.digest}{left_out}"
    )
