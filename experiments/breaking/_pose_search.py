"""Poses within a small range that fool nets, searched in three ways."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.breaking._nets import Images, Nets
from jaxvision.adversarial.aims import margin
from jaxvision.adversarial.nets import over_nets
from jaxvision.data.warps import Pose, warp
from jaxvision.random import stream
from jaxvision.types import Array

SHIFT = 3 / 32  # of a side, the range of Engstrom et al. 2019
TURN = 30.0  # degrees, likewise
RANDOM = 10  # poses, of which the worst counts
WAYS = ("ten", "ascent", "grid")


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
    grid = np.repeat(_grid(search), count, axis=1)

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
    places = np.stack(axes, -1).reshape(-1, 1, 3)
    return places.astype(np.float32)


def _at(images: Array, place: Array) -> Array:
    """Return images at places [B, 3] of the box of poses, [-1, 1] in each direction."""
    reach = SHIFT * images.shape[1]
    down, right, turn = jnp.moveaxis(place, -1, 0)
    pose = Pose(reach * down, reach * right, TURN * turn)
    return warp(images, pose)


def _ascended(lead: Callable[[Array], Array], start: Array, steps: int) -> Array:
    """Return whether a place on the way up from ``start`` fools, bool [B]."""

    def total(place: Array) -> tuple[Array, Array]:
        scores = lead(place)
        return scores.sum(), scores > 0

    def step(_: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        place, fooled = state
        slope, now = jax.grad(total, has_aux=True)(place)
        moved = place + 2.5 / steps * jnp.sign(slope)
        inside = jnp.clip(moved, -1, 1)
        return inside, fooled | now

    nowhere = jnp.zeros(len(start), bool)
    # A step judges the place that it leaves, so the last place needs one more.
    return lax.fori_loop(0, steps + 1, step, (start, nowhere))[1]


def rate(found: Worst, way: str) -> np.ndarray:
    """Return the share [N] of the images that a net gets right on which a search fools it."""
    fooled = found._asdict()[way] & found.right
    count = found.right.sum(1)
    return fooled.sum(1) / np.maximum(count, 1)
