"""A map of trainings by depth and one more axis: the edge of what trains, and how it is drawn."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from jaxvision.report import plots, stats
from jaxvision.types import Axes

if TYPE_CHECKING:
    from matplotlib.collections import QuadMesh


def edges(trains: np.ndarray, depths: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return log2 of the edge of what trains, and whether it is a bound from below and from above.

    The edge lies between the last depth up to which all nets train and the next, in the middle on
    a log axis; where all depths train or none does, it is the end of the grid and a bound.

    Args:
      trains: bool [..., D].
      depths: [D], ascending.

    Returns:
      ``edge``, ``above`` (it is at least there) and ``below`` (at most), each [...].
    """
    depths = np.log2(depths)
    between = (depths[1:] + depths[:-1]) / 2
    places = np.concatenate([depths[:1], between, depths[-1:]])
    so_far = np.cumprod(trains, axis=-1)
    count = so_far.sum(-1)  # depths up to the first that fails
    above = count == len(depths)
    below = count == 0
    return places[count], above, below


def rank_with(expected: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """Return the rank correlation [S] of edges [S, G] with what theory expects [G].

    An edge that is the same everywhere follows nothing: 0.
    """
    found = np.zeros(len(edge))
    for seed, row in enumerate(edge):
        if np.ptp(row) > 0:
            found[seed] = stats.spearman(expected, row).estimate
    return found


@plots.style()
def draw(ax: Axes, x: np.ndarray, depths: np.ndarray, values: np.ndarray, top: float) -> "QuadMesh":
    """Draw ``values`` [D, X] as colors from 0 to ``top``, a cell around each depth and each ``x``.

    ``x`` [X] is evenly spaced, the depths [D] are so on their log axis.
    """
    between = np.sqrt(depths[1:] * depths[:-1])
    lowest = depths[0] ** 2 / between[0]
    highest = depths[-1] ** 2 / between[-1]
    rows = np.concatenate([[lowest], between, [highest]])
    half = (x[1] - x[0]) / 2
    columns = np.append(x - half, x[-1] + half)
    colors = {"cmap": "viridis_r", "vmin": 0, "vmax": top}
    image = ax.pcolormesh(columns, rows, values, **colors)
    ax.grid(False)
    plots.log_axis(ax, "y")
    ax.set_xlim(columns[0], columns[-1])
    ax.set_ylim(lowest, highest)
    return image


@plots.style()
def curve(ax: Axes, x: np.ndarray, y: np.ndarray, label: str) -> None:
    """Draw a theory's depth ``y`` over ``x`` [N] on the map, its label above it if it is there."""
    ax.plot(x, y, color="black", linestyle="--", **plots.halo(4.5))
    place = int(0.84 * len(x))
    look = {"fontsize": 13, "ha": "center", "clip_on": True}
    ax.text(x[place], 1.1 * y[place], label, **look, **plots.halo(4.5))


@plots.style()
def dots(ax: Axes, x: np.ndarray, edge: np.ndarray) -> None:
    """Draw the median over seeds of log2 edges [S, X]."""
    median = 2 ** np.median(edge, 0)
    color = plots.color_of("measured edge")
    ax.plot(x, median, "o", color=color, markersize=8, mec="white")


@plots.style()
def edge_on_edge(ax: Axes, limit: np.ndarray, edge: np.ndarray, ends: np.ndarray) -> None:
    """Draw the median over seeds of log2 edges [S, X] over theory's depth [X], phase by phase.

    ``ends``: the shallowest and the deepest net.
    """
    median = 2 ** np.median(edge, 0)
    critical = 1 + int(np.argmax(limit))  # the sigma_w nearest to criticality
    _draw_phase(ax, limit[:critical], median[:critical], "ordered phase", 10)
    _draw_phase(ax, limit[critical:], median[critical:], "chaotic phase", -8)
    plots.theory_line(ax, ends, ends, "equal")
    for axis in ("x", "y"):
        plots.log_axis(ax, axis)
    ax.set_ylim(ends[0] * 0.9, ends[1] * 1.1)


def _draw_phase(ax: Axes, limit: np.ndarray, edge: np.ndarray, label: str, rise: float) -> None:
    """Draw one phase's dots, and its label so many points above the lowest."""
    color = plots.color_of(label)
    ax.plot(limit, edge, "o", color=color, markersize=9)
    place = (limit.min(), edge.min())
    look = {"textcoords": "offset points", "color": color, "va": "top"}
    ax.annotate(label, place, (12, rise), **look)


@plots.style()
def fit(ax: Axes, ends: np.ndarray, fitted: np.ndarray, label: str) -> None:
    """Draw a fitted line between the depths ``ends``."""
    ax.plot(ends, fitted, color="0.45", linewidth=1.6, label=label)
