"""Panels of transformations' figure, and what they and the claims read from a record."""

from collections.abc import Sequence

import numpy as np

from experiments.breaking._pose_search import RANDOM
from experiments.breaking._torus import PERIOD
from experiments.breaking._transforming import columns_of
from experiments.breaking._transforms import BORDERS, CANVAS, TRANSFORMS, rows_of
from jaxvision.report import plots
from jaxvision.report.image_grid import image_grid
from jaxvision.report.record import Record
from jaxvision.types import Axes


def side_of(record: Record) -> int:
    """Return the pixels of a side."""
    return record.arrays["examples/strip"].shape[2]


def area(record: Record, net: str, transform: str) -> np.ndarray:
    """Return the mean probability of the class over a transform's range, [S]."""
    return record.arrays[f"{net}/{transform}/p_true"].mean(1)


def folded(
    record: Record, net: str, transform: str, quantity: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return sizes of a transform [Q], and a quantity [S, Q, ...] averaged over both directions."""
    values = record.arrays[f"{net}/{transform}/{quantity}"]
    return _folded(transform, side_of(record), values, axis=1)


def _folded(
    transform: str, side: int, values: np.ndarray, axis: int
) -> tuple[np.ndarray, np.ndarray]:
    sizes = TRANSFORMS[transform].sizes(side)
    unique = np.unique(sizes)
    means = [values.compress(sizes == size, axis).mean(axis) for size in unique]
    return unique, np.stack(means, axis)


def straightness(record: Record, transform: str, layer: int) -> np.ndarray:
    """Return R squared of a line through a layer's distance by size of the transform, [S]."""
    sizes, distance = folded(record, "upright", transform, "distance")
    return np.array([np.corrcoef(sizes, curve)[0, 1] ** 2 for curve in distance[..., layer]])


def change_at_rest(record: Record) -> float:
    """Return the largest distance of features at rest, and change of P(true) between transforms."""
    distances, answers = [], []
    for name, transform in TRANSFORMS.items():
        rest = transform.sizes(side_of(record)) == 0
        distances.append(record.arrays[f"upright/{name}/distance"][:, rest].max())
        answers.append(record.arrays[f"upright/{name}/p_true"][:, rest][:, 0])
    return float(max(*distances, np.ptp(answers, axis=0).max()))


def change_at_period(record: Record) -> float:
    """Return the largest relative change of logits under shifts by the total stride."""
    nets = ("strided", "blurred")
    changes = [record.arrays[f"{net}/change"][..., PERIOD::PERIOD].max() for net in nets]
    return float(max(changes))


def change_between(record: Record, net: str) -> np.ndarray:
    """Return the relative change of logits under shifts that the total stride does not divide, [S].

    Mean over them and over depths.
    """
    change = record.arrays[f"{net}/change"]
    places = np.arange(change.shape[-1])
    return change[..., places % PERIOD > 0].mean((1, 2))


def draw_strip(ax: Axes, record: Record) -> None:
    """Draw an image in some poses, with the probability of its class below."""
    strip = record.arrays["examples/strip"]
    side = side_of(record)
    below = side // 2  # white rows for the number; no such gap between columns
    room = ((0, 0), (0, 0), (0, below), (0, 0), (0, 0))
    image_grid(ax, np.pad(strip, room, constant_values=255), rows=list(TRANSFORMS))
    down, right = side + below + 1, side + 1
    answers = record.arrays["examples/p_true"][:, 0]
    for row, place in enumerate(rows_of(TRANSFORMS, side).values()):
        shown = answers[place][columns_of(len(answers[place]))]
        for column, p_true in enumerate(shown):
            middle = column * right + (side - 1) / 2
            low = row * down + side + below / 2 - 0.5
            ax.text(middle, low, f"{p_true:.2f}", ha="center", va="center", fontsize=10)
    ax.set_title("One image; below it the\nprobability of its class")


def draw_answers(ax: Axes, record: Record) -> None:
    """Draw the probability of the class by share of the range, five images thin behind."""
    side = side_of(record)
    rows = rows_of(TRANSFORMS, side)
    for name, transform in TRANSFORMS.items():
        color = plots.color_of(transform.label)
        thin = record.arrays["examples/p_true"][rows[name]]
        sizes, lines = _folded(name, side, thin, axis=0)
        ax.plot(sizes / sizes.max(), lines, color=color, alpha=0.3, linewidth=0.7)
        sizes, curves = folded(record, "upright", name, "p_true")
        plots.seed_band(ax, sizes / sizes.max(), curves, color, transform.label)
    sizes, curves = folded(record, "turned", "turn", "p_true")
    label = "turn, trained turned"
    color = plots.color_of(label)
    line = plots.seed_band(ax, sizes / sizes.max(), curves, color, "turn, learned")
    line.set_linestyle("--")
    ax.set_ylim(0, 1.03)
    reach = TRANSFORMS["shift"].sizes(side).max()
    ends = f"{reach:.0f} pixels, 1.8 times, 180°"
    plots.describe(
        ax,
        "What becomes of the answer\n(dashed: trained on turns)",
        f"share of {ends}",
        "probability (thin: five images)",
    )
    plots.mark_contradicted(ax, record, "shift-turn", "scale-turn", "learned", "symmetric")


def draw_distances(ax: Axes, record: Record) -> None:
    """Draw how far the first and the top layer move, by share of the range."""
    for transform, dashes in {"shift": "-", "scale": "--", "turn": ":"}.items():
        sizes, distance = folded(record, "upright", transform, "distance")
        for layer, name in enumerate(("layer 1", "top layer")):
            color, label = plots.color_of(name), f"{name}, {transform}"
            values = distance[..., layer]
            line = plots.seed_band(ax, sizes / sizes.max(), values, color, label)
            line.set_linestyle(dashes)
    ax.set_ylim(0, None)
    _legend_below(ax, 2)
    plots.describe(ax, "How far features move", "share of the range", "distance (1: of two images)")
    plots.mark_contradicted(ax, record, "layer1", "linear-shift", "linear-scale", "straighter")


def draw_borders(ax: Axes, record: Record, borders: Sequence[str]) -> None:
    """Draw the mean probability over each range, by what lies beyond the border."""
    if not len(borders):
        ax.set_axis_off()
        return
    areas = _areas(record, borders)
    for number, transform in enumerate(TRANSFORMS.values()):
        color = plots.color_of(transform.label)
        for place, name in enumerate(borders):
            values = areas[name][:, number]
            places = np.full(len(values), place + 0.2 * (number - 1))
            ax.plot(values, places, "o", color=color, alpha=0.6, markersize=6)
        ax.plot([], [], "o", color=color, label=transform.label)
    labels = {name: border.label for name, border in BORDERS.items()} | {CANVAS: "canvas"}
    ax.set_yticks(range(len(borders)), [labels[name].replace(" ", "\n") for name in borders])
    ax.set_ylim(len(borders) - 0.5, -0.5)
    ax.set_xlim(0, 1.03)
    _legend_below(ax, 3)
    title = "What lies beyond the border\n(a dot a net)"
    plots.describe(ax, title, "mean probability of the class", "")
    plots.mark_contradicted(ax, record, "borders", "canvas")


def _areas(record: Record, borders: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the mean probabilities over each range, [S, transforms], by border."""
    own = [name for name in borders if name != CANVAS]
    of_own = record.arrays["upright/area_by_border"] if own else np.empty((1, 0, 3))
    areas = dict(zip(own, np.moveaxis(of_own, 1, 0), strict=True))
    return areas | ({CANVAS: record.arrays["canvas/area"]} if CANVAS in borders else {})


def draw_depths(ax: Axes, record: Record, depths: Sequence[int]) -> None:
    """Draw how often answers to two shifts agree, by depth, with and without blur."""
    if not len(depths):
        ax.set_axis_off()
        return
    for name in ("strided", "blurred"):
        shares = 100 * record.arrays[f"{name}/consistency"]
        plots.seed_band(ax, depths, shares, plots.color_of(name), name)
    plots.log_axis(ax, "x")
    ax.set_xticks(depths, [f"{depth}" for depth in depths])
    plots.describe(
        ax,
        "Nets on a torus: two shifts\nget one answer",
        "convolutions a stage",
        "of pairs of shifts, %",
    )
    plots.mark_contradicted(ax, record, "blur", "blur-error", "deeper-better", "deeper-worse")


def draw_searches(ax: Axes, record: Record, steps: int, poses: int) -> None:
    """Draw how many images each search for a pose fools, a dot a net.

    Args:
      ax: the panel.
      record: what was found.
      steps: of the search along the gradient.
      poses: of the grid.
    """
    labels = {
        "ten": f"worst of {RANDOM}\nrandom poses",
        "ascent": f"{steps} steps along\nthe gradient",
        "grid": f"grid of\n{poses:,} poses",
    }
    for net, label in {"upright": "trained upright", "turned": "trained turned"}.items():
        color = plots.color_of(label)
        for place, way in enumerate(labels):
            rates = 100 * record.arrays[f"{net}/{way}"]
            aside = place + (0.12 if net == "turned" else -0.12)
            ax.plot(rates, np.full(len(rates), aside), "o", color=color, alpha=0.6, markersize=7)
        ax.plot([], [], "o", color=color, label=label)
    ax.set_yticks(range(len(labels)), labels.values())
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.set_xlim(0, 104)
    _legend_below(ax, 2)
    plots.describe(ax, "Poses up to 3/32 of a side and 30°", "images fooled, %", "")
    plots.mark_contradicted(
        ax, record, "breaks", "augmented", "ten", "first-order", "random-ascent"
    )


def _legend_below(ax: Axes, columns: int) -> None:
    ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.2),
        ncols=columns,
        handletextpad=0.5,
        columnspacing=1.0,
    )
