"""What preferred inputs are worth: who else sees the class, how near to real, how alike, copied."""

from typing import NamedTuple

import jax
import numpy as np
import scipy
from jax import lax

from experiments.generating._subjects import Family
from jaxvision.adversarial.nets import layers_of, over_nets
from jaxvision.attribution.regularizers import LEVELS
from jaxvision.data import Dataset, Splits
from jaxvision.generative import anchors, metrics
from jaxvision.types import Array, PyTree, UserError

MOST_HELD_OUT = 2000  # test images that are asked about
AXES = 16  # of the ruler's features that distances are measured along
NEAR_COPY = 8.0  # standard deviation of the noise on copies, gray levels
DENSE = "dense"  # layer of the ruler whose features are measured


class Answers(NamedTuple):
    """What N nets say of pictures [M, B].

    Attributes:
      logits: [N, M, B, K].
      features: of the first net's hidden dense layer, [M, B, D].
    """

    logits: np.ndarray
    features: np.ndarray


def answers(family: Family, pictures: np.ndarray) -> Answers:
    """Return what nets say of pictures uint8 [M, B, H, W, C]."""

    def one(net: PyTree, pictures: Array) -> tuple[Array, Array]:
        layers = layers_of(family.apply, family.preprocess, net)

        def of_some(some: Array) -> tuple[Array, Array]:
            logits, activations = layers(some.astype(np.float32) / LEVELS)
            return logits, jax.nn.relu(activations[DENSE])

        return lax.map(of_some, pictures)

    logits, features = over_nets(one, family.variables, pictures, mapping="map")
    return Answers(logits, features[0])


def check(data: Splits, starts: int) -> None:
    """Hold a set against what is asked of it, before anything is computed.

    Raises:
      UserError: a class has no training images, or fewer test images than two samples need; or
        there are too few pictures for the distance.
    """
    for label, name in enumerate(data.class_names):
        if not (data.train.labels == label).any():
            raise UserError(f"class {name} has no images: take a set in which every class has some")
        of_class = data.test.labels == label
        count = int(of_class.sum())
        if count < 2 * starts:
            raise UserError(
                f"class {name} has {count} test images, and two samples of --starts={starts} are "
                "needed: ask for fewer"
            )
    pictures = starts * data.num_classes
    if pictures <= AXES:
        raise UserError(
            f"{pictures} pictures are too few for a distance along {AXES} axes: raise --starts"
        )


class Real(NamedTuple):
    """Test images in the places of pictures: ``starts`` times every class in turn.

    Attributes:
      sample: uint8 [B, H, W, C].
      second: as many others.
    """

    sample: np.ndarray
    second: np.ndarray


def real(data: Splits, starts: int, seed: int) -> Real:
    """Return two samples of the test images, by class as pictures are."""
    draws = np.random.Generator(np.random.Philox(seed))
    images, labels = data.test.images, data.test.labels
    drawn = []
    for label in range(data.num_classes):
        rows = np.flatnonzero(labels == label)
        some = draws.permutation(rows)
        drawn.append(some[: 2 * starts])
    chosen = np.stack(drawn, axis=1)
    first = chosen[:starts].ravel()
    second = chosen[starts:].ravel()
    return Real(images[first], images[second])


def in_rows(images: np.ndarray, count: int) -> np.ndarray:
    """Return images [N, ...] in rows of ``count``, the last filled up, [M, count, ...]."""
    rows = -(-len(images) // count)
    return np.resize(images, (rows, count, *images.shape[1:]))


ANCHORS = ("real", "blurred", "noise")


def anchor_images(sets: Real, seed: int) -> list[np.ndarray]:
    """Return the anchors of the distance, in the order of ``ANCHORS``, each [B, H, W, C]."""
    one = sets.second
    return [one, anchors.blurred(one), anchors.noise(one.shape, seed)]


class Scale(NamedTuple):
    """How features become a distance to the class that is wanted.

    Attributes:
      means: of real features by class, [K, D].
      axes: along which those less their class's mean vary most, [D, AXES].
    """

    means: np.ndarray
    axes: np.ndarray

    def centered(self, features: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Return features [B, D] less the mean of the class that each should be, [B, AXES]."""
        less = np.float64(features) - self.means[classes]
        return less @ self.axes


def scale(features: np.ndarray, labels: np.ndarray, classes: int) -> Scale:
    """Return the scale that real features [N, D] give; along its axes their mean variance is 1."""
    values = np.float64(features)
    found = []
    for label in range(classes):
        of_label = metrics.of_class(values, labels, label)
        found.append(of_label.mean(0))
    means = np.stack(found)
    less = values - means[labels]
    _, sizes, axes = np.linalg.svd(less, full_matrices=False)
    variances = sizes[:AXES] ** 2 / len(less)
    unit = np.sqrt(variances.mean())
    return Scale(means, axes[:AXES].T / unit)


def votes(logits: np.ndarray, classes: np.ndarray, judges: np.ndarray) -> np.ndarray:
    """Return the share of judges that see the class in each picture, [M, B].

    Args:
      logits: [N, M, B, K].
      classes: that are wanted, [M, B].
      judges: bool [N, M], who judges the pictures of a row.
    """
    return votes_of(logits.argmax(-1), classes, judges)


def votes_of(answers: np.ndarray, wanted: np.ndarray, judges: np.ndarray) -> np.ndarray:
    """Return the share of judges, bool [N, M], whose answers [N, M, B] are the wanted [M, B]."""
    is_right = answers == wanted
    seen = (is_right & judges[..., None]).sum(0)
    return seen / judges.sum(0)[:, None]


def shifted(classes: np.ndarray, count: int) -> np.ndarray:
    """Return every class's successor: a net of permuted classes means it by the same output."""
    return (classes + 1) % count


def beside(nets: int, owners: np.ndarray) -> np.ndarray:
    """Return which of N nets judge rows of pictures [M]: all but that of the same seed, [N, M]."""
    return np.arange(nets)[:, None] != owners


def spread(pictures: np.ndarray, classes: np.ndarray) -> float:
    """Return the mean L2 distance between two pictures [B, ...] of one class, pixels in [0, 1]."""
    flat = pictures.reshape(len(pictures), -1) / LEVELS
    found = []
    for label in np.unique(classes):
        pairs = scipy.spatial.distance.pdist(flat[classes == label])
        found.append(pairs.mean())
    return float(np.mean(found))


def variation(images: np.ndarray) -> np.ndarray:
    """Return the mean step between neighbors, down plus across, [..., H, W, C] -> [...]."""
    axes = (-3, -2, -1)
    pixels = images / LEVELS
    down = np.abs(np.diff(pixels, axis=-3)).mean(axes)
    across = np.abs(np.diff(pixels, axis=-2)).mean(axes)
    return down + across


def copies(train: Dataset, count: int, seed: int) -> np.ndarray:
    """Return training images with a little noise, uint8 [count, H, W, C]."""
    draws = np.random.Generator(np.random.Philox(seed))
    rows = draws.choice(len(train.labels), count)
    copied = train.images[rows]
    noisy = copied + draws.normal(0, NEAR_COPY, copied.shape)
    levels = np.clip(np.rint(noisy), 0, 255)
    return levels.astype(np.uint8)


class Nearness(NamedTuple):
    """How near pictures lie to training images.

    Attributes:
      z: of the memorization test.
      ratio: mean distance to the nearest training image, over that of held-out images.
    """

    z: float
    ratio: float


def nearness(train: np.ndarray, pictures: np.ndarray, held_out: np.ndarray) -> Nearness:
    """Ask by pixels whether pictures uint8 [B, ...] are copies of training images."""

    def flat(images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1) / LEVELS

    found = metrics.memorization(flat(train), flat(pictures), flat(held_out))
    ratio = found.generated.mean() / found.held_out.mean()
    return Nearness(found.z, float(ratio))
