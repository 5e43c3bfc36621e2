"""The panels of imagenet_2012's figure."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from experiments.depth._published import CONVOLUTIONAL, ENTRIES, HAND_MADE, HUMAN
from jaxvision.report import plots
from jaxvision.report.record import Record

COLORS = {HAND_MADE: "histograms", CONVOLUTIONAL: "conv net"}


@plots.style()
def draw_published(ax: Axes) -> None:
    """Draw the published errors by year: winners filled, the others hollow."""
    for kind, meaning in COLORS.items():
        color = plots.color_of(meaning)
        entries = [entry for entry in ENTRIES if entry.kind == kind]
        winners = [entry for entry in entries if entry.place == 1]
        years = [entry.year for entry in winners]
        ax.plot(years, [entry.top5 for entry in winners], color=color, label=f"_{kind}")
        for entry in entries:
            fill = color if entry.place == 1 else "white"
            ax.plot(entry.year, entry.top5, "o", color=color, markerfacecolor=fill, markersize=9)
            text = f"{entry.team} {entry.top5:.1f}"
            _beside(ax, (entry.year, entry.top5), text, color, above=entry.place == 1)
    ax.axhline(HUMAN, color=plots.THEORY_COLOR, linewidth=1, linestyle=(0, (4, 3)))
    ax.annotate(f"one trained person {HUMAN}", (2010, HUMAN), (0, 4), textcoords="offset points")
    ax.set(xlim=(2009.7, 2017.9), ylim=(0, 33))
    title = "ImageNet challenge, as published: hand-made features, then convolutions"
    plots.describe(ax, title, "", "top-5 error, %")


def _beside(ax: Axes, place: tuple[float, float], text: str, color: str, *, above: bool) -> None:
    offset = (7, 6) if above else (9, -4)
    ax.annotate(text, place, offset, textcoords="offset points", color=color, fontsize=10)


def draw_course(ax: Axes, record: Record, labels: Mapping[str, str]) -> None:
    """Draw the test error by compute."""
    for name, label in labels.items():
        key = f"{name}/pixels"
        cost = record.arrays[f"{key}/cost"] / record.numbers["budget"]
        error = 100 * record.arrays[f"{key}/test_error"]
        plots.seed_band(ax, 100 * cost, error, plots.color_of(label), label)
    ax.set_ylim(0, 100)
    title = "Our scale: test error by compute"
    plots.describe(ax, title, "multiply-adds, % of the conv net's", "test error, %")


@plots.style()
def draw_ends(ax: Axes, record: Record, labels: Mapping[str, str]) -> None:
    """Draw the test error at the end with pixels as they are and in one shuffled order."""
    for name, label in labels.items():
        ends = []
        for order in ("pixels", "shuffled"):
            ends.append(record.arrays[f"{name}/{order}/test_error"][:, -1])
        color = plots.color_of(label)
        line = plots.seed_band(ax, [0, 1], 100 * np.stack(ends, axis=1), color, label)
        line.set_marker("o")
    chance = 100 * record.numbers["chance_error"]
    ax.axhline(chance, color=plots.THEORY_COLOR, linewidth=1)
    ax.annotate("chance", (0, chance), (0, 3), textcoords="offset points")
    ax.set_xticks([0, 1], ["as they are", "shuffled"])
    ax.set(xlim=(-0.15, 1.05), ylim=(0, 100))
    plots.describe(ax, "Control: all pixels in one shuffled order", "pixels", "test error, %")
