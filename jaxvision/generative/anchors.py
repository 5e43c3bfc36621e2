"""Images between real and noise: what a measure of generated images must put in order.

A number means something between two others of the same number of images: that of other real images,
its floor, and that of noise, its ceiling. A measure that does not order *real < blurred < noise*
and does not see that half the classes are missing is not used.
"""

import numpy as np
import scipy

from jaxvision.data.dataset import Dataset
from jaxvision.types import UserError


def halves(data: Dataset, n: int, seed: int) -> tuple[Dataset, Dataset]:
    """Return two disjoint random samples of n examples.

    Not with every class in its share: generated images have no such shares either, and halves that
    agree in them lie nearer than two samples of one law do.

    Raises:
      UserError: there are fewer than 2 n examples.
    """
    if 2 * n > len(data.labels):
        raise UserError(
            f"two samples of {n} images need {2 * n}, and there are {len(data.labels)}: ask for "
            "fewer"
        )
    order = _generator(seed).permutation(len(data.labels))
    one, other = (
        Dataset(data.images[rows], data.labels[rows]) for rows in (order[:n], order[n : 2 * n])
    )
    return one, other


def blurred(images: np.ndarray, sigma: float = 1.0) -> np.ndarray:
    """Return images uint8 [N, H, W, C] smoothed by a Gaussian of ``sigma`` pixels."""
    smooth = scipy.ndimage.gaussian_filter(
        images.astype(np.float32), (0, sigma, sigma, 0), mode="nearest"
    )
    return np.rint(smooth).astype(np.uint8)


def noise(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Return uint8 images of a shape, every pixel uniform and by itself."""
    return _generator(seed).integers(0, 256, shape, np.uint8)


def of_classes(data: Dataset, classes: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Return n images uint8 of some classes alone, repeated where there are fewer.

    Raises:
      UserError: one of the classes has no images.
    """
    for wanted in classes:
        if not (data.labels == wanted).any():
            raise UserError(f"class {wanted} has no images: leave it out")
    rows = np.flatnonzero(np.isin(data.labels, classes))
    chosen = _generator(seed).permutation(rows)
    return data.images[np.resize(chosen, n)]


def _generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))
