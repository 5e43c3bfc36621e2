"""What nets say to images moved, scaled and turned: what transformations measures."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.breaking._nets import Images, Nets
from experiments.breaking._transforms import BORDERS, TRANSFORMS, Border, all_poses, rows_of
from jaxvision.adversarial.aims import log_odds_against
from jaxvision.adversarial.nets import over_nets
from jaxvision.data.warps import Pose, warp
from jaxvision.training.calls import joined
from jaxvision.types import Array

LAYERS = ("conv1", "fc7")  # the first and the top one of AlexNet's shape
EXAMPLES = 5  # images, as Zeiler & Fergus show
COLUMNS = 5  # poses of a transform that are pictured


class Looked(NamedTuple):
    """What N nets say to B images in P poses.

    Attributes:
      right: bool [N, B], the net gets the image right as it is.
      p_true: [N, P, B], probability of the image's class.
      distance: [N, P, 2], of the features of ``LAYERS`` from those of the image as it is, mean over
        images that are right; 1 is the mean distance of two images.
    """

    right: np.ndarray
    p_true: np.ndarray
    distance: np.ndarray


def by_kind(
    arrays: Mapping[str, np.ndarray], names: Sequence[str], axis: int = 0
) -> dict[str, np.ndarray]:
    """Cut arrays, whose ``axis`` holds the nets of one name after the other, by name."""
    return {
        f"{name}/{quantity}": rows
        for quantity, array in arrays.items()
        for name, rows in zip(names, np.split(array, len(names), axis), strict=True)
    }


def look(nets: Nets, some: Images, pose: Pose, border: Border) -> Looked:
    """Show images to every net in every pose, leaves of ``pose`` [P]."""
    images = some.images
    if border.disc:
        images = images * _disc(images.shape[1])

    def one(variables: dict, shared: tuple) -> Looked:
        images, labels, poses = shared
        layers = nets.layers(variables)
        logits, features = _answer(layers(images))
        right = jnp.argmax(logits, 1) == labels
        others = [jnp.roll(each, 1, 0) for each in features]
        units = jnp.stack(_distances(features, others)).mean(1)

        def posed(pose: Pose) -> tuple[Array, Array]:
            posed = warp(images, pose, border.padding)
            logits, moved = _answer(layers(posed))
            p_true = jax.nn.sigmoid(-log_odds_against(logits, labels))
            far = [_mean(each, right) for each in _distances(moved, features)]
            return p_true, jnp.stack(far) / units

        return Looked(right, *lax.map(posed, poses))

    return over_nets(one, nets.variables, (images, some.labels, pose))


def _answer(found: tuple[Array, dict[str, Array]]) -> tuple[Array, list[Array]]:
    logits, activations = found
    return logits, [jax.nn.relu(activations[name]) for name in LAYERS]


def _distances(some: list[Array], others: list[Array]) -> list[Array]:
    """Return the distances [B] of features [B, ...], by layer."""
    apart = [a - b for a, b in zip(some, others, strict=True)]
    flat = [each.reshape(len(each), -1) for each in apart]
    return [jnp.linalg.norm(each, axis=1) for each in flat]


def _mean(values: Array, counted: Array) -> Array:
    total = jnp.where(counted, values, 0).sum()
    return total / jnp.maximum(counted.sum(), 1).astype(values.dtype)


def _disc(side: int) -> np.ndarray:
    """Return 1 inside the inscribed circle and 0 outside, [side, side, 1]."""
    places = np.arange(side) - (side - 1) / 2
    rows, columns = np.meshgrid(places, places)
    inside = np.hypot(rows, columns) <= side / 2
    return inside[..., None].astype(np.float32)


def mean_of_right(p_true: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the mean [N, P] of p_true [N, P, B] over the images that a net gets right, [N, B].

    NaN where there are none.
    """
    counted = right[:, None]
    total = np.where(counted, p_true, 0).sum(2)
    count = counted.sum(2)
    return total / np.where(count > 0, count, np.nan)


def curves(found: Looked, side: int) -> dict[str, np.ndarray]:
    """Return P(true) [N, P] and distances [N, P, 2] of each transform."""
    p_true = mean_of_right(found.p_true, found.right)
    arrays = {}
    for name, place in rows_of(TRANSFORMS, side).items():
        arrays[f"{name}/p_true"] = p_true[:, place]
        arrays[f"{name}/distance"] = found.distance[:, place]
    return arrays


def half_turn(found: Looked, side: int, symmetric: np.ndarray) -> np.ndarray:
    """Return P(true) [N, 2] after half a turn, of images that are ``symmetric`` [B] and others."""
    amounts = TRANSFORMS["turn"].amounts(side)
    turns = found.p_true[:, rows_of(TRANSFORMS, side)["turn"]]
    turned = turns[:, amounts == 180]
    groups = [found.right & symmetric, found.right & ~symmetric]
    return np.stack([mean_of_right(turned, group)[:, 0] for group in groups], 1)


def together(kinds: Sequence[Nets]) -> Nets:
    """Return nets of one architecture and data set after one another, as if they were of a kind."""
    return kinds[0]._replace(
        variables=joined([nets.variables for nets in kinds]),
        test_error=joined([nets.test_error for nets in kinds]),
    )


def areas(nets: Nets, some: Images, borders: Sequence[str]) -> np.ndarray:
    """Return the mean P(true) over each range, [N, borders, transforms]."""
    side = some.images.shape[1]
    poses = all_poses(TRANSFORMS, side)
    by_border = []
    for border in borders:
        found = look(nets, some, poses, BORDERS[border])
        by_border.append(mean_by_range(found, side))
    return np.stack(by_border, 1)


def mean_by_range(found: Looked, side: int) -> np.ndarray:
    """Return the mean P(true) over each range, [N, transforms]."""
    p_true = mean_of_right(found.p_true, found.right)
    ranges = rows_of(TRANSFORMS, side).values()
    means = [p_true[:, place].mean(1) for place in ranges]
    return np.stack(means, 1)


def examples_of(found: Looked, some: Images, symmetric: np.ndarray) -> dict[str, np.ndarray]:
    """Return P(true) [P, EXAMPLES] of the first net for images it gets right, the first in poses.

    Those that half a turn changes come first; ``symmetric`` is bool [B].
    """
    order = np.lexsort((symmetric, ~found.right[0]))
    rows = order[:EXAMPLES]
    images = np.repeat(some.images[rows[:1]], COLUMNS, 0)
    strip = []
    for transform in TRANSFORMS.values():
        amounts = transform.amounts(images.shape[1])
        shown = amounts[columns_of(len(amounts))]
        strip.append(warp(images, transform.pose(shown)))
    pixels = np.rint(255 * np.stack(strip)).astype(np.uint8)
    return {"examples/p_true": found.p_true[0][:, rows], "examples/strip": pixels}


def columns_of(count: int) -> np.ndarray:
    """Return which of ``count`` amounts are pictured."""
    places = np.linspace(0, count - 1, COLUMNS)
    return places.round().astype(int)
