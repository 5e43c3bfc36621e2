"""The scenes of camouflage: where patches are made and judged, and what they are held against."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.breaking._patching import TURN, Given
from jaxvision import runtime
from jaxvision.adversarial import patch
from jaxvision.adversarial.threat import LEVELS
from jaxvision.data import Splits
from jaxvision.data.dataset import Dataset
from jaxvision.data.warps import Pose, warp
from jaxvision.random import stream
from jaxvision.types import Array, UserError

MASKED = ("shapes", "shapes16k", "small_shapes")  # sets whose masks say where the object is
MARGIN = 1.15  # side of a crop over that of the object


def given_of(config: Any, data: Splits) -> Given:
    """Return what every net is looked at with.

    Raises:
      UserError: too few images of a class, or none to judge on.
    """
    made_on, judged = data.train.sample(config.n_made), data.test.sample(config.n_images)
    _refuse_images(config, made_on, data.num_classes)
    images = _floats(made_on.images)
    is_own = made_on.labels == np.arange(data.num_classes)[:, None]
    size, channels = images.shape[1:3], images.shape[3]
    diameters = np.float32([patch.diameter(area, size) for area in config.areas])
    poses, room = _places(config, judged, diameters)
    draw = np.random.default_rng(config.first_seed)
    side = config.side
    return Given(
        made_on=patch.scenes_of(images, ~is_own),
        worn_by=patch.scenes_of(images, is_own),
        objects=None if made_on.masks is None else np.float32(made_on.masks),
        scenes=_floats(judged.images),
        labels=judged.labels.astype(np.int32),
        masks=None if judged.masks is None else np.float32(judged.masks),
        poses=poses,
        room=room,
        diameters=diameters,
        crops=_crops(made_on, data.num_classes, config.draws, side),
        noise=draw.random((config.draws, side, side, channels), np.float32),
        patterns=draw.random((config.draws, *size, channels), np.float32),
        seed=np.int32(config.first_seed),
    )


def refuse(config: Any) -> None:
    """Raise UserError where flags of camouflage contradict each other."""
    if config.area not in config.areas:
        raise UserError(f"--area={config.area:g} must be one of --areas")
    if list(config.areas) != sorted(set(config.areas)):
        raise UserError("--areas must rise, from the smallest patch to the largest")


def _refuse_images(
    config: Any,
    made_on: Dataset,
    classes: int,
) -> None:
    fewest = np.bincount(made_on.labels, minlength=classes).min()
    if fewest < config.draws:
        raise UserError(
            f"--n_made={config.n_made} leaves a class with {fewest} images, fewer than its"
            f" --draws={config.draws} real objects: raise the one or lower the other"
        )


def _floats(images: np.ndarray) -> np.ndarray:
    return images / np.float32(LEVELS)


def _places(config: Any, data: Dataset, diameters: np.ndarray) -> tuple[Pose, np.ndarray]:
    """Return poses, leaves [W, A, B], and whether there is such a place, bool [W, A, B]."""
    free = None
    room = np.ones((1, len(diameters), len(data.labels)), bool)
    if data.masks is not None:
        free = np.stack([patch.free_places(data.masks, across) for across in diameters])
        room = np.concatenate([room, free.any((2, 3))[None]])
    draw = partial(
        _drawn,
        config.first_seed,
        config.side,
        data.images.shape[:3],
    )
    drawn = jax.device_get(runtime.jit_once(draw)(diameters, free))
    return Pose(*(np.stack(leaves) for leaves in zip(*drawn, strict=True))), room


def _drawn(
    seed: int,
    side: int,
    shape: tuple[int, int, int],
    diameters: Array,
    free: Array | None,
) -> list[Pose]:
    """Draw poses for B scenes, leaves [A, B]: anywhere and, of what is free, off the object."""
    count, *size = shape

    def of_area(drawn: tuple[Array, Array, Array | None]) -> list[Pose]:
        number, across, free = drawn
        somewhere, off = jax.random.split(stream(seed, "noise", number))
        found = [
            patch.anywhere(
                somewhere,
                count,
                side,
                tuple(size),
                (across, across),
                TURN,
            )
        ]
        if free is not None:
            found.append(patch.at_free_places(off, free, side, across, TURN))
        return found

    return jax.lax.map(of_area, (jnp.arange(len(diameters)), diameters, free))


def _crops(
    data: Dataset,
    classes: int,
    count: int,
    side: int,
) -> np.ndarray:
    """Return ``count`` real objects of each class as patches, [K, R, P, P, C]."""
    rows = [np.flatnonzero(data.labels == each)[:count] for each in range(classes)]
    some = np.concatenate(rows)
    whole = np.ones(data.images.shape[1:3], bool)
    masks = [whole] * len(some) if data.masks is None else data.masks[some]
    poses = [_around(mask, side) for mask in masks]
    pose = Pose(*(np.float32(leaves) for leaves in zip(*poses, strict=True)))

    def cropped(images: Array, pose: Pose) -> Array:
        return warp(images, pose, "edge", (side, side))

    found = np.asarray(runtime.jit_once(cropped)(_floats(data.images[some]), pose))
    return found.reshape(classes, count, *found.shape[1:])


def _around(mask: np.ndarray, side: int) -> Pose:
    """Return the pose that shows the square around an object in P pixels; within the image."""
    height, width = mask.shape
    rows, columns = np.nonzero(mask)
    across = max(np.ptp(rows), np.ptp(columns)) + 1
    scale = side / min(MARGIN * across, height, width)
    down = scale * ((height - 1) / 2 - (rows.min() + rows.max()) / 2)
    right = scale * ((width - 1) / 2 - (columns.min() + columns.max()) / 2)
    return Pose(down=down, right=right, scale=scale)


def checks(given: Given) -> dict[str, np.ndarray]:
    """Return what is measured of places and patterns alone.

    "area" [W, A], share of the scene that a patch covers after the frame has cut it, mean over
    scenes with room for it; "room" [W, A], their share. With masks: "overlap", largest share of an
    object's pixel that a patch off the object covers; "outside", largest change of a pixel off the
    object by a pattern.
    """
    shares, touched, moved = jax.device_get(runtime.jit_once(_checked)(given))
    total = (shares * given.room).sum(-1)
    found = {
        "area": total / np.maximum(given.room.sum(-1), 1),
        "room": given.room.mean(-1),
    }
    if given.masks is not None:
        found |= {"overlap": (touched * given.room[-1]).max(), "outside": moved.max()}
    return found


def _checked(given: Given) -> tuple[Array, Array | None, Array | None]:
    """Return covered shares [W, A, B], and of the object's pixels; changes off the object [B]."""
    side, size = given.noise.shape[1], given.scenes.shape[1:3]
    places = given.room.shape
    flat = Pose(*(leaf.reshape(-1) for leaf in given.poses))
    covered = patch.coverage(flat, side, size).reshape(*places, *size)
    touched = moved = None
    if given.masks is not None:
        touched = (covered[-1] * given.masks[None]).max((2, 3))
        worn = patch.blend(given.scenes, given.patterns[:1], given.masks)
        changed = jnp.abs(worn - given.scenes).max(-1)
        moved = (changed * (1 - given.masks)).max((1, 2))
    return covered.mean((3, 4)), touched, moved
