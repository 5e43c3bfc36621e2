"""The panels of imagenet_2012's figure."""

from collections.abc import Mapping

import numpy as np

from experiments.depth._published import CONVOLUTIONAL, ENTRIES, HAND_MADE, HUMAN
from jaxvision.report import plots
from jaxvision.report.record import Record
from jaxvision.types import Axes

COLORS = {HAND_MADE: "histograms", CONVOLUTIONAL: "conv net"}
# Where a name stands beside its point, in points, and what of it stands there; else above it.
BESIDE = {
    "XRCE": ((0, -18), "center"),
    "ISI": ((9, -4), "left"),
    "GoogLeNet": ((-9, -6), "right"),
    "ResNet": ((-6, -18), "center"),
    "Trimps": ((0, -18), "center"),
    "SENet": ((8, -18), "center"),
}


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
            offset, align = BESIDE.get(entry.shown, ((9, 5), "left"))
            text = f"{entry.shown} {entry.top5:.1f}"
            place = {"xytext": offset, "textcoords": "offset points", "ha": align}
            ax.annotate(text, (entry.year, entry.top5), color=color, **place)
    ax.axhline(HUMAN, color=plots.THEORY_COLOR, linewidth=1, linestyle=(0, (4, 3)))
    ax.annotate(f"one trained person {HUMAN}", (2010, HUMAN), (0, 4), textcoords="offset points")
    ax.set(xlim=(2009.7, 2017.6), ylim=(-2.5, 32))
    title = "ImageNet as published: features made by hand, then convolutions (hollow: second)"
    plots.describe(ax, title, "", "top-5 error, %")


@plots.style()
def draw_course(ax: Axes, record: Record, labels: Mapping[str, str]) -> None:
    """Draw the test error by compute; a curve that ends early has its name below its end."""
    for name, label in labels.items():
        key = f"{name}/pixels"
        cost = 100 * record.arrays[f"{key}/cost"] / record.numbers["budget"]
        error = 100 * record.arrays[f"{key}/test_error"]
        color = plots.color_of(label)
        early = cost[-1] < 50
        plots.seed_band(ax, cost, error, color, f"_{label}" if early else label)
        if early:
            end = cost[-1], np.median(error[:, -1])
            look = {"color": color, "fontweight": "bold", "va": "top"}
            ax.annotate(label, end, (-6, -22), textcoords="offset points", **look)
    ax.set_ylim(0, 100)
    title = "Our scale: test error\nby compute spent"
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
    plots.describe(
        ax, "Control: one shuffled order\nof the pixels of all images", "pixels", "test error, %"
    )
