"""What figures of distances along training share: curves, named anchors, an axis of steps."""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxvision.report import plots
from jaxvision.report.record import Record
from jaxvision.types import Axes

_BESIDE = {"bottom": 2, "top": -3}  # points from the line to the edge of its name


def draw_curves(ax: Axes, record: Record, labels: Mapping[str, str], looks: Sequence[int]) -> None:
    """Draw the FCD of every arm the record has by step."""
    for name, label in labels.items():
        values = record.arrays.get(f"{name}/fcd")
        if values is not None:
            plots.seed_band(ax, np.sqrt(looks), values, plots.color_of(label), label)


def draw_anchor(ax: Axes, looks: Sequence[int], height: float) -> None:
    """Draw a distance that does not depend on the step."""
    plots.theory_line(ax, np.sqrt(looks), np.full(len(looks), height), "_anchor")


def name_anchor(
    ax: Axes, looks: Sequence[int], height: float, name: str, edge: str, side: str = "left"
) -> None:
    """Name an anchor at its left or right end; ``edge`` of the name is at the line."""
    ax.annotate(
        name,
        (0 if side == "left" else np.sqrt(looks[-1]), height),
        (0, _BESIDE[edge]),
        textcoords="offset points",
        ha=side,
        va=edge,
        fontsize=9.5,
        zorder=5,
        **plots.halo(),  # curves pass below
    )


def step_axis(ax: Axes, looks: Sequence[int], apart: float) -> None:
    """Name those steps of a square-root axis that have room, the last one above all.

    ``apart``: the room a name takes, of the axis.
    """
    shown = [looks[-1]]
    for step in reversed(looks):
        if np.sqrt(shown[-1]) - np.sqrt(step) > apart * np.sqrt(looks[-1]):
            shown.append(step)
    ax.set_xticks(np.sqrt(shown), labels=[f"{step:,}" for step in shown])
