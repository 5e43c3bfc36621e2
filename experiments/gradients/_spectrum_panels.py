"""The panels of jacobian_spectrum; ``nets``: those that are trained, by name."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.gradients._critical_nets import Net
from jaxvision.report import plots
from jaxvision.report.record import Record
from jaxvision.types import Axes


def _draw_lines(
    ax: Axes,
    record: Record,
    nets: Mapping[str, Net],
    x: np.ndarray,
    quantity: str,
    unit: float = 1,
) -> None:
    """Draw ``quantity`` of the three nets that are trained; purple is orthogonal, dots are ReLU.

    The name of a dotted line begins with dots, for color alone does not tell it.
    """
    for name, net in nets.items():
        color = plots.color_of("orthogonal" if net.orthogonal else "Gaussian")
        values = unit * record.arrays[quantity.format(name)]
        dotted = net.activation == "relu"
        line = plots.seed_band(ax, x, values, color, f"··· {net.label}" if dotted else net.label)
        line.set_linestyle(":" if dotted else "-")


def draw_spectrum(ax: Axes, record: Record, config: Any, nets: Mapping[str, Net]) -> None:
    """Draw the singular values of deep random nets, largest first."""
    directions = 100 * (np.arange(config.width) + 0.5) / config.width
    _draw_lines(ax, record, nets, directions, "{}/values")
    ax.axhspan(0.5, 2, color=plots.THEORY_COLOR, alpha=0.12, zorder=0)
    plots.log_axis(ax, "y")
    ax.set_ylim(1e-4, 100)
    plots.mark_contradicted(ax, record, "weakest", "bulk")
    title = f"{config.depth} layers: what becomes of each\ndirection (gray: within a factor 2)"
    plots.describe(ax, title, "directions of the input, %", "singular value")


def draw_depth(ax: Axes, record: Record, depths: np.ndarray, nets: Mapping[str, Net]) -> None:
    """Draw the share of singular values within a factor 2 of 1, by depth."""
    _draw_lines(ax, record, nets, depths, "{}/share", unit=100)
    ax.set_xscale("log", base=2)
    ax.set_xticks(depths, [str(depth) for depth in depths])
    ax.set_ylim(0, 104)
    plots.mark_contradicted(ax, record, "gaussian-cannot", "relu-cannot")
    title = "The deeper the net, the fewer stay\nwithin that factor"
    plots.describe(ax, title, "layers", "singular values near 1, %")


def draw_learning(ax: Axes, record: Record, nets: Mapping[str, Net]) -> None:
    """Draw the test loss of the trained nets by step."""
    _draw_lines(ax, record, nets, record.arrays["test_steps"], "trained/{}/test_loss")
    ax.set_ylim(bottom=0)
    plots.mark_contradicted(ax, record, "sooner-than-gaussian", "sooner-than-relu")
    title = "Trained: how soon each of the three\nkinds of net learns"
    plots.describe(ax, title, "step", "test loss, nats")


def draw_training(ax: Axes, record: Record, config: Any, nets: Mapping[str, Net]) -> None:
    """Draw that share by step of training."""
    steps = np.array((0, *config.checkpoints))
    _draw_lines(ax, record, nets, steps, "trained/{}/share", unit=100)
    ax.set_xscale("symlog", linthresh=steps[1], linscale=0.5)
    named = np.concatenate([steps[:1], steps[1:][::-2]])  # labels of all would meet
    ax.set_xticks(named, [str(step) for step in named])
    ax.minorticks_off()
    ax.set_ylim(0, 104)
    plots.mark_contradicted(ax, record, "isometry-lost")
    plots.describe(ax, "What training does to those\nspectra (log axis)", "step", "near 1, %")
