"""Power laws of error in the number of images: exponents, bends, predictions, one a seed."""

import numpy as np
from numpy.typing import ArrayLike

from jaxvision.report.record import Record


def errors_of(record: Record, name: str) -> np.ndarray:
    """Return a recipe's test errors [S, N] from a record of data_size, none of them zero."""
    errors = record.arrays[f"{name}/test_error"].astype(np.float64)
    return smoothed(errors, record.numbers["test_images"])


def smoothed(wrong_share: np.ndarray, images: int) -> np.ndarray:
    """Return error rates with half an image more wrong, so that none is zero: it has a log."""
    return (wrong_share * images + 0.5) / (images + 1)


def exponents(sizes: ArrayLike, errors: np.ndarray) -> np.ndarray:
    """Return the slope [S] of log error on log size, least squares; ``errors`` [S, N] above 0.

    Error = c size^slope: -1/2 halves the error for four times the images.
    """
    x = _log(sizes)
    centered = x - x.mean()
    spread = centered @ centered
    return np.log(errors) @ centered / spread


def bends(sizes: ArrayLike, errors: np.ndarray) -> np.ndarray:
    """Return the exponent [S] over the larger half of the sizes minus that over the smaller.

    The middle size belongs to both halves where their number is odd; 0 for one power law.
    """
    sizes = np.asarray(sizes)
    half = (len(sizes) + 1) // 2
    early = exponents(sizes[:half], errors[:, :half])
    late = exponents(sizes[-half:], errors[:, -half:])
    return late - early


def predicted(sizes: ArrayLike, errors: np.ndarray, known: int, at: ArrayLike) -> np.ndarray:
    """Return the errors [S, A] at sizes ``at`` by the power law through the first ``known`` sizes.

    One line a seed: least squares of log error on log size.
    """
    x = _log(sizes)[:known]
    fitted = errors[:, :known]
    slope = exponents(np.asarray(sizes)[:known], fitted)
    middle = np.log(fitted).mean(1)
    away = _log(at) - x.mean()
    logs = middle[:, None] + slope[:, None] * away
    return np.exp(logs)


def worth(sizes: ArrayLike, errors: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return as how many times the images ``errors`` [N] count, by a ``reference`` curve [N].

    The size at which the reference has that error, over the size it has; between sizes the
    reference is a power law. NaN where the reference never has that error.
    """
    x = _log(sizes)
    # A curve that rises by chance counts as level there.
    falling = np.minimum.accumulate(np.log(reference))
    y = np.log(errors)
    found = np.interp(-y, -falling, x)
    inside = (y <= falling[0]) & (y >= falling[-1])
    return np.where(inside, np.exp(found - x), np.nan)


def misses(sizes: ArrayLike, errors: np.ndarray, known: int) -> np.ndarray:
    """Return log(measured / predicted) [S] at the largest size, from the first ``known`` sizes."""
    last = np.asarray(sizes)[-1:]
    expected = predicted(sizes, errors, known, last)[:, 0]
    return np.log(errors[:, -1] / expected)


def _log(sizes: ArrayLike) -> np.ndarray:
    return np.log(np.asarray(sizes, np.float64))
