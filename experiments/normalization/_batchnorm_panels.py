"""The panels of batchnorm's figure. Errors are drawn in percent."""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.normalization import _factorial as factorial
from experiments.normalization._shift import MULTIPLES
from jaxvision.report import plots
from jaxvision.report.record import Record
from jaxvision.types import Axes

SHOWN = (  # claims, by panel
    ("higher", "sooner", "noise-learns", "noise-costless"),
    ("steady", "steady-shared"),
    ("resilient",),
    ("alone", "rate-alone", "all", "first-share", "share", "share-rest"),
    ("noise-moves",),
    ("predictive",),
)


def draw_errors(ax: Axes, record: Record, nets: Mapping[str, str]) -> None:
    """Draw the test error by step of nets {name: label}."""
    for name, label in nets.items():
        error = 100 * record.arrays[f"{name}/error"][:, 1:]
        steps = record.arrays["steps"][1:]
        plots.seed_band(ax, steps, error, plots.color_of(label), label)
    plots.log_axis(ax, "x")
    plots.log_axis(ax, "y")
    plots.describe(ax, "Each at its own best rate", "step", "test error, %")


@plots.style()
def draw_percentiles(ax: Axes, record: Record, nets: Mapping[str, str]) -> None:
    """Draw the 15th, 50th and 85th percentile of what enters one unit, of one seed."""
    steps = record.arrays["steps"]
    for name, label in nets.items():
        low, middle, high = record.arrays[f"{name}/percentiles"][0].T
        color = plots.color_of(label)
        for line in (low, high):
            ax.plot(steps, line, color=color, linewidth=1.2, label="_")
        ax.plot(steps, middle, color=color, label=label)
    title = "What enters one unit, one seed\n(15, 50, 85th percentile)"
    plots.describe(ax, title, "step", "input of the sigmoid")


def draw_sweep(ax: Axes, record: Record, nets: Mapping[str, str], rates: Sequence[float]) -> None:
    """Draw the error that plain and normalized nets end with by learning rate."""
    for name in ("plain", "bn"):
        ends = [
            factorial.settled(record.arrays[f"{name}/rate{i}/error"]) for i in range(len(rates))
        ]
        label = nets[name]
        plots.seed_band(ax, rates, 100 * np.stack(ends, 1), plots.color_of(label), label)
    plots.log_axis(ax, "x")
    plots.log_axis(ax, "y")
    plots.describe(
        ax, "Swept: the paper names no rate", "learning rate", "test error at the end, %"
    )


@plots.style()
def draw_speed(ax: Axes, found: factorial.SpeedUp, times: int) -> None:
    """Draw the speed-up of batch norm, the rate, the rest and their mixtures, seed by seed.

    A hollow arrowhead to the left: the run never gets there, and has at most this speed-up.
    """
    short = {"batch norm": "BN", "rate": f"rate x{times}", "rest": "rest"}
    sets = sorted((some for some in found.worth if some), key=len, reverse=True)
    for row, present in enumerate(sets):
        meaning = "batch norm" if "batch norm" in present else "plain"
        color = plots.color_of(meaning)
        _draw_seeds(ax, row, 2.0 ** found.worth[present], found.bound[present], color)
    names = [" + ".join(short[name] for name in factorial.FACTORS if name in s) for s in sets]
    ax.set_yticks(range(len(sets)), names)
    paper = factorial.PAPER_STEPS
    for row, present in enumerate(sets):
        key = {1: "batch norm", 3: "all"}.get(len(present))
        if key == "all" or present == {"batch norm"}:
            ax.plot(paper["base"] / paper[key], row, "D", color=plots.THEORY_COLOR, markersize=7)
    ax.axvline(1, color=plots.THEORY_COLOR, linewidth=1)
    plots.log_axis(ax, "x")
    title = "Whose is the speed-up? Diamonds:\nthe paper's; hollow: at most so much"
    plots.describe(ax, title, "times fewer steps", "")


def _draw_seeds(ax: Axes, row: int, speed: np.ndarray, bound: np.ndarray, color: str) -> None:
    """Draw a row of seeds [S], and their median where every run gets there."""
    height = row + np.linspace(-0.18, 0.18, len(speed))
    ax.plot(speed[~bound], height[~bound], "o", color=color, markersize=4.5)
    if not bound.any():
        ax.plot([np.median(speed)] * 2, [row - 0.3, row + 0.3], color=color)
        return
    ax.plot(speed[bound], height[bound], "<", color=color, markersize=5.5, markerfacecolor="white")


def draw_shift(ax: Axes, record: Record, nets: Mapping[str, str]) -> None:
    """Draw how far the moments of what enters the sigmoids move between two looks."""
    for name, label in nets.items():
        moved = record.arrays[f"{name}/shift"]
        steps = record.arrays["steps"][1:]
        plots.seed_band(ax, steps, moved, plots.color_of(label), label)
    plots.log_axis(ax, "y")
    title = "How far what enters the sigmoids\nmoves from look to look"
    plots.describe(ax, title, "step", "mean and std, moved by")


def draw_change(ax: Axes, record: Record, nets: Mapping[str, str]) -> None:
    """Draw how much the gradient changes along the step, by multiple of the step."""
    for name, label in nets.items():
        looks = record.arrays[f"{name}/change"]
        change = np.exp(np.log(looks).mean(1))
        plots.seed_band(ax, MULTIPLES, change, plots.color_of(label), label)
    plots.log_axis(ax, "x")
    plots.log_axis(ax, "y")
    title = "Change of the gradient along a step,\nboth nets at one rate"
    plots.describe(ax, title, "multiple of the step", "change over its norm")
