"""Data sets without a download: ``digits``, and drawn with masks, ``shapes`` and ``solids``."""

import functools
import gzip
import importlib.util
from pathlib import Path

import numpy as np

from jaxvision.data import cache, drawing
from jaxvision.data import solids as textured
from jaxvision.data.dataset import Dataset, Splits, hold_out
from jaxvision.data.identity import Identity, combined
from jaxvision.types import UserError


def digits() -> Splits:
    """Return the 8x8 handwritten digits that scikit-learn ships: 1437 train, 360 test, C = 1.

    The source counts ink in 0..16; here a pixel is 15 times that count (0..240), so dividing by 15
    gives the source back exactly. The split has no randomness: ordered by class, every fifth image
    is a test image, so both splits hold each class in the same proportion to within one image.

    Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998 (its test
    set), https://doi.org/10.24432/C50P49.

    Raises:
      UserError: scikit-learn is not installed.
    """
    # Read without importing sklearn, which takes over a second.
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise UserError("the data set 'digits' ships with scikit-learn: pip install scikit-learn")
    path = Path(spec.origin).parent / "datasets/data/digits.csv.gz"
    with gzip.open(path, "rt") as file:
        table = np.loadtxt(file, delimiter=",").astype(np.uint8)
    ink, labels = np.split(table, [64], axis=1)
    images = 15 * ink.reshape(-1, 8, 8, 1)
    labels = labels.ravel().astype(np.int32)
    train, test = hold_out(Dataset(images, labels))
    return _splits("digits", train, test, tuple("0123456789"))


def shapes(train_size: int = 4000, test_size: int = 1000, seed: int = 0) -> Splits:
    """Return drawn 32x32 RGB pictures of ten shapes in random poses, with mask and pose.

    Classes are balanced (image i shows class ``i % 10``), the two splits are independent, and
    image i of a split depends on the seed alone: a larger set begins with the smaller one. Colors,
    textures and clutter are drawn alike for all classes. See ``drawing.py``. Between CPUs with
    other vector units a few values differ by one (3 and 25 of 15 million were seen).

    Args:
      train_size: number of training images.
      test_size: number of test images.
      seed: not negative.

    Raises:
      UserError: a size or the seed is out of range.
    """
    return _drawn("shapes", train_size, test_size, seed, drawing.LARGE)


def shapes16k() -> Splits:
    """Return ``shapes`` with 16,000 training images: enough for nets that are looked into.

    Small conv nets learn 94 % of the test images from them, and 62 % from 4,000.
    """
    return _drawn("shapes16k", 16_000, 1000, 0, drawing.LARGE)


def small_shapes(train_size: int = 16_000, test_size: int = 1000, seed: int = 0) -> Splits:
    """Return ``shapes`` with small objects anywhere: radius 4 to 6 pixels, clutter half as large.

    A large object covers the picture's center more often than any method finds it; here the center
    says little, so what localizes objects can be told from what looks in the middle.

    Args and errors are those of ``shapes``.
    """
    return _drawn("small_shapes", train_size, test_size, seed, drawing.SMALL)


@functools.lru_cache(maxsize=1)
def _drawn(
    name: str, train_size: int, test_size: int, seed: int, geometry: drawing.Geometry
) -> Splits:
    """Return a set of shapes, read-only: who asks again at once gets the same arrays.

    An experiment asks once for every kind of net, and 16,000 pictures take over a second.
    """
    _check_sizes(name, train_size, test_size, seed)
    train = drawing.draw(train_size, seed, part=0, geometry=geometry)
    test = drawing.draw(test_size, seed, part=1, geometry=geometry)
    for array in (*train, *test):
        array.flags.writeable = False
    return _splits(name, train, test, drawing.CLASS_NAMES)


def solids(train_size: int = 3000, test_size: int = 600, seed: int = 0) -> Splits:
    """Return ray-cast 32x32 RGB pictures of ten textures on solids in random views, with masks.

    The class is the texture; spheres, cylinders, cubes and boards, their views and their colors are
    drawn alike for all classes. See ``solids.py``. Otherwise as ``shapes``.

    Args:
      train_size: number of training images.
      test_size: number of test images.
      seed: not negative.

    Raises:
      UserError: a size or the seed is out of range.
    """
    _check_sizes("solids", train_size, test_size, seed)
    train = textured.draw(train_size, seed, part=0)
    test = textured.draw(test_size, seed, part=1)
    return _splits("solids", train, test, textured.CLASS_NAMES)


def _check_sizes(name: str, train_size: int, test_size: int, seed: int) -> None:
    limits = (
        ("train_size", train_size, 1),
        ("test_size", test_size, 1),
        ("seed", seed, 0),
    )
    for limited, value, least in limits:
        if value < least:
            raise UserError(f"{name}: {limited} must be at least {least}, got {value}")


def _splits(
    name: str,
    train: Dataset,
    test: Dataset,
    class_names: tuple[str, ...],
) -> Splits:
    digest = combined(
        cache.in_memory(train).digest,
        cache.in_memory(test).digest,
        len(class_names),
    )
    identity = Identity(
        name,
        version="",
        label="",
        digest=digest,
        train=len(train.labels),
        test=len(test.labels),
    )
    return Splits(name, train, test, class_names, identity)


EMBEDDED = {
    "digits": digits,
    "shapes": shapes,
    "shapes16k": shapes16k,
    "small_shapes": small_shapes,
    "solids": solids,
}
