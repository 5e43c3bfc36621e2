"""Subsets as choices of rows: one big training set, of which each run draws its own rows.

The set is cut into blocks of equally many images: the images as they are, the same under every
other label, and the same moved by a pixel. A run's subset is a list of rows, so runs that differ by
how many images they have, by augmentation or by label noise share one compiled program. So do
narrow nets: within a wide one, its other units at zero.
"""

from collections.abc import Mapping, Sequence

import jax
import numpy as np

from jaxvision.data.dataset import Dataset, balanced
from jaxvision.random import probe
from jaxvision.types import PyTree, UserError

MOVES = ((1, 0), (-1, 0), (0, 1), (0, -1))  # pixels down and across


def blocks(train: Dataset, classes: int) -> Dataset:
    """Return the images under each of ``label_shifts``, and the moved ones under their own labels.

    Blocks of the training set's size, one after the other; the first is the set itself.
    """
    shifts = label_shifts(classes)
    moved = [moved_by(train.images, *move) for move in MOVES]
    images = [train.images] * len(shifts) + moved
    labels = [(train.labels + shift) % classes for shift in shifts]
    labels += [train.labels] * len(MOVES)
    return Dataset(np.concatenate(images), np.concatenate(labels))


def label_shifts(classes: int) -> np.ndarray:
    """Return what is added to a label, modulo K, to make a noisy one of it; 0 is the first.

    All classes where there are no more than ten, else ten of them: each is a copy of the images.
    """
    return np.linspace(0, classes, min(classes, 10), endpoint=False).astype(np.int32)


def moved_by(images: np.ndarray, down: int, across: int) -> np.ndarray:
    """Return images [N, H, W, C] moved by some pixels; the edge is repeated behind them."""
    reach = max(abs(down), abs(across))
    wide = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    height, width = images.shape[1:3]
    top, left = reach - down, reach - across
    return wide[:, top : top + height, left : left + width]


def noisy_blocks(seed: int, images: int, classes: int, share: float) -> np.ndarray:
    """Return the block [N] from which a seed takes each image: a ``share`` draw theirs anew.

    Any of ``label_shifts`` alike, the right label too. The images of a smaller share are among
    those of a larger one, and get the same labels.
    """
    lot_key, block_key = jax.random.split(probe(seed, "labels"))
    lots = jax.device_get(jax.random.uniform(lot_key, (images,)))
    shifts = len(label_shifts(classes))
    drawn = jax.device_get(jax.random.randint(block_key, (images,), 0, shifts))
    return np.where(lots < share, drawn, 0)


def subset(labels: np.ndarray, seed: int) -> np.ndarray:
    """Return a seed's order of the training images: its first N are its subset of N."""
    order = jax.random.permutation(probe(seed, "subsets"), len(labels))
    return balanced(labels, jax.device_get(order))


def check_sizes(sizes: Sequence[int], labels: np.ndarray, name: str, classes: int) -> None:
    """Raise UserError unless subsets of these sizes exist, all classes alike in each.

    They go from small to large.
    """
    flag = f"--sizes={','.join(map(str, sizes))}"
    if sizes[0] < classes:
        raise UserError(f"{flag}: {sizes[0]} images are fewer than the {classes} classes of {name}")
    rarest = int(np.bincount(labels, minlength=classes).min())
    if sizes[-1] > classes * rarest:
        raise UserError(
            f"{flag}: {name} has no {sizes[-1]:,} images with all classes alike: {rarest:,} of the"
            f" rarest class are there to learn from, enough for {classes * rarest:,}"
        )


def narrowed(variables: PyTree, width: int, narrow: int) -> PyTree:
    """Return MLPs of ``width`` units that are nets of ``narrow`` units, the others at zero.

    A unit whose weights are zero on both sides has no gradient: under SGD it stays where it is, and
    the net is the narrow one, to the bit but for the order of sums. Kernels of variance 2 / fan-in
    keep to it: those behind a hidden layer are made larger.

    Args:
      variables: ``{'params', 'batch_stats'}`` of MLPs, leaves [R, ...].
      width: units of a hidden layer.
      narrow: units that are kept.
    """
    kept = np.arange(width) < narrow
    gain = np.float32((width / narrow) ** 0.5)
    into, out_of = np.float32(kept), np.float32(kept)[:, None] * gain
    factors: Mapping[str, np.ndarray] = {"input": into, "hidden": out_of * into, "output": out_of}
    params = {
        name: layer | {"kernel": layer["kernel"] * factors[name]}
        for name, layer in variables["params"].items()
    }
    return variables | {"params": params}
