"""A map of trainings by depth and one more axis: the edge of what trains, and how it is drawn."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from jaxvision.report import plots, stats
from jaxvision.types import Axes

if TYPE_CHECKING:
    from matplotlib.collections import QuadMesh


def halo() -> dict[str, Any]:
    """Return what draws white around black lines and letters: read on every color of the map."""
    from matplotlib import patheffects  # only who draws waits for it

    return {"path_effects": [patheffects.withStroke(linewidth=4.5, foreground="white")]}


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
    middle = np.concatenate([depths[:1], (depths[1:] + depths[:-1]) / 2, depths[-1:]])
    count = np.cumprod(trains, axis=-1).sum(-1)  # depths up to the first that fails
    return middle[count], count == len(depths), count == 0


def rank_with(expected: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """Return the rank correlation [S] of edges [S, G] with what theory expects [G].

    An edge that is the same everywhere follows nothing: 0.
    """
    found = []
    for row in edge:
        constant = np.ptp(row) == 0
        found.append(0.0 if constant else stats.spearman(expected, row).estimate)
    return np.array(found)


@plots.style()
def draw(ax: Axes, x: np.ndarray, depths: np.ndarray, values: np.ndarray, top: float) -> "QuadMesh":
    """Draw ``values`` [D, X] as colors from 0 to ``top``, a cell around each depth and each ``x``.

    ``x`` [X] is evenly spaced, the depths [D] are so on their log axis.
    """
    between = np.sqrt(depths[1:] * depths[:-1])
    rows = np.concatenate([[depths[0] ** 2 / between[0]], between, [depths[-1] ** 2 / between[-1]]])
    half = (x[1] - x[0]) / 2
    columns = np.append(x - half, x[-1] + half)
    image = ax.pcolormesh(columns, rows, values, cmap="viridis_r", vmin=0, vmax=top)
    ax.grid(False)
    plots.log_axis(ax, "y")
    ax.set(xlim=columns[[0, -1]], ylim=rows[[0, -1]])
    return image


@plots.style()
def curve(ax: Axes, x: np.ndarray, y: np.ndarray, label: str) -> None:
    """Draw a theory's depth ``y`` over ``x`` [N] on the map, its label above it if it is there."""
    ax.plot(x, y, color="black", linestyle="--", **halo())
    place = int(0.84 * len(x))
    ax.text(x[place], 1.1 * y[place], label, fontsize=13, ha="center", clip_on=True, **halo())


@plots.style()
def dots(ax: Axes, x: np.ndarray, edge: np.ndarray) -> None:
    """Draw the median over seeds of log2 edges [S, X]."""
    median = 2 ** np.median(edge, 0)
    ax.plot(x, median, "o", color=plots.color_of("measured edge"), markersize=8, mec="white")


@plots.style()
def edge_on_edge(ax: Axes, limit: np.ndarray, edge: np.ndarray, ends: np.ndarray) -> None:
    """Draw the median over seeds of log2 edges [S, X] over theory's depth [X], phase by phase.

    ``ends``: the shallowest and the deepest net.
    """
    median = 2 ** np.median(edge, 0)
    critical = 1 + int(np.argmax(limit))  # the sigma_w nearest to criticality
    for phase, part in (("ordered", slice(None, critical)), ("chaotic", slice(critical, None))):
        color = plots.color_of(f"{phase} phase")
        ax.plot(limit[part], median[part], "o", color=color, markersize=9)
        place = (limit[part].min(), median[part].min())
        offset = (12, 10 if phase == "ordered" else -8)
        ax.annotate(
            f"{phase} phase", place, offset, textcoords="offset points", color=color, va="top"
        )
    plots.theory_line(ax, ends, ends, "equal")
    for axis in ("x", "y"):
        plots.log_axis(ax, axis)
    ax.set_ylim(ends[0] * 0.9, ends[1] * 1.1)


@plots.style()
def fit(ax: Axes, ends: np.ndarray, fitted: np.ndarray, label: str) -> None:
    """Draw a fitted line between the depths ``ends``."""
    ax.plot(ends, fitted, color="0.45", linewidth=1.6, label=label)
