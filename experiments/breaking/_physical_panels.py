"""The panels of physical_world."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.breaking._photographing import EXAMPLES, SHOWN, Artificial
from jaxvision.report import plots, stats
from jaxvision.report.image_grid import image_grid
from jaxvision.report.record import Record
from jaxvision.types import Axes

GROUPS = {"average": "its own images", "prefiltered": "sure ones", "paired": "all three fool"}
STAR = {"marker": "*", "linestyle": "", "color": "black", "markersize": 11, "zorder": 4}


def draw_pictures(
    ax: Axes,
    record: Record,
    attacks: Mapping[str, Any],
    levels: Sequence[int],
) -> None:
    """Draw three images, clean and attacked, as they went through, and the net's answers."""
    pictures = record.arrays["pictures"]
    columns = pictures.swapaxes(1, 2).reshape(len(pictures), -1, *pictures.shape[3:])
    said = record.arrays["said"].swapaxes(1, 2).reshape(len(pictures), -1)
    names = ["clean", *[attack.label for attack in attacks.values()]]
    image_grid(ax, columns, rows=names, columns=list(SHOWN) * EXAMPLES, gap=2)
    height, width = columns.shape[2:4]
    truth = np.repeat(said[0, :: len(SHOWN)], len(SHOWN))
    for (row, column), answer in np.ndenumerate(said):
        fooled = answer != truth[column]
        look = {"facecolor": plots.color_of("fast") if fooled else "white", "pad": 1.5}
        ax.text(
            column * (width + 2),
            row * (height + 2),
            record.numbers["classes"][answer],
            ha="left",
            va="top",
            fontsize=8.5,
            color="white" if fooled else "black",
            bbox=look,
        )
    changed = f"changed by {levels[0]} of 255 levels"
    title = f"What one net answers to three images (filled: wrong), {changed}"
    plots.describe(ax, title, "", "")


def draw_destroyed(ax: Axes, record: Record, attacks: Mapping[str, Any]) -> None:
    """Draw what photographs destroy, by attack and by which images count."""
    ticks, names = [], []
    place = 0.0
    for at, attack in enumerate(attacks.values()):
        color = plots.color_of(attack.label)
        ax.text(0.0, place - 0.65, attack.label, color=color, fontweight="bold", va="center")
        for counted, label in GROUPS.items():
            values = record.arrays[f"rate/{counted}/photo"][:, at, 0].mean(1)
            _interval(ax, place, values, color)
            ticks.append(place)
            names.append(label)
            place += 1
        published = [attack.average[0], attack.prefiltered[0]]
        ax.plot(published, [place - 3, place - 2], label="_published", **STAR)
        place += 1
    ax.set_yticks(ticks, names)
    ax.set(xlim=(-0.02, 1.02), ylim=(place - 0.6, -1.2))
    title = "What simulated photographs\ndestroy (star: real ones)"
    plots.describe(ax, title, "share of fooling images", "")
    plots.mark_contradicted(
        ax,
        record,
        "survive-fast",
        "survive-basic",
        "fast-photo",
        "fast-paired",
        "prefiltered-fast",
        "prefiltered-basic",
        "prefiltered-least",
    )


def draw_success(
    ax: Axes,
    record: Record,
    attacks: Mapping[str, Any],
    levels: Sequence[int],
) -> None:
    """Draw every net: how often an attack fools it, and how much of that a photograph undoes."""
    for at, attack in enumerate(attacks.values()):
        color = plots.color_of(attack.label)
        success = record.arrays["success"][:, at]
        destroyed = record.arrays["rate/average/photo"][:, at].mean(2)
        for size, marker in zip(range(len(levels)), ("o", "^", "s", "D"), strict=False):
            ax.plot(success[:, size], destroyed[:, size], marker, color=color, label="_net")
        ax.text(0.0, 1.31 - 0.1 * at, attack.label, color=color, fontweight="bold", va="center")
    marks = zip(("circle", "triangle", "square", "diamond"), levels, strict=False)
    sizes = ", ".join(f"{name}: {level} levels" for name, level in marks)
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.38))
    ax.set_yticks(np.linspace(0, 1, 6))
    title = f"Success and destruction, a mark a net\n({sizes})"
    plots.describe(ax, title, "share of images fooled", "of them destroyed")
    plots.mark_contradicted(ax, record, "success-fast", "success-least", "most-least")


def draw_ways(
    ax: Axes,
    record: Record,
    attacks: Mapping[str, Any],
    ways: Mapping[str, Artificial],
) -> None:
    """Draw what artificial transformations destroy by strength, and what they cost clean images."""
    start = 0
    ticks, names = [], []
    for way in ways:
        strengths = ways[way].strengths
        places = start + np.arange(len(strengths))
        last = way == list(ways)[-1]
        for at, attack in enumerate(attacks.values()):
            values = record.arrays[f"rate/paired/{way}"][:, at, 0]
            label = attack.label if last else f"_{attack.label}"
            plots.seed_band(ax, places, values, plots.color_of(attack.label), label)
        lost = 1 - record.arrays[f"retained/{way}"]
        label = "clean, lost" if last else "_clean"
        line = plots.seed_band(ax, places, lost, plots.color_of("clean images"), label)
        line.set_linestyle("--")
        middle = (places[0] + places[-1]) / 2
        unit = f", {ways[way].unit}" if ways[way].unit else ""
        ax.text(middle, 1.06, f"{ways[way].label}{unit}", ha="center", fontweight="bold")
        for end in (0, -1):
            ticks.append(places[end])
            names.append(f"{strengths[end]:g}")
        start += len(strengths) + 1
    ax.set_xticks(ticks, names)
    ax.set_ylim(-0.08, 1.18)
    ax.set_yticks(np.linspace(0, 1, 6))
    title = "What artificial transformations destroy of the images that all three attacks fool"
    plots.describe(ax, title, "strength", "share destroyed")
    plots.mark_contradicted(
        ax, record, "fast-blur", "fast-noise", "fast-jpeg", "brightness", "small", "small-least"
    )


def _interval(ax: Axes, place: float, values: np.ndarray, color: str) -> None:
    """Draw each net, and the mean with its 90 % interval."""
    finite = values[np.isfinite(values)]
    ax.plot(finite, np.full(len(finite), place), "o", color=color, alpha=0.35, markersize=5)
    if len(finite) > 1:
        interval = stats.t_interval(finite)
        ax.plot([interval.low, interval.high], [place, place], color=color, linewidth=4)
        ax.plot(interval.estimate, place, "o", color=color, markersize=9)
