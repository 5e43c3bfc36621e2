"""Panels of features_off_the_shelf's figure, and what they and the claims read from a record."""

from collections.abc import Sequence

import numpy as np

from experiments.data._transfer import LAYERS
from jaxvision.report import plots
from jaxvision.report.record import Record
from jaxvision.types import Axes

SHORT = ("px", "c1", "c2", "c3", "c4", "c5", "f6", "f7", "out")

TITLES = {  # claims -> the title that their verdicts allow
    ("rises-late", "beats-random", "not rises-second"): "Deep features serve classes that the net "
    "never saw, but not another set",
    ("rises-late", "beats-random"): "Deep features serve classes that the net never saw",
    ("rises-first", "not rises-late"): "Only early features serve classes that the net never saw",
    "rises-first": "Features of a net serve classes that it never saw",
}


def at_chosen_layer(record: Record, task: str, moment: int) -> np.ndarray:
    """Return the accuracy [S] at the layer that is best on held-out images, pixels left out."""
    held_out = record.arrays[f"{task}/held_out"][:, moment, 1:]
    accuracy = record.arrays[f"{task}/accuracy"][:, moment, 1:]
    best = held_out.argmax(-1)
    return np.take_along_axis(accuracy, best[:, None], axis=1)[:, 0]


def probed_by_size(record: Record) -> np.ndarray:
    """Return the accuracy [S, N] by number of images, each at its layer by held-out images."""
    held_out = record.arrays["size/held_out"][:, :, 1:]
    accuracy = record.arrays["size/accuracy"][:, :, 1:]
    best = held_out.argmax(-1)
    return np.take_along_axis(accuracy, best[..., None], axis=-1)[..., 0]


def draw_layers(ax: Axes, record: Record) -> None:
    """Draw the accuracy by layer on the net's own classes and on the others."""
    places = np.arange(len(LAYERS))
    curves = {
        "own classes": ("own classes", record.arrays["own/accuracy"][:, -1]),
        "other classes": ("other classes", record.arrays["other/accuracy"][:, -1]),
        "others, random": ("others,\nrandom net", record.arrays["other/accuracy"][:, 0]),
    }
    for meaning, (label, values) in curves.items():
        plots.seed_band(ax, places, 100 * values, plots.color_of(meaning), label)
    _name_layers(ax)
    title = "Held-out classes of the same set"
    plots.describe(ax, title, "layer", "accuracy of a probe, %")
    plots.mark_contradicted(
        ax, record, "rises-first", "rises-late", "drops", "drops-last", "beats-random"
    )


def draw_second(ax: Axes, record: Record) -> None:
    """Draw the accuracy by layer on the second set, before and after training."""
    places = np.arange(len(LAYERS))
    for label, moment in {"trained net": -1, "random net": 0}.items():
        meaning = {"trained net": "other classes", "random net": "others, random"}[label]
        values = record.arrays["second/accuracy"][:, moment]
        plots.seed_band(ax, places, 100 * values, plots.color_of(meaning), label)
    _name_layers(ax)
    plots.describe(ax, "Another data set", "layer", "accuracy of a probe, %")
    plots.mark_contradicted(ax, record, "rises-second", "drops-second", "beats-random-second")


def draw_training(ax: Axes, record: Record, steps: Sequence[int]) -> None:
    """Draw the accuracy on other classes along training, a line a layer."""
    shown = ("conv1", "conv3", "conv5", "fc7")
    places = np.arange(len(steps))
    for layer, color in zip(shown, plots.shades(len(shown)), strict=True):
        values = record.arrays["other/accuracy"][:, :, LAYERS.index(layer)]
        plots.quartile_band(ax, places, 100 * values, color, layer)
    ax.set_xticks(places, [f"{step:,}" for step in steps])
    plots.describe(ax, "Other classes, along training", "training step", "accuracy of a probe, %")
    plots.mark_contradicted(ax, record, "still-gains")


def draw_sizes(ax: Axes, record: Record, sizes: Sequence[int]) -> None:
    """Draw probes against training from scratch, by number of images."""
    curves = {
        "other classes": ("probe", probed_by_size(record)),
        "from scratch": ("from scratch", record.arrays["scratch/accuracy"]),
    }
    for meaning, (label, values) in curves.items():
        plots.seed_band(ax, sizes, 100 * values, plots.color_of(meaning), label)
    plots.log_axis(ax, "x")
    ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
    ax.set_xticks([], minor=True)
    plots.describe(ax, "Other classes, few images", "their training images", "test accuracy, %")
    plots.mark_contradicted(ax, record, "scratch-few", "scratch-many")


def _name_layers(ax: Axes) -> None:
    ax.set_xticks(range(len(SHORT)), SHORT)
