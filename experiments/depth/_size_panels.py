"""The panels of model_sizes's figure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxvision.report import plots
from jaxvision.types import Axes, Figure


class Size(NamedTuple):
    """A net, and how many parameters it has."""

    label: str
    short: str  # "" or what stands for the label under its dot
    color: str
    millions: float
    dense: float  # of them in dense layers


def new_figure() -> tuple[Figure, Axes, Sequence[Axes]]:
    """Return a figure with a tall panel on the left and two on the right."""
    figure, axes = plots.new_figure(2, 2, 8.4)
    return figure, plots.merged(axes[:, 0]), axes[:, 1]


@plots.style()
def draw_sizes(ax: Axes, sizes: Mapping[str, Size], base: str, compared: str) -> None:
    """Draw a bar for each net, convolutions first; say how much larger ``base`` is."""
    for row, (name, size) in enumerate(sizes.items()):
        convolutions = size.millions - size.dense
        ax.barh(row, convolutions, color=size.color)
        ax.barh(row, size.dense, left=convolutions, color=size.color, alpha=0.35)
        told = f"{size.millions:.1f}"
        if name == compared and base in sizes:
            ratio = sizes[base].millions / size.millions
            told += f": {sizes[base].label} has {ratio:.1f} times as many"
        ax.text(size.millions + 2, row, told, va="center")
    ax.set_yticks(range(len(sizes)), [size.label for size in sizes.values()])
    ax.set_xlim(0, 1.18 * max(size.millions for size in sizes.values()))
    ax.invert_yaxis()
    ax.grid(visible=False, axis="y")


@plots.style()
def draw_errors(ax: Axes, known: Sequence[tuple[Size, float]]) -> None:
    """Draw error over parameters, a dot with a name for each net."""
    below = False  # names of one or two digits turn about
    for size, error in known:
        ax.plot(size.millions, error, "o", color=size.color, markersize=8, label="_")
        below = bool(size.short) and not below
        offset = 0, -17 if below else 8
        ax.annotate(
            size.short or size.label,
            (size.millions, error),
            offset,
            textcoords="offset points",
            ha="center",
            color=size.color,
            fontweight="bold",
        )
    plots.log_axis(ax, "x")
    ax.set_xlim(3, 300)
    ax.set_ylim(0, 22)


@plots.style()
def draw_shares(ax: Axes, shares: np.ndarray, color: str) -> None:
    """Draw the share of the parameters that each convolution has, and the bound of one percent."""
    layers = np.arange(1, len(shares) + 1)
    ax.bar(layers, shares, color=color)
    for layer, share in zip(layers, shares, strict=True):
        ax.text(layer, share + 0.03, f"{share:.2f}", ha="center")
    ax.axhline(1, color=plots.THEORY_COLOR, linestyle="--", linewidth=1.4)
    ax.set_xticks(layers)
    ax.set_ylim(0, 1.75)
