"""What is measured of a small DCGAN: distances with their anchors, jumps, copies, features."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from experiments.generating import _codes as codes_lib
from experiments.generating import _linear as linear
from experiments.generating._ruler import Reading, Ruler
from jaxvision.data import Dataset, Splits
from jaxvision.generative import anchors, metrics

PATHS = 8  # interpolations of each net
STEPS = 32  # of each
MOST_HELD_OUT = 1000  # real images that nobody learned from
NEAR_COPY = 8.0  # standard deviation of the noise on copies, grey levels
ANCHORS = ("real", "blurred", "half the classes", "one class", "noise")


class Anchored(NamedTuple):
    """What one seed's generator is held against.

    Attributes:
      reference: of n real images.
      distances: from them to each of ``ANCHORS``, as many images.
      law: what two samples of n have on average by the formula.
      quarter: the distance of a quarter of the reference from as many of the other half.
    """

    reference: Reading
    distances: dict[str, float]
    law: float
    quarter: float


def anchored(ruler: Ruler, real: Dataset, n: int, seed: int) -> Anchored:
    """Split real images at random, and measure what lies between real and noise."""
    one, other = anchors.halves(real, n, seed)
    classes = np.unique(real.labels)
    sets = {
        "real": other.images,
        "blurred": anchors.blurred(other.images),
        "half the classes": anchors.of_classes(real, classes[: len(classes) // 2], n, seed),
        "one class": anchors.of_classes(real, classes[:1], n, seed),
        "noise": anchors.noise(other.images.shape, seed),
    }
    reference = ruler.read(one.images)
    found = {name: ruler.read(images).features for name, images in sets.items()}
    distances = {name: metrics.frechet(reference.features, each) for name, each in found.items()}
    few = n // 4
    both = np.concatenate([reference.features, found["real"]])
    quarter = metrics.frechet(reference.features[:few], found["real"][:few])
    return Anchored(reference, distances, metrics.frechet_floor(both, n), quarter)


class Quality(NamedTuple):
    """How good a generator's images are."""

    fcd: float
    kernel: float
    precision: float
    recall: float
    shares: np.ndarray  # [K] of images that the ruler takes for each class


def quality(reading: Reading, reference: Reading) -> Quality:
    """Measure generated images against as many real ones."""
    features = reference.features, reading.features
    classes = reading.probabilities.argmax(1)
    count = reading.probabilities.shape[1]
    return Quality(
        metrics.frechet(*features),
        metrics.kernel_distance(*features),
        *metrics.precision_recall(*features),
        np.bincount(classes, minlength=count) / len(classes),
    )


class Routes(NamedTuple):
    """Codes that one call paints: middles and paths of every way between codes.

    Attributes:
      codes: all of them [M, Z].
      middles: way -> its rows of ``codes``, n of them.
      paths: way -> its rows, [PATHS, STEPS + 1].
    """

    codes: np.ndarray
    middles: dict[str, np.ndarray]
    paths: dict[str, np.ndarray]


def routes(seed: int, n: int, size: int) -> Routes:
    """Return n pairs' middles and ``PATHS`` pairs' paths by every way."""
    one = codes_lib.drawn(seed, 1, n, size)
    other = codes_lib.drawn(seed, 2, n, size)
    places = np.linspace(0, 1, STEPS + 1)
    pieces = []
    middles = {}
    paths = {}
    first = 0
    for name, way in codes_lib.WAYS.items():
        half_way = way(one, other, np.array([0.5]))[:, 0]
        along = way(one[:PATHS], other[:PATHS], places)
        pieces += [half_way, along.reshape(-1, size)]
        middles[name] = first + np.arange(n)
        points = np.arange(PATHS * len(places))
        paths[name] = first + n + points.reshape(PATHS, -1)
        first += n + points.size
    return Routes(np.concatenate(pieces), middles, paths)


class Memory(NamedTuple):
    """Training images as a generator that only remembers would show them.

    Attributes:
      rows: of the nearest training image along crossfades of training images, [PATHS, STEPS + 1].
      crossfades: the crossfades themselves, uint8 [PATHS, STEPS + 1, H, W, C].
    """

    rows: np.ndarray
    crossfades: np.ndarray


def remembered(train: np.ndarray, seed: int) -> Memory:
    """Return the paths of a memorizer: always the training image nearest to a crossfade."""
    draws = np.random.Generator(np.random.Philox(seed))
    ends = draws.choice(len(train), 2 * PATHS, replace=False)
    images = train[ends].astype(np.float64)
    one, other = np.split(images.reshape(2 * PATHS, -1), 2)
    places = np.linspace(0, 1, STEPS + 1)
    faded = codes_lib.line(one, other, places)
    flat = train.reshape(len(train), -1)
    points = faded.reshape(-1, flat.shape[1])
    nearest, _ = metrics.nearest_of(points, flat)
    levels = np.rint(faded).astype(np.uint8)
    crossfades = levels.reshape(PATHS, STEPS + 1, *train.shape[1:])
    return Memory(nearest.reshape(PATHS, -1), crossfades)


class Copying(NamedTuple):
    """What the memorization test says of a generator and of two controls.

    Attributes:
      z: 'generated', 'copies' (training images with a little noise) and 'held_out' (real images
        that nobody learned from, half against half) -> z by pixels and by features [2].
      nearest: rows of the training images nearest to the generated ones, by pixels.
    """

    z: dict[str, np.ndarray]
    nearest: np.ndarray


def copying(
    ruler: Ruler, data: Splits, train: Reading, generated: np.ndarray, seed: int
) -> Copying:
    """Ask whether generated images are copies, and ask the same of what is known to be."""
    draws = np.random.Generator(np.random.Philox(seed))
    images = data.train.images
    n = min(len(generated), len(data.test.labels))
    rows = draws.permutation(len(images))[:n]
    copied = images[rows]
    noisy = copied + draws.normal(0, NEAR_COPY, copied.shape)
    near = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    order = draws.permutation(len(data.test.labels))[:MOST_HELD_OUT]
    held_out = data.test.images[order]
    half = len(order) // 2

    def asked(learned: np.ndarray, see: Callable) -> dict[str, metrics.Memorization]:
        unseen = see(held_out)
        return {
            "generated": metrics.memorization(learned, see(generated[:n]), unseen),
            "copies": metrics.memorization(learned, see(near), unseen),
            "held_out": metrics.memorization(learned, unseen[:half], unseen[half:]),
        }

    by_pixels = asked(_pixels(images), _pixels)
    by_features = asked(train.features, lambda some: ruler.read(some).features)
    z = {
        kind: np.array([of_pixels.z, by_features[kind].z]) for kind, of_pixels in by_pixels.items()
    }
    return Copying(z, by_pixels["generated"].nearest)


def _pixels(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) / np.float32(255)


def probed(features: np.ndarray, labels: np.ndarray, count: int) -> float:
    """Return a linear probe's accuracy: the first ``count`` rows are learned from."""
    train = features[:count], labels[:count]
    test = features[count:], labels[count:]
    return linear.accuracy(*train, *test)


def some_of(data: Splits, n: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Return images and labels to probe with, n to learn from first, and how many those are."""
    train = data.train.sample(n)
    test = data.test.sample(n)
    draws = np.random.Generator(np.random.Philox(0))
    order = draws.permutation(len(train.labels))
    images = np.concatenate([train.images[order], test.images])
    labels = np.concatenate([train.labels[order], test.labels])
    return images, labels, len(order)
