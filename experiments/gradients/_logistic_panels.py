"""The panels of logistic_map: the map on the left, and what nets' panels share with it."""

import math

import numpy as np

from experiments.gradients import _logistic as logistic
from jaxvision.report import plots
from jaxvision.report.record import Record
from jaxvision.types import Axes

FATES = -1.3, 1.0  # of the exponents in the figure


def draw_diagram(ax: Axes, record: Record, rates: np.ndarray) -> None:
    """Draw the bifurcation diagram over the rates [R], evenly spaced."""
    share = record.arrays["density"] / 255
    ax.imshow(
        np.where(share > 0, 0.2 + share**0.4, np.nan),
        origin="lower",
        aspect="auto",
        extent=(rates[0], rates[-1], 0, 1),
        cmap="Blues",
        vmin=0,
        vmax=1.1,
        interpolation="none",
    )
    ax.grid(False)
    _mark_doublings(ax, 0.04)
    plots.describe(ax, "The logistic map: where\nx → r x (1 − x) settles", "r", "x")


def _mark_doublings(ax: Axes, height: float) -> None:
    names = {logistic.FIRST_DOUBLING: " 3", logistic.SECOND_DOUBLING: " 1 + √6"}
    for place, name in names.items():
        ax.axvline(place, color=plots.THEORY_COLOR, linestyle=":", linewidth=1.4, zorder=1)
        ax.text(place, height, name)


def shade_fates(ax: Axes) -> None:
    """Tell exponents above 0 from those below."""
    ax.axhspan(0, FATES[1], color=plots.color_of("explodes"), alpha=0.25, zorder=0)
    ax.axhspan(FATES[0], 0, color=plots.color_of("vanishes"), alpha=0.25, zorder=0)
    ax.axhline(0, color="black", linewidth=1.2)
    ax.set_ylim(*FATES)


def draw_map_exponent(ax: Axes, record: Record, rates: np.ndarray) -> None:
    """Draw the map's exponent over the rates [R], and its closed form where it has one."""
    color = plots.color_of("logistic map")
    ax.plot(rates, record.arrays["map"], color=color, linewidth=1.2, label="_map")
    plots.theory_line(ax, rates, logistic.cycle_exponent(rates), "_theory")
    ax.plot(4, math.log(2), "o", color=color, clip_on=False, zorder=5)
    ax.annotate("ln 2", (4, math.log(2)), (-8, 4), textcoords="offset points", ha="right")
    shade_fates(ax)
    _mark_doublings(ax, 0.8)
    ax.set_xlim(rates[0], rates[-1])
    title = "Its exponent (dashes: theory)\nis 0 where a period doubles"
    plots.describe(ax, title, "r", "ln of growth per step")
    plots.mark_contradicted(ax, record, "ln-2", "doubling-4")


def draw_dots(ax: Axes, x: np.ndarray, values: np.ndarray, color: str, label: str) -> None:
    """Draw the median over seeds of ``values`` [S, X] as dots, with a bar over all seeds."""
    ax.vlines(x, values.min(0), values.max(0), color=color, linewidth=2)
    dots = {"marker": "o", "linestyle": "none", "markersize": 6}
    ax.plot(x, np.median(values, axis=0), color=color, label=label, **dots)
