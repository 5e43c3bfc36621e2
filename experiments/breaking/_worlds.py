"""The two worlds of robust_3d: flat pictures in views, and textures on solids in poses."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.breaking._nets import some_of
from jaxvision.adversarial.eot import Transform
from jaxvision.adversarial.threat import LEVELS
from jaxvision.data import Splits, raycast, solids
from jaxvision.data.views import PAPER, Views, viewed
from jaxvision.types import Array, PyTree

STILL = "one pose"
_ATTACKED, _RIVALS = 2, 3  # parts of the drawn solids; 0 and 1 are learned from and tested on
_RIVALS_OF_A_CLASS = 8
_SEED = 0  # of targets and poses


class Given(NamedTuple):
    """B pictures to attack.

    Attributes:
      pictures: float32 [B, H, W, C] in [0, 1].
      labels: int32 [B].
      targets: int32 [B], the class to be seen instead.
      rivals: as ``pictures``, of the targets' classes.
      stages: distributions of poses from none to all, leaves [V, ...].
      scene: whatever else a pose needs, leaves [B, ...].
    """

    pictures: np.ndarray
    labels: np.ndarray
    targets: np.ndarray
    rivals: np.ndarray
    stages: PyTree
    scene: PyTree


class World(NamedTuple):
    """How pictures come to be seen.

    Attributes:
      names: of the stages, V.
      posed: scene, stage -> what draws a pose for each picture.
    """

    names: tuple[str, ...]
    posed: Callable[[PyTree, PyTree], Transform]


VIEWS: Mapping[str, Views] = {
    STILL: Views(),
    "turn": PAPER._replace(shift=0.0, smallest=1.0, largest=1.0, light=0.0, noise=0.0),
    "+ shift": PAPER._replace(smallest=1.0, largest=1.0, light=0.0, noise=0.0),
    "+ scale": PAPER._replace(light=0.0, noise=0.0),
    "+ light": PAPER,
}
ANY = "any pose"


def _viewed(scene: None, views: Views) -> Transform:
    del scene

    def transform(pictures: Array, key: Array) -> Array:
        return viewed(key, pictures, views)

    return transform


def _rendered(scene: tuple[Array, Array], free: Array) -> Transform:
    """Return pictures of solids in their own poses, but for the numbers that are drawn anew."""
    kinds, fixed = scene

    def transform(textures: Array, key: Array) -> Array:
        drawn = jax.random.uniform(key, fixed.shape)
        view = raycast.views(jnp.where(free, drawn, fixed), kinds)
        hits = raycast.cast(kinds, view, solids.SIZE)
        return raycast.render(textures, hits, view.background)

    return transform


FLAT = World(tuple(VIEWS), _viewed)
ROUND = World((STILL, ANY), _rendered)


def flat(data: Splits, count: int, stages: tuple[str, ...] = FLAT.names) -> Given:
    """Return test images to attack, and others of the targets' classes."""
    some = some_of(data.test, count)
    targets = other_classes(some.labels, data.num_classes)
    rows = [_first_of(data.test.labels, target) for target in targets]
    rivals = data.test.images[rows] / np.float32(LEVELS)
    parts = zip(*[VIEWS[name] for name in stages], strict=True)
    return Given(
        some.images,
        some.labels,
        targets,
        rivals,
        stages=Views(*map(np.float32, parts)),
        scene=None,
    )


def textured(count: int) -> Given:
    """Return textures of solids that no net has seen, each with a pose of its own."""
    some = solids.objects(count, 0, _ATTACKED)
    classes = len(solids.CLASS_NAMES)
    targets = other_classes(some.labels, classes)
    others = solids.objects(classes * _RIVALS_OF_A_CLASS, 0, _RIVALS)
    turns = np.arange(count) % _RIVALS_OF_A_CLASS
    rivals = others.textures[targets + classes * turns]
    rng = np.random.default_rng(_SEED)
    poses = rng.random((count, raycast.NUMBERS), np.float32)
    none = np.zeros(raycast.NUMBERS, bool)
    return Given(
        some.textures,
        some.labels,
        targets,
        rivals,
        stages=np.stack([none, ~none]),
        scene=(some.solids, poses),
    )


def other_classes(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return for each label another class at random, int32 [B]."""
    rng = np.random.default_rng(_SEED)
    away = rng.integers(1, classes, len(labels))
    others = (labels + away) % classes
    return others.astype(np.int32)


def turntable(
    scene: tuple[np.ndarray, np.ndarray], row: int, textures: np.ndarray, count: int
) -> np.ndarray:
    """Return an object's pictures [P, T, S, S, 3] in [0, 1] as it turns once about its axis.

    Args:
      scene: of ``textured``.
      row: which object.
      textures: [P, H, W, 3] that it bears, one after another.
      count: T frames.
    """
    numbers = np.full((count, raycast.NUMBERS), 0.5, np.float32)
    numbers[:, 0] = 0.0
    numbers[:, 1] = 0.8  # seen a little from above
    numbers[:, 2] = np.arange(count) / count
    kinds, _ = scene
    kinds = np.repeat(kinds[row : row + 1], count)
    view = raycast.views(numbers, kinds)
    hits = raycast.cast(kinds, view, solids.SIZE)

    def turn(texture: np.ndarray) -> np.ndarray:
        shown = np.broadcast_to(texture, (count, *texture.shape))
        return raycast.render(shown, hits, view.background)

    return np.stack([turn(texture) for texture in textures])


def _first_of(labels: np.ndarray, label: int) -> int:
    rows = np.flatnonzero(labels == label)
    return int(rows[0])
