"""The panels of the figure of dropout."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.normalization._dropout_claims import FEW
from experiments.normalization._inside import BINS
from jaxvision.report import plots
from jaxvision.report.image_grid import image_grid
from jaxvision.report.record import Record
from jaxvision.types import Axes

COLORS = {
    "none": "no dropout",
    "max_norm": "max-norm",
    "dropout": "dropout",
    "both": "dropout + max-norm",
    "gaussian": "Gaussian dropout",
}


SEEDS = "test error, %\n(dots: seeds, bar: mean)"
SHOWN = (2, 4)  # rows and columns of first-layer units of each net


def draw_ways(ax: Axes, record: Record, labels: Mapping[str, str], steps: int) -> None:
    """Draw the test error of every way without batch norm, a dot a seed."""
    names = list(COLORS)
    values = [_percent(record, name) for name in names]
    colors = [plots.color_of(COLORS[name]) for name in names]
    dots(ax, values, colors)
    ax.set_yticks(range(len(names)), labels=[_in_two_lines(labels[name]) for name in names])
    title = f"All images, {steps:,} steps:\nwho errs least?"
    plots.describe(ax, title, SEEDS, "")
    plots.mark_contradicted(ax, record, "helps", "max-norm", "not-alone", "gaussian")


def _in_two_lines(label: str) -> str:
    """Break a long name of a row after its first word: a panel is as wide as names leave it."""
    return label.replace(" ", "\n", 1) if len(label) > 12 else label


def _percent(record: Record, name: str) -> np.ndarray:
    return 100 * record.arrays[f"{name}/test_error"]


def dots(ax: Axes, values: list[np.ndarray], colors: list[str]) -> None:
    """Draw rows of seeds [S], the first on top, and a bar at each mean."""
    for row, (seeds, color) in enumerate(zip(values, colors, strict=True)):
        height = row + np.linspace(-0.18, 0.18, len(seeds))
        ax.plot(seeds, height, "o", color=color, markersize=4, alpha=0.55)
        mean = np.full(2, seeds.mean())
        ends = row - 0.35, row + 0.35
        ax.plot(mean, ends, color=color, linewidth=3)
    ax.set_ylim(len(values) - 0.5, -0.5)


def draw_probabilities(ax: Axes, record: Record, config: Any) -> None:
    """Draw error by the probability of keeping, at one width and at one number of kept units."""
    values = [_percent(record, f"keep/{keep:g}") for keep in config.keeps]
    label = f"{config.width} units"
    plots.seed_band(ax, config.keeps, np.stack(values, 1), plots.color_of("dropout"), label)
    if config.scaled_keeps:
        keeps = config.scaled_keeps
        values = [_percent(record, f"scaled/{keep:g}") for keep in keeps]
        label = f"{config.kept_units} units kept"
        plots.seed_band(ax, keeps, np.stack(values, 1), plots.color_of("max-norm"), label)
    plots.log_axis(ax, "y")
    plots.describe(ax, "How many units to keep?", "probability of keeping", "test error, %")
    judged = {claim["id"] for claim in record.claims}
    sweep = ["flat", "too-few-kept", "too-many-kept", "wider", "same-kept"]
    plots.mark_contradicted(ax, record, *(name for name in sweep if name in judged))


def draw_sizes(ax: Axes, record: Record, config: Any) -> None:
    """Draw what dropout gains by the number of images, the last of them all."""
    subsets = sorted(config.sizes)
    sets = [f"size/{size}/" for size in subsets]
    sets.append("")
    gains = []
    for name in sets:
        without = _percent(record, f"{name}none")
        gains.append(without - _percent(record, f"{name}dropout"))
    places = np.arange(len(sets))
    plots.seed_band(ax, places, np.stack(gains, 1), plots.color_of("dropout"), "gain")
    ax.axhline(0, color="#333333", linewidth=1)
    # Five and more sizes stand too close for whole numbers.
    labels = [f"{size // 1000}k" if size % 1000 == 0 else str(size) for size in subsets]
    ax.set_xticks(places, labels=[*labels, "all"])
    title = "Do few images gain less?"
    plots.describe(ax, title, "training images", "points of error gained")
    judged = {claim["id"] for claim in record.claims}
    sizes = ["few-images", f"few-images-{FEW}", "more-images", "all-images"]
    plots.mark_contradicted(ax, record, *(name for name in sizes if name in judged))


def draw_activity(ax: Axes, record: Record) -> None:
    """Draw how often a unit of the last hidden layer is how active."""
    middles = (BINS[1:-1] + BINS[:-2]) / 2  # without the last, which holds what is above
    means = []
    for name in ("none", "dropout"):
        share = 100 * record.arrays[f"{name}/histogram"][:, :-1]
        plots.seed_band(ax, middles, share, plots.color_of(COLORS[name]), COLORS[name])
        means.append(record.arrays[f"{name}/activation"].mean())
    plots.log_axis(ax, "y")
    title = "Does dropout silence units?\n" + "Mean {:.2f} without, {:.2f} with it".format(*means)
    plots.describe(ax, title, "activation, last hidden layer", "% of units and images")
    plots.mark_contradicted(ax, record, "sparse", "sparse-half")


def draw_features(ax: Axes, record: Record) -> None:
    """Draw the weights of first-layer units of one net of each kind, a blank row between."""
    sheets = []
    for name in ("none", "dropout"):
        features = record.arrays[f"{name}/features"].mean(-1, keepdims=True)
        columns = min(SHOWN[1], len(features))
        rows = min(SHOWN[0], len(features) // columns)
        sheets.append(features[: rows * columns].reshape(rows, columns, *features.shape[1:]))
    largest = np.quantile(np.abs(sheets), 0.99)
    blank = np.full_like(sheets[0][:1], largest)
    sheet = np.concatenate([sheets[0], blank, sheets[1]])
    below = [""] * (rows - 1)
    names = ["no dropout", *below, "", "dropout", *below]
    image_grid(ax, sheet, rows=names, low=-largest, high=largest)
    ax.set_title("What first-layer units look for (one scale)")


def draw_shift(ax: Axes, record: Record, labels: Mapping[str, str]) -> None:
    """Draw errors of nets with batch norm, as they are and with moments taken again."""
    rows = [(name, "test_error") for name in labels] + [("bn_before", "taken_again")]
    names = [_in_two_lines(labels[name]) for name in labels] + ["before,\nmoments\ntaken again"]
    colors = [plots.color_of("batch norm"), plots.color_of("dropout")]
    colors += [plots.color_of("dropout + max-norm"), plots.color_of("max-norm")]
    values = [100 * record.arrays[f"{name}/{kind}"] for name, kind in rows]
    dots(ax, values, colors)
    ax.set_yticks(range(len(names)), labels=names)
    kept = np.exp(record.arrays["bn_before/shift"].mean())
    title = f"Batch norm: dropout before or after?\n(before: kept over true variance {kept:.2f})"
    plots.describe(ax, title, SEEDS, "")
    plots.mark_contradicted(ax, record, "shift-costs", "shift-cured", "shift-after", "shift-law")
