"""The panels of plain_vs_residual's figure."""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxvision.report import plots
from jaxvision.report.record import Record
from jaxvision.types import Axes


def draw_training(ax: Axes, record: Record, kind: str, depths: Sequence[int], title: str) -> None:
    """Draw the training error by step of one kind of net at every depth."""
    for depth, color in zip(depths, plots.shades(len(depths)), strict=True):
        net = f"{kind}{depth}"
        error = 100 * record.arrays[f"{net}/train_error"]
        plots.seed_band(ax, record.arrays[f"{net}/steps"][1:], error, color, f"{depth} layers")
    ax.set_ylim(0, 100)
    plots.describe(ax, title, "step", "training error, %")


@plots.style()
def draw_ends(ax: Axes, record: Record, labels: Mapping[str, str], depths: Sequence[int]) -> None:
    """Draw training and test error at the end over depth, for both kinds."""
    for kind, label in labels.items():
        for split, dashes in (("train", "-"), ("test", ":")):
            nets = [f"{kind}{depth}/{split}_error" for depth in depths]
            error = 100 * np.stack([record.arrays[net][:, -1] for net in nets], 1)
            name = label if split == "train" else f"{label}, test"
            line = plots.seed_band(ax, depths, error, plots.color_of(label), name)
            line.set_linestyle(dashes)
    chance = 100 * record.numbers["chance"]["test"]
    ax.axhline(chance, color=plots.THEORY_COLOR, linewidth=1)
    ax.annotate("chance", (depths[0], chance), (0, 3), textcoords="offset points")
    ax.set_xticks(depths)
    ax.set_ylim(0, 100)
    plots.describe(ax, "At the end (dotted: test images)", "weight layers", "error, %")


@plots.style()
def draw_gradients(
    ax: Axes, record: Record, net: str, watched: Sequence[int], factor: float
) -> None:
    """Draw the norm of delta by layer at the watched steps, and the law of step 0."""
    norms = record.arrays[f"{net}/delta_norm"]
    norms = (norms / norms[..., -1:])[..., ::-1]
    below = np.arange(norms.shape[-1])
    for i, (step, color) in enumerate(zip(watched, plots.shades(len(watched)), strict=True)):
        plots.seed_band(ax, below, norms[:, i], color, f"step {step}")
    law = factor ** (below / 2)
    plots.theory_line(ax, below, law, "law, step 0")
    plots.log_axis(ax, "y")
    ax.set_ylim(top=3 * law[-1])  # the law's name stands below the panel's heading
    title = f"Gradients of the plain net, {len(below) + 1} layers"
    plots.describe(ax, title, "layers below the last", "norm of delta, last layer 1")


@plots.style()
def draw_lesions(
    ax: Axes, record: Record, labels: Mapping[str, str], depth: int, judges: str
) -> None:
    """Draw the error with each block left out in turn, beside that of the whole net."""
    for kind, label in labels.items():
        color = plots.color_of(label)
        lesion = 100 * record.arrays[f"{kind}{depth}/lesion"]
        blocks = np.flatnonzero(np.isfinite(lesion).all(0))[1:]  # a plain net keeps some, always
        line = plots.seed_band(ax, blocks, lesion[:, blocks], color, label)
        line.set(marker="o", linestyle="none")
        ax.axhline(np.median(lesion[:, 0]), color=color, linestyle="--", linewidth=1.4)
    ax.set_ylim(0, 100)
    title = f"One block left out of {depth} layers\n(dashed: none left out)"
    plots.describe(ax, title, "block", f"{judges} error, %")


def draw_responses(ax: Axes, record: Record, labels: Mapping[str, str], depth: int) -> None:
    """Draw the std of every layer's response, before the addition."""
    for kind, label in labels.items():
        responses = record.arrays[f"{kind}{depth}/response_std"]
        layers = np.arange(1, responses.shape[1] + 1)
        plots.seed_band(ax, layers, responses, plots.color_of(label), label)
    title = f"Responses of the layers, {depth} layers"
    plots.describe(ax, title, "layer", "std after batch norm")
