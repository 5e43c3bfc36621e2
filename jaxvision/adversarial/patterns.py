"""What a universal perturbation must beat: noise, fixed patterns, draws along the boundaries."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.adversarial.aims import Logits, predictions
from jaxvision.adversarial.deepfool import deepfool
from jaxvision.adversarial.threat import Ball, steepest
from jaxvision.types import Array

SIZES = (1, 2, 4)  # pixels of a checkerboard's squares, and of stripes
WAVES = ((1, 0), (0, 1), (1, 1))  # periods down and across the image


def random_signs(key: Array, count: int, shape: tuple[int, ...]) -> Array:
    """Return random perturbations [count, H, W, C] of -1 and 1."""
    return jax.random.rademacher(key, (count, *shape), jnp.float32)


def structured(shape: tuple[int, int, int]) -> dict[str, np.ndarray]:
    """Return fixed perturbations [H, W, C] of -1 and 1 that no net was asked about.

    Checkerboards and stripes of 1, 2 and 4 pixels, all pixels up or down, and the signs of the
    slowest waves. One that is worth computing beats the best of them.
    """
    height, width, channels = shape
    rows, columns = np.indices((height, width))
    found = {"brighter": np.ones_like(rows), "darker": np.zeros_like(rows)}
    for size in SIZES:
        down = rows // size
        across = columns // size
        found[f"rows {size}"] = down % 2
        found[f"columns {size}"] = across % 2
        found[f"checkers {size}"] = (down + across) % 2
    for periods_down, periods_across in WAVES:
        down = periods_down * (rows + 0.5) / height
        across = periods_across * (columns + 0.5) / width
        wave = np.sin(2 * math.pi * (down + across))
        found[f"waves {periods_down}{periods_across}"] = wave > 0
    return {name: _signs(up, channels) for name, up in found.items()}


def _signs(up: np.ndarray, channels: int) -> np.ndarray:
    """Return 1 where a pixel goes up and -1 elsewhere, the same in every channel."""
    signs = np.where(
        up,
        np.float32(1),
        np.float32(-1),
    )
    return np.repeat(signs[..., None], channels, axis=2)


def normals(f: Logits, images: Array, *, steps: int = 10) -> Array:
    """Return unit normals [B, D] of the nearest boundaries, D = H W C: DeepFool's steps in L2.

    Of a linear net of K classes they span K - 1 directions at most. A row is 0 where DeepFool does
    not move the image.
    """
    labels = predictions(f(images))
    found = deepfool(
        f,
        images,
        labels,
        ball=Ball("l2", None),
        steps=steps,
    )
    unit = steepest("l2", found.images - images)
    return unit.reshape(len(images), math.prod(images.shape[1:]))


def span(
    normals: np.ndarray,
    count: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return what holds most of normals [..., B, D], computed on the host.

    Returns:
      The first ``count`` orthonormal directions [..., count, D], and the share of the normals'
      energy that the first 1, 2, ... of all directions hold [..., min(B, D)].
    """
    _, sizes, directions = np.linalg.svd(normals, full_matrices=False)
    energy = np.cumsum(np.square(sizes), axis=-1)
    return directions[..., :count, :], energy / energy[..., -1:]


def random_in(
    key: Array,
    directions: np.ndarray,
    count: int,
    size: float,
) -> np.ndarray:
    """Return random vectors [..., count, D] of L2 norm ``size`` in spans [..., k, D]."""
    weights = np.asarray(jax.random.normal(key, (count, directions.shape[-2])))
    vectors = weights @ directions
    return size * vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def random_directions(
    key: Array,
    count: int,
    size: Array | float,
    shape: tuple[int, ...],
) -> Array:
    """Return random perturbations [count, H, W, C] of L2 norm ``size`` in all directions."""
    unit = steepest("l2", jax.random.normal(key, (count, *shape)))
    return size * unit
