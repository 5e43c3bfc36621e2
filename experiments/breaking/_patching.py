"""Patches and patterns made for nets, and what these and other nets say to them."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from experiments.breaking._nets import Nets
from jaxvision.adversarial.aims import Logits, predictions
from jaxvision.adversarial.eot import Transform, eot
from jaxvision.adversarial.nets import over_nets
from jaxvision.adversarial.patch import (
    Placing,
    Scenes,
    anywhere,
    blend,
    on_scenes,
    paste,
    through_objects,
)
from jaxvision.data.warps import Pose
from jaxvision.random import stream
from jaxvision.types import Array, PyTree

TURN = 22.5  # degrees either way, as in Brown et al.
GRAY = 0.5


class Given(NamedTuple):
    """What every net is looked at with, arrays; W places: anywhere and, with masks, off the object.

    Attributes:
      made_on: where patches are made, [M, H, W, C], of all classes but a patch's own.
      worn_by: the same scenes, of a pattern's own class.
      objects: float32 [M, H, W], 1 on the objects of these scenes; None without masks.
      scenes: where both are judged, [B, H, W, C].
      labels: int32 [B].
      masks: float32 [B, H, W], 1 on the objects of these; None without.
      poses: where patches are judged, leaves [W, A, B].
      room: bool [W, A, B], whether there is such a place.
      diameters: float32 [A] of the patches.
      crops: real objects, [K, R, P, P, C].
      noise: random patches, [R, P, P, C].
      patterns: random patterns, [R, H, W, C].
      seed: of everything that is drawn.
    """

    made_on: Scenes
    worn_by: Scenes
    objects: Array | None
    scenes: Array
    labels: Array
    masks: Array | None
    poses: Pose
    room: Array
    diameters: Array
    crops: Array
    noise: Array
    patterns: Array
    seed: Array | int


class Way(NamedTuple):
    """A way to make patches.

    Attributes:
      label: in the figure.
      moves: it is pasted at places, sizes and turns drawn anew, or always upright in the middle.
    """

    label: str
    moves: bool


class Effort(NamedTuple):
    """How long patches and patterns are made.

    Attributes:
      steps: of Adam.
      draws: scenes of a patch in one step.
      rate: of Adam.
    """

    steps: int
    draws: int
    rate: float


class Made(NamedTuple):
    """What was made for a net: patches [Q, K, P, P, C] in Q ways, patterns [K, H, W, C] or None."""

    patches: Array
    patterns: Array | None


class Seen(NamedTuple):
    """What a net says.

    Attributes:
      clean: int16 [B], to the scenes as they are.
      patched: int16 [W, A, P, B], to scenes with patches.
      worn: int16 [V, B], to scenes whose object wears the pattern of its class; None without masks.
    """

    clean: Array
    patched: Array
    worn: Array | None


def make(nets: Nets, given: Given, ways: Mapping[str, Way], effort: Effort) -> Made:
    """Make patches and patterns for every net of a spec, leaves [S, ...] on the host."""
    moves = np.array([way.moves for way in ways.values()])

    def one(variables: PyTree, given: Given) -> Made:
        f = nets.of(variables)
        classes = len(given.crops)
        placing = _placing(given, jnp.repeat(moves, classes))
        start = _gray((len(moves) * classes, *given.noise.shape[1:]))
        scenes = _tiled(given.made_on, len(moves))
        patches = _made(f, on_scenes(scenes, placing), start, classes, given, effort, True)
        patterns = None
        if given.objects is not None:
            worn = through_objects(given.worn_by, given.objects)
            plain = _gray((classes, *given.scenes.shape[1:]))
            patterns = _made(f, worn, plain, classes, given, effort, False)
        return Made(patches.reshape(len(moves), classes, *patches.shape[1:]), patterns)

    return over_nets(one, nets.variables, given, "map")


def _made(
    f: Logits,
    transform: Transform,
    start: Array,
    classes: int,
    given: Given,
    effort: Effort,
    targeted: bool,
) -> Array:
    """Make a picture for each class: one that leads there, or one that leads away from there."""
    own = jnp.arange(len(start), dtype=jnp.int32) % classes
    return eot(
        f,
        transform,
        start,
        own,
        jnp.inf,
        stream(given.seed, "attack", int(targeted)),
        steps=effort.steps,
        draws=effort.draws,
        optimizer=optax.adam(effort.rate),
        targets=own if targeted else None,
    ).images


def _placing(given: Given, moves: Array) -> Placing:
    """Place each patch anywhere in all sizes if it moves, else in the middle of scene and sizes."""
    side, size = given.noise.shape[1], given.scenes.shape[1:3]
    diameters = given.diameters[0], given.diameters[-1]
    still = Pose(scale=given.diameters[len(given.diameters) // 2] / side)

    def placing(key: Array, rows: Array) -> Pose:
        drawn = anywhere(key, len(rows), side, size, diameters, TURN)
        return Pose(*(jnp.where(moves, *pair) for pair in zip(drawn, still, strict=True)))

    return placing


def _tiled(scenes: Scenes, times: int) -> Scenes:
    rows = jnp.tile(scenes.rows, (times, 1))
    return Scenes(scenes.images, rows, jnp.tile(scenes.counts, times))


def _gray(shape: tuple[int, ...]) -> Array:
    return jnp.full(shape, GRAY)


Pictures = Mapping[str, np.ndarray]  # by name, [S, n, ...]: n of them for each of S nets


def show(nets: Nets, given: Given, patches: Pictures, patterns: Pictures) -> Seen:
    """Show pictures to every net of a spec, leaves [S, ...] on the host.

    Args:
      nets: S of them.
      given: the scenes.
      patches: [S, n, P, P, C] of each name; "P" of the answer joins them in their order.
      patterns: [S, n, K, H, W, C] of each name, likewise.
    """

    def one(shown: PyTree, given: Given) -> Seen:
        f = nets.of(shown["net"])
        worn = None
        if given.masks is not None:
            worn = _answers_through(f, given, shown["patterns"])
        clean = predictions(f(given.scenes)).astype(jnp.int16)
        return Seen(clean, _answers_to(f, given, shown["patches"]), worn)

    shown = {"net": nets.variables, "patches": np.concatenate(list(patches.values()), axis=1)}
    if given.masks is not None:
        shown["patterns"] = np.concatenate(list(patterns.values()), axis=1)
    return over_nets(one, shown, given, "map")


def rows_of(pictures: Pictures) -> dict[str, slice]:
    """Return where the pictures of each name stand among all."""
    counts = [each.shape[1] for each in pictures.values()]
    ends = np.cumsum(counts)
    return {
        name: slice(int(end) - count, int(end))
        for name, count, end in zip(pictures, counts, ends, strict=True)
    }


def _answers_to(f: Logits, given: Given, patches: Array) -> Array:
    """Return answers int16 [W, A, P, B] to the scenes with patches [P, ...]."""
    places = given.room.shape
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, places[-1]), given.poses)

    def with_patch(patch: Array) -> Array:
        everywhere = jnp.broadcast_to(patch[None], (len(given.scenes), *patch.shape))

        def at(pose: Pose) -> Array:
            return predictions(f(paste(given.scenes, everywhere, pose))).astype(jnp.int16)

        return lax.map(at, flat)

    found = lax.map(with_patch, patches)
    return jnp.moveaxis(found.reshape(len(patches), *places), 0, 2)


def _answers_through(f: Logits, given: Given, patterns: Array) -> Array:
    """Return answers int16 [V, B] to scenes whose object wears its class's pattern [V, K, ...]."""

    def one(of_classes: Array) -> Array:
        worn = blend(given.scenes, of_classes[given.labels], given.masks)
        return predictions(f(worn)).astype(jnp.int16)

    return lax.map(one, patterns)


def of_next(pictures: np.ndarray) -> np.ndarray:
    """Return for each of S nets what was made for the next one, [S, ...]."""
    return np.roll(pictures, -1, axis=0)


def control_patches(given: Given, seeds: int) -> dict[str, np.ndarray]:
    """Return what patches are held against, the same for all nets: [S, n, P, P, C] by name."""
    shape = given.noise.shape[1:]
    gray = np.full((1, *shape), GRAY, np.float32)
    each = {"object": given.crops.reshape(-1, *shape), "noise": given.noise, "gray": gray}
    return {name: _for_each(seeds, one) for name, one in each.items()}


def control_patterns(given: Given, patterns: np.ndarray | None) -> dict[str, np.ndarray]:
    """Return what patterns [S, K, H, W, C] are held against, [S, n, K, H, W, C] by name."""
    if patterns is None:
        return {}
    seeds, classes, *shape = patterns.shape
    gray = np.full((1, classes, *shape), GRAY, np.float32)
    noise = np.broadcast_to(given.patterns[:, None], (len(given.patterns), classes, *shape))
    order = np.random.default_rng(int(given.seed)).permutation(shape[0] * shape[1])
    pixels = patterns.reshape(seeds, classes, -1, shape[-1])[:, :, order]
    return {
        "shuffled": pixels.reshape(patterns.shape)[:, None],
        "gray": _for_each(seeds, gray),
        "noise": _for_each(seeds, noise),
    }


def _for_each(seeds: int, pictures: np.ndarray) -> np.ndarray:
    return np.broadcast_to(pictures, (seeds, *pictures.shape))
