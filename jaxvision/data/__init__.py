"""Data sets by name: ``load('digits')``."""

from jaxvision.data import locate, names
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
    "load",
    "spelled",
]


def load(name: str, data_dir: str | None = None, image_size: int | None = None) -> Splits:
    """Load a data set: an embedded one in memory, one of TFDS as a map of its decoded file.

    Args:
      name: ``digits`` or ``shapes`` (need no download), a name of TensorFlow Datasets such as
        ``cifar10``, or a directory. Versions and labels are chosen as ``names.py`` says:
        ``cifar10:3.0.2``, ``cifar10_n@worse_label``.
      data_dir: where prepared TFDS sets lie; default ``$TFDS_DATA_DIR``, then TFDS's own
        ``~/tensorflow_datasets``. The embedded sets do not read it.
      image_size: pixels of a side to which the images of a TFDS set are scaled and cropped; None
        takes them as they are.

    Raises:
      UserError: the name is unknown, the set is not prepared, its files are damaged or not what
        their description says, or an embedded one is wanted in another form.
    """
    wanted = _parsed(name, data_dir)
    if wanted.base in EMBEDDED:
        if image_size is not None:
            raise UserError(
                f"the data set '{wanted.base}' comes in one size: --image_size is for others"
            )
        if wanted.version or wanted.label:
            raise UserError(
                f"the data set '{wanted.base}' has one version and one label: leave out what"
                f" follows it in {name!r}"
            )
        splits = EMBEDDED[wanted.base]()
    else:
        from jaxvision.data import tfds  # late: its libraries take half a second to import

        splits = tfds.load(wanted, data_dir, image_size)
    note(splits.identity)
    return splits


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
