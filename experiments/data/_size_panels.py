"""Panels of data_size's figure: error by size, exponents, and what an image is worth."""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.data import _power_law as power_law
from jaxvision.report import plots, stats
from jaxvision.report.record import Record
from jaxvision.types import Axes

# Which recipes a panel shows, and what it calls them.
PANELS = {
    "tenth": {"plain": "none", "tenth": "a tenth", "half": "half", "random": "all"},
    "narrow": {"plain": "full width", "narrow": "a quarter", "narrower": "a sixteenth"},
    "moved": {"plain": "as they are", "moved": "moved copies"},
}
# Two more shades than those of random labels, which share the last panels with them.
NARROW_COLORS = {"narrow": "#D98CB3", "narrower": "#8E2C60"}


def _color(name: str) -> str:
    """Return a recipe's color."""
    alone = {"plain": "equal steps", "epochs": "equal epochs", "moved": "moved copies"}
    if name in alone:
        return plots.color_of(alone[name])
    if name in NARROW_COLORS:
        return NARROW_COLORS[name]
    ordered = {"tenth": 0, "half": 1, "random": 2, "again": 0}
    return plots.shades(3)[ordered[name]]


def draw_protocols(ax: Axes, record: Record, sizes: Sequence[int]) -> None:
    """Draw equal steps and equal epochs, each with the power law of the smaller sizes."""
    sizes = np.array(sizes)
    for name, label in {"epochs": "equal epochs", "plain": "equal steps"}.items():
        errors = power_law.errors_of(record, name)
        plots.quartile_band(ax, sizes, 100 * errors, _color(name), label)
        line = power_law.predicted(sizes, errors, len(sizes) - 2, sizes)
        plots.theory_line(ax, sizes, 100 * np.median(line, axis=0), "_law")
    _log_axes(ax, sizes)
    title = "One power law?\n(dashes: from the smaller sizes)"
    plots.describe(ax, title, "training images", "test error, %")
    of_shape = "more-data", "gain-shrinks", "power-law-steps", "power-law-epochs"
    plots.mark_contradicted(ax, record, *of_shape, "predicts-steps", "predicts-epochs")


def draw_curves(ax: Axes, record: Record, sizes: Sequence[int], shown: Mapping[str, str]) -> None:
    """Draw the errors of recipes, name -> label, by size."""
    for name, label in shown.items():
        errors = 100 * power_law.errors_of(record, name)
        plots.quartile_band(ax, sizes, errors, _color(name), label)
    _log_axes(ax, sizes)


@plots.style()
def draw_exponents(
    ax: Axes, record: Record, sizes: Sequence[int], labels: Mapping[str, str]
) -> None:
    """Draw each recipe's exponent, a row a recipe; ``labels`` names the rows."""
    for row, name in enumerate(labels):
        exponents = power_law.exponents(sizes, power_law.errors_of(record, name))
        interval = stats.t_interval(exponents)
        ends = [interval.low, interval.high]
        color = _color(name)
        ax.plot(ends, [row, row], color=color, linewidth=3, solid_capstyle="butt")
        ax.plot(interval.estimate, row, "o", color=color, markersize=5)
    _name_rows(ax, list(labels.values()))
    plots.describe(ax, "Is the curve as steep?", "exponent (90 % interval)", "")
    plots.mark_contradicted(ax, record, "width-shifts", "moved-shifts")


@plots.style()
def draw_worth(ax: Axes, record: Record, sizes: Sequence[int], labels: Mapping[str, str]) -> None:
    """Draw how many plain images one image of a recipe is worth, a dot a size.

    A size has no dot where no number of plain images leaves that error.
    """
    reference = _mean_curve(record, "plain")
    for row, name in enumerate(labels):
        factors = power_law.worth(sizes, _mean_curve(record, name), reference)
        seen = np.flatnonzero(np.isfinite(factors))
        color = _color(name)
        heights = np.full(len(seen), row)
        ax.scatter(factors[seen], heights, s=25 + 15 * seen, color=color, alpha=0.7)
        if not seen.size:
            place = {"transform": ax.get_yaxis_transform(), "fontsize": 10, "va": "center"}
            ax.text(0.03, row, "beyond", color=color, **place)
    ax.axvline(1, color="#888888", linewidth=1.2)
    plots.log_axis(ax, "x")
    _name_rows(ax, list(labels.values()))
    title = "How many clean images equal\none? (no dot: beyond the curve)"
    plots.describe(ax, title, "clean images with the same error\n(larger dot: larger set)", "")


@plots.style()
def _log_axes(ax: Axes, sizes: Sequence[int]) -> None:
    """Make both axes logarithmic; every other size is a tick."""
    plots.log_axis(ax, "x")
    plots.log_axis(ax, "y")
    ax.set_xticks(sizes[::2], [f"{size:,}" for size in sizes[::2]])
    ax.set_xticks([], minor=True)


def _mean_curve(record: Record, name: str) -> np.ndarray:
    """Return the geometric mean over seeds of a recipe's errors [N]."""
    logs = np.log(power_law.errors_of(record, name))
    return np.exp(logs.mean(0))


def _name_rows(ax: Axes, labels: Sequence[str]) -> None:
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
