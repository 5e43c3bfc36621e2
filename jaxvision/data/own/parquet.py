"""Parquet files whose rows hold image files, as the Hugging Face Hub keeps them.

A row has a column of images ``{"bytes": ..., "path": ...}`` (or plain bytes) and one of labels,
integers or texts. What the columns are and what the classes are called stands in the file's
description where ``datasets`` wrote it.

In a folder ``train``, ``test`` and ``validation`` in the names of files, or of folders in it, say
which split they are.
"""

import contextlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from jaxvision import runtime
from jaxvision.data.own.folder import files_below
from jaxvision.data.own.found import (
    TEST,
    TRAIN,
    VALIDATION,
    Found,
    listed,
    natural,
    numbered,
    stamp,
)
from jaxvision.data.own.pictures import Pictures, alike
from jaxvision.types import UserError

_SUFFIXES = (".parquet", ".pq")
_USUAL_IMAGES = ("image", "img")
_USUAL_LABELS = ("label", "labels")
_WITHHELD = -1  # how datasets marks a label that is not published


class Rows:
    """Image files in the rows of Parquet files; ``pictures.Files``."""

    def __init__(self, paths: list[Path], column: str) -> None:
        """Open nothing but the files' descriptions.

        Raises:
          UserError: a file has no such column, or a group beyond memory.
        """
        self._column = column
        self._groups: list[tuple[Path, int]] = []
        counts = [0]
        for path in paths:
            description = _with_column(path, column).metadata
            for group in range(description.num_row_groups):
                known = description.row_group(group)
                if known.total_byte_size > runtime.usable_memory() / 2:
                    raise UserError(
                        f"{str(path)!r} keeps {known.total_byte_size:,} bytes in one row group, and"
                        " a group is read as a whole: write it with row_group_size=1000"
                    )
                self._groups.append((path, group))
                counts.append(known.num_rows)
        self._starts = np.cumsum(counts)
        self._held: tuple[int, Any] = (-1, None)  # the group that was read last

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what is held, for another process."""
        return self.__dict__ | {"_held": (-1, None)}

    def opened(self, number: int) -> BinaryIO:
        """Return the bytes of an image as an open file."""
        group = int(np.searchsorted(self._starts, number, "right")) - 1
        if self._held[0] != group:
            path, within = self._groups[group]
            table = _opened(path).read_row_group(within, columns=[self._column])
            self._held = group, table.column(0)
        stored = self._held[1][number - int(self._starts[group])].as_py()
        content = stored.get("bytes") if isinstance(stored, dict) else stored
        if content is None:
            raise FileNotFoundError("the row holds no bytes of an image")
        return io.BytesIO(content)

    def called(self, number: int) -> str:
        """Return the file and the row of an image, counted from 0 within the file."""
        group = int(np.searchsorted(self._starts, number, "right")) - 1
        path = self._groups[group][0]
        first = next(at for at, (other, _) in enumerate(self._groups) if other == path)
        return f"row {number - self._starts[first]} of {path}"


class _Columns(NamedTuple):
    """Which columns are learned from."""

    image: str
    label: str
    choice: str  # the label again, where the file has several
    classes: tuple[str, ...]  # () where the file does not name them


def is_parquet(name: str) -> bool:
    """Say whether a file is named as Parquet files are."""
    return name.lower().endswith(_SUFFIXES)


def find(top: Path, place: str, label: str = "", size: int | None = None) -> Found:
    """Return the images of a Parquet file, or of a folder of them; only labels are read.

    Args:
      top: the file or the folder.
      place: how the user wrote its path.
      label: the column of the labels; "" takes the only one.
      size: pixels of a side that images are brought to; None takes them as they are.

    Raises:
      UserError: pyarrow is missing, columns are not found, labels are missing, files are damaged.
    """
    splits = {"train": [top]} if top.is_file() else _splits(top, place)
    columns = _columns(splits["train"][0], place, label)
    values, left_out = _published(splits, columns.label, place)
    labels, classes = numbered(list(values.values()), columns.classes, repr(place))
    parts = []
    for split, some in zip(values, labels, strict=True):
        rows = Rows(splits[split], columns.image)
        title = f"{top.resolve().name} {split}"
        parts.append(Pictures(title, place, rows, np.arange(len(some)), some, size))
    used = [path for split in values for path in splits[split]]
    return Found(
        train=parts[0],
        test=parts[1] if len(parts) > 1 else None,
        classes=classes,
        label=columns.choice,
        key=[columns, *([str(path.relative_to(top)), *stamp(path)] for path in used)],
        left_out=left_out,
        alike=alike,
    )


def _published(
    splits: dict[str, list[Path]], column: str, place: str
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the labels of the split to learn from and of that to judge by; what is left out.

    The latter is the first of test and validation that has labels, if any.
    """
    values, left_out = {}, []
    for split in ("train", "test", "validation"):
        if split not in splits:
            continue
        if len(values) == 2:
            left_out.append(f"the {split} split")
            continue
        found = _labels(splits[split], column, f"the {split} split of {place!r}")
        if found is not None:
            values[split] = found
        elif split == "train":
            raise UserError(f"the training images of {place!r} have no labels")
        else:
            left_out.append(f"the {split} split, whose labels are withheld")
    return values, left_out


def _splits(top: Path, place: str) -> dict[str, list[Path]]:
    """Return the files of each split in a folder, shards in their order."""
    files = [top / name for name in files_below(top) if is_parquet(name)]
    inside = {path: path.relative_to(top).parts for path in files}
    files.sort(key=lambda path: [natural(part) for part in inside[path]])
    forms = sorted({"/".join(_form(inside[path])) for path in files})
    if len(forms) > 1:
        raise UserError(
            f"{place!r} holds Parquet files in several folders, name one: {listed(forms)}"
        )
    splits: dict[str, list[Path]] = {}
    for path in files:
        splits.setdefault(_split(inside[path]), []).append(path)
    if set(splits) == {""}:
        splits = {"train": splits[""]}
    elif "train" not in splits:
        raise UserError(f"{place!r} holds {listed(p.name for p in files)} and no training split")
    splits.pop("", None)
    for found in splits.values():
        _check_shards(found, place)
    return splits


def _split(parts: tuple[str, ...]) -> str:
    """Return the split that the names of a file and of its folders say; "" where none does."""
    words = re.split(r"[^a-z]+", "/".join(parts).lower())
    kinds = {"train": TRAIN, "test": TEST, "validation": VALIDATION}
    said = [kind for word in words for kind, names in kinds.items() if word in names]
    return said[0] if said else ""


def _form(parts: tuple[str, ...]) -> list[str]:
    """Return the folders of a file that are no split's."""
    return [folder for folder in parts[:-1] if not _split((folder,))]


def _check_shards(files: list[Path], place: str) -> None:
    """Refuse a split some of whose numbered files are missing."""
    matches = [re.search(r"-(\d+)-of-(\d+)", path.name) for path in files]
    wanted = max((int(match[2]) for match in matches if match), default=0)
    there = len([match for match in matches if match])
    if wanted and there != wanted:
        raise UserError(
            f"{place!r} holds {there} files of the {wanted} that {files[0].name!r} is one of: fetch"
            " what is missing, remove what is too many, or name one file alone"
        )


def _columns(path: Path, place: str, label: str) -> _Columns:
    """Return which columns hold images and labels, as the description or their types say."""
    schema = _opened(path).schema_arrow
    described = _described(schema)
    images = [name for name, kind in described.items() if kind.get("_type") == "Image"]
    images = images or [field.name for field in schema if _holds_files(field.type)]
    images = [name for name in images if name in _USUAL_IMAGES] or images
    declared = [name for name, kind in described.items() if kind.get("_type") == "ClassLabel"]
    plain = [field.name for field in schema if _holds_labels(field.type)]
    if len(images) != 1:
        there = listed(schema.names, most=10)
        raise UserError(
            f"{place!r} has {len(images) or 'no'} columns of image files (a struct of bytes and"
            f" path, or bytes) among {there}: keep one, called image"
        )
    candidates = declared or plain
    usual = [name for name in candidates if name in _USUAL_LABELS and not declared]
    if label:
        chosen = [name for name in {*declared, *plain} if name == label]
    else:
        chosen = usual if len(usual) == 1 else candidates
    if len(chosen) != 1:
        said = f"no column of labels {label!r}" if label else "no single column of labels"
        ways = ", ".join(f"{place}@{name}" for name in candidates) or "none can be one"
        raise UserError(f"{place!r} has {said}: name one, {ways}")
    names = tuple(map(str, described.get(chosen[0], {}).get("names") or ()))
    return _Columns(images[0], chosen[0], chosen[0] if len(candidates) > 1 else "", names)


def _described(schema: Any) -> dict[str, dict[str, Any]]:
    """Return what ``datasets`` wrote of each column; nothing where it did not write the file."""
    try:
        text = (schema.metadata or {})[b"huggingface"]
        features = json.loads(text)["info"]["features"]
        known = {name: kind for name, kind in features.items() if isinstance(kind, dict)}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}
    return {name: kind for name, kind in known.items() if name in schema.names}


def _holds_files(kind: Any) -> bool:
    types = _pyarrow().types
    if types.is_struct(kind):
        return any(field.name == "bytes" and _holds_files(field.type) for field in kind)
    return types.is_binary(kind) or types.is_large_binary(kind)


def _holds_labels(kind: Any) -> bool:
    types = _pyarrow().types
    if types.is_dictionary(kind):
        kind = kind.value_type
    texts = types.is_string(kind) or types.is_large_string(kind)
    return texts or types.is_integer(kind) or types.is_boolean(kind)


def _labels(files: list[Path], column: str, place: str) -> np.ndarray | None:
    """Return the labels of a split, integers or texts; None where all are withheld."""
    found: list[Any] = []
    for path in files:
        opened = _with_column(path, column)
        with _damage_is_told(path):
            found += opened.read(columns=[column]).column(0).to_pylist()
    if not found:
        raise UserError(f"{place} is empty")
    missing = [at for at, value in enumerate(found) if value is None or value == _WITHHELD]
    if len(missing) == len(found):
        return None
    if missing:
        raise UserError(
            f"{len(missing):,} of {len(found):,} examples of {place} have no label, such as example"
            f" {missing[0]}: leave them out, or label them"
        )
    are_texts = {isinstance(value, str) for value in found}
    if len(are_texts) > 1:
        raise UserError(
            f"the labels of {place} are integers in one file and texts in another: write all of"
            " them alike"
        )
    if are_texts == {True}:
        return np.array(found)
    if (largest := max(found)) > np.iinfo(np.int64).max:
        raise UserError(f"{place} holds the label {largest}, which is too large: count classes")
    return np.array(found, np.int64)


def _with_column(path: Path, column: str) -> Any:
    """Open a Parquet file that has the column, as others do."""
    opened = _opened(path)
    if column not in opened.schema_arrow.names:
        raise UserError(f"{str(path)!r} has no column {column!r}, which other files have")
    return opened


def _opened(path: Path) -> Any:
    """Open a Parquet file; reads its description alone."""
    from_pyarrow = _pyarrow()
    with _damage_is_told(path):
        return from_pyarrow.parquet.ParquetFile(path)


@contextlib.contextmanager
def _damage_is_told(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # pyarrow's own errors are of these kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{str(path)!r} is no Parquet file, or a damaged one ({reason}): fetch it again"
        ) from error


def _pyarrow() -> Any:
    """Import pyarrow, late: it takes a tenth of a second and only Parquet files need it."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(f"Parquet files need pyarrow ({error}): pip install pyarrow") from error
    return pyarrow
