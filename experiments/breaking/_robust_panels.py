"""Panels of robust_3d's figure."""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.breaking import _worlds as worlds
from experiments.breaking._robust import ENOUGH
from experiments.breaking._robust_claims import rate
from jaxvision.report import plots
from jaxvision.report.record import Record
from jaxvision.types import Axes

# What is shown to a net: its name in the figure, its color.
SHOWN = {
    "clean": ("as it is", "clean images"),
    "noise": ("noise", "noise"),
    "rival": ("of the target's class", "target class"),
    "one_pose": ("PGD, one pose", "PGD"),
    "eot": ("EOT", "EOT"),
    "eot_equal": ("\N{WHITE CIRCLE} EOT, PGD's norm", "EOT"),
}


def draw_rates(ax: Axes, record: Record, labels: Mapping[str, str]) -> None:
    """Draw how often the target is seen in fresh poses, a dot a net, by kind of nets."""
    width = 0.14
    offsets = width * (np.arange(len(SHOWN)) - 2.5)
    for place, kind in enumerate(labels):
        for offset, shown in zip(offsets, SHOWN, strict=True):
            _, color = SHOWN[shown]
            values = 100 * rate(record, kind, shown).mean(1)
            hollow = shown == "eot_equal"
            _dots(ax, values, place + offset, plots.color_of(color), hollow)
    _name_shown(ax)
    ax.set_xticks(range(len(labels)), list(labels.values()))
    ax.set_ylim(-3, 103)
    known = [f"{_seen_right(record, kind):.0f}" for kind in labels]
    plots.describe(
        ax,
        "In fresh poses:\nwho shows the target?",
        f"seen right as it is,\n% of poses: {', '.join(known)}",
        "poses, %",
    )
    own = "own-pose-flat", "own-pose-solid"
    plots.mark_contradicted(ax, record, "gap-flat", "equal-flat", "rival", "learned", *own)


def _seen_right(record: Record, kind: str) -> float:
    """Return in how many poses, %, a net sees the class of pictures as they are: the median net."""
    shares = rate(record, kind, "clean", "right")
    return 100 * np.median(shares.mean(1))


def _dots(
    ax: Axes,
    values: np.ndarray,
    place: float,
    color: str,
    hollow: bool,
) -> None:
    """Draw a dot a net, and their median as a bar."""
    places = np.full(len(values), place)
    ax.plot(
        places,
        values,
        "o",
        color=color,
        markerfacecolor="none" if hollow else color,
        alpha=0.5,
        markersize=5,
        label="_nets",
    )
    middle = np.median(values)
    ends = (place - 0.06, place + 0.06)
    ax.plot(ends, (middle, middle), color=color, linewidth=3, label="_median")


def _name_shown(ax: Axes) -> None:
    """Write what is shown beside the panel, in its color."""
    for line, (label, color) in enumerate(SHOWN.values()):
        ax.text(
            1.02,
            0.95 - 0.1 * line,
            label,
            color=plots.color_of(color),
            transform=ax.transAxes,
            va="top",
            fontsize=10,
            fontweight="bold",
        )


def draw_tail(ax: Axes, record: Record) -> None:
    """Draw the objects of each net from worst to best."""
    for shown in ("one_pose", "eot_equal", "eot"):
        label, color = SHOWN[shown]
        rates = 100 * np.sort(rate(record, "solid", shown), axis=1)
        count = rates.shape[1]
        shares = np.linspace(100 / count, 100, count)
        line = plots.seed_band(ax, shares, rates, plots.color_of(color), label)
        line.set_marker("o")
        if shown == "eot_equal":
            line.set(linestyle=":", markerfacecolor="white")
    ax.set_ylim(-3, 103)
    title = "Solids, object by object:\nthe worst ones are on the left"
    plots.describe(ax, title, "objects, % (worst first)", "poses that show the target, %")
    plots.mark_contradicted(ax, record, "gap-solid", "equal-solid", "worst", "skewed", "accuracy")


def draw_budgets(ax: Axes, record: Record, sizes: Sequence[float]) -> None:
    """Draw how often the target is seen by size, made and judged in each distribution."""
    by_size = 100 * record.arrays["flat/by_size"]
    colors = plots.shades(len(worlds.FLAT.names))
    for stage, name in enumerate(worlds.FLAT.names):
        plots.seed_band(ax, sizes, by_size[:, stage], colors[stage], name)
    plots.theory_line(ax, sizes, np.full(len(sizes), 100 * ENOUGH), "_enough")
    ax.set_ylim(0, 190)  # room for the names, which all end near 100
    ax.set_yticks(range(0, 101, 20))
    title = "Flat pictures: more freedom of poses\nasks for more change (dashes: 90 %)"
    plots.describe(ax, title, "size of the change, L2", "poses that show the target, %")
    plots.mark_contradicted(ax, record, "turn", "shift", "scale", "light")


def draw_matrix(ax: Axes, record: Record) -> None:
    """Draw how often the target is seen, made in the poses of one distribution, seen in another."""
    rates = np.median(record.arrays["flat/matrix"], axis=0)
    ax.imshow(rates, vmin=0, vmax=1, cmap="Blues")
    for (row, column), found in np.ndenumerate(rates):
        color = "white" if found > 0.55 else "black"
        share = f"{100 * found:.0f}"
        ax.text(column, row, share, color=color, ha="center", va="center")
    places = range(len(rates))
    ax.set_xticks(places, worlds.FLAT.names, rotation=35, ha="right")
    ax.set_yticks(places, worlds.FLAT.names)
    ax.grid(visible=False)
    title = "Made for some poses,\nseen in others (poses, %)"
    plots.describe(ax, title, "seen in", "made for")
    plots.mark_contradicted(ax, record, "diagonal")
