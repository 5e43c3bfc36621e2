"""Pictures with a number under each: a picture alone is no evidence."""

from collections.abc import Sequence

import numpy as np

from jaxvision.report.image_grid import image_grid
from jaxvision.types import Axes


def captioned_grid(
    ax: Axes,
    images: np.ndarray,
    words: np.ndarray,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
) -> None:
    """Draw images [rows, columns, H, W, C] of 8 bits, and ``words`` [rows, columns] under each."""
    down, _, height, width, _ = images.shape
    gap = max(2, round(0.38 * height))
    image_grid(ax, images, rows=rows, columns=columns, gap=gap)
    for (row, column), word in np.ndenumerate(words):
        place = column * (width + gap) + (width - 1) / 2
        below = row * (height + gap) + height + 0.4 * gap
        ax.text(place, below, word, ha="center", va="center", fontsize=9.5)
    ax.set_ylim(down * (height + gap) - 0.5, -0.5)
