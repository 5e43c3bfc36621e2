"""The classes of a training and of a test split, held against each other."""

import numpy as np

from jaxvision.progress import note
from jaxvision.types import UserError


def compare(train: np.ndarray, test: np.ndarray, names: tuple[str, ...], of: str) -> None:
    """Say which classes are judged that nothing was learned about.

    Args:
      train: labels int [N] in [0, K) of the training images.
      test: those of the test images.
      names: of the K classes.
      of: the set, for the line.

    Raises:
      UserError: that is all of them.
    """
    judged = set(np.unique(test).tolist())
    unseen = sorted(judged - set(np.unique(train).tolist()))
    if len(unseen) == len(judged):
        raise UserError(
            f"the training and the test images of {of!r} have no class in common: give both splits"
            " images of the same classes"
        )
    if unseen:
        note(
            f"{len(unseen)} of the {len(judged)} classes among the test images of {of!r} are not"
            f" among the training images, such as {names[unseen[0]]!r}"
        )
