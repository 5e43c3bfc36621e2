"""Panels of ``transposed_convolution``."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from experiments.generating import _enlarging as enlarging
from jaxvision.report import plots
from jaxvision.report.image_grid import image_grid
from jaxvision.report.record import Record
from jaxvision.types import Array, Axes

SHOWN = 16  # pixels of a side of what is shown of a picture
PICTURES = {"k3": "kernel 3", "k5": "kernel 5", "k4": "kernel 4", "resized3": "resized, 3"}


class Drawn(Protocol):
    """What the panels read of a way."""

    label: str
    kernel: int
    layers: int
    laid: bool
    law: np.ndarray


def middle_of(power: Array) -> Array:
    """Return the middle [SHOWN, SHOWN] of a picture, from an even row and column on."""
    first = (power.shape[0] - SHOWN) // 4 * 2
    return power[first : first + SHOWN, first : first + SHOWN]


def draw_matrices(left: Axes, right: Axes, matrix: np.ndarray) -> None:
    """Draw C and its transpose, each weight of the kernel in a color of its own."""
    for ax, shown in ((left, matrix), (right, matrix.T)):
        _draw_matrix(ax, shown)
    side = enlarging.STRIDE
    plots.describe(
        left, f"C: convolution, 3x3, stride {side}", "pixels of the image (5x5)", "of the map (3x3)"
    )
    plots.describe(
        right, "Its transpose: the gradient", "pixels of the map (3x3)", "of the image (5x5)"
    )


def _draw_matrix(ax: Axes, matrix: np.ndarray) -> None:
    weights = np.unique(matrix[matrix != 0])
    ranks = np.searchsorted(weights, matrix) / max(weights.size - 1, 1)
    shown = np.where(matrix == 0, np.nan, ranks)
    ax.imshow(shown, cmap="viridis", interpolation="nearest", aspect="equal")
    ax.set(xticks=[], yticks=[])
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)


def draw_overlaps(ax: Axes) -> None:
    """Draw how many kernels reach each pixel of a row, for three kernels."""
    pixels = np.arange(12)
    for row, kernel in enumerate((3, 4, 5)):
        counts = _overlaps(kernel, pixels.size)
        color = plots.shades(3)[row]
        bottom = -4 * row
        ax.bar(pixels, counts, bottom=bottom, color=color, width=0.9)
        ax.text(-0.9, bottom + 1, f"kernel {kernel}", ha="right", va="center", color=color)
    ax.set(yticks=[], xlim=(-4.5, 11.6))
    ax.spines["left"].set_visible(False)
    ax.set_xticks(pixels)
    ax.grid(visible=False)
    plots.describe(ax, "How many kernels reach a pixel", "pixel of a row, stride 2", "")


def _overlaps(kernel: int, count: int) -> np.ndarray:
    """Return how many kernels at every second place reach each of some pixels in the middle."""
    places = enlarging.STRIDE * np.arange(-kernel, count)
    reached = places[:, None] + np.arange(kernel)
    low = max(kernel - enlarging.STRIDE, 0) // 2
    return np.array([(reached - low == pixel).sum() for pixel in range(count)])


def draw_pictures(ax: Axes, record: Record) -> None:
    """Draw the mean power of every pixel for several ways, all on one scale."""
    names = [name for name in PICTURES if f"{name}/power" in record.arrays]
    pictures = [record.arrays[f"{name}/power"] for name in names]
    scaled = [picture / picture.mean() for picture in pictures]
    grid = np.stack(scaled)[:, :, :, None].reshape(2, 2, SHOWN, SHOWN, 1)
    image_grid(ax, grid, low=0.3, high=1.9)
    step = SHOWN + 1
    for number, name in enumerate(names):
        row, column = divmod(number, 2)
        place = (column * step + SHOWN / 2 - 0.5, row * step + SHOWN - 1.2)
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.85}
        ax.text(*place, PICTURES[name], ha="center", va="bottom", fontsize=11, bbox=box)
    ax.set_title("Power of random images", loc="center")


def draw_ratios(ax: Axes, record: Record, ways: Mapping[str, Drawn]) -> None:
    """Draw what the fullest phase has over the emptiest, by kernel, with the law."""
    kernels = np.arange(2, 8)
    law = [enlarging.unevenness(kernel) for kernel in kernels]
    plots.theory_line(ax, kernels, law, "_law")
    drawn = {}
    for name, way in ways.items():
        if way.layers == 1:
            found = enlarging.fullest_over_emptiest(record.arrays[f"{name}/phases"], way.law)
            drawn.setdefault(way.label, []).append((way.kernel, found))
    for label, points in drawn.items():
        marker = "x" if label == "gradient" else "o"
        size = 11 if label == "gradient" else 7
        color = plots.color_of(f"enlarged: {label}")
        places = [kernel for kernel, _ in points]
        means = [found.mean() for _, found in points]
        ax.plot(places, means, marker, color=color, markersize=size, markeredgewidth=2.5, zorder=4)
    _name(ax, "transposed", (3.25, 3.55))
    _name(ax, "gradient", (3.25, 4.0))
    _name(ax, "resized first", (4.9, 0.55))
    ax.set_ylim(0, 4.4)
    ax.set_xticks(kernels)
    title = "Fullest phase over emptiest\n(dashes: (ceil(k/2) / floor(k/2))²)"
    plots.describe(ax, title, "kernel k, stride 2", "ratio of power")


def _name(ax: Axes, label: str, place: tuple[float, float]) -> None:
    color = plots.color_of(f"enlarged: {label}")
    ax.text(*place, label, color=color, fontweight="bold", va="center")


def draw_two_layers(ax: Axes, record: Record, law: np.ndarray) -> None:
    """Draw the power at 16 phases after two layers against what overlaps predict."""
    found = record.arrays["twice/phases"].reshape(-1, law.size)
    color = plots.color_of("enlarged: transposed")
    plots.theory_line(ax, [0, 2.2], [0, 2.2], "_law")
    jitter = np.repeat(law.ravel()[None], len(found), 0)
    ax.plot(jitter.ravel(), found.ravel(), ".", color=color, alpha=0.35, markersize=6)
    ax.set(xlim=(0, 2.2), ylim=(0, 2.4))
    title = "Two layers of kernel 5:\n16 phases, every seed a dot"
    plots.describe(ax, title, "power predicted by overlaps", "power measured")
