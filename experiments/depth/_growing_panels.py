"""The panels of identity_construction's figure."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxvision.report import plots
from jaxvision.report.record import Record
from jaxvision.types import Axes


@plots.style()
def draw_construction(ax: Axes, record: Record, config: Any, labels: Mapping[str, str]) -> None:
    """Draw the training error at the moment when layers are added."""
    places = np.arange(len(config.n_added))
    for name in ("random", "identity"):
        errors = [record.arrays[f"{name}{added}/error"][0, :, 0] for added in config.n_added]
        percent = 100 * np.stack(errors, axis=1)
        label = labels[name]
        color = plots.color_of(label)
        line = plots.seed_band(ax, places, percent, color, label)
        line.set_marker("o")
    shallow = 100 * np.median(record.arrays["before/error"][:, -1])
    plots.theory_line(ax, places, np.full(len(places), shallow), "_shallow")
    ax.set_xticks(places, [str(added) for added in config.n_added])
    ax.set_ylim(-4, 100)
    title = "The moment layers are added\n(dashes: the shallow net)"
    plots.describe(ax, title, "layers added", "training error, %")


@plots.style()
def draw_training(
    ax: Axes, record: Record, config: Any, labels: Mapping[str, str], added: int
) -> None:
    """Draw the loss by step: the shallow net, and what it is grown into, at their best rates."""
    before = record.arrays["before/loss"]
    early = config.period * np.arange(before.shape[1])
    plots.seed_band(ax, early, before, plots.color_of("shallow"), "_before")
    nets = {"shallow": "shallow"}
    nets |= {f"{name}{added}": label for name, label in labels.items()}
    last = config.steps_shallow + config.steps
    for net, label in nets.items():
        row = record.numbers["best_row"][net]
        loss = record.arrays[f"{net}/loss"][row]
        steps = last - config.period * np.arange(loss.shape[1])[::-1]
        plots.seed_band(ax, steps, loss, plots.color_of(label), label)
    ax.axvline(config.steps_shallow, color=plots.THEORY_COLOR, linewidth=1)
    plots.log_axis(ax, "y")
    title = f"{added} layers added at the line,\neach net at its own best rate"
    plots.describe(ax, title, "step", "training loss")


@plots.style()
def draw_rates(ax: Axes, record: Record, config: Any) -> None:
    """Draw by which factor the grown net's loss ends above that of the shallow one."""
    shallow = record.arrays["shallow/loss"][..., -1]
    colors = plots.shades(len(config.n_added))
    for added, color in zip(sorted(config.n_added), colors, strict=True):
        ratio = record.arrays[f"identity{added}/loss"][..., -1] / shallow
        label = f"{added} layers" if added > 1 else "1 layer"
        plots.quartile_band(ax, config.learning_rates, ratio.T, color, label)
    ax.axhline(1, color=plots.THEORY_COLOR, linewidth=1)
    plots.log_axis(ax, "x")
    plots.log_axis(ax, "y")
    shown = config.learning_rates[::2]
    ax.set_xticks(shown, [f"{rate:g}" for rate in shown])
    title = "Identity layers, trained on:\nloss over that of the shallow net"
    plots.describe(ax, title, "learning rate", "times the shallow net's loss")


@plots.style()
def draw_ends(ax: Axes, record: Record, config: Any, labels: Mapping[str, str]) -> None:
    """Draw the loss at the end over the number of layers, every net at its own best rate."""
    places = np.arange(1 + len(config.n_added))
    for name, label in labels.items():
        nets = ["shallow", *(f"{name}{added}" for added in config.n_added)]
        ends = []
        for net in nets:
            row = record.numbers["best_row"][net]
            ends.append(record.arrays[f"{net}/loss"][row, :, -1])
        color = plots.color_of(label)
        line = plots.quartile_band(ax, places, np.stack(ends, axis=1), color, label)
        line.set_marker("o")
    plots.log_axis(ax, "y")
    ax.set_xticks(places, ["shallow", *(str(added) for added in config.n_added)])
    title = "At the end, each net\nat its own best rate"
    plots.describe(ax, title, "layers added", "training loss")
