"""Data sets by name: ``load('digits')``."""

from jaxvision.data.dataset import Dataset, Splits
from jaxvision.data.embedded import EMBEDDED
from jaxvision.types import UserError

__all__ = ["EMBEDDED", "Dataset", "Splits", "load"]


def load(name: str, data_dir: str | None = None, image_size: int | None = None) -> Splits:
    """Load a data set: an embedded one in memory, one of TFDS as a map of its decoded file.

    Args:
      name: ``digits`` or ``shapes`` (need no download), a name of TensorFlow Datasets such as
        ``cifar10``, or the directory of one prepared version (``.../my_set/1.0.0``).
      data_dir: where prepared TFDS sets lie; default ``$TFDS_DATA_DIR``, then TFDS's own
        ``~/tensorflow_datasets``. The embedded sets do not read it.
      image_size: pixels of a side to which the images of a TFDS set are scaled and cropped; None
        takes them as they are.

    Raises:
      UserError: the name is unknown, the set is not prepared, its files are damaged, or an embedded
        one is wanted in another size.
    """
    if name in EMBEDDED:
        if image_size is not None:
            raise UserError(f"the data set '{name}' comes in one size: --image_size is for others")
        return EMBEDDED[name]()
    from jaxvision.data import tfds  # late: its libraries take half a second to import

    return tfds.load(name, data_dir, image_size)
