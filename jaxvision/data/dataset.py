"""What a data set is: arrays, in memory or mapped from a file, and nothing else.

Images stay uint8 on their way to the device (a quarter of the bytes of float32); normalizing and
augmenting happen there, inside the step (``augment.py``).
"""

from typing import NamedTuple

import numpy as np


class Dataset(NamedTuple):
    """One split.

    Attributes:
      images: uint8 [N, H, W, C]; C is 1 for gray images.
      labels: int32 [N], each in [0, K).
      masks: bool [N, H, W], True on the object's pixels; None where the source has no masks.
    """

    images: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None = None


class Splits(NamedTuple):
    """A data set with the split to learn from and the split to judge by.

    Attributes:
      name: the name it was loaded by.
      train: the training split.
      test: the test split, or the validation split where the source publishes no test labels.
      class_names: K names; ``class_names[label]`` is what the label means.
    """

    name: str
    train: Dataset
    test: Dataset
    class_names: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return len(self.class_names)


def hold_out(data: Dataset, every: int = 5) -> tuple[Dataset, Dataset]:
    """Split off a test set without randomness: ordered by class, every ``every``-th example.

    Both parts hold each class in the same proportion to within one example.
    """
    is_test = np.zeros(len(data.labels), bool)
    is_test[np.argsort(data.labels, kind="stable")[::every]] = True
    return (
        Dataset(data.images[~is_test], data.labels[~is_test]),
        Dataset(data.images[is_test], data.labels[is_test]),
    )
