"""How near generated images are to real ones, each measure with what it says of real images.

All measures take features [N, D] of images, ours the penultimate layer of a classifier of this
project: numbers of other classifiers are not comparable, so the Frechet distance is called FCD here
(of classifier features), never FID. Nor are numbers of other N: the fewer images, the *larger* the
distance between two samples of one law. So both sides hold equally many, ``frechet_floor`` says
what that alone makes, and ``anchors`` gives images between floor and ceiling. Everything runs on
the host in float64.
"""

from typing import NamedTuple

import numpy as np
import scipy

from jaxvision.types import UserError

NEIGHBORS = 3  # of Kynkaanniemi et al. 2019
_AT_ONCE = 256  # points whose distances from all rows are held at a time


def quantized(images: np.ndarray, low: float = -1.0, high: float = 1.0) -> np.ndarray:
    """Return images as uint8, ``low`` black and ``high`` white: the step that all must share.

    A difference of rounding or range alone moves every distance below.

    Raises:
      UserError: a pixel is not finite, or lies outside of the range by more than rounding.
    """
    images = np.asarray(images, np.float64)
    slack = 1e-3 * (high - low)
    if not np.isfinite(images).all():
        raise UserError("the images hold pixels that are not finite: has the generator diverged?")
    if images.min() < low - slack or images.max() > high + slack:
        raise UserError(
            f"pixels from {images.min():.4g} to {images.max():.4g} do not fit the range {low:g} to "
            f"{high:g}: say the range that they have"
        )
    levels = np.rint(255 * (images - low) / (high - low))
    return np.clip(levels, 0, 255).astype(np.uint8)


def frechet(one: np.ndarray, other: np.ndarray) -> float:
    """Return the squared Frechet distance of two Gaussians that fit the features.

    d^2 = |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), covariances by N - 1.
    Source: Heusel et al. 2017 (arXiv 1706.08500), equation 6.

    Args:
      one: features [N, D].
      other: as many, [N, D].

    Raises:
      UserError: the sides hold different numbers of images, or no more than D.
    """
    one, other = _paired(one, other)
    n, d = one.shape
    if n <= d:
        raise UserError(
            f"the Frechet distance of {d} features needs more than {d} images a side, got {n}: "
            "take more images or fewer features"
        )
    first = _covariance(one)
    second = _covariance(other)
    apart = np.square(one.mean(0) - other.mean(0)).sum()
    # The root of C1 C2 has the trace of the root of C1^(1/2) C2 C1^(1/2), which is symmetric.
    root = _root(first)
    inner = root @ second @ root
    squares = np.linalg.eigvalsh((inner + inner.T) / 2)
    shared = np.sqrt(np.clip(squares, 0, None)).sum()
    return float(apart + np.trace(first) + np.trace(second) - 2 * shared)


def frechet_floor(features: np.ndarray, n: int) -> float:
    """Return the distance that two samples of n images of one Gaussian law have on average.

    To first order in 1 / n: 2 tr S / n + (sum_ij l_i l_j / (l_i + l_j) + tr S / 2) / n, with the
    eigenvalues l of the covariance S; (2 d + d (d + 1) / 2) / n where S is the unit matrix.

    Args:
      features: of as many images as there are, [N, D]: they tell S.
      n: images a side.
    """
    covariance = _covariance(np.asarray(features, np.float64))
    eigenvalues = np.clip(np.linalg.eigvalsh(covariance), 0, None)
    products = np.outer(eigenvalues, eigenvalues)
    sums = np.add.outer(eigenvalues, eigenvalues)
    nothing = np.zeros_like(sums)
    pairs = np.divide(products, sums, out=nothing, where=sums > 0)
    trace = eigenvalues.sum()
    of_means = 2 * trace
    of_covariances = pairs.sum() + trace / 2
    return float((of_means + of_covariances) / n)


def kernel_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return the unbiased squared MMD under k(x, y) = (x . y / D + 1)^3: mean 0 for one law.

    Source: Binkowski et al. 2018 (arXiv 1801.01401), section 4. It needs no floor.

    Args:
      one: features [N, D], N at least 2.
      other: as many, [N, D].

    Raises:
      UserError: the sides hold different numbers of images, or fewer than two.
    """
    one, other = _paired(one, other)
    n, d = one.shape
    if n < 2:
        raise UserError(f"the kernel distance needs at least 2 images a side, got {n}")

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / d + 1) ** 3

    def within(x: np.ndarray) -> float:
        values = kernel(x, x)
        of_pairs = values.sum() - np.trace(values)
        return of_pairs / (n * (n - 1))

    between = kernel(one, other).mean()
    return float(within(one) + within(other) - 2 * between)


class Coverage(NamedTuple):
    """How two sets of images cover each other, shares of 1."""

    precision: float  # of generated images that lie among real ones
    recall: float  # of real images that lie among generated ones


def precision_recall(real: np.ndarray, generated: np.ndarray, k: int = NEIGHBORS) -> Coverage:
    """Return the shares that lie within the k-th neighbor's distance of an image of the other set.

    Source: Kynkaanniemi et al. 2019 (arXiv 1904.06991), equations 1 to 3. Two halves of one set
    reach about .9 at a few hundred images, not 1: compare with that.

    Args:
      real: features [N, D], N above k.
      generated: as many, [N, D].
      k: the neighbor whose distance is the radius; an image is none of its own.

    Raises:
      UserError: the sides hold different numbers of images, or no more than k.
    """
    real, generated = _paired(real, generated)
    if len(real) <= k:
        raise UserError(
            f"precision and recall by {k} neighbors need more than {k} images a side, got "
            f"{len(real)}"
        )
    return Coverage(_share_inside(real, generated, k), _share_inside(generated, real, k))


class Memorization(NamedTuple):
    """A test of copying.

    Attributes:
      z: of Mann and Whitney; about N(0, 1) where generated images lie as near the training images
        as held-out ones do, far below 0 where they are copies.
      nearest: for each generated image the row of its nearest training image, int [N].
      generated: distances there, [N].
      held_out: the same of held-out images, [M].
    """

    z: float
    nearest: np.ndarray
    generated: np.ndarray
    held_out: np.ndarray


def memorization(train: np.ndarray, generated: np.ndarray, held_out: np.ndarray) -> Memorization:
    """Ask whether generated images lie nearer to the training images than held-out images do.

    Source: Meehan, Chaudhuri & Dasgupta 2020 (arXiv 2004.05675), without their cells: copies of a
    few images among many others go unseen.

    Args:
      train: features or pixels [T, D] of all training images.
      generated: [N, D].
      held_out: of the same law as ``train``, [M, D].

    Raises:
      UserError: one of the three holds no image.
    """
    asked = {"training": train, "generated": generated, "held-out": held_out}
    for name, rows in asked.items():
        if not len(rows):
            raise UserError(f"the memorization test has no {name} images")
    nearest, of_generated = nearest_of(generated, train)
    _, of_held_out = nearest_of(held_out, train)
    z = _mann_whitney(of_generated, of_held_out)
    return Memorization(z, nearest, of_generated, of_held_out)


def nearest_of(points: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which of the rows [T, D] is nearest to each point [N, D], int [N], and how far [N].

    Found by matrix products, a few points at a time: rows may be many.
    """
    points = np.asarray(points, np.float64)
    rows = np.asarray(rows, np.float64)
    squares = np.square(rows).sum(1)
    found = [
        (squares - 2 * some @ rows.T).argmin(1)
        for some in np.array_split(points, -(-len(points) // _AT_ONCE))
    ]
    nearest = np.concatenate(found)
    return nearest, np.linalg.norm(points - rows[nearest], axis=1)


def jump(path: np.ndarray) -> np.ndarray:
    """Return the largest step of a path over its mean step: 1 for equal steps, T for one jump.

    Args:
      path: features [..., T + 1, D] of T + 1 images along an interpolation.

    Returns:
      [...]; NaN where nothing moves.
    """
    moves = np.diff(np.asarray(path, np.float64), axis=-2)
    steps = np.linalg.norm(moves, axis=-1)
    mean = steps.mean(-1)
    largest = steps.max(-1)
    nothing = np.full_like(mean, np.nan)
    return np.divide(largest, mean, out=nothing, where=mean > 0)


def class_score(probabilities: np.ndarray) -> float:
    """Return exp of the mean KL(p(y | x) | p(y)): K for K classes, all sure and equally frequent.

    The inception score of Salimans et al. 2016 (arXiv 1606.03498) by a classifier of our own, over
    all images at once: splits of samples that are sorted by class would score 1.

    Args:
      probabilities: [N, K], rows of sum 1.
    """
    p = np.asarray(probabilities, np.float64)
    mean = np.broadcast_to(p.mean(0), p.shape)
    divergence = scipy.special.rel_entr(p, mean).sum(1)
    return float(np.exp(divergence.mean()))


def of_class(features: np.ndarray, labels: np.ndarray, wanted: int) -> np.ndarray:
    """Return the features of one class, to measure it alone.

    Raises:
      UserError: it has no images.
    """
    rows = np.asarray(features)[np.asarray(labels) == wanted]
    if not len(rows):
        raise UserError(f"class {wanted} has no images: measure the classes that there are")
    return rows


def _mann_whitney(one: np.ndarray, other: np.ndarray) -> float:
    """Return z of the test whether ``one`` is larger than ``other``."""
    n = len(one)
    m = len(other)
    u = scipy.stats.mannwhitneyu(one, other).statistic
    mean = n * m / 2
    variance = n * m * (n + m + 1) / 12
    return float((u - mean) / np.sqrt(variance))


def _paired(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    one = np.asarray(one, np.float64)
    other = np.asarray(other, np.float64)
    if one.shape != other.shape or one.ndim != 2:
        raise UserError(
            f"{_told(one)} against {_told(other)}: the number of images is part of the measure, so "
            "take as many of both"
        )
    return one, other


def _told(features: np.ndarray) -> str:
    return "x".join(map(str, features.shape)) + " features"


def _covariance(features: np.ndarray) -> np.ndarray:
    return np.atleast_2d(np.cov(features.T))


def _root(matrix: np.ndarray) -> np.ndarray:
    """Return the symmetric root of a covariance."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T


def _share_inside(centers: np.ndarray, points: np.ndarray, k: int) -> float:
    """Return the share of points within a center's distance to its own k-th neighbor."""
    radii = np.sort(_distances(centers, centers), axis=1)[:, k]  # place 0 is itself
    inside = _distances(points, centers) <= radii
    return float(inside.any(1).mean())


def _distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return Euclidean distances [N, M]."""
    return scipy.spatial.distance.cdist(np.float64(one), np.float64(other))
