"""Ways to make class pictures, and the programs that make them for many nets and show them to all.

Rates, the weight of L2 and the width of the blur were chosen by agreement, on other nets than those
of the record.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from experiments.seeing import _ascents as ascents
from jaxvision.adversarial.nets import layers_of, over_nets
from jaxvision.attribution.objectives import Objective, logit
from jaxvision.attribution.parametrizations import color_root
from jaxvision.attribution.regularizers import LEVELS, THEIR_SIZE, Recipe
from jaxvision.data import Splits
from jaxvision.data.augment import per_pixel_mean
from jaxvision.nets import Trained
from jaxvision.random import stream
from jaxvision.types import Array, PyTree

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
      blur: standard deviation in pixels, every fourth step.
      recipe: one of Yosinski's, which has its own decay, blur, clipping and steps.
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
    leads: bool = False
    near: bool = False


NO_RECIPE = Recipe(
    0.0,
    0.0,
    0,
    0,
    steps=0,
    gain=np.inf,
    most=0.0,
)


def rows(ways: Mapping[str, Way], size: int) -> ascents.Ways:
    """Return the ways as one row of numbers each, for pictures of ``size`` pixels."""
    table = list(ways.values())
    recipes = [way.recipe or NO_RECIPE for way in table]
    blurs = [
        way.blur + recipe.blur * size / THEIR_SIZE
        for way, recipe in zip(table, recipes, strict=True)
    ]

    def numbers(values: Sequence[float]) -> np.ndarray:
        return np.array(values, np.float32)

    objectives = [ascents.OBJECTIVES.index(way.objective) for way in table]
    rates = [WAVE_RATE if way.waves else PIXEL_RATE for way in table]
    most = [recipe.most / LEVELS**2 for recipe in recipes]
    return ascents.Ways(
        objective=np.array(objectives, np.int32),
        waves=np.array([way.waves for way in table]),
        jitter=np.array([way.jitter for way in table], np.int32),
        l2=numbers([way.l2 for way in table]),
        rate=numbers(rates),
        by_progress=np.array([way.recipe is not None for way in table]),
        gain=numbers([recipe.gain for recipe in recipes]),
        most=numbers(most),
        decay=numbers([recipe.decay for recipe in recipes]),
        blur=numbers(blurs),
        small_norm=numbers([recipe.small_norm for recipe in recipes]),
        small_contribution=numbers([recipe.small_contribution for recipe in recipes]),
        leads=np.array([way.leads for way in table]),
        near=np.array([way.near for way in table]),
    )


def make(
    nets: Trained,
    seeds: Sequence[int],
    ways: ascents.Ways,
    classes: Sequence[int],
    steps: int,
) -> ascents.Made:
    """Return the pictures of N nets by W ways, fields [N, ...]; draws are those of a net's seed."""
    train = nets.data.train.images
    center = per_pixel_mean(train) / np.float32(LEVELS)
    colors = color_root(train[:COLORED])

    def one(net: dict, shared: tuple[ascents.Ways, Array]) -> ascents.Made:
        layers = layers_of(nets.apply, nets.preprocess, net)
        key = stream(net["seed"], "noise")
        plan = {"classes": classes, "colors": colors, "steps": steps}
        return ascents.make(layers, key, *shared, **plan)

    return over_nets(one, _seeded(nets, seeds), (ways, center))


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


def _seeded(nets: Trained, seeds: Sequence[int]) -> PyTree:
    return nets.variables | {"seed": np.array(seeds, np.int32)}
