"""The panels of alexnet_removal's figure: the table of sources, and errors by net."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxvision.report import plots

LABELS = {"test": "test", "train": "training", "lesion": "left out at test time"}
# Columns of the table: where each ends (shares of the width) and its heading.
COLUMNS = (
    (0.17, "layers\nremoved"),
    (0.34, "AlexNet's\nparameters"),
    (0.50, "table 3,\ntop-1"),
    (0.65, "table 3,\ntop-5"),
    (0.79, "the\nlecture"),
    (1.0, "here\n(± seeds)"),
)


class Row(NamedTuple):
    """A row of the table."""

    layers: str
    parameters: int  # of the published net
    ours: int  # of the net trained here
    published: tuple[float, float, float] | None  # top-1, top-5, lecture
    values: np.ndarray  # [S] of our test error, percent
    is_loss: bool  # against the whole net; else an error


def new_figure() -> tuple[Figure, Axes, Sequence[Axes]]:
    """Return a figure with a wide panel above two."""
    figure, axes = plots.new_figure(2, 2, 9.2)
    row = axes[0, 0].get_gridspec()[0, :]
    for ax in axes[0]:
        ax.remove()
    with plots.style():
        return figure, figure.add_subplot(row), axes[1]


@plots.style()
def draw_table(ax: Axes, rows: Sequence[Row]) -> None:
    """Write the sources' numbers and ours, a row for each net."""
    ax.set(xlim=(0, 1), ylim=(len(rows), -1.7))
    ax.grid(visible=False)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    for place, heading in COLUMNS:
        look = {"ha": "right", "va": "center", "fontweight": "bold", "linespacing": 1.2}
        ax.text(place, -1.0, heading, **look)
    ax.axhline(-0.35, color=plots.THEORY_COLOR, linewidth=1)
    for height, row in enumerate(rows):
        for (place, _), text in zip(COLUMNS, _cells(row), strict=True):
            ax.text(place, height + 0.15, text, ha="right", va="center")
    title = "What removal costs, in points of error (first row: the error itself, %)"
    ax.set_title(title)


def _cells(row: Row) -> list[str]:
    sign = "+" if row.is_loss else ""
    published = ["", "", ""]
    if row.published is not None:
        published = [f"{value:{sign}.1f}" for value in row.published]
    spread = np.std(row.values, ddof=1) if len(row.values) > 1 else 0.0
    ours = f"{np.mean(row.values):{sign}.1f} ± {spread:.1f}"
    return [row.layers, f"{row.parameters / 1e6:.1f} M", *published, ours]


@plots.style()
def draw_ends(ax: Axes, layers: Sequence[str], ends: Mapping[str, list[np.ndarray]]) -> None:
    """Draw a dot for every seed [S] and a bar at their median, one column for each net."""
    places = np.arange(len(layers))
    for kind, errors in ends.items():
        color = plots.color_of(kind)
        for place, values in zip(places, errors, strict=True):
            spread = np.linspace(-0.16, 0.16, len(values))
            ax.plot(place + spread, values, "o", color=color, markersize=4, alpha=0.55, label="_")
        medians = [np.nanmedian(values) for values in errors]
        look = {"color": color, "markersize": 22, "markeredgewidth": 2.6, "label": LABELS[kind]}
        ax.plot(places, medians, "_", **look)
    ax.set_xticks(places, layers)
    ax.set_xlim(-0.5, len(layers) - 0.5)
    ax.set_ylim(0, 100)


@plots.style()
def draw_level(ax: Axes, height: float, name: str) -> None:
    """Draw a level that does not depend on the net."""
    ax.axhline(height, color=plots.THEORY_COLOR, linewidth=1, label="_", linestyle="--")
    ax.annotate(name, (-0.45, height), (0, 3), textcoords="offset points")
