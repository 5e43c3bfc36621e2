"""Backward rules: what gradient, deconvnet and guided backpropagation show, and what it is worth.

Sources: Springenberg et al. 2014, "Striving for simplicity" (arXiv 1412.6806); Zeiler & Fergus 2013
(arXiv 1311.2901); Simonyan et al. 2013 (arXiv 1312.6034); Nie, Zhang & Patel 2018 (arXiv
1805.07039); Adebayo et al. 2018, "Sanity checks for saliency maps" (arXiv 1810.03292).
Source: the lecture's "which pixels affect the neuron?". Claim in one sentence: guided
backpropagation draws the image and not the net: at random weights it recovers its input, and it
survives the loss of the upper layers.

Command: make exp-backward-rules (5 minutes on two cores, drawn shapes, no download).

What differs from the sources: small nets on drawn shapes, whose objects have exact masks; large
objects, which cover the center of most pictures, and small ones, which do not. Nets of small
objects have batch norm, without which they are right on 84 %. Scores are means over images, the
same ones for all maps, one number a net; each stands beside maps that have never seen a net. Where
a net's values are tied in a pool the signal is shared, not switched. A random net's weights are
those that another seed's net began with.
"""

import dataclasses
import sys
from collections.abc import Mapping

import numpy as np

from experiments.seeing import _nets, _rules
from experiments.seeing import _rule_claims as rule_claims
from experiments.seeing import _rule_panels as panels
from experiments.seeing import _rule_parts as rule_parts
from experiments.seeing._rules import Method
from jaxvision import cli
from jaxvision.attribution.maps import probability
from jaxvision.attribution.occluding import windows
from jaxvision.data import load
from jaxvision.fields import flagged, seeds_of
from jaxvision.nets import Spec, Wanted
from jaxvision.report import plots
from jaxvision.report.claims import Claim
from jaxvision.report.record import Record
from jaxvision.types import Figure, UserError

METHODS = {
    "gradient": Method("gradient", "gradient"),
    "softmax": Method("softmax's gradient", "gradient", probability),
    "deconvnet": Method("deconvnet", "deconvnet"),
    "guided": Method("guided backprop", "guided"),
}
PARTS = ("large", "small", "random")  # nets of large and of small objects, and random nets
SHARES = (0, 1 / 64, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)  # of the training, where nets are looked at


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("shapes16k", "Data set: digits, shapes, a TFDS name, or a path.")
    small_dataset: str = flagged("small_shapes", "One of small objects, or none.")
    seeds: int = flagged(5, "Nets.", low=2, high=1000)
    first_seed: int = flagged(930, "First seed.", low=0, high=10**9)
    width: int = flagged(16, "Channels of the first convolution.", low=1, high=1024)
    steps: int = flagged(_nets.SURE_STEPS, "Training steps.", low=10, high=10**6)
    small_steps: int = flagged(2400, "Those on small objects.", low=10, high=10**6)
    batch_size: int = flagged(_nets.BATCH_SIZE, "Images in a step.", low=2, high=65_536)
    learning_rate: float = flagged(_nets.LEARNING_RATE, "Adam's, at its highest.", low=0)
    small_learning_rate: float = flagged(0.008, "The one on small objects.", low=0)
    n_images: int = flagged(100, "Test images that are explained.", low=10, high=10**5)
    window: int = flagged(7, "Pixels of the covering window's side.", low=1, high=512)
    stride: int = flagged(3, "Pixels between two of its places.", low=1, high=512)
    filters: tuple[int, ...] = flagged(
        (4, 16, 64, 256), "Filters of random nets, ascending.", low=1, high=10**5
    )
    random_images: int = flagged(20, "Images for random nets.", low=2, high=10**4)

    def __post_init__(self) -> None:
        if len(self.filters) < 2 or list(self.filters) != sorted(set(self.filters)):
            shown = ",".join(map(str, self.filters))
            raise UserError(f"--filters={shown}: name two or more, from few to many")


PRESETS = {
    "tiny": Config(
        dataset="digits",
        small_dataset="none",
        seeds=2,
        first_seed=0,
        width=2,
        steps=11,
        batch_size=20,
        n_images=10,
        window=4,
        stride=4,
        filters=(2, 4),
        random_images=4,
    ),
    "cpu": Config(),
    "gpu": Config(
        seeds=10,
        width=64,
        steps=5000,
        small_steps=10_000,
        n_images=1000,
    ),
    "paper": Config(
        dataset="imagenet_resized/64x64",
        small_dataset="none",
        width=96,
        steps=100_000,
        batch_size=128,
        learning_rate=0.001,
        n_images=1000,
    ),
}


def specs_of(config: Config) -> dict[str, Spec]:
    """Return the nets by the size of their objects."""
    specs = {
        "large": _nets.spec_of(
            config.dataset,
            width=config.width,
            steps=config.steps,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
        )
    }
    if config.small_dataset != "none":
        specs["small"] = _nets.spec_of(
            config.small_dataset,
            width=config.width,
            pooled=_nets.POOLED_FOR_SMALL,
            steps=config.small_steps,
            batch_size=config.batch_size,
            learning_rate=config.small_learning_rate,
            normalized=True,
        )
    return specs


def looks_of(config: Config) -> tuple[int, ...]:
    """Return the steps at which nets are looked at."""
    return _rules.steps_of_looks(config.steps, SHARES)


def wanted_nets(config: Config) -> list[Wanted]:
    """Return the nets that a run asks for."""
    seeds = seeds_of(config)
    specs = specs_of(config)
    wanted = [Wanted(specs["large"], seeds, looks_of(config))]
    return wanted + [Wanted(spec, seeds) for size, spec in specs.items() if size != "large"]


def measure(
    config: Config,
    progress: cli.ShowProgress,
    table: Mapping[str, Method] = METHODS,
    parts: tuple[str, ...] = PARTS,
) -> tuple[dict, dict]:
    """Train nets, and look at them; arrays 'part/method' [S, ...]."""
    looks = looks_of(config)
    asked = {size: spec for size, spec in specs_of(config).items() if size in parts}
    for spec in asked.values():  # a window that does not fit is refused before nets are trained
        height, width = load(spec.dataset).test.images.shape[1:3]
        windows(height, width, config.window, config.stride)
    arrays: dict[str, np.ndarray] = {}
    with progress(len(asked) + 1, "maps") as bar:
        for size, spec in asked.items():
            nets = _nets.trained(spec, seeds_of(config), looks if size == "large" else ())
            some = _nets.some_of(nets.data.test, config.n_images)
            arrays |= rule_parts.of_size(config, size, nets, some, table)
            bar.advance()
        if "random" in parts:
            arrays |= rule_parts.random(config, load(config.dataset), table)
        bar.advance()
    return {"looks": looks}, arrays


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims, and those of the controls."""
    return rule_claims.claims_of(config, METHODS)


def plot(record: Record, config: Config) -> Figure:
    """Draw the maps, what they are at random weights, and what they are worth."""
    figure, axes = plots.new_figure(3, 2, 13.5)
    with plots.style():
        panels.draw_pictures(plots.merged(axes[0]), record, METHODS)
    panels.draw_recovery(axes[1, 0], record, METHODS, config.filters)
    panels.draw_cascade(axes[1, 1], record, METHODS)
    if "large/guided" in record.arrays:
        panels.draw_scores(axes[2, 0], record, METHODS)
        panels.draw_along(axes[2, 1], record, METHODS)
    else:
        panels.draw_agreement(axes[2, 0], record, METHODS)
        panels.draw_accuracy(axes[2, 1], record)
    title = plots.headline(
        record,
        {
            (
                "nie-guided",
                "nie-gradient",
                "cascade-upper",
                "not flat",
            ): "Guided backprop draws its input, at random weights too; yet training changes it",
            ("nie-guided", "nie-gradient", "cascade-guided", "cascade-upper"): "Guided backprop "
            "draws its input: at random weights too, and after the loss of upper layers",
            ("nie-guided", "nie-gradient", "cascade-guided"): "Guided backprop draws its input, at "
            "random weights too; a new top layer costs it less than the gradient",
            ("nie-guided", "nie-gradient"): "At random weights guided backprop draws its input, "
            "the gradient does not",
        },
        "What gradient, deconvnet and guided backprop show",
    )
    return plots.finish(
        figure,
        record,
        title,
        net=_said_of_nets(record, config),
        optimizer=f"Adam, {config.steps:,} steps",
        paper="Springenberg et al. 2014; Nie et al. 2018; Adebayo et al. 2018",
    )


def _said_of_nets(record: Record, config: Config) -> str:
    said = _nets.in_words(config.width, record.arrays["large/error"])
    if "small/error" not in record.arrays:
        return said
    small = _nets.in_percent(record.arrays["small/error"])
    return f"{said}; of small objects: six and batch norm, {small}"


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
