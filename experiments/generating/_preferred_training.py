"""What a run of ``preferred_inputs`` trains, and the pictures that it climbs."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import jax
import numpy as np

from experiments.generating import _learnt_priors as learnt
from experiments.generating import _preferring as preferring
from experiments.generating import _subjects as subjects
from jaxvision.data import Splits
from jaxvision.fields import seeds_of
from jaxvision.models.inverter import painting

DENSE_WAYS = ("none", "fourier", "inverter")  # climbed on dense nets
ODD_WAYS = ("fourier", "inverter")  # climbed on nets of odd classes
REBUILT_FROM = 100  # test images


class Wanted(Protocol):
    """The fields of the experiment's config that are read here."""

    seeds: int
    first_seed: int
    layer: str
    ascent_steps: int
    starts: int


class Trained(NamedTuple):
    """All that has learned.

    Attributes:
      data: from what.
      plain: a net for each seed.
      odd: a net of odd classes for each seed.
      dense: a dense net for each seed.
      ruler: a plain net in whose features distances are measured.
      learnt: nets that make images of codes, for every plain net.
      priors: what pictures are climbed with.
    """

    data: Splits
    plain: subjects.Family
    odd: subjects.Family
    dense: subjects.Family
    ruler: subjects.Family
    learnt: learnt.Learnt
    priors: preferring.Priors


def train(
    config: Wanted,
    data: Splits,
    nets: subjects.Budget,
    inverters: learnt.Budget,
    advance: Callable[[], None],
) -> Trained:
    """Train nets, and nets that make images, one of each kind for every seed."""
    seeds = seeds_of(config)
    plain, odd = subjects.learned(data, nets, [*seeds, seeds[-1] + 1], seeds)
    advance()
    dense = subjects.dense(data, nets, seeds)
    advance()
    count = len(seeds)
    inverted = plain.at(slice(count))
    shown = data.test.sample(REBUILT_FROM).images
    made = learnt.learn(inverted, data, config.layer, inverters, seeds, shown)
    advance()
    priors = preferring.Priors(
        *preferring.of_images(data.train.images),
        painting(learnt.inverter_of(data, inverters)),
        made.bounds,
    )
    return Trained(data, inverted, odd, dense, plain.at(slice(count, None)), made, priors)


class Pictures(NamedTuple):
    """Class pictures of one group of nets.

    Attributes:
      ways: their names, W of them.
      classes: that are wanted [B].
      images: uint8 [S, W, B, H, W, C].
    """

    ways: tuple[str, ...]
    classes: np.ndarray
    images: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """The pictures as rows [S W, B, H, W, C]."""
        return self.images.reshape(-1, *self.images.shape[2:])

    @property
    def owners(self) -> np.ndarray:
        """The seed, counted from 0, of every row."""
        return np.repeat(np.arange(len(self.images)), len(self.ways))


def climb(
    config: Wanted, trained: Trained, ways: Mapping[str, preferring.Way]
) -> dict[str, Pictures]:
    """Return the pictures of plain, odd and dense nets."""
    classes = trained.data.num_classes
    plain = np.tile(np.arange(classes), config.starts)
    odd = np.tile(np.arange(classes, len(subjects.KINDS) * classes), config.starts // 2)
    groups = {
        "plain": (trained.plain, tuple(ways), plain),
        "odd": (trained.odd, tuple(name for name in ODD_WAYS if name in ways), odd),
        "dense": (trained.plain, tuple(name for name in DENSE_WAYS if name in ways), plain),
    }
    climbs = [
        _climbs(config, trained, conv, ways, names, wanted, is_dense=group == "dense")
        for group, (conv, names, wanted) in groups.items()
    ]
    together = jax.tree.map(lambda *leaves: np.concatenate(leaves), *climbs)
    steps = config.ascent_steps
    images = preferring.climbed(trained.plain, trained.dense, together, trained.priors, steps)
    ends = np.cumsum([len(each.seed) for each in climbs])
    found = zip(groups.items(), np.split(images, ends[:-1]), strict=True)
    return {
        group: Pictures(names, wanted, rows.reshape(config.seeds, -1, *rows.shape[1:]))
        for (group, (_, names, wanted)), rows in found
    }


def _climbs(
    config: Wanted,
    trained: Trained,
    conv: subjects.Family,
    ways: Mapping[str, preferring.Way],
    names: Sequence[str],
    classes: np.ndarray,
    *,
    is_dense: bool,
) -> preferring.Climb:
    """Return a climb for every net by every way."""
    net = np.repeat(np.arange(config.seeds), len(names))
    table = [ways[name] for name in names] * config.seeds
    arms = ["", *learnt.ARMS]
    arm = np.array([arms.index(way.learnt) for way in table])
    return preferring.Climb(
        conv.at(net).variables,
        trained.dense.at(net).variables,
        np.full(len(net), is_dense),
        np.int32(config.first_seed + net),
        np.tile(np.int32(classes), (len(net), 1)),
        preferring.rows_of(table, net, trained.priors),
        jax.tree.map(lambda leaf: leaf[arm, net], trained.learnt.variables),
    )
