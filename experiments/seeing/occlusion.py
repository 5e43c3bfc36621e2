"""Occlusion: what a net says while a gray window covers one place of the image after another.

Source: Zeiler & Fergus 2013, "Visualizing and understanding convolutional networks" (arXiv
1311.2901), sections 4.2 and 4.3, figure 5 of the first version, table 1. Claim in one sentence:
covering the object costs the class, more than covering the background; the strongest map falls
where its deconvnet projection lies, but it is one of many reasons.

Command: make exp-occlusion (5 minutes on two cores, drawn shapes, no download).

What differs from the source, which gives neither the window's size nor its stride nor its gray:
windows of 7 of 32 pixels, gray .5; drawn shapes, whose exact masks say what is object; objects are
made frontal by their known poses, and the control of correspondence covers the same area of another
part. Where units do not move at all, their signs agree: the distance is given over moving units,
too. Controls: covering with the image's own pixels, and nets that know a few hundred images by
heart whose labels were dealt at random, once for all of them. On these images such nets are sure
and have something to lose, and they lose more on the object, too: a map of what covering costs does
not show that the class was learned. On other images they are at chance.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from experiments.seeing import _correspondence, _covering, _nets
from experiments.seeing import _covering_panels as panels
from experiments.seeing import _occlusion_claims as table
from jaxvision import cli, data
from jaxvision.attribution import occluding
from jaxvision.fields import flagged, seeds_of
from jaxvision.nets import Spec, Wanted
from jaxvision.nets.training import Net
from jaxvision.report import plots
from jaxvision.report.claims import Claim
from jaxvision.report.record import Record
from jaxvision.types import Figure, UserError


class Learner(NamedTuple):
    """What nets have learned.

    Attributes:
      label: in the figure.
      shuffled_labels: the labels were dealt to the images at random.
      by_heart: so few images, so often, that a net knows them whatever their labels.
    """

    label: str
    shuffled_labels: bool = False
    by_heart: bool = False


LEARNERS = {
    "true": Learner("true labels"),
    "shuffled": Learner("labels dealt at random", shuffled_labels=True, by_heart=True),
}
FILLS = ("gray", "mean", "blur", "noise", "self")
PARTS = ("learned", "windows", "panels", "alike")  # what is asked of LEARNERS


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("shapes16k", "Data set: digits, shapes, a TFDS name, or a path.")
    seeds: int = flagged(5, "Nets of each kind.", low=2, high=1000)
    first_seed: int = flagged(930, "First seed.", low=0, high=10**9)
    width: int = flagged(16, "Channels of the first convolution.", low=1, high=1024)
    steps: int = flagged(_nets.SURE_STEPS, "Training steps.", low=10, high=10**6)
    memorized_images: int = flagged(400, "Images that the control knows.", low=2, high=10**6)
    memorizing_steps: int = flagged(1000, "Its training steps.", low=10, high=10**6)
    batch_size: int = flagged(_nets.BATCH_SIZE, "Images in a step.", low=2, high=65_536)
    learning_rate: float = flagged(_nets.LEARNING_RATE, "Adam's, at its highest.", low=0)
    n_images: int = flagged(60, "Test images that are covered.", low=6, high=10**5)
    window: int = flagged(7, "Pixels of the window's side.", low=2, high=512)
    small_window: int = flagged(4, "Those of a smaller one.", low=1, high=512)
    stride: int = flagged(3, "Pixels between two places.", low=1, high=512)


PRESETS = {
    "tiny": Config(
        dataset="shapes",
        seeds=2,
        first_seed=0,
        width=2,
        steps=11,
        memorized_images=20,
        memorizing_steps=11,
        batch_size=20,
        n_images=6,
        window=12,
        small_window=10,
        stride=10,
    ),
    "cpu": Config(),
    "gpu": Config(seeds=10, width=64, steps=5000, n_images=1000, stride=1),
    "paper": Config(
        dataset="imagenet_resized/64x64",
        width=96,
        steps=100_000,
        batch_size=128,
        learning_rate=0.001,
        n_images=1000,
        window=14,
        small_window=8,
    ),
}


def specs_of(config: Config, learners: Mapping[str, Learner] = LEARNERS) -> dict[str, Spec]:
    """Return the nets by what they have learned."""
    return {
        name: _nets.spec_of(
            config.dataset,
            width=config.width,
            steps=config.memorizing_steps if learner.by_heart else config.steps,
            images=config.memorized_images if learner.by_heart else None,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            shuffled_labels=learner.shuffled_labels,
        )
        for name, learner in learners.items()
    }


def wanted_nets(config: Config) -> list[Wanted]:
    """Return the nets that a run asks for."""
    return [Wanted(spec, seeds_of(config)) for spec in specs_of(config).values()]


def measure(
    config: Config,
    progress: cli.ShowProgress,
    learners: Mapping[str, Learner] = LEARNERS,
    masks: Callable[[np.ndarray], np.ndarray] = lambda masks: masks,
    parts: tuple[str, ...] = PARTS,
) -> tuple[dict, dict]:
    """Train nets and cover images; arrays 'part/quantity' [S, ...].

    ``masks`` changes what counts as object.
    """
    _check_windows(config)
    _check_places(config, learners, masks)
    arrays: dict[str, np.ndarray] = {}
    with progress(len(learners), "covered images") as bar:
        for name, spec in specs_of(config, learners).items():
            nets = _nets.trained(spec, seeds_of(config))
            some, learned = (
                _with_masks(_nets.some_of(split, config.n_images), masks)
                for split in (nets.data.test, nets.data.train)
            )
            arrays[f"{name}/error"] = nets.test_error
            if "learned" in parts:
                arrays[f"{name}/learned/right"] = _covering.right(nets, learned)
                gray = {"gray": np.full_like(learned.images, _covering.GRAY)}
                arrays |= _falls(config, f"{name}/learned", config.window, nets, learned, gray)
            if "windows" in parts:
                arrays |= _by_fill(config, name, nets, some)
            if "panels" in parts and name == "true":
                arrays |= _five_panels(config, nets, some)
            if "alike" in parts and name == "true":
                arrays |= _alike(config, nets)
            bar.advance()
    names = nets.data.class_names
    chance = 1 - nets.data.test.chance_error
    return {"classes": list(names[:10]), "chance": chance}, arrays


def _check_windows(config: Config) -> None:
    """Refuse a window that does not fit into the images, before a net is trained."""
    height, width = data.load(config.dataset).test.images.shape[1:3]
    for flag in ("window", "small_window"):
        size = getattr(config, flag)
        if size > min(height, width):
            raise UserError(
                f"--{flag}={size} does not fit into images of {height} x {width}: at most"
                f" {min(height, width)}"
            )


def _check_places(
    config: Config,
    learners: Mapping[str, Learner],
    masks: Callable[[np.ndarray], np.ndarray],
) -> None:
    """Refuse a window that lies nowhere on an object or nowhere beside, before a net is trained.

    The means over such places would be no numbers.
    """
    if data.load(config.dataset).test.masks is None:
        return
    for spec in specs_of(config, learners).values():
        found = Net(spec).data
        covered = [("window", found.test), ("small_window", found.test), ("window", found.train)]
        for flag, split in covered:
            some = _with_masks(_nets.some_of(split, config.n_images), masks)
            size = getattr(config, flag)
            where = _covering.where(some.masks, _places(config, some, size))
            for what, places in (
                ("half on an object", where.object),
                ("clear of the objects", where.background),
            ):
                if not places.any():
                    raise UserError(
                        f"--{flag}={size} is nowhere {what} in {len(places)} images: use a smaller"
                        " one"
                    )


def _with_masks(some: _nets.Shown, change: Callable[[np.ndarray], np.ndarray]) -> _nets.Shown:
    return some if some.masks is None else some._replace(masks=change(some.masks))


def _places(config: Config, some: _nets.Shown, window: int) -> occluding.Windows:
    height, width = some.images.shape[1:3]
    return occluding.windows(height, width, window, min(config.stride, window))


def _by_fill(
    config: Config, name: str, nets: _nets.Nets, some: _nets.Shown
) -> dict[str, np.ndarray]:
    """Return how much the class's probability falls on object and background, by fill."""
    mean = nets.data.train.images.mean((0, 1, 2)) / 255
    fills = _covering.fills_of(some.images, mean, config.first_seed) | {"self": some.images}
    gray = {"gray": fills["gray"]}
    if name != "true":
        return _falls(config, f"{name}/window", config.window, nets, some, gray)
    small = _falls(config, f"{name}/small", config.small_window, nets, some, gray)
    return small | _falls(config, f"{name}/window", config.window, nets, some, fills)


def _falls(
    config: Config,
    prefix: str,
    window: int,
    nets: _nets.Nets,
    some: _nets.Shown,
    fills: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    places = _places(config, some, window)
    arrays = {}
    for fill, falls in _covering.falls_by_fill(nets, some, places, fills).items():
        arrays[f"{prefix}/{fill}/largest"] = np.abs(falls).max((1, 2, 3))
        arrays[f"{prefix}/{fill}/anywhere"] = falls.mean((1, 2, 3))
        if some.masks is not None:
            found = _covering.by_place(falls, some.masks, places)
            arrays[f"{prefix}/{fill}/fall"] = np.stack(found, axis=1)
    return arrays


def _five_panels(config: Config, nets: _nets.Nets, some: _nets.Shown) -> dict[str, np.ndarray]:
    places = _places(config, some, config.window)
    found = _covering.panels(nets, some, places)
    arrays = {
        "panels/alike": _covering.ranked_alike(-found.strongest, -found.probability),
        "panels/projection": _covering.ranked_alike(-found.strongest, found.under),
        "panels/another": _covering.ranked_alike(-found.strongest, found.another),
        "panels/apart": _covering.apart(found.strongest, found.probability, places),
    }
    if some.masks is not None:
        changed = found.predicted != found.answer[:, :, None, None]
        falls = {"changed": changed.astype(np.float32), "strongest": 1 - found.strongest}
        for name, values in falls.items():
            pair = _covering.by_place(values, some.masks, places)
            arrays[f"panels/{name}"] = np.stack(pair, axis=1)
    return arrays | panels.shown(found, some)


def _alike(config: Config, nets: _nets.Nets) -> dict[str, np.ndarray]:
    """Return distances of signs 'alike/layer/quantity', where poses are known."""
    if nets.data.test.poses is None:
        return {}
    objects = _correspondence.frontal(nets.data.test)
    found = _correspondence.measured(nets, objects, config.window, config.first_seed)
    return {
        f"alike/{layer}/{quantity}": values
        for quantity, by_layer in found._asdict().items()
        for layer, values in by_layer.items()
    }


def claims(config: Config) -> list[Claim]:
    """Return the source's claims, and those of the controls."""
    return table.claims_of(config)


def plot(record: Record, config: Config) -> Figure:
    """Draw the five panels of some images, what falls where, and how parts correspond."""
    masked = "true/window/gray/fall" in record.arrays
    rows, height = (3, 15.0) if masked else (2, 11.0)
    figure, axes = plots.new_figure(rows, 2, height)
    with plots.style():
        panels.draw_pictures(plots.merged(axes[0]), record)
    panels.draw_maps(axes[-1, 0], record)
    if masked:
        panels.draw_falls(axes[1, 0], record)
        panels.draw_fills(axes[1, 1], record, FILLS)
        panels.draw_alike(axes[2, 1], record)
    else:
        panels.draw_anywhere(axes[1, 1], record, FILLS)
    title = plots.headline(
        record,
        {
            ("object", "projection", "apart"): "Covering the object costs the class; the strongest "
            "map is one of many reasons",
            "object": "Covering the object costs the class more than covering the background",
            ("projection", "apart"): "The strongest map falls where its projection lies, the class "
            "often elsewhere",
        },
        "What a net says while a window covers the image",
    )
    return plots.finish(
        figure,
        record,
        title,
        net=_nets.in_words(config.width, record.arrays["true/error"]),
        optimizer=f"Adam, {config.steps:,} steps",
        paper="Zeiler & Fergus 2013",
    )


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
