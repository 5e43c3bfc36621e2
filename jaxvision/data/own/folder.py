"""A folder of class folders: which images, which classes, which splits, and what is left out.

A folder ``train`` (``training``), which holds folders and no images, makes the folders in it the
classes; beside it ``test`` (``testing``), else ``val`` (``valid``, ``validation``), is what is
judged by. Classes are numbered in natural order of their names, and so are the images of each.
Images may lie deeper in the folder of a class.
"""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from jaxvision.data.own.found import (
    TEST,
    TRAIN,
    VALIDATION,
    Found,
    composed,
    counted,
    listed,
    natural,
    same,
    stamp,
)
from jaxvision.data.own.pictures import Pictures, alike
from jaxvision.types import UserError

_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".dib", ".webp", ".avif"),
    *(".tif", ".tiff", ".tga", ".jp2", ".pbm", ".pgm", ".ppm", ".pnm"),
)
# What systems put beside people's files, next to names that begin with a dot.
_OF_SYSTEMS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN")


@dataclasses.dataclass(frozen=True, eq=False)
class Paths:
    """Image files by their paths; ``pictures.Files``."""

    top: str
    names: list[str]

    def opened(self, number: int) -> BinaryIO:
        """Open a file."""
        path = self.called(number)
        if not os.path.isfile(path):  # a pipe would be waited for
            raise FileNotFoundError("no file is there, or it is a link that leads nowhere")
        return open(path, "rb")

    def called(self, number: int) -> str:
        """Return the path of a file."""
        return os.path.join(self.top, self.names[number])


def find(top: Path, place: str, size: int | None) -> Found:
    """Return the images of a folder of class folders; their content is not looked at yet.

    ``place`` is how the user wrote the path, ``size`` the pixels of a side that images are brought
    to; None takes them as they are.

    Raises:
      UserError: there are no class folders, one is empty, or names differ in case alone.
    """
    splits, left_out = _splits(top, place)
    folders = {split: _class_folders(top / split, left_out) for split in splits}
    _check_names(folders, place)
    names = {same(name): name for found in folders.values() for name in found}
    classes = sorted(names.values(), key=natural)
    labels = {same(name): label for label, name in enumerate(classes)}
    paths, parts, others = Paths(str(top), []), [], []
    for split, found in folders.items():
        before, wanted = len(paths.names), []
        for name in sorted(found, key=natural):
            some = _images(top, os.path.join(split, name), others)
            paths.names.extend(some)
            wanted += [labels[same(name)]] * len(some)
        rows = np.arange(before, len(paths.names))
        title = f"{top.resolve().name} {split or 'images'}"
        parts.append(Pictures(title, place, paths, rows, np.array(wanted, np.int32), size))
    _check_classes(classes, parts, place, others)
    _check_several(top / splits[0], classes, place)
    if others:
        left_out.append(counted(others, "file that is no image", "files that are no images"))
    return Found(
        train=parts[0],
        test=parts[1] if len(parts) > 1 else None,
        classes=tuple(classes),
        label="",
        key=[[name, *stamp(top / name)] for name in paths.names],
        left_out=left_out,
        alike=alike,
    )


def _splits(top: Path, place: str) -> tuple[list[str], list[str]]:
    """Return the names of the splits' folders, "" for the top itself, and what is left out."""
    inside = _folders(top)
    whole = [name for name in inside if name.lower() in TRAIN + TEST + VALIDATION]
    whole = [name for name in whole if _holds_classes(top / name)]
    train, test, validation = (
        [name for name in whole if name.lower() in words] for words in (TRAIN, TEST, VALIDATION)
    )
    for names in (train, test, validation):
        if len(names) > 1:
            raise UserError(f"{place!r} holds {listed(names)}: which of them is meant? Keep one")
    judged = test or validation
    if judged and not train:
        raise UserError(
            f"{place!r} holds {judged[0]!r} with class folders and no 'train': rename the folder of"
            " the training images, or move the class folders up"
        )
    if not train:
        return [""], []
    chosen = train + judged
    return chosen, [f"the folder {name!r}" for name in inside if name not in chosen]


def _holds_classes(folder: Path) -> bool:
    """Whether a folder holds class folders, and no images as the folder of a class would."""
    loose = any(is_image(entry.name) for entry in _entries(folder) if not _is_folder(entry))
    return not loose and any(_holds_images(folder / name) for name in _folders(folder))


def _class_folders(folder: Path, left_out: list[str]) -> list[str]:
    """Return the names of the class folders; a file beside them has no class."""
    loose = [entry.name for entry in _entries(folder) if not _is_folder(entry)]
    if loose:
        left_out.append(counted(loose, "file beside class folders", "files beside class folders"))
    return _folders(folder)


def _check_names(folders: dict[str, list[str]], place: str) -> None:
    """Refuse names that differ in case alone: are they one class or two?

    Two splits may keep one name in two ways that no eye can tell apart, as files that came from a
    Mac do.
    """
    spelled: dict[str, tuple[str, str]] = {}
    for split, names in folders.items():
        for name in names:
            there, earlier = spelled.setdefault(same(name), (split, name))
            if (there, earlier) == (split, name):
                continue
            if there == split or composed(earlier) != composed(name):
                raise UserError(
                    f"the class folders {os.path.join(there, earlier)!r} and"
                    f" {os.path.join(split, name)!r} in {place!r} have names that differ in case or"
                    " accents alone: give every class one name"
                )


def _check_classes(
    classes: list[str], parts: list[Pictures], place: str, others: list[str]
) -> None:
    """Refuse a folder that holds no images: a class of that name, or something else?"""
    held = np.bincount(np.concatenate([part.labels for part in parts]), minlength=len(classes))
    if not classes or not held.any():
        raise UserError(
            f"{place!r} holds images but no class folders: put the images of each class into a"
            " folder of its name"
        )
    empty = [name for name, count in zip(classes, held, strict=True) if not count]
    if empty:
        instead = f", only {counted(others, 'other file', 'other files')}" if others else ""
        raise UserError(
            f"the class folder {listed(empty)} in {place!r} holds no images{instead}: remove it, or"
            " put its images in"
        )


def _check_several(folder: Path, classes: list[str], place: str) -> None:
    """Refuse one class alone, which may be a folder around the folders of the classes."""
    if len(classes) > 1:
        return
    around = any(
        _holds_images(folder / classes[0] / name) for name in _folders(folder / classes[0])
    )
    hint = f": are its folders the classes? Then say --dataset={os.path.join(place, classes[0])}"
    raise UserError(
        f"{place!r} holds one class, {listed(classes)}, and there is nothing to tell apart"
        f"{hint if around else ''}"
    )


def _images(top: Path, below: str, others: list[str]) -> list[str]:
    """Return the images below a class folder, paths from the top in natural order.

    Adds the names of other files to ``others``.
    """
    found = []
    for name in files_below(top / below):
        path = os.path.join(below, name)
        (found if is_image(name) else others).append(path)
    return sorted(found, key=lambda path: [natural(step) for step in path.split(os.sep)])


def _holds_images(folder: Path) -> bool:
    return any(map(is_image, files_below(folder)))


def files_below(folder: Path) -> Iterator[str]:
    """Yield the paths, from a folder, of all files below it; no folder is visited twice."""
    waiting, visited = [""], set()
    while waiting:
        below = waiting.pop()
        here = folder / below
        status = here.stat()
        if (status.st_dev, status.st_ino) in visited:
            continue
        visited.add((status.st_dev, status.st_ino))
        for entry in _entries(here):
            path = os.path.join(below, entry.name)
            if _is_folder(entry):
                waiting.append(path)
            else:
                yield path


def _folders(folder: Path) -> list[str]:
    return [entry.name for entry in _entries(folder) if _is_folder(entry)]


def _entries(folder: Path) -> list[os.DirEntry]:
    """Return what a folder holds, in one order.

    What is hidden or a system's own is not there, nor is a link to a folder around it: that would
    be followed forever, or show the images of other classes.
    """
    around = os.path.realpath(folder)
    with os.scandir(folder) as found:
        shown = [
            entry
            for entry in found
            if not entry.name.startswith(".")
            and entry.name not in _OF_SYSTEMS
            and not _leads_up(entry, around)
        ]
    return sorted(shown, key=lambda entry: entry.name)


def _leads_up(entry: os.DirEntry, around: str) -> bool:
    if not entry.is_symlink():
        return False
    target = os.path.realpath(entry.path)
    return around == target or around.startswith(os.path.join(target, ""))


def _is_folder(entry: os.DirEntry) -> bool:
    """Whether it is a folder or a link to one; a link to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_image(name: str) -> bool:
    """Say whether a file is named as images are."""
    return name.lower().endswith(_SUFFIXES)
