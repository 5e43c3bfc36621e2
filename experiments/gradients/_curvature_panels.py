"""The panels of curvature: sharpness and loss at the edge of stability, and kernels that move."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxvision.report import plots
from jaxvision.report.record import Record
from jaxvision.types import Axes


def rates(config: Any) -> dict[str, str]:
    """Return the color of every rate by its label, the calm one last."""
    labels = [f"2 / rate = {threshold:g}" for threshold in config.thresholds]
    labels.append(f"{config.calm_threshold:g}, never reached")
    return dict(zip(labels, plots.shades(len(labels)), strict=True))


def draw_sharpness(ax: Axes, record: Record, config: Any) -> None:
    """Draw the sharpness of train mode by step, a line a rate, over what theory gives each."""
    steps = np.arange(0, config.steps, config.period)
    lines = record.arrays["mlp/sharpness_train"]
    for (label, color), values in zip(rates(config).items(), lines, strict=True):
        plots.seed_band(ax, steps, values, color, label)
    for at in config.thresholds:
        plots.theory_line(ax, steps[[0, -1]], (at, at), "_edge")
    plots.mark_contradicted(ax, record, *(f"hovers-{at:g}" for at in config.thresholds))
    plots.describe(ax, "Sharpness climbs to 2 / rate (dashed)\nand stays", "step", "sharpness")


def draw_loss(ax: Axes, record: Record, config: Any) -> None:
    """Draw one seed's loss by step, a line a rate."""
    lines = record.arrays["mlp/loss"][:, :1]  # a median over seeds would hide the spikes
    for (label, color), values in zip(rates(config).items(), lines, strict=True):
        plots.seed_band(ax, np.arange(config.steps), values, color, label)
    plots.log_axis(ax, "y")
    plots.mark_contradicted(ax, record, "loss-rises", "loss-falls", "calm")
    plots.describe(ax, "The loss falls all the same,\nnot always (one seed)", "step", "square loss")


def draw_batch_norm(ax: Axes, record: Record, config: Any, modes: Sequence[str]) -> None:
    """Draw the sharpness of a net with batch norm by step, a line a mode."""
    steps = np.arange(0, config.steps, config.period)
    for mode in modes:
        values = record.arrays[f"batch_norm/sharpness_{mode}"][0]
        plots.seed_band(ax, steps, values, plots.color_of(f"{mode} mode"), f"{mode} mode")
    plots.theory_line(ax, steps[[0, -1]], 2 * (config.batch_norm_threshold,), "_edge")
    plots.mark_contradicted(ax, record, "batch-norm-train", "batch-norm-eval")
    at_the_edge = "Batch norm: train mode is at the edge,\neval mode beyond it"
    titles = {
        ("batch-norm-train", "batch-norm-eval"): at_the_edge,
        "batch-norm-eval": "Batch norm: eval mode lies\nabove train mode (dashes: the edge)",
    }
    title = plots.headline(record, titles, "Batch norm in both modes\n(dashes: the edge)")
    plots.describe(ax, title, "step", "sharpness")


def draw_drift(ax: Axes, record: Record, config: Any, kinds: Mapping[str, str]) -> None:
    """Draw how far the kernel of each kind of wide net (name -> label) moves, by width."""
    for kind, label in kinds.items():
        values = record.arrays[f"drift/{kind}"].T
        plots.seed_band(ax, config.widths, values, plots.color_of(kind), label)
    widths = np.array(config.widths)
    one_over = np.median(record.arrays["drift/lazy"][-1]) * widths[-1] / widths
    plots.theory_line(ax, widths, one_over, "1 / width")
    for axis in ("x", "y"):
        plots.log_axis(ax, axis)
    plots.mark_contradicted(ax, record, "lazy-bound", "lazy", "feature")
    title = "The tangent kernel of a wide net stands\nstill, unless it learns features"
    plots.describe(ax, title, "width", "relative change of the kernel")
