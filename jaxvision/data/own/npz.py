"""Arrays in an ``.npz``: their names, their types, and reading them piece by piece.

Numbers are brought to 8 bits by their type, never by how large they happen to be: an unsigned byte
stays, of 16 bits the upper 8 are kept, a float runs from 0 to 1. Arrays of Python objects are
refused: reading them would run whatever was packed into them.
"""

import dataclasses
import functools
import zipfile
import zlib
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from jaxvision.data.own.found import TEST, TRAIN, VALIDATION, Found, counted, numbered, stamp
from jaxvision.data.pixels import squared
from jaxvision.data.source import blocks
from jaxvision.types import UserError

_IMAGES = ("x", "images", "image", "data", "imgs")
_LABELS = ("y", "labels", "label", "targets", "target")
_NAMES = ("class_names", "label_names", "classes", "names")
_AS_BYTES = "save them as uint8, 0 to 255"
_WIDEST = {"b": 1, "u": 2, "f": 8}  # bytes of a number, by the kind of its type
_READ_HEADER = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# What zipfile and numpy raise, the RuntimeError for files that are encrypted or packed otherwise.
_DAMAGE = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
_BLOCK = 1024  # images whose numbers are looked at at once


class Array(NamedTuple):
    """How one array of the file is stored."""

    file: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    by_column: bool
    begin: int  # bytes of its header

    def __str__(self) -> str:
        return f"{self.name!r} of {str(self.file)!r}"

    @property
    def told(self) -> str:
        """Name, shape and type, for a list."""
        return f"{self.name} {list(self.shape)} {self.dtype}"

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Height, width and channels of an image."""
        return (*self.shape[1:], 1)[:3]


@dataclasses.dataclass(frozen=True, eq=False)
class Images:
    """One split of an ``.npz``; a ``found.Part``.

    Attributes:
      title: what a line of progress calls it.
      array: how its images are stored.
      rows: int [N], ascending: which of the stored images these are.
      labels: int32 [N].
      size: pixels of a side that images are brought to; None takes them as they are.
    """

    title: str
    array: Array
    rows: np.ndarray
    labels: np.ndarray
    size: int | None
    in_order = True

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        return self.title

    @functools.cached_property
    def _stream(self) -> IO[bytes]:
        with zipfile.ZipFile(self.array.file) as archive:
            return archive.open(f"{self.array.name}.npy")  # which outlives the archive

    def take(self, rows: np.ndarray, title: str) -> "Images":
        """Return some of the images, by ascending rows, as a split of their own."""
        return dataclasses.replace(
            self, rows=self.rows[rows], labels=self.labels[rows], title=title
        )

    def read(
        self, indices: range, shape: tuple[int, ...] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return images uint8 [n, H, W, C] and labels int32 [n].

        Raises:
          UserError: the file is damaged.
        """
        del shape  # the images of an array have one
        rows = slice(indices.start, indices.stop)
        images = in_bytes(self.numbers(self.rows[rows])).reshape(-1, *self.array.image_shape)
        if self.size is not None:
            images = np.stack([squared(image, self.size) for image in images])
        return images, self.labels[rows]

    def numbers(self, rows: np.ndarray) -> np.ndarray:
        """Return images as they are stored, [n, ...]; the file is read on from where it was.

        Raises:
          UserError: it is damaged.
        """
        array = self.array
        found = np.empty((len(rows), *array.shape[1:]), array.dtype)
        try:
            for into, row in zip(found, rows.tolist(), strict=True):
                self._stream.seek(array.begin + row * into.nbytes)
                stored = np.frombuffer(self._stream.read(into.nbytes), array.dtype)
                into[...] = stored.reshape(into.shape)
        except _DAMAGE as error:
            self.close()
            raise _damaged(array.file, error) from error
        if rows[-1] == self.rows[-1]:  # all is read
            self.close()
        return found

    def close(self) -> None:
        """Close the file; reading opens it again."""
        stream = self.__dict__.pop("_stream", None)  # where cached_property keeps it
        if stream is not None:
            stream.close()


def in_bytes(numbers: np.ndarray) -> np.ndarray:
    """Return numbers as uint8, by their type: a byte stays, 65535 and 1.0 become 255."""
    if numbers.dtype == np.uint8:
        return numbers
    if numbers.dtype.kind == "b":
        return 255 * numbers.astype(np.uint8)
    if numbers.dtype.kind == "u":
        return (numbers >> 8).astype(np.uint8)
    return np.rint(255 * numbers.astype(np.float32)).astype(np.uint8)


def find(path: Path, label: str = "", size: int | None = None) -> Found:
    """Return the images and labels of an ``.npz``; only the labels are read.

    Args:
      path: the file.
      label: a name of the labels, without the split; "" takes what people call labels.
      size: pixels of a side that images are brought to; None takes them as they are.

    Raises:
      UserError: the arrays have other names, shapes or types, or the file is damaged.
    """
    arrays = _arrays(path)
    pairs = _pairs(path, arrays, label)
    for images, _ in pairs:
        _check(images)
    names = _chosen(arrays, _NAMES, ())
    known = () if names is None else tuple(_values(names).astype(str).ravel().tolist())
    wanted = [_labels(*pair) for pair in pairs]
    labels, classes = numbered(wanted, known, repr(str(path)))
    parts = [
        Images(f"{path.name} {split}", images, np.arange(len(some)), some, size)
        for split, (images, _), some in zip(("train", "test"), pairs, labels, strict=False)
    ]
    used = {names, *(array for pair in pairs for array in pair)}
    unused = [array.told for array in arrays if array not in used]
    return Found(
        train=parts[0],
        test=parts[1] if len(parts) > 1 else None,
        classes=classes,
        label=label,
        key=[path.name, *stamp(path)],
        left_out=[counted(unused, "array", "arrays")] if unused else [],
        alike=alike,
    )


def _pairs(path: Path, arrays: list[Array], label: str) -> list[tuple[Array, Array]]:
    """Return images and labels of the training split, then of that to judge by, if there is one."""
    words = (label.lower(),) if label else _LABELS
    train = _pair(arrays, words, TRAIN) or _pair(arrays, words, ())
    if train is None:
        there = ", ".join(array.told for array in arrays) or "nothing"
        named = f"{label}_train or {label}" if label else "y_train or labels"
        raise UserError(
            f"{str(path)!r} holds {there}: the images are looked for under x_train or images (and"
            f" x_test), their labels under {named}"
        )
    test = _pair(arrays, words, TEST) or _pair(arrays, words, VALIDATION)
    return [train, test] if test else [train]


def alike(train: Images, test: Images) -> tuple[Images, Images]:
    """Hold the images of both splits against each other, and against what their type can show.

    Raises:
      UserError: they differ in size or channels, or numbers lie outside their type's scale.
    """
    one, other = train.array, test.array
    different = one.image_shape != other.image_shape
    if different and (train.size is None or one.image_shape[2] != other.image_shape[2]):
        raise UserError(
            f"the images in {one} are {_by(one.image_shape)}, those in {other.name!r} are"
            f" {_by(other.image_shape)}: save them alike"
        )
    for part in (train, test):
        if part.array.dtype.kind in "uf" and part.array.dtype != np.uint8:
            _check_scale(part)
    return train, test


def _check_scale(part: Images) -> None:
    least, most = np.inf, -np.inf
    for block in blocks(len(part), _BLOCK):
        numbers = part.numbers(part.rows[block.start : block.stop])
        least, most = np.minimum(least, numbers.min()), np.maximum(most, numbers.max())
    if not np.isfinite([least, most]).all():  # minimum and maximum keep NaN
        raise UserError(f"the images in {part.array} hold NaN or infinity: {_AS_BYTES}")
    kind = part.array.dtype
    if kind.kind == "f" and (least < 0 or most > 1):
        raise UserError(
            f"the images in {part.array} are {kind} from {least:g} to {most:g}, where floats"
            f" run from 0 to 1: divide them by their full scale, or {_AS_BYTES}"
        )
    if kind.kind == "u" and most < 256:
        raise UserError(
            f"the images in {part.array} are {kind}, and none of their numbers is above {most}: of"
            f" 16 bits the upper 8 are shown, and all would be black; {_AS_BYTES}"
        )


def _arrays(path: Path) -> list[Array]:
    """Return how all arrays of a file are stored, in its order."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            return [_array(path, archive, name) for name in names]
    except _DAMAGE as error:
        raise _damaged(path, error) from error


def _array(path: Path, archive: zipfile.ZipFile, member: str) -> Array:
    name = member.removesuffix(".npy")
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in _READ_HEADER:
            raise ValueError(f"{name!r} is no plain array")
        shape, by_column, dtype = _READ_HEADER[version](stream)
        return Array(path, name, shape, dtype, by_column, stream.tell())


def _pair(
    arrays: list[Array], labels: tuple[str, ...], splits: tuple[str, ...]
) -> tuple[Array, Array] | None:
    """Return the images and the labels of a split, or None where one is missing."""
    images, wanted = _chosen(arrays, _IMAGES, splits), _chosen(arrays, labels, splits)
    return None if images is None or wanted is None else (images, wanted)


def _chosen(arrays: list[Array], words: tuple[str, ...], splits: tuple[str, ...]) -> Array | None:
    """Return the array that is called by one of the words, of one of the splits if any."""
    names = set(words)
    if splits:
        pairs = [
            pair for split in splits for word in words for pair in ((split, word), (word, split))
        ]
        names = {sign.join(pair) for pair in pairs for sign in ("_", "")}
    found = [array for array in arrays if array.name.lower() in names]
    if len(found) > 1:
        both = " and ".join(repr(array.name) for array in found)
        raise UserError(f"{str(found[0].file)!r} holds {both}: which is meant? Keep one of them")
    return found[0] if found else None


def _values(array: Array) -> np.ndarray:
    """Return a whole array, which is never one of Python objects."""
    if array.dtype.hasobject:
        raise UserError(
            f"the array {array} holds pickled Python objects, which are never opened: save numbers,"
            " or texts with .astype(str)"
        )
    try:
        with np.load(array.file, allow_pickle=False) as archive:
            return archive[array.name]
    except _DAMAGE as error:
        raise _damaged(array.file, error) from error


def _labels(images: Array, wanted: Array) -> np.ndarray:
    """Return labels [N], integers or texts, one for each image."""
    values = _values(wanted)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]  # [N, 1] would be compared with every prediction
    if values.ndim != 1:
        raise UserError(
            f"the labels in {wanted} are of shape {list(wanted.shape)}, not one number for each"
            " image: of one-hot rows save labels.argmax(1)"
        )
    if values.dtype.kind not in "iubU":
        raise UserError(f"the labels in {wanted} are {wanted.dtype}: save integers or texts")
    if len(values) != images.shape[0]:
        raise UserError(
            f"{images} holds {images.shape[0]} images, and {wanted.name!r} {len(values)} labels"
        )
    if values.dtype.kind == "u" and values.max(initial=0) > np.iinfo(np.int64).max:
        raise UserError(
            f"the labels in {wanted} go up to {values.max()}, which is too large: count classes"
        )
    return values if values.dtype.kind == "U" else values.astype(np.int64)


def _check(images: Array) -> None:
    """Refuse an array that is not images as they are stored here."""
    shape, found = images.shape, f"the images in {images} are {images.dtype}{list(images.shape)}"
    if images.dtype.hasobject:
        _values(images)
    if len(shape) == 4 and shape[1] in (1, 3) and shape[3] > 4:
        raise UserError(f"{found}, channels first: save images.transpose(0, 2, 3, 1)")
    if len(shape) not in (3, 4) or (len(shape) == 4 and not 1 <= shape[3] <= 4) or 0 in shape:
        raise UserError(f"{found}, not [N, H, W] or [N, H, W, C] with 1 to 4 channels")
    if images.dtype.kind not in "buf" or images.dtype.itemsize > _WIDEST[images.dtype.kind]:
        raise UserError(f"{found}, whose scale is not known: {_AS_BYTES}")
    if images.by_column:
        raise UserError(f"{found}, stored column by column: save np.ascontiguousarray(images)")


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _damaged(path: Path, error: Exception) -> UserError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return UserError(f"{str(path)!r} is no .npz file, or a damaged one ({reason}): save it again")
