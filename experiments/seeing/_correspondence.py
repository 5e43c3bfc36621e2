"""Whether covering the same part of several objects changes a net in the same way.

Source: Zeiler & Fergus 2013 (arXiv 1311.2901), section 4.3 and table 1. Their photographs are
frontal; here objects are brought into one pose by what is known of theirs.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.seeing import _nets
from experiments.seeing._nets import Nets
from jaxvision.adversarial.nets import over_nets
from jaxvision.adversarial.threat import LEVELS
from jaxvision.data.dataset import Dataset
from jaxvision.data.warps import sample_at
from jaxvision.types import Array, PyTree

RADIUS = 11.0  # pixels, of every object once it is turned
ALIKE = 5  # objects of a class, as in the source
# Where parts are, right and down from the object's center, in radii.
PARTS = ((0.6, 0.0), (-0.3, 0.5), (-0.3, -0.5))
GRAY = 0.5
LAYERS = (_nets.LAST, "logits")


class Alike(NamedTuple):
    """How differently units move, by layer: [N, P] for P parts and [N] for random ones.

    Attributes:
      part: share of units whose signs of change differ between two objects (Hamming distance).
      random: the same with another part covered in each object, of the same area.
      part_moved: over units that move in both objects alone.
      random_moved: likewise.
    """

    part: dict[str, np.ndarray]
    random: dict[str, np.ndarray]
    part_moved: dict[str, np.ndarray]
    random_moved: dict[str, np.ndarray]


def frontal(data: Dataset) -> np.ndarray:
    """Return objects in one pose and size, float32 [K, ALIKE, H, W, C] in [0, 1], by class."""
    chosen = [np.flatnonzero(data.labels == label)[:ALIKE] for label in np.unique(data.labels)]
    rows = np.concatenate(chosen)
    images = np.float32(data.images[rows] / LEVELS)
    turned = _turned(images, data.poses[rows])
    return turned.reshape(len(chosen), ALIKE, *images.shape[1:])


def _turned(images: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """Return images [B, H, W, C] whose objects lie in the middle, upright, ``RADIUS`` large."""
    height, width = images.shape[1:3]
    row, column, radius, angle = (part[:, None, None] for part in poses.T)
    sine = np.sin(angle) * radius / RADIUS
    cosine = np.cos(angle) * radius / RADIUS
    down = np.arange(height)[None, :, None] + 0.5 - height / 2
    right = np.arange(width)[None, None] + 0.5 - width / 2
    rows = row + sine * right + cosine * down - 0.5
    columns = column + cosine * right - sine * down - 0.5
    sampled = jax.jit(sample_at, static_argnums=3)
    return np.asarray(sampled(images, np.float32(rows), np.float32(columns), "reflect"))


def measured(nets: Nets, objects: np.ndarray, window: int, seed: int) -> Alike:
    """Return how alike nets change when parts of objects [K, ALIKE, H, W, C] are covered."""
    flat = objects.reshape(-1, *objects.shape[2:])
    rng = np.random.default_rng(seed)
    turn = rng.uniform(0, 2 * np.pi, len(flat))
    away = 0.6 * np.sqrt(rng.uniform(0, 1, len(flat)))
    random = np.stack([away * np.cos(turn), away * np.sin(turn)], axis=1)
    centers = [np.broadcast_to(part, random.shape) for part in PARTS] + [random]
    covered = np.stack([_covered(flat, center, window) for center in centers])

    def one(net: PyTree, given: tuple[Array, Array]) -> PyTree:
        images, covered = given
        f = nets.of(net)
        before = _features(f(images))

        def distances(covered: Array) -> PyTree:
            after = _features(f(covered))
            return {name: _distances(before[name] - after[name]) for name in before}

        return jax.lax.map(distances, covered)

    found = over_nets(one, nets.variables, (flat, covered))
    last = len(PARTS)
    return Alike(
        {name: pair[0][:, :last] for name, pair in found.items()},
        {name: pair[0][:, last] for name, pair in found.items()},
        {name: pair[1][:, :last] for name, pair in found.items()},
        {name: pair[1][:, last] for name, pair in found.items()},
    )


def _covered(images: np.ndarray, centers: np.ndarray, window: int) -> np.ndarray:
    """Return images [B, H, W, C] with a gray window at centers [B, 2], right and down in radii."""
    height, width = images.shape[1:3]
    right, down = RADIUS * centers.T
    in_columns = _within(width, width / 2 + right, window)
    in_rows = _within(height, height / 2 + down, window)
    inside = in_rows[:, :, None] & in_columns[:, None]
    return np.where(inside[..., None], np.float32(GRAY), images)


def _within(length: int, centers: np.ndarray, window: int) -> np.ndarray:
    """Return which of ``length`` pixels lie in the windows around centers [B], bool [B, length]."""
    first = np.rint(centers - window / 2)
    offset = np.arange(length) - first[:, None]
    return (offset >= 0) & (offset < window)


def _features(found: tuple[Array, dict[str, Array]]) -> dict[str, Array]:
    """Return what units put out [B, U], by layer."""
    logits, activations = found
    last = jax.nn.relu(activations[_nets.LAST])
    return {_nets.LAST: last.reshape(len(last), -1), "logits": logits}


def _distances(change: Array) -> tuple[Array, Array]:
    """Return mean distances of signs over pairs of a class: of all units, of those that move."""
    sign = jnp.sign(change).reshape(-1, ALIKE, change.shape[-1])
    one, other = sign[:, :, None], sign[:, None]
    differ = one != other
    moved = (one != 0) & (other != 0)
    is_pair = ~jnp.eye(ALIKE, dtype=bool)[None, :, :, None]
    whole = (differ & is_pair).sum(dtype=jnp.float32) / (
        len(sign) * ALIKE * (ALIKE - 1) * change.shape[-1]
    )
    both = moved & is_pair
    some = (differ & both).sum(dtype=jnp.float32) / jnp.maximum(both.sum(dtype=jnp.float32), 1)
    return whole, some
