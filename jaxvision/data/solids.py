"""Textured solids in random views, the pictures behind the data set ``solids``.

The class is the texture (``textures.py``); the solid that bears it and the view of it
(``raycast.py``) are drawn alike for all classes.
"""

from typing import NamedTuple

import numpy as np

from jaxvision.data import raycast, textures
from jaxvision.data.dataset import Dataset

SIZE = 32  # pixels along each side
CLASS_NAMES = tuple(textures.PATTERNS)
_NUMBERS = textures.NUMBERS + 1 + raycast.NUMBERS
_BLOCK = 250  # pictures rendered at once


class Objects(NamedTuple):
    """N textured solids.

    Attributes:
      textures: float32 [N, 64, 64, 3] in [0, 1].
      solids: int32 [N], places in ``raycast.SOLIDS``.
      labels: int32 [N], places in ``CLASS_NAMES``.
    """

    textures: np.ndarray
    solids: np.ndarray
    labels: np.ndarray


def objects(count: int, seed: int, part: int = 0) -> Objects:
    """Draw ``count`` objects; object i is of class ``i % 10`` and does not depend on ``count``.

    Args:
      count: how many.
      seed: not negative.
      part: not negative; 0 and 1 are those of the splits of ``solids``.
    """
    numbers = _numbers(count, seed, part)
    return _objects(numbers, np.arange(count))


def draw(count: int, seed: int, part: int = 0) -> Dataset:
    """Draw pictures of ``objects(count, seed, part)``, each in one view, and the objects' masks.

    Returns:
      images uint8 [count, 32, 32, 3], labels int32 [count], masks bool [count, 32, 32].
    """
    numbers = _numbers(count, seed, part)
    images = np.empty((count, SIZE, SIZE, 3), np.uint8)
    masks = np.empty((count, SIZE, SIZE), bool)
    labels = np.empty(count, np.int32)
    for start in range(0, count, _BLOCK):
        end = min(start + _BLOCK, count)
        rows = np.arange(start, end)
        some = _objects(numbers[rows], rows)
        seen_by = numbers[rows, -raycast.NUMBERS :]
        view = raycast.views(seen_by, some.solids)
        hits = _cast(some.solids, view)
        pictures = raycast.render(some.textures, hits, view.background)
        bright = 255 * np.clip(pictures, 0, 1)
        images[rows] = np.rint(bright)
        masks[rows] = hits.found
        labels[rows] = some.labels
    return Dataset(images, labels, masks)


def _numbers(count: int, seed: int, part: int) -> np.ndarray:
    """Return uniform float32 [count, _NUMBERS] in [0, 1), a row for each object."""
    # Only a bit generator's raw words are promised to stay the same in later numpy versions.
    seeds = np.random.SeedSequence((seed, part))
    words = np.random.Philox(seeds).random_raw(count * _NUMBERS)
    upper = (words >> np.uint64(40)).astype(np.float32)
    uniform = upper * np.float32(2**-24)
    return uniform.reshape(count, _NUMBERS)


def _objects(numbers: np.ndarray, rows: np.ndarray) -> Objects:
    labels = (rows % len(CLASS_NAMES)).astype(np.int32)
    side = textures.SIDE
    painted = np.empty((len(rows), side, side, 3), np.float32)
    for label in range(len(CLASS_NAMES)):
        mine = labels == label
        own = numbers[mine, : textures.NUMBERS]
        painted[mine] = textures.paint(label, own)
    kinds = numbers[:, textures.NUMBERS] * len(raycast.SOLIDS)
    return Objects(painted, kinds.astype(np.int32), labels)


def _cast(solids: np.ndarray, view: raycast.View) -> raycast.Hits:
    """Return ``raycast.cast``, each solid's rays sent to no other solid."""
    shape = len(solids), SIZE, SIZE
    hits = raycast.Hits(
        found=np.empty(shape, bool),
        u=np.empty(shape, np.float32),
        v=np.empty(shape, np.float32),
        shade=np.empty(shape, np.float32),
    )
    for kind, name in enumerate(raycast.SOLIDS):
        mine = solids == kind
        own = [part[mine] for part in view]
        found = raycast.cast_one(name, raycast.View(*own), SIZE)
        for whole, some in zip(hits, found, strict=True):
            whole[mine] = some
    return hits
