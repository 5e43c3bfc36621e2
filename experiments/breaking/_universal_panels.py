"""The panels of universal_perturbation."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxvision.report import plots
from jaxvision.report.image_grid import image_grid
from jaxvision.report.record import Record
from jaxvision.types import Axes

RIVALS = {
    "ascent": "ascent",
    "deepfool": "DeepFool",
    "structured": "best pattern",
    "random": "best of noise",
}


def off_diagonal(matrices: np.ndarray) -> np.ndarray:
    """Return matrices [S, A, A] without their diagonals, [S, A, A - 1]."""
    count = matrices.shape[1]
    rest = ~np.eye(count, dtype=bool)
    return matrices[:, rest].reshape(len(matrices), count, count - 1)


def directions_for(energy: np.ndarray, share: float) -> np.ndarray:
    """Return how many directions hold a share of the energy [S, D]: [S]."""
    return 1 + np.argmax(energy >= share, axis=1)


def rates(record: Record, kind: str, quantity: str) -> np.ndarray:
    """Return a kind's fooling rates [S, E], of the best one where there are several."""
    found = record.arrays[f"{kind}/{quantity}"]
    return found.max(-1) if found.ndim == 3 else found


def draw_pictures(
    ax: Axes,
    record: Record,
    labels: Mapping[str, str],
    epsilon: float,
) -> None:
    """Draw one seed's perturbation for each kind of net, and an image with it."""
    image = record.arrays["image"]
    names = list(labels)[:: max(1, len(labels) // 2)]  # three are large enough to see
    made = np.stack([record.arrays[f"{name}/perturbation"] for name in names])
    changes = 0.5 + made / (2 * epsilon)
    changed = np.clip(image + made, 0, 1)
    image_grid(
        ax,
        np.stack([changes, changed]),
        rows=("change", "image\n+ change"),
        columns=[labels[name].replace(" ", "\n") for name in names],
        high=1.0,
    )
    plots.describe(ax, "One change for all images", "", "")


def draw_rivals(
    ax: Axes,
    record: Record,
    labels: Mapping[str, str],
    config: Any,
) -> None:
    """Draw what fools each kind of net at one size."""
    at = config.epsilons.index(config.epsilon)
    places = np.arange(len(labels))
    for quantity, label in RIVALS.items():
        found = np.stack([rates(record, name, quantity)[:, at] for name in labels], axis=1)
        line = plots.seed_band(ax, places, found, plots.color_of(label), label)
        line.set_marker("o")
    _name_kinds(ax, labels)
    ax.set_ylim(0, 1)
    plots.describe(ax, f"Held-out images fooled at {config.epsilon:g}", "", "share of images")
    plots.mark_contradicted(ax, record, "beats-random", "beats-patterns", "ascent", "most")


def draw_sizes(
    ax: Axes, record: Record, labels: Mapping[str, str], epsilons: Sequence[float]
) -> None:
    """Draw fooling by the size of the change, the mean over kinds of nets."""
    for quantity, label in RIVALS.items():
        found = np.mean([rates(record, name, quantity) for name in labels], axis=0)
        plots.seed_band(ax, epsilons, found, plots.color_of(label), label)
    ax.set_ylim(0, 1)
    title = "By the size of the change\n(mean over nets)"
    plots.describe(ax, title, "largest change of a pixel", "share of images")
    plots.mark_contradicted(ax, record, "grows", "control")


def draw_transfer(ax: Axes, record: Record, labels: Mapping[str, str]) -> None:
    """Draw the median fooling rate for each pair of kinds."""
    found = np.median(record.arrays["transfer"], axis=0)
    ax.imshow(found, vmin=0, vmax=1, cmap="Blues")
    for (row, column), rate in np.ndenumerate(found):
        color = "white" if rate > 0.55 else "black"
        ax.text(
            column,
            row,
            f"{rate:.2f}"[1:],
            ha="center",
            va="center",
            color=color,
        )
    _name_kinds(ax, labels)
    ax.set_yticks(range(len(labels)), list(labels.values()))
    ax.grid(visible=False)
    plots.describe(ax, "Made for one net, handed to another", "handed to", "made for")
    plots.mark_contradicted(ax, record, "transfers", "own", "sibling", "handed-patterns")


def _name_kinds(ax: Axes, labels: Mapping[str, str]) -> None:
    """Write the kinds of nets below the panel, slanted: five words do not fit side by side."""
    ax.set_xticks(
        range(len(labels)),
        list(labels.values()),
        rotation=35,
        ha="right",
    )


def draw_counts(
    ax: Axes,
    record: Record,
    labels: Mapping[str, str],
    sizes: Sequence[int],
) -> None:
    """Draw fooling by the number of images that the change is made from."""
    for name, label in labels.items():
        found = record.arrays[f"{name}/by_size"]
        plots.seed_band(ax, sizes, found, plots.color_of(label), label)
    plots.log_axis(ax, "x")
    ax.set_ylim(0, 1)
    plots.describe(ax, "A few images are enough", "images it is made from", "share of images")
    plots.mark_contradicted(ax, record, "few-images", "more-images")


def draw_directions(ax: Axes, record: Record, labels: Mapping[str, str]) -> None:
    """Draw how few directions hold the boundaries' normals."""
    for name, label in labels.items():
        energy = record.arrays[f"{name}/energy"]
        count = 1 + np.arange(energy.shape[1])
        plots.seed_band(ax, count, energy, plots.color_of(label), label)
    even = np.linspace(0, 1, count.size + 1)[1:]
    plots.theory_line(ax, count, even, "all directions alike")
    plots.log_axis(ax, "x")
    ax.set_ylim(0, 1.3)  # the lines' names stand beside their end
    title = "The boundaries' normals\nlie in few directions"
    plots.describe(ax, title, "directions", "share of their energy")
    plots.mark_contradicted(ax, record, "few-directions", "span", "linear-rank")
