"""Ways to make class pictures, and the programs that make them for many nets and show them to all.

Rates, the weight of L2, the width of the blur and the larger gain were chosen by agreement, on
other nets than those of the record.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from experiments.seeing import _ascents as ascents
from jaxvision.adversarial.nets import layers_of, over_nets
from jaxvision.attribution.objectives import Objective, logit
from jaxvision.attribution.parametrizations import color_root
from jaxvision.attribution.regularizers import LEVELS, Recipe
from jaxvision.data import Splits
from jaxvision.data.augment import per_pixel_mean
from jaxvision.nets import Trained
from jaxvision.random import stream
from jaxvision.types import Array, PyTree, UserError

PIXEL_RATE = 0.005  # of Adam, in pixels of [0, 1]
WAVE_RATE = 0.02  # and in waves; lucid's is .05
COLORED = 2000  # training images whose colors are decorrelated


@dataclasses.dataclass(frozen=True)
class Way:
    """A way to make class pictures.

    Attributes:
      label: in the figure.
      objective: what is climbed.
      waves: codes are waves and no pixels.
      jitter: pixels.
      l2: weight of the penalty.
      blur: standard deviation in pixels, every fourth step; the contrast stays.
      recipe: one of Yosinski's, which has its own decay, blur and clipping.
      gain: of the objective, a step: Yosinski's steps; 0: those of Adam.
      leads: ways that are ``near`` and follow it end as far from their starts as this one.
      near: see ``leads``.
    """

    label: str
    objective: Callable[[Sequence[int]], Objective] = logit
    waves: bool = False
    jitter: int = 0
    l2: float = 0.0
    blur: float = 0.0
    recipe: Recipe | None = None
    gain: float = 0.0
    leads: bool = False
    near: bool = False


NO_RECIPE = Recipe(
    0.0,
    0.0,
    0,
    0,
    steps=0,
    gain=0.0,
    most=0.0,
)


def rows(ways: Mapping[str, Way]) -> ascents.Ways:
    """Return the ways as one row of numbers each."""
    table = list(ways.values())
    recipes = [way.recipe or NO_RECIPE for way in table]
    blurs = [way.blur + recipe.blur for way, recipe in zip(table, recipes, strict=True)]
    objectives = [ascents.OBJECTIVES.index(way.objective) for way in table]
    rates = [WAVE_RATE if way.waves else PIXEL_RATE for way in table]

    def numbers(values: Sequence[float]) -> np.ndarray:
        return np.array(values, np.float32)

    return ascents.Ways(
        objective=np.array(objectives, np.int32),
        waves=np.array([way.waves for way in table]),
        jitter=np.array([way.jitter for way in table], np.int32),
        l2=numbers([way.l2 for way in table]),
        rate=numbers(rates),
        gain=numbers([way.gain for way in table]),
        decay=numbers([recipe.decay for recipe in recipes]),
        blur=numbers(blurs),
        keeps_contrast=np.array([way.recipe is None for way in table]),
        small_norm=numbers([recipe.small_norm for recipe in recipes]),
        small_contribution=numbers([recipe.small_contribution for recipe in recipes]),
        leads=np.array([way.leads for way in table]),
        near=np.array([way.near for way in table]),
    )


def make(
    nets: Trained,
    seeds: Sequence[int],
    ways: ascents.Ways,
    starts: int,
    steps: int,
) -> ascents.Made:
    """Return a picture of every class from S starts, by W ways, of N nets, fields [N, ...].

    Pictures [W, S K, ...] of a net are all classes' of its first start, then of the next. Draws are
    those of a net's seed and of a start. Starts are spread over devices as nets are.
    """
    train = nets.data.train.images
    classes = range(nets.data.num_classes)
    center = per_pixel_mean(train) / np.float32(LEVELS)
    colors = color_root(train[:COLORED])

    def one(net: dict, shared: tuple[ascents.Ways, Array]) -> ascents.Made:
        layers = layers_of(nets.apply, nets.preprocess, net)
        key = jax.random.fold_in(stream(net["seed"], "noise"), net["start"])
        plan = {"classes": classes, "colors": colors, "steps": steps}
        return ascents.make(layers, key, *shared, **plan)

    found = over_nets(one, _each_start(nets, seeds, starts), (ways, center))
    return ascents.Made(
        pictures=joined(found.pictures, starts, axis=2),
        distance=joined(found.distance, starts, axis=2),
        start=joined(found.start, starts, axis=1),
    )


def _each_start(nets: Trained, seeds: Sequence[int], starts: int) -> PyTree:
    """Return every net ``starts`` times, with its seed and the number of a start."""
    several = jax.tree.map(lambda leaf: np.repeat(leaf, starts, axis=0), nets.variables)
    numbers = {
        "seed": np.repeat(np.array(seeds, np.int32), starts),
        "start": np.tile(np.arange(starts, dtype=np.int32), len(seeds)),
    }
    return several | numbers


def joined(leaf: np.ndarray, starts: int, axis: int) -> np.ndarray:
    """Return [N S, ..., K, ...] as [N, ..., S K, ...], K at ``axis``."""
    apart = leaf.reshape(-1, starts, *leaf.shape[1:])
    beside = np.moveaxis(apart, 1, axis)
    shape = beside.shape
    return beside.reshape(*shape[:axis], -1, *shape[axis + 2 :])


def slopes(
    nets: Trained,
    start: np.ndarray,
    end: np.ndarray,
    classes: Sequence[int],
    points: int,
) -> ascents.Slopes:
    """Return every net's gradients from its starts to its pictures [N, B, H, W, C], [N, ...]."""

    def one(net: dict, shared: None) -> ascents.Slopes:
        del shared
        layers = layers_of(nets.apply, nets.preprocess, net)
        return ascents.slopes(layers, net["start"], net["end"], classes, points)

    ends = {"start": start, "end": end}
    return over_nets(one, nets.variables | ends, None)


def answers(nets: Trained, pictures: np.ndarray) -> np.ndarray:
    """Return every net's logits [J, ..., K] for pictures [..., H, W, C] in [0, 1]."""
    *shape, height, width, channels = pictures.shape

    def one(net: PyTree, shown: Array) -> Array:
        return layers_of(nets.apply, nets.preprocess, net)(shown)[0]

    flat = pictures.reshape(-1, height, width, channels)
    found = over_nets(one, nets.variables, flat)
    return found.reshape(len(found), *shape, -1)


def as_shown(pictures: np.ndarray) -> np.ndarray:
    """Return pictures as 8 bits hold them: float32 in [0, 1], like test images."""
    levels = np.rint(LEVELS * pictures).astype(np.float32)
    return levels / np.float32(LEVELS)


def refuse(data: Splits, each: int) -> None:
    """Raise UserError where a class has fewer than ``each`` test images."""
    counts = np.bincount(data.test.labels, minlength=data.num_classes)
    rarest = int(counts.argmin())
    if counts[rarest] < each:
        raise UserError(
            f"the test set has {counts[rarest]} images of {data.class_names[rarest]!r}, and"
            f" pictures are held against {each} of every class: use a set with as many"
        )


def examples(
    data: Splits,
    each: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return test images [B, H, W, C] in [0, 1] and their classes [B], ``each`` of every class."""
    labels = data.test.labels
    rows = [np.flatnonzero(labels == label) for label in range(data.num_classes)]
    chosen = np.concatenate([of_class[:each] for of_class in rows])
    images = data.test.images[chosen] / np.float32(LEVELS)
    return images, labels[chosen]
