"""Data size: how the test error falls with the number of training images, and what stands in.

Sources: Mishkin et al. 2016 (arXiv 1606.02228), the tables of data size, label noise and width;
Hestness et al. 2017 (arXiv 1712.00409) and Rosenfeld et al. 2020 (arXiv 1909.12673), abstracts, for
the power law. Claim in one sentence: the error falls as a power of the number of images, whose
exponent better recipes do not change, so that small sets predict what large ones will do.

Command: make exp-data-size (four minutes on two cores; embedded 8x8 digits, no download).

A seed has one order of the training images, all classes alike in it: its first N are its subset of
N, so subsets are nested, and arms are paired. Subsets get the same number of steps (as in
Mishkin's table: few images are seen often) or of epochs (few images get few steps). An arm has
one learning rate for all sizes, chosen on other seeds and held-out images. Narrow nets,
label noise (a seed draws some of its labels at random from all classes) and images moved by a pixel
are other arms.

What differs from the sources: dense nets on small images, sizes from 20 to 1,280 instead of 200,000
to 1.2 million, momentum at a constant rate. All seeds share the test images, so intervals say
nothing about other test sets. A fit on sizes that are too few or too alike passes for a power law:
here both halves of the curve have an exponent of their own.
"""

import dataclasses
import sys
from collections.abc import Mapping

import numpy as np

from experiments.data import _size_panels as panels
from experiments.data._size_claims import claims_of
from experiments.data._size_lab import Recipe, make_lab
from jaxvision import cli
from jaxvision.data import load
from jaxvision.fields import disjoint_seeds, flagged
from jaxvision.report import plots, words
from jaxvision.report.claims import Claim
from jaxvision.report.record import Record
from jaxvision.types import Figure, UserError

RECIPES = {
    "plain": Recipe("equal steps"),
    "epochs": Recipe("equal epochs", equal_epochs=True),
    "tenth": Recipe("a tenth random", random_share=0.1),
    "half": Recipe("half random", random_share=0.5),
    "random": Recipe("all random", random_share=1.0, tuned_as="half"),
    "moved": Recipe("moved copies", moved=True),
    "narrow": Recipe("quarter width", narrower=4),
    "narrower": Recipe("sixteenth width", narrower=16),
    "again": Recipe("other weights", tuned_as="plain", replicate=1),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, a TFDS name, or a path to yours.")
    seeds: int = flagged(50, "Paired seeds of every arm.", low=1, high=1000)
    first_seed: int = flagged(800, "First of them.", low=0, high=10**9)
    sizes: tuple[int, ...] = flagged(
        (20, 40, 80, 160, 320, 640, 1280),
        "Training images, from small to large.",
        low=1,
        high=10**7,
    )
    width: int = flagged(64, "Units of the two hidden layers; from 16.", low=16, high=8192)
    steps: int = flagged(1280, "Steps of the largest subset.", low=1, high=10**6)
    batch_size: int = flagged(32, "Images in a step.", low=1, high=65_536)
    learning_rates: tuple[float, ...] = flagged(
        (0.001, 0.003, 0.01, 0.03, 0.1), "Tried by each arm.", low=0
    )
    tuning_seeds: int = flagged(3, "Seeds for choosing rates; none is used again.", low=1, high=100)

    def __post_init__(self) -> None:
        sizes = list(self.sizes)
        if len(sizes) < 4 or sizes != sorted(sizes):
            shown = ",".join(map(str, sizes))
            raise UserError(
                f"--sizes={shown}: a curve needs four sizes or more, from small to large"
            )


PRESETS = {
    "tiny": Config(
        seeds=2,
        first_seed=0,
        sizes=(20, 40, 80, 160),
        width=16,
        steps=16,
        tuning_seeds=1,
        learning_rates=(0.03, 0.1),
    ),
    "cpu": Config(),
    "gpu": Config(
        dataset="mnist",
        width=512,
        steps=20_000,
        batch_size=128,
        sizes=(100, 400, 1600, 6400, 12_800, 25_600, 50_000),
    ),
    "paper": Config(
        dataset="imagenet_resized/64x64",
        seeds=1,
        width=2048,
        steps=320_000,
        batch_size=256,
        sizes=(100_000, 200_000, 400_000, 600_000, 1_000_000),
    ),
}


def measure(
    config: Config, progress: cli.ShowProgress, recipes: Mapping[str, Recipe] = RECIPES
) -> tuple[dict, dict]:
    """Train every recipe on every subset; returns numbers and test errors [S, N] by recipe."""
    seeds, tuning_seeds = disjoint_seeds(config.first_seed, config.seeds, config.tuning_seeds)
    data = load(config.dataset)
    lab = make_lab(config, data)
    tuned = {name: recipe for name, recipe in recipes.items() if not recipe.tuned_as}
    tried = len(config.learning_rates) * len(tuning_seeds)
    of_one = len(config.sizes) * config.steps
    rates, tuning = {}, {}
    with progress(len(tuned) * tried * of_one, "choosing rates") as bar:
        for name, recipe in tuned.items():
            rates[name], tuning[name] = lab.choose_rate(recipe, tuning_seeds, bar.advance)
    arrays = {}
    with progress(len(recipes) * len(seeds) * of_one, "training") as bar:
        for name, recipe in recipes.items():
            rate = rates[recipe.tuned_as or name]
            found = lab.train_all_sizes(recipe, rate, seeds, bar.advance)
            arrays[f"{name}/test_error"] = np.float32(found["test"])
    numbers = {
        "rates": rates,
        "tuning_error": tuning,
        "test_images": len(data.test.labels),
        "chance_error": data.test.chance_error,
    }
    return numbers, arrays


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims and the questions beside them."""
    return claims_of(config.sizes)


def plot(record: Record, config: Config) -> Figure:
    """Draw error by size for every recipe, and what a recipe does to the curve."""
    figure, axes = plots.new_figure(3, 2, 11.2)
    panels.draw_protocols(axes[0, 0], record, config.sizes)
    claimed = {
        "tenth": ("noise-half", "noise-tenth"),
        "narrow": ("width",),
        "moved": ("moved-helps", "moved-buys", "moved-late"),
    }
    titles = {
        "tenth": "Labels drawn at random",
        "narrow": "Narrower nets",
        "moved": "Copies moved by a pixel",
    }
    places = {"tenth": axes[0, 1], "narrow": axes[1, 0], "moved": axes[1, 1]}
    for kind, ax in places.items():
        panels.draw_curves(ax, record, config.sizes, panels.PANELS[kind])
        plots.describe(ax, titles[kind], "training images", "test error, %")
        plots.mark_contradicted(ax, record, *claimed[kind])
    labels = {
        name: recipe.label for name, recipe in RECIPES.items() if name not in ("random", "again")
    }
    panels.draw_exponents(axes[2, 0], record, config.sizes, labels)
    panels.draw_worth(axes[2, 1], record, config.sizes, labels)
    return plots.finish(
        figure,
        record,
        _title(record),
        net=f"ReLU MLP of two hidden layers, {config.width} units",
        optimizer=f"SGD with momentum .9, {config.steps:,} steps, "
        f"{words.rates('arm', config.learning_rates)}",
        paper="Mishkin et al. 2016, Hestness et al. 2017",
    )


def _title(record: Record) -> str:
    """Return what the verdicts say of the curve."""
    titles = {
        ("power-law-steps", "power-law-epochs"): "The error falls as one power of the number of "
        "images",
        "power-law-steps": "At equal steps the error falls as one power of the number of images",
    }
    return plots.headline(record, titles, "How the error falls with the number of images")


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
