"""Data sets by name: ``load('digits')``."""

import os
from pathlib import Path

from jaxvision.data import locate, names, own
from jaxvision.data.dataset import Dataset, Splits
from jaxvision.data.embedded import EMBEDDED
from jaxvision.data.identity import Identity, forget_identities, identities, note
from jaxvision.types import UserError

__all__ = [
    "EMBEDDED",
    "Dataset",
    "Identity",
    "Splits",
    "forget_identities",
    "identities",
    "is_path",
    "load",
    "spelled",
]


def load(
    name: str | os.PathLike, data_dir: str | None = None, image_size: int | None = None
) -> Splits:
    """Load a data set: an embedded one in memory, all others as a map of their decoded file.

    Args:
      name: ``digits``, ``shapes``, ``shapes16k``, ``small_shapes`` or ``solids`` (no download), a
        name of TensorFlow Datasets such as ``cifar10``, or a path: a directory of prepared
        versions, or data of the user's own (a folder of class folders, an ``.npz``, Parquet files).
        Versions, labels and sizes are chosen as ``names.py`` says: ``cifar10:3.0.2``,
        ``cifar10_n@worse_label``, ``./photos@64px``.
      data_dir: where prepared TFDS sets lie; default ``$TFDS_DATA_DIR``, then TFDS's own
        ``~/tensorflow_datasets``. The embedded sets do not read it.
      image_size: pixels of a side to which the images of a set that is not embedded are scaled and
        cropped; None takes them as they are, or as the name says.

    Raises:
      UserError: the name is unknown, the set is not prepared, its files are damaged or not what
        their description says, or an embedded one is wanted in another form.
    """
    if isinstance(name, os.PathLike):
        name = str(Path(name).absolute())  # "./flowers" would lose what makes it a path
    if not isinstance(name, str):
        raise UserError(f"a data set goes by its name or path, not by {type(name).__name__}")
    wanted = _parsed(name, data_dir)
    if wanted.size and image_size not in (None, wanted.size):
        raise UserError(f"--image_size={image_size} and {name!r} ask for two sizes: say one")
    size = image_size or wanted.size or None
    splits = _embedded(wanted, name, size) or _own(wanted, data_dir, size)
    if splits is None:
        from jaxvision.data import tfds  # late: its libraries take half a second to import

        splits = tfds.load(wanted, data_dir, size)
    note(splits.identity)
    return splits


def is_path(name: str) -> bool:
    """Whether a data set's name is a path to the user's own, or to prepared versions.

    Raises:
      UserError: the name is no name (see ``names.py``).
    """
    return _parsed(name, None).is_path


def spelled(name: str, data_dir: str | None = None) -> str:
    """Return a name in its one spelling: ``cifar10`` for ``cifar10/``, ``a:1.0.0`` for ``a/1.0.0``.

    A path below the data directory becomes the name that it has there. Nothing is looked for.

    Raises:
      UserError: the name is no name (see ``names.py``).
    """
    return str(_parsed(name, data_dir))


def _parsed(name: str, data_dir: str | None) -> names.SetName:
    try:
        return locate.below(names.parse(name), locate.data_root(data_dir))
    except ValueError as error:
        raise UserError(f"the data set {error}") from None


def _embedded(wanted: names.SetName, name: str, size: int | None) -> Splits | None:
    """Return an embedded set; None where the name is not of one."""
    if wanted.base not in EMBEDDED:
        return None
    if size is not None:
        raise UserError(
            f"the data set '{wanted.base}' comes in one size: --image_size is for others"
        )
    if wanted.version or wanted.label:
        raise UserError(
            f"the data set '{wanted.base}' has one version and one label: leave out what follows it"
            f" in {name!r}"
        )
    return EMBEDDED[wanted.base]()


def _own(wanted: names.SetName, data_dir: str | None, size: int | None) -> Splits | None:
    """Return a user's own data; None where the name is not of any, or nothing is there."""
    path = wanted.directory(locate.data_root(data_dir))
    try:
        if not wanted.base or locate.is_prepared(path):
            return None
    except OSError:  # it must not be read, which the reader of prepared sets says
        return None
    kind = own.kind_of(path)
    return None if kind is None else own.load(wanted, path, kind, size)
