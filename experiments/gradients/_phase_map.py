"""A map of trainings by depth and one more axis: the edge of what trains, and how it is drawn."""

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from numpy.typing import ArrayLike

from jaxvision.report import plots

# Around black lines and letters: they are read on every color of the map.
HALO = {"path_effects": [patheffects.withStroke(linewidth=4.5, foreground="white")]}


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


@plots.style()
def draw(ax: Axes, x: np.ndarray, depths: np.ndarray, values: np.ndarray, top: float) -> QuadMesh:
    """Draw ``values`` [D, X] as colors from 0 to ``top``, a cell around each depth and each ``x``.

    ``x`` [X] is evenly spaced, the depths [D] are so on their log axis. Half an octave is left free
    below the cells, for what theory says of shallower nets.
    """
    between = np.sqrt(depths[1:] * depths[:-1])
    rows = np.concatenate([[depths[0] ** 2 / between[0]], between, [depths[-1] ** 2 / between[-1]]])
    half = (x[1] - x[0]) / 2
    columns = np.append(x - half, x[-1] + half)
    image = ax.pcolormesh(columns, rows, values, cmap="viridis_r", vmin=0, vmax=top)
    ax.grid(False)
    plots.log_axis(ax, "y")
    ax.set(xlim=columns[[0, -1]], ylim=(rows[0] / np.sqrt(2), rows[-1]))
    return image


@plots.style()
def curve(ax: Axes, x: np.ndarray, y: np.ndarray, label: str, linestyle: str) -> None:
    """Draw a theory's depth ``y`` over ``x`` [N] on the map, its label above it if it is there."""
    ax.plot(x, y, color="black", linestyle=linestyle, **HALO)
    place = int(0.84 * len(x))
    ax.text(x[place], 1.1 * y[place], label, fontsize=15, ha="center", clip_on=True, **HALO)
