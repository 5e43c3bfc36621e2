"""What a run of ``dcgan`` finds of its games: arrays by name, ready for the record."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from experiments.generating import _codes as codes_lib
from experiments.generating import _gan as gan
from experiments.generating import _gan_measures as measures
from experiments.generating import _gan_panels as panels
from experiments.generating._ruler import Ruler
from jaxvision.data import Splits
from jaxvision.generative import metrics
from jaxvision.types import PyTree

Paint = Callable[[gan.Sizes, PyTree, np.ndarray], np.ndarray]


class Wanted(Protocol):
    """The fields of the experiment's config that are read here."""

    first_seed: int
    codes: int
    looks: tuple[int, ...]
    n_images: int
    probe_images: int


class Given(NamedTuple):
    """What all games are measured with.

    Attributes:
      config: of the run.
      data: what they learn from.
      sizes: of their nets.
      ruler: the classifier.
      held: anchors of each seed.
      paint: generators and codes to images; a test hands over broken ones.
    """

    config: Wanted
    data: Splits
    sizes: gan.Sizes
    ruler: Ruler
    held: Sequence[measures.Anchored]
    paint: Paint


def anchor_arrays(held: Sequence[measures.Anchored]) -> dict[str, np.ndarray]:
    """Return the distances of the anchors [S] and of what two real samples have [S]."""
    arrays = {
        f"anchor/{name}": np.array([each.distances[name] for each in held])
        for name in measures.ANCHORS
    }
    arrays["floor_law"] = np.array([each.law for each in held])
    arrays["quarter"] = np.array([each.quarter for each in held])
    return arrays


def along(given: Given, played: gan.Played, name: str) -> dict[str, np.ndarray]:
    """Return the quality of an arm's images at every look, [S, T], and a few of the images."""
    config = given.config
    codes = codes_lib.drawn(config.first_seed, 0, config.n_images, config.codes)
    images = given.paint(given.sizes, gan.flattened(played.generator), codes)
    looks = len(config.looks)
    found = [
        measures.quality(given.ruler.read(painted), given.held[net // looks].reference)
        for net, painted in enumerate(images)
    ]
    arrays = {}
    for quantity in measures.Quality._fields:
        values = np.array([getattr(each, quantity) for each in found])
        arrays[f"{name}/{quantity}"] = values.reshape(-1, looks, *values.shape[1:])
    arrays[f"{name}/samples"] = images[:looks, : panels.COLUMNS]
    return arrays


def between(given: Given, played: gan.Played) -> dict[str, np.ndarray]:
    """Return what lies between codes, jumps on the way, and whether images are copies."""
    config, train = given.config, given.data.train.images
    routes = measures.routes(config.first_seed, config.n_images, config.codes)
    images = given.paint(given.sizes, gan.at_look(played.generator, -1), routes.codes)
    of_train = given.ruler.read(train)
    found = {}
    shown = {}
    for net, painted in enumerate(images):
        seed = config.first_seed + net
        memory = measures.remembered(train, seed)
        reading = given.ruler.read(painted)
        fresh = painted[routes.middles["scores"]]  # distributed as the prior: samples as any
        copies = measures.copying(given.ruler, given.data, of_train, fresh, seed)
        of_net = _jumps(given.ruler, reading, routes, of_train, memory)
        for way, rows in routes.middles.items():
            middles = reading.of(rows).features
            reference = given.held[net].reference.features
            of_net[f"middle/{way}"] = metrics.frechet(reference, middles)
        of_net |= {f"copying/{kind}": z for kind, z in copies.z.items()}
        for quantity, value in of_net.items():
            found.setdefault(quantity, []).append(value)
        if net == 0:
            shown = panels.shown_between(painted, routes, train, memory, copies.nearest)
    arrays = {quantity: np.asarray(values) for quantity, values in found.items()}
    arrays["line_middle"] = codes_lib.mean_square(routes.codes[routes.middles["line"]])
    arrays["slerp_outside"] = codes_lib.outside(routes.codes[routes.middles["slerp"]])
    return shown | arrays


def _jumps(
    ruler: Ruler,
    reading: measures.Reading,
    routes: measures.Routes,
    of_train: measures.Reading,
    memory: measures.Memory,
) -> dict[str, float]:
    """Return the jump of every way between codes, and of two between training images."""
    jumps = {way: metrics.jump(reading.features[rows]) for way, rows in routes.paths.items()}
    jumps["memorizer"] = metrics.jump(of_train.features[memory.rows])
    faded = memory.crossfades.reshape(-1, *memory.crossfades.shape[2:])
    crossfade = ruler.read(faded).features.reshape(*memory.rows.shape, -1)
    jumps["crossfade"] = metrics.jump(crossfade)
    return {f"jump/{way}": _mean_of_known(values) for way, values in jumps.items()}


def _mean_of_known(values: np.ndarray) -> float:
    """Return the mean of what is a number; NaN where nothing is: a picture that never changes."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def learned(given: Given, played: gan.Played) -> dict[str, np.ndarray]:
    """Return linear probes' accuracy on the discriminators' features [S, T], and on pixels []."""
    images, labels, count = measures.some_of(given.data, given.config.probe_images)
    nets = gan.flattened(played.discriminator)
    accuracies = [
        measures.probed(features, labels, count)
        for features in gan.judged(given.sizes, nets, images)
    ]
    flat = images.reshape(len(images), -1).astype(np.float32)
    pixels = measures.probed(flat, labels, count)
    by_look = np.reshape(accuracies, (-1, len(given.config.looks)))
    return {"probe": by_look, "probe_pixels": np.float64(pixels)}
