"""What a data set is: arrays, in memory or mapped from a file, and nothing else.

Images stay uint8 on their way to the device (a quarter of the bytes of float32); normalizing and
augmenting happen there, inside the step (``augment.py``).
"""

from typing import NamedTuple

import numpy as np

from jaxvision.data.identity import Identity


class Dataset(NamedTuple):
    """One split.

    Attributes:
      images: uint8 [N, H, W, C]; C is 1 for gray images.
      labels: int32 [N], each in [0, K).
      masks: bool [N, H, W], True on the object's pixels; None where the source has no masks.
      poses: float32 [N, 4] of the object: row and column of its center in pixels from the upper
        left corner (pixel i covers [i, i + 1]), radius in pixels, and angle in radians by which its
        x axis is turned towards larger rows; None where the source has none.
    """

    images: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None = None
    poses: np.ndarray | None = None

    def first(self, n: int) -> "Dataset":
        """Return the first ``n`` examples as stored; all where there are fewer.

        They are no sample: a set may be stored class by class. See ``sample``.
        """
        return self._rows(slice(n))

    def sample(self, n: int, seed: int = 0) -> "Dataset":
        """Return ``n`` examples drawn without replacement, every class in its share.

        A class of c among N examples is drawn floor(n c / N) or ceil(n c / N) times, so classes
        keep their shares to within one example, however the set is stored. The examples come in
        random order. The same seed draws the same rows of the same labels, everywhere.

        Args:
          n: how many; where there are no more, the set is returned as it is.
          seed: not negative.
        """
        if n < 0:
            raise ValueError(f"a sample has at least 0 examples, got {n}")
        if n >= len(self.labels):
            return self
        return self._rows(_stratified(np.asarray(self.labels), n, seed))

    def without_sample(self, n: int, seed: int = 0) -> "Dataset":
        """Return the examples that ``sample(n, seed)`` does not draw, in their order."""
        if n >= len(self.labels):
            return self._rows(slice(0))
        drawn = _stratified(np.asarray(self.labels), n, seed)
        return self._rows(np.delete(np.arange(len(self.labels)), drawn))

    @property
    def label_entropy(self) -> float:
        """The entropy of the labels in nats: the loss of a net that knows their shares alone.

        ln K where K classes are equally frequent, less where they are not.
        """
        counts = np.bincount(self.labels)
        shares = counts[counts > 0] / len(self.labels)
        terms = shares * np.log(shares)
        return 0.0 - float(terms.sum())

    @property
    def chance_error(self) -> float:
        """The error of always answering the most frequent class: 1 - 1/K where all are equal."""
        most = np.bincount(self.labels).max()
        return float(1 - most / len(self.labels))

    def _rows(self, rows: slice | np.ndarray) -> "Dataset":
        masks = None if self.masks is None else self.masks[rows]
        poses = None if self.poses is None else self.poses[rows]
        return Dataset(self.images[rows], self.labels[rows], masks, poses)


class Splits(NamedTuple):
    """A data set with the split to learn from and the split to judge by.

    Attributes:
      name: the name it was loaded by, in its one spelling.
      train: the training split.
      test: the test split, or the validation split where the source publishes no test labels.
      class_names: K names; ``class_names[label]`` is what the label means.
      identity: of the set as it was loaded; a smaller or changed split put in place keeps it.
    """

    name: str
    train: Dataset
    test: Dataset
    class_names: tuple[str, ...]
    identity: Identity

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return len(self.class_names)


def hold_out(data: Dataset, every: int = 5) -> tuple[Dataset, Dataset]:
    """Split off a test set without randomness: ordered by class, every ``every``-th example.

    Both parts hold each class in the same proportion to within one example. A class of at least two
    examples is in both; a class of one is learned from, never only judged by.
    """
    is_test = np.zeros(len(data.labels), bool)
    by_class = np.argsort(data.labels, kind="stable")
    is_test[by_class[::every]] = True
    for label in np.flatnonzero(np.bincount(data.labels)):
        rows = np.flatnonzero(data.labels == label)
        if len(rows) == 1:
            is_test[rows] = False
        elif not is_test[rows].any():
            is_test[rows[-1]] = True
    return data._rows(~is_test), data._rows(is_test)


def hold_out_rows(labels: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw a fifth of every class to judge by; returns the rows to learn from and those.

    Rounded to whole images, and at least one of a class of two; a class of one is learned from.
    The draw depends on the seed and the labels alone, and takes neighbors no oftener than others.

    Args:
      labels: int [N].
      seed: not negative.
    """
    order = _shuffled(len(labels), np.random.PCG64(seed))
    members = np.bincount(labels)
    wanted = np.where(members > 1, np.maximum((members + 2) // 5, 1), 0)
    shuffled = labels[order]
    drawn = order[_rank_in_class(shuffled) < wanted[shuffled]]
    is_test = np.zeros(len(labels), bool)
    is_test[drawn] = True
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


def balanced(labels: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return the rows of ``order`` such that the first n, for any n, hold the classes alike.

    Nested subsets: every class has had its turn before one comes again, in the order of ``order``.
    Where a class has run out the others go on.

    Args:
      labels: of the whole set, int [N].
      order: rows of it [M], each once.
    """
    rounds = _rank_in_class(labels[order])
    return order[np.argsort(rounds, kind="stable")]


def _stratified(labels: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Return ``n`` rows, every class in its share, in random order.

    The random bits are those of PCG64 itself, a stream that numpy promises to keep; it makes no
    such promise for shuffles.
    """
    members = np.bincount(labels)
    bits = np.random.PCG64(seed)
    order = _shuffled(len(labels), bits)
    wanted, left = np.divmod(n * members.astype(np.int64), len(labels))
    # The rest goes to the classes that lost most by rounding down; ties are settled by lot.
    lots = bits.random_raw(len(members))
    by_loss = np.lexsort((lots, -left))
    rest = n - wanted.sum()
    wanted[by_loss[:rest]] += 1
    shuffled = labels[order]
    drawn = order[_rank_in_class(shuffled) < wanted[shuffled]]
    # A class that is filled early is rare among the last: what is drawn needs an order of its own.
    return drawn[_shuffled(n, bits)]


def _shuffled(n: int, bits: np.random.PCG64) -> np.ndarray:
    """Return a random order of ``range(n)``."""
    return np.argsort(bits.random_raw(n), kind="stable")


def _rank_in_class(labels: np.ndarray) -> np.ndarray:
    """Return how many equal labels come before each one."""
    by_class = np.argsort(labels, kind="stable")
    members = np.bincount(labels)
    starts = np.cumsum(members) - members
    ranks = np.empty(len(labels), np.int64)
    ranks[by_class] = np.arange(len(labels))
    return ranks - starts[labels]
