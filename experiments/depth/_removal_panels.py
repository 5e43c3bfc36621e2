"""The panels of alexnet_removal's figure: the table of sources, and errors by net."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.depth._removal import Layers, words_of
from jaxvision.report import plots
from jaxvision.types import Axes, Figure

# Columns of the table: where each ends (shares of the width) and its heading.
COLUMNS = (
    (0.12, "layers\nremoved"),
    (0.27, "AlexNet's\nparameters"),
    (0.385, "table 3:\ntraining"),
    (0.49, "\ntop-1"),
    (0.585, "\ntop-5"),
    (0.69, "the\nlecture"),
    (0.845, "here:\ntraining"),
    (1.0, "\ntest"),
)


class Row(NamedTuple):
    """A row of the table."""

    removed: Layers  # where there are some, the numbers are what they cost
    parameters: int  # of the published net
    published: tuple[float, ...] | None  # training, top-1, top-5, lecture
    ours: tuple[np.ndarray, ...]  # [S] each, percent: training, test


def new_figure() -> tuple[Figure, Axes, Sequence[Axes]]:
    """Return a figure with a wide panel above two."""
    figure, axes = plots.new_figure(2, 2, 8.8)
    axes[0, 0].get_gridspec().set_height_ratios((0.8, 1))
    return figure, plots.merged(axes[0]), axes[1]


@plots.style()
def draw_table(ax: Axes, rows: Sequence[Row], note: str) -> None:
    """Write the sources' numbers and ours, a row for each net; ``note`` stands in the title."""
    ax.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -1.5))
    ax.grid(visible=False)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    for place, heading in COLUMNS:
        ax.text(place, -0.9, heading, ha="right", va="center", fontweight="bold")
    ax.axhline(-0.35, color=plots.THEORY_COLOR, linewidth=1)
    for height, row in enumerate(rows):
        for (place, _), text in zip(COLUMNS, _cells(row), strict=True):
            ax.text(place, height + 0.1, text, ha="right", va="center")
    title = "What removal costs, points of error (first row: the errors, %; ±: over seeds)"
    ax.set_title(f"{title}\n{note}" if note else title)


def _cells(row: Row) -> list[str]:
    """Return the row's text, column by column."""
    sign = "+" if row.removed else ""
    published = ["", "", "", ""]
    if row.published is not None:
        published = [f"{value:{sign}.1f}" for value in row.published]
    ours = []
    for values in row.ours:
        spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
        ours.append(f"{np.mean(values):{sign}.1f} ± {spread:.1f}")
    parameters = f"{row.parameters / 1e6:.1f} M"
    return [words_of(row.removed), parameters, *published, *ours]


def _under_a_column(removed: Layers) -> str:
    """Return the layers in words, four of them in two lines."""
    if len(removed) < 4:
        return words_of(removed)
    return f"{words_of(removed[:2])},\n{words_of(removed[2:])}"


class End(NamedTuple):
    """Errors of several nets, percent."""

    label: str
    color: str
    errors: list[np.ndarray]  # [S] for each net


@plots.style()
def draw_ends(ax: Axes, nets: Sequence[Layers], ends: Sequence[End]) -> None:
    """Draw a dot for every seed and a bar at their median, one column for each net."""
    places = np.arange(len(nets))
    for label, color, errors in ends:
        for place, values in zip(places, errors, strict=True):
            spread = np.linspace(-0.16, 0.16, len(values))
            ax.plot(place + spread, values, "o", color=color, markersize=4, alpha=0.55, label="_")
        medians = [np.nanmedian(values) for values in errors]
        look = {"color": color, "markersize": 22, "markeredgewidth": 2.6, "label": label}
        ax.plot(places, medians, "_", **look)
    ax.set_xticks(places, [_under_a_column(removed) for removed in nets])
    ax.set_xlim(-0.5, len(nets) - 0.5)
    ax.set_ylim(0, 100)


@plots.style()
def draw_level(ax: Axes, height: float, name: str) -> None:
    """Draw a level that does not depend on the net; its name stands below it."""
    ax.axhline(height, color=plots.THEORY_COLOR, linewidth=1, label="_", linestyle="--")
    three_quarters = {"x": 0.75, "transform": ax.get_yaxis_transform()}  # where dots are rare
    ax.text(y=height - 5, s=name, ha="center", va="top", **three_quarters)
