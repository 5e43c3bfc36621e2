"""Patches: pictures that are pasted onto a scene, at places drawn at random, and what they do.

    poses = anywhere(key, len(scenes), patches.shape[1], scenes.shape[1:3], diameters, 22.5)
    images = paste(scenes, patches, poses)

A patch [P, P, C] lies in a scene [H, W, C] by a ``Pose`` of ``data.warps``: its middle is ``down``
and ``right`` of the scene's, and ``scale`` times P is its diameter in pixels. It is round, or
square. All is pure and can be differentiated by scenes, patches and poses.

``on_scenes`` draws scenes and places for ``eot``, which then makes a patch, of size
``eps=jnp.inf``: any legal picture may be one.

Source: Brown et al. 2017, "Adversarial patch" (arXiv 1712.09665). Their disc has a soft edge, ours
the one pixel of an antialiased one.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from jaxvision.adversarial.eot import Transform
from jaxvision.data.warps import Pose, Size, warp
from jaxvision.types import Array

Shape = Literal["round", "square"]
Placing = Callable[[Array, Array], Pose]  # key, rows of scenes int32 [B] -> poses, leaves [B]


class Scenes(NamedTuple):
    """Where patches are pasted.

    Attributes:
      images: float32 [M, H, W, C] in [0, 1].
      rows: int32 [B, M], for each patch the scenes that it may get first, in any order.
      counts: int32 [B], how many of them it may get, at least 1.
    """

    images: Array
    rows: Array
    counts: Array


def scenes_of(images: np.ndarray, eligible: np.ndarray) -> Scenes:
    """Return scenes with those that each patch may get, ``eligible`` bool [B, M], on the host.

    Raises:
      ValueError: a patch may get none.
    """
    counts = eligible.sum(1)
    if not counts.all():
        raise ValueError("a patch has no scene that it may get")
    rows = np.argsort(~eligible, axis=1, kind="stable")
    return Scenes(images, np.int32(rows), np.int32(counts))


def blend(
    scenes: Array,
    pictures: Array,
    coverage: Array,
) -> Array:
    """Return scenes [B, H, W, C] under pictures of their size where ``coverage`` [B, H, W] is 1.

    To the bit the picture where it is 1 and the scene where it is 0.
    """
    over = coverage[..., None]
    return (1 - over) * scenes + over * pictures


def paste(
    scenes: Array,
    patches: Array,
    pose: Pose,
    shape: Shape = "round",
) -> Array:
    """Return scenes [B, H, W, C] with a patch [B, P, P, C] each; the frame cuts what overhangs."""
    size = scenes.shape[1:3]
    laid = warp(patches, pose, "edge", size)
    return blend(
        scenes,
        laid,
        coverage(
            pose,
            patches.shape[1],
            size,
            shape,
        ),
    )


def coverage(
    pose: Pose,
    side: int,
    size: Size,
    shape: Shape = "round",
) -> Array:
    """Return the share of each pixel that a patch covers, [B, H, W] or [1, H, W] of one pose.

    Args:
      pose: of patches.
      side: P, pixels of a patch.
      size: H and W, pixels of the scene.
      shape: "round", a disc of P pixels across at scale 1, or "square".
    """
    down, right, turn, scale = (jnp.asarray(part, jnp.float32).reshape(-1, 1, 1) for part in pose)
    rows = _from_middle(size[0])[None, :, None] - down
    columns = _from_middle(size[1])[None, None, :] - right
    if shape == "round":
        # The square root has no slope at 0.
        from_middle = jnp.sqrt(jnp.square(rows) + jnp.square(columns) + 1e-12)
    else:
        cosine = jnp.cos(jnp.deg2rad(turn))
        sine = jnp.sin(jnp.deg2rad(turn))
        along = jnp.abs(cosine * rows + sine * columns)
        across = jnp.abs(cosine * columns - sine * rows)
        from_middle = jnp.maximum(along, across)
    return jnp.clip(0.5 + scale * side / 2 - from_middle, 0.0, 1.0)


def diameter(area: float, size: Size) -> float:
    """Return the diameter, in pixels, of a disc that covers ``area`` of a scene, a share of it."""
    return 2 * math.sqrt(area * size[0] * size[1] / math.pi)


def anywhere(
    key: Array,
    count: int,
    side: int,
    size: Size,
    diameters: tuple[Array | float, Array | float],
    turn: float = 0.0,
) -> Pose:
    """Draw poses in which the patch lies within the scene as far as it fits, leaves [count].

    Args:
      key: of the draws.
      count: how many.
      side: P.
      size: H and W.
      diameters: the least and the largest in pixels, uniform between them.
      turn: degrees up to which it is turned either way.
    """
    sizes, places, turns = jax.random.split(key, 3)
    low, high = diameters
    across = low + (high - low) * jax.random.uniform(sizes, (count,))
    room = jnp.maximum(jnp.asarray(size, jnp.float32)[:, None] - across[None], 0.0)
    down, right = room * (jax.random.uniform(places, (2, count)) - 0.5)
    turned = jax.random.uniform(turns, (count,), minval=-turn, maxval=turn)
    return Pose(down, right, turned, across / side)


def free_places(objects: np.ndarray, across: float) -> np.ndarray:
    """Return where the middle of a disc may lie that touches no object, bool [B, H, W].

    Computed on the host. It lies within the scene, around the center of a pixel.

    Args:
      objects: bool [B, H, W], True on the object.
      across: diameter in pixels.
    """
    height, width = objects.shape[1:]
    rows = np.abs(np.arange(height) - (height - 1) / 2)[:, None]
    columns = np.abs(np.arange(width) - (width - 1) / 2)
    inside = (rows <= (height - across) / 2) & (columns <= (width - across) / 2)
    # A pixel so far from the middle is not covered at all.
    apart = across / 2 + 0.5
    away = [_distance(each) >= apart for each in objects]
    return np.stack(away) & inside if away else np.zeros_like(objects)


def at_free_places(
    key: Array, free: Array, side: int, across: Array | float, turn: float = 0.0
) -> Pose:
    """Draw a pose for each scene among its free places, bool [B, H, W]; one without any gets any.

    Args:
      key: of the draws.
      free: see ``free_places``.
      side: P.
      across: diameter in pixels.
      turn: degrees up to which it is turned either way.
    """
    places, turns = jax.random.split(key)
    count, height, width = free.shape
    chances = jnp.where(free.reshape(count, height * width), 0.0, -1e9)
    drawn = jax.random.categorical(places, chances)
    down = _from_middle(height)[drawn // width]
    right = _from_middle(width)[drawn % width]
    turned = jax.random.uniform(turns, (count,), minval=-turn, maxval=turn)
    scale = jnp.broadcast_to(across / side, (count,))
    return Pose(down, right, turned, scale)


def on_scenes(
    scenes: Scenes,
    placing: Placing,
    shape: Shape = "round",
) -> Transform:
    """Return a transform for ``eot``: every patch onto a scene that it may get, somewhere."""
    images = jnp.asarray(scenes.images)

    def transform(patches: Array, key: Array) -> Array:
        choice, places = jax.random.split(key)
        rows = some_rows(choice, scenes)
        return paste(
            images[rows],
            patches,
            placing(places, rows),
            shape,
        )

    return transform


def through_objects(scenes: Scenes, objects: Array) -> Transform:
    """Return a transform for ``eot``: a pattern [H, W, C] is seen where the scene's object is.

    Args:
      scenes: those that each pattern may get.
      objects: [M, H, W], 1 on the object, of each scene.
    """
    images, objects = jnp.asarray(scenes.images), jnp.asarray(objects)

    def transform(patterns: Array, key: Array) -> Array:
        rows = some_rows(key, scenes)
        return blend(images[rows], patterns, objects[rows])

    return transform


def some_rows(key: Array, scenes: Scenes) -> Array:
    """Draw for each of B patches a scene that it may get: int32 [B]."""
    rows, counts = jnp.asarray(scenes.rows), jnp.asarray(scenes.counts)
    share = jax.random.uniform(key, counts.shape)
    place = jnp.floor(share * counts.astype(jnp.float32)).astype(jnp.int32)
    place = jnp.minimum(place, counts - 1)
    return jnp.take_along_axis(rows, place[:, None], 1)[:, 0]


def _from_middle(count: int) -> Array:
    return jnp.arange(count, dtype=jnp.float32) - (count - 1) / 2


def _distance(one: np.ndarray) -> np.ndarray:
    """Return how far each pixel is from the object's nearest; infinite where there is none."""
    if not one.any():
        return np.full(one.shape, np.inf)
    return ndimage.distance_transform_edt(~one)
