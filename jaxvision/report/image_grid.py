"""Pictures of images: a grid with names on its rows and columns."""

from collections.abc import Sequence

import numpy as np

from jaxvision.report.style import style
from jaxvision.types import Axes

_NOT_FINITE = (1.0, 0.0, 0.0)  # red


@style()
def image_grid(
    ax: Axes,
    images: np.ndarray,
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    low: float = 0.0,
    high: float = 255.0,
    gap: int = 1,
) -> None:
    """Draw images [rows, columns, H, W, C] into one panel, every pixel a square of one color.

    Args:
      ax: the panel; the names are its ticks.
      images: uint8 or float; C is 1 (gray) or 3. What is not finite is drawn red.
      rows: names beside the rows, none or one each.
      columns: names above the columns, none or one each.
      low: the value that is black.
      high: the value that is white, or full color. One scale serves all images: they compare.
      gap: white pixels between two images.

    Raises:
      ValueError: another number of axes, channels or names.
    """
    if images.ndim != 5 or images.shape[-1] not in (1, 3):
        raise ValueError(f"images are [rows, columns, H, W, 1 or 3], not {images.shape}")
    down, right, height, width, _ = images.shape
    _check_names(rows, down)
    _check_names(columns, right)
    ax.imshow(sheet(images, low, high, gap), interpolation="nearest", aspect="equal")
    ax.set_yticks(_centers(len(rows), height, gap), labels=rows)
    ax.set_xticks(_centers(len(columns), width, gap), labels=columns)
    # As labels of ticks the names have their room in the layout, below the panel's title.
    ax.tick_params(length=0, labeltop=True, labelbottom=False)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)


def captioned_grid(
    ax: Axes,
    images: np.ndarray,
    words: np.ndarray,
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
) -> int:
    """Draw images [rows, columns, H, W, C] of 8 bits, and ``words`` [rows, columns] under each.

    A picture alone is no evidence: it has a number beside it. Returns the pixels between two
    images, in which the words stand.
    """
    down, _, height, width, _ = images.shape
    gap = max(2, round(0.5 * height))  # room for the words
    image_grid(ax, images, rows=rows, columns=columns, gap=gap)
    for (row, column), word in np.ndenumerate(words):
        place = column * (width + gap) + (width - 1) / 2
        below = row * (height + gap) + height + 0.42 * gap
        ax.text(place, below, word, ha="center", va="center", fontsize=9.5)
    ax.set_ylim(down * (height + gap) - 0.5, -0.5)
    return gap


def _check_names(names: Sequence[str], count: int) -> None:
    if len(names) not in (0, count):
        raise ValueError(f"{len(names)} names for {count} images")


def _centers(count: int, size: int, gap: int) -> np.ndarray:
    """Return where the middle of each image lies, in pixels of the sheet."""
    return np.arange(count) * (size + gap) + (size - 1) / 2


def sheet(images: np.ndarray, low: float = 0.0, high: float = 255.0, gap: int = 1) -> np.ndarray:
    """Return images [rows, columns, H, W, C] as one picture [H, W, 3] in [0, 1]: the grid."""
    scaled = (images.astype(np.float64) - low) / (high - low)
    colored = np.clip(np.nan_to_num(scaled), 0, 1) * np.ones(3)
    colored[~np.isfinite(scaled).all(-1)] = _NOT_FINITE
    rows, columns, height, width, _ = images.shape
    down, right = height + gap, width + gap
    sheet = np.ones((rows * down - gap, columns * right - gap, 3))
    for row in range(rows):
        for column in range(columns):
            top, left = row * down, column * right
            sheet[top : top + height, left : left + width] = colored[row, column]
    return sheet
