"""What nets say to images moved, scaled and turned: what transformations measures."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.breaking._nets import Images, Nets
from experiments.breaking._transforms import BORDERS, TRANSFORMS, Border, all_poses, rows_of
from jaxvision.adversarial.aims import log_odds, margin
from jaxvision.adversarial.nets import over_nets
from jaxvision.adversarial.threat import LEVELS
from jaxvision.data.augment import per_pixel_mean
from jaxvision.data.warps import Pose, warp
from jaxvision.random import stream
from jaxvision.types import Array

LAYERS = ("conv1", "fc7")  # the first and the top one of AlexNet's shape
PERIOD = 4  # pixels, the total stride of the nets on a torus
ENGSTROM_SHIFT = 3 / 32  # of a side
ENGSTROM_TURN = 30.0  # degrees
RANDOM = 10  # poses, of which the worst counts
WAYS = ("ten", "ascent", "grid")
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


def look(nets: Nets, some: Images, pose: Pose, border: Border) -> Looked:
    """Show images to every net in every pose, leaves of ``pose`` [P]."""
    images = some.images * _disc(some.images.shape[1]) if border.disc else some.images

    def one(variables: dict, shared: tuple) -> Looked:
        images, labels, poses = shared
        layers = nets.layers(variables)
        logits, features = _answer(layers(images))
        right = jnp.argmax(logits, 1) == labels
        apart = [_lengths(each - jnp.roll(each, 1, 0)).mean() for each in features]

        def posed(pose: Pose) -> tuple[Array, Array]:
            logits, moved = _answer(layers(warp(images, pose, border.padding)))
            p_true = jax.nn.sigmoid(-log_odds(logits, labels))
            ways = zip(moved, features, apart, strict=True)
            far = [_mean(_lengths(new - old), right) / unit for new, old, unit in ways]
            return p_true, jnp.stack(far)

        return Looked(right, *lax.map(posed, poses))

    return over_nets(one, nets.variables, (images, some.labels, pose))


def _answer(found: tuple[Array, dict[str, Array]]) -> tuple[Array, list[Array]]:
    logits, activations = found
    return logits, [jax.nn.relu(activations[name]) for name in LAYERS]


def _lengths(features: Array) -> Array:
    return jnp.sqrt(jnp.square(features).reshape(len(features), -1).sum(1))


def _mean(values: Array, counted: Array) -> Array:
    total = jnp.where(counted, values, 0).sum()
    return total / jnp.maximum(counted.sum(), 1).astype(values.dtype)


def _disc(side: int) -> np.ndarray:
    """Return 1 inside the inscribed circle and 0 outside, [side, side, 1]."""
    places = np.arange(side) - (side - 1) / 2
    inside = np.hypot(places[:, None], places[None, :]) <= side / 2
    return inside[..., None].astype(np.float32)


class Worst(NamedTuple):
    """Whether a search finds a pose that fools N nets, bool [N, B] each.

    Attributes:
      right: the net gets the image right as it is.
      ten: one of ten random poses fools.
      ascent: a pose on the way of signed gradient steps from a random one fools.
      grid: a pose of the grid fools.
    """

    right: np.ndarray
    ten: np.ndarray
    ascent: np.ndarray
    grid: np.ndarray


class Search(NamedTuple):
    """How hard poses are searched.

    Attributes:
      shifts: of the grid, in each direction.
      turns: of the grid.
      steps: of the ascent.
    """

    shifts: int
    turns: int
    steps: int


def worst_poses(nets: Nets, seeds: np.ndarray, some: Images, search: Search) -> Worst:
    """Search poses within the ranges of Engstrom et al. 2019 that fool nets, ``seeds`` [N]."""
    count = len(some.labels)
    grid = np.broadcast_to(_grid(search), (search.shifts**2 * search.turns, count, 3))

    def one(net: dict, shared: tuple[Array, Array, Array]) -> Worst:
        images, labels, grid = shared
        ten_key, start_key = jax.random.split(stream(net["seed"], "attack"))
        ten = jax.random.uniform(ten_key, (RANDOM, count, 3), minval=-1, maxval=1)
        start = jax.random.uniform(start_key, (count, 3), minval=-1, maxval=1)
        rest = jnp.zeros_like(ten[:1])
        f = nets.of(net)

        def lead(place: Array) -> Array:
            return margin(f(_at(images, place)), labels)

        # One loop for all three: a net is compiled once.
        fooled = lax.map(lead, jnp.concatenate([rest, ten, grid])) > 0
        return Worst(
            right=~fooled[0],
            ten=jnp.any(fooled[1 : RANDOM + 1], 0),
            ascent=_ascended(lead, start, search.steps),
            grid=jnp.any(fooled[RANDOM + 1 :], 0),
        )

    seeded = nets.variables | {"seed": seeds}
    return over_nets(one, seeded, (some.images, some.labels, grid))


def _grid(search: Search) -> np.ndarray:
    """Return the grid's poses, [G, 1, 3] in units of the ranges."""
    shifts = np.linspace(-1, 1, search.shifts)
    turns = np.linspace(-1, 1, search.turns)
    axes = np.meshgrid(shifts, shifts, turns, indexing="ij")
    return np.stack([axis.ravel() for axis in axes], 1)[:, None].astype(np.float32)


def _at(images: Array, place: Array) -> Array:
    """Return images at a place [B, 3] or [1, 3] of the box of poses, [-1, 1] in each direction."""
    reach = ENGSTROM_SHIFT * images.shape[1]
    down, right, turn = jnp.moveaxis(place, -1, 0)
    return warp(images, Pose(reach * down, reach * right, ENGSTROM_TURN * turn))


def _ascended(lead: Callable[[Array], Array], start: Array, steps: int) -> Array:
    """Return whether a place on the way up from ``start`` fools, bool [B]."""

    def total(place: Array) -> tuple[Array, Array]:
        scores = lead(place)
        return scores.sum(), scores > 0

    def step(_: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        place, fooled = state
        slope, now = jax.grad(total, has_aux=True)(place)
        moved = place + 2.5 / steps * jnp.sign(slope)
        return jnp.clip(moved, -1, 1), fooled | now

    nowhere = jnp.zeros(len(start), bool)
    # A step judges the place that it leaves, so the last place needs one more.
    return lax.fori_loop(0, steps + 1, step, (start, nowhere))[1]


class Shifted(NamedTuple):
    """What shifts around the torus do to N nets and B images.

    Attributes:
      right: bool [N, B], the net gets the image right as it is.
      agreement: [N, B], probability that two random shifts of an image get one answer.
      change: [N, 2 PERIOD + 1], relative change of the logits by pixels of shift downward.
    """

    right: np.ndarray
    agreement: np.ndarray
    change: np.ndarray


def on_torus(nets: Nets, some: Images, mean: np.ndarray) -> Shifted:
    """Shift images around; all answers to shifts are those of PERIOD x PERIOD of them.

    ``mean`` [H, W, C] is what nets take off their inputs. It stays where it is: what is left of an
    image moves, so that the law of the torus holds.
    """

    def one(variables: dict, shared: tuple[Array, Array, Array]) -> Shifted:
        images, labels, means = shared
        f = nets.of(variables)
        base = f(images)

        def shifted(down: Array, right: Array) -> Array:
            moved = jnp.roll(images - means, (down, right), (1, 2))
            return f(moved + means)

        def answers(place: Array) -> Array:
            logits = shifted(place // PERIOD, place % PERIOD)
            return jax.nn.one_hot(jnp.argmax(logits, 1), logits.shape[1])

        def change(down: Array) -> Array:
            moved = shifted(down, jnp.zeros_like(down))
            return (_lengths(moved - base) / _lengths(base)).mean()

        shares = lax.map(answers, jnp.arange(PERIOD**2)).mean(0)
        return Shifted(
            right=jnp.argmax(base, 1) == labels,
            agreement=jnp.square(shares).sum(1),
            change=lax.map(change, jnp.arange(2 * PERIOD + 1)),
        )

    means = np.broadcast_to(mean, some.images.shape)
    return over_nets(one, nets.variables, (some.images, some.labels, means))


def mean_image(nets: Nets) -> np.ndarray:
    """Return what the nets take off images in [0, 1], [H, W, C]."""
    return per_pixel_mean(nets.data.train.images) / np.float32(LEVELS)


def consistency(found: Sequence[Shifted]) -> np.ndarray:
    """Return how often two shifts get one answer, [N, kinds].

    Over the images that the nets of all kinds get right, N nets a kind: one that gives a single
    answer to everything has few of them, and cannot look steady.
    """
    shared = np.all([each.right for each in found], axis=0)
    means = [_mean_where(each.agreement, shared) for each in found]
    return np.stack(means, 1)


def _mean_where(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Return the mean of values [N, B] where counted, [N]; not a number where nothing is."""
    total = np.where(counted, values, 0).sum(1)
    count = counted.sum(1)
    return np.where(count, total / np.maximum(count, 1), np.nan)


def mean_of_right(p_true: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the mean [N, P] of p_true [N, P, B] over the images that a net gets right, [N, B]."""
    counted = right[:, None]
    return np.where(counted, p_true, 0).sum(2) / np.maximum(counted.sum(2), 1)


def rate(found: Worst, way: str) -> np.ndarray:
    """Return the share [N] of the images that a net gets right on which a search fools it."""
    fooled = found._asdict()[way] & found.right
    return fooled.sum(1) / np.maximum(found.right.sum(1), 1)


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


def joined(kinds: Sequence[Nets]) -> Nets:
    """Return nets of one architecture and data set after one another, as if they were of a kind."""
    trees = [nets.variables for nets in kinds]
    variables = jax.tree.map(lambda *leaves: np.concatenate(leaves), *trees)
    errors = np.concatenate([nets.test_error for nets in kinds])
    return kinds[0]._replace(variables=variables, test_error=errors)


def areas(nets: Nets, some: Images, borders: Sequence[str]) -> np.ndarray:
    """Return the mean P(true) over each range, [N, borders, transforms]."""
    side = some.images.shape[1]
    poses = all_poses(TRANSFORMS, side)
    by_border = []
    for border in borders:
        found = look(nets, some, poses, BORDERS[border])
        p_true = mean_of_right(found.p_true, found.right)
        ranges = rows_of(TRANSFORMS, side).values()
        by_border.append(np.stack([p_true[:, place].mean(1) for place in ranges], 1))
    return np.stack(by_border, 1)


def examples_of(found: Looked, some: Images, symmetric: np.ndarray) -> dict[str, np.ndarray]:
    """Return P(true) [P, EXAMPLES] of the first net for images it gets right, the first in poses.

    Those that half a turn changes come first; ``symmetric`` is bool [B].
    """
    rows = np.lexsort((symmetric, ~found.right[0]))[:EXAMPLES]
    image = some.images[rows[:1]]
    strip = []
    for transform in TRANSFORMS.values():
        amounts = transform.amounts(image.shape[1])
        shown = amounts[columns_of(len(amounts))]
        strip.append(warp(np.repeat(image, COLUMNS, 0), transform.pose(shown)))
    pixels = np.rint(255 * np.stack(strip)).astype(np.uint8)
    return {"examples/p_true": found.p_true[0][:, rows], "examples/strip": pixels}


def columns_of(count: int) -> np.ndarray:
    """Return which of ``count`` amounts are pictured."""
    return np.linspace(0, count - 1, COLUMNS).round().astype(int)
