"""Features along training: what units prefer, when it settles, and whether units are special.

Sources: Zeiler & Fergus 2013 (arXiv 1311.2901), section 4.1; Szegedy et al. 2013 (arXiv 1312.6199),
section 3; Bau et al. 2017 (arXiv 1704.05796).
Source: Zeiler & Fergus 2013. Claim in one sentence: the features of the lower layers settle within
a few epochs, those of the upper layers long after.

Command: make exp-features-along-training (five minutes on two cores; an embedded set, no download).

A unit's answer to an image is the largest pre-activation of its map. How far a unit is what it will
be is the rank correlation of its answers to some test images with its answers at the end, and it
has settled when that stays at .9; beside it stands how many of its eight preferred images it
prefers already. The control is the layer's space: linear CKA, which is blind to how units share it.
Nets start by He or Xavier, with and without batch norm, and see the same batches. Preferred images
of units stand beside those of random directions: "there is no distinction between individual high
level units and random linear combinations of high level units" (Szegedy et al.); Bau et al. found
units easier to name than directions drawn at random.

What differs from the papers: five convolutions and pictures of 32 pixels; features are compared by
numbers and not by eye. Correlation with the last net rises by itself as training ends, more so as
rates fall along half a cosine, without which these steps do not reach 94 %: times compare layers
and kinds of nets that were trained alike, and say little alone.
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from experiments.seeing import _nets as lab
from experiments.seeing import _unit_claims as verdicts
from experiments.seeing import _unit_looks as looks
from experiments.seeing import _unit_panels as panels
from experiments.seeing import _unit_scores as scores
from jaxvision import cli
from jaxvision.fields import flagged, seeds_of
from jaxvision.nets import Spec, Trained, Wanted
from jaxvision.nets import trained as trained_nets
from jaxvision.report import plots
from jaxvision.report.claims import Claim
from jaxvision.report.record import Record
from jaxvision.types import Figure


@dataclasses.dataclass(frozen=True)
class Net:
    """A kind of net.

    Attributes:
      label: in the figure.
      initializer: of every kernel, by its name in a spec.
      normalized: batch norm after each convolution.
    """

    label: str
    initializer: str
    normalized: bool = False


NETS = {
    "he": Net("He", "he_forward"),
    "xavier": Net("Xavier", "glorot2010"),
    "he-bn": Net("He + BN", "he_forward", normalized=True),
    "xavier-bn": Net("Xavier + BN", "glorot2010", normalized=True),
}
LAYERS = lab.CONVOLUTIONS
# As many pools as in the theme's other nets, the first and second a convolution earlier: a step
# takes 7 ms in place of 13, and twenty nets are trained.
POOLED = (True, False, True, False, True)
SHOWN = (LAYERS[0], LAYERS[len(LAYERS) // 2], LAYERS[-1])
EARLY = (0, 10, 30, 100, 200, 300, 450, 600, 800, 1000)  # steps at which nets are looked at
PARTS = ("pictures",)  # of the nets of "he"
DRAWN = (0, 10, 100, 1000)  # of which pictures are drawn, beside the last


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("shapes16k", "Images that the nets have learned.")
    seeds: int = flagged(5, "Nets of each kind.", low=2, high=1000)
    first_seed: int = flagged(940, "First seed.", low=0, high=10**9)
    width: int = flagged(12, "Channels of the first convolutions.", low=1, high=1024)
    steps: int = flagged(2200, "Training steps.", low=2, high=10**6)
    batch_size: int = flagged(32, "Images a step.", low=2, high=10**5)
    learning_rate: float = flagged(5e-3, "Of Adam, at its highest.", low=0.0)
    images: int = flagged(500, "Test images that units are shown.", low=10, high=10**6)
    ascent_steps: int = flagged(100, "Steps of gradient ascent.", low=1, high=10**5)
    batch_norm: bool = flagged(True, "Look at nets with batch norm too.")


PRESETS = {
    "tiny": Config(
        dataset="digits",
        seeds=2,
        first_seed=0,
        width=2,
        steps=12,
        images=20,
        ascent_steps=2,
        batch_norm=False,
    ),
    "cpu": Config(),
    "gpu": Config(dataset="cifar10", seeds=10, width=32, steps=20_000, images=2000),
    "paper": Config(dataset="cifar10", seeds=10, width=64, steps=70_000, images=5000),
}


def wanted_nets(config: Config) -> list[Wanted]:
    """Return the nets that are looked at."""
    kinds = looked_at(config, NETS).values()
    return [Wanted(_spec(config, net), seeds_of(config), looks_at(config)) for net in kinds]


def looked_at(config: Config, nets: Mapping[str, Net]) -> dict[str, Net]:
    """Return the kinds of nets that the flags ask for."""
    return {name: net for name, net in nets.items() if config.batch_norm or not net.normalized}


def _spec(config: Config, net: Net) -> Spec:
    channels = [config.width * number // lab.CHANNELS[0] for number in lab.CHANNELS[: lab.DEPTH]]
    sizes = {
        "channels": tuple(channels),
        "units": 0,
        "pooled": POOLED,
        "normalized": net.normalized,
    }
    return Spec(
        config.dataset,
        "shallow",
        sizes,
        learning_rate=config.learning_rate,
        steps=config.steps,
        initializer=net.initializer,
        optimizer="adam",
        warm_up=config.steps // 10,
        batch_size=config.batch_size,
    )


def looks_at(config: Config) -> tuple[int, ...]:
    """Return the steps at which nets are looked at, the last one included."""
    later = np.linspace(EARLY[-1], config.steps, 5)[1:] if config.steps > EARLY[-1] else ()
    steps = {*EARLY, *np.rint(later).astype(int).tolist(), config.steps}
    return tuple(sorted(step for step in steps if step <= config.steps))


def drawn_at(config: Config) -> tuple[int, ...]:
    """Return those of the steps of which pictures are drawn."""
    early = [step for step in DRAWN if step < config.steps]
    return (*early, config.steps)


def measure(
    config: Config,
    progress: cli.ShowProgress,
    nets: Mapping[str, Net] = NETS,
    layers: Sequence[str] = LAYERS,
    make_axes: looks.MakeAxes = looks.random_axes,
    parts: tuple[str, ...] = PARTS,
) -> tuple[dict, dict]:
    """Return likenesses by kind of net, [N, T, L], times of settling [N, L], and pictures.

    ``layers``: the convolutions from the first to the last. ``make_axes``: the directions that
    stand beside units.
    """
    arrays = {"looks": np.array(looks_at(config))}
    nets = looked_at(config, nets)
    first = _trained(config, NETS["he"] if "he" in nets else next(iter(nets.values())))
    some = first.data.test.sample(config.images)
    found = _answers(config, nets, some.images, layers, make_axes, progress)
    steps = np.array(looks_at(config))
    count = first.data.num_classes
    for name in nets:
        scored = scores.along(found[name], layers, some.labels, count, steps)
        arrays |= {f"{name}/{what}": values for what, values in scored.items()}
        arrays[f"{name}/test_error"] = _trained(config, nets[name]).test_error
    if "pictures" in parts:
        rows = np.searchsorted(looks_at(config), drawn_at(config))
        arrays |= scores.preferred(found["he"].units, some.images, SHOWN, rows)
        arrays |= scores.filters(first, LAYERS[0], rows)
        arrays |= scores.class_pictures(first, seeds_of(config), rows, config.ascent_steps)
    return {"class_names": list(first.data.class_names)}, arrays


def _trained(config: Config, net: Net) -> Trained:
    return trained_nets(_spec(config, net), seeds_of(config), snapshots=looks_at(config))


def _answers(
    config: Config,
    nets: Mapping[str, Net],
    images: np.ndarray,
    layers: Sequence[str],
    make_axes: looks.MakeAxes,
    progress: cli.ShowProgress,
) -> dict[str, looks.Answers]:
    """Return every kind's answers; kinds that differ in their weights alone share a program."""
    answered = {}
    with progress(len(nets), "looking at units") as bar:
        for normalized in (False, True):
            alike = [name for name, net in nets.items() if net.normalized is normalized]
            trained = [_trained(config, nets[name]) for name in alike]
            if not alike:
                continue
            seeds = [*seeds_of(config)] * len(alike)
            found = looks.answers(looks.together(trained), seeds, images, layers, make_axes)
            for i, name in enumerate(alike):
                rows = slice(i * config.seeds, (i + 1) * config.seeds)
                answered[name] = jax.tree.map(lambda leaf, rows=rows: leaf[rows], found)
            bar.advance(len(alike))
    return answered


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims and the questions beside them."""
    return verdicts.all_claims(NETS, config.batch_norm, len(LAYERS))


def plot(record: Record, config: Config) -> Figure:
    """Draw what units of one net prefer along training, and when units and layers settle."""
    figure, axes = plots.new_figure(3, 2, 15.0)
    labels = {name: net.label for name, net in looked_at(config, NETS).items()}
    with plots.style():
        panels.draw_units(plots.merged(axes[0]), record, SHOWN, drawn_at(config))
        panels.draw_likeness(axes[1, 0], record, LAYERS)
        panels.draw_settling(axes[1, 1], record, labels)
        panels.draw_purity(axes[2, 0], record)
        panels.draw_pictures(axes[2, 1], record, drawn_at(config))
    titles = {
        ("lower-first-he", "lower-first-he-bn"): (
            "Units settle from below: the higher their layer, the later"
        ),
        "lower-first-he": "Without batch norm units settle from below",
    }
    width = config.width
    return plots.finish(
        figure,
        record,
        plots.headline(record, titles, "What units prefer along training"),
        net=f"Five convolutions, {width} to {4 * width} channels",
        optimizer=f"Adam {config.learning_rate:g}, {config.steps:,} steps of {config.batch_size}",
        paper=f"{verdicts.ZEILER}; {verdicts.SZEGEDY}",
    )


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
