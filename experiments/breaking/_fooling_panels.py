"""Panels of fooling_images's figure, and what they and the claims read from a record."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from jaxvision.report import plots
from jaxvision.report.image_grid import image_grid
from jaxvision.report.record import Record
from jaxvision.types import Axes


class Labeled(Protocol):
    """A way to find fooling images, as the table has it."""

    label: str


def probability(odds: np.ndarray) -> np.ndarray:
    """Return p from log(p / (1 - p))."""
    bounded = np.clip(odds, -80, 80)
    return 1 / (1 + np.exp(-bounded))


def doubt(odds: np.ndarray) -> np.ndarray:
    """Return 1 - p from log(p / (1 - p)), not below 1e-30."""
    missing = np.exp(-np.logaddexp(odds, 0))
    return np.maximum(missing, 1e-30)


LEARNED = 0.5  # test error below which a net counts


def efforts(record: Record) -> np.ndarray:
    """Return log2 of 1 + generations to 99 % by round [S, R], means over classes and evolutions.

    NaN in rounds whose net has learned nothing: nobody fools it.
    """
    generations = record.arrays["rounds/generations"]
    learned = record.arrays["rounds/test_error"] < LEARNED
    return np.where(learned, np.log2(1 + generations).mean((2, 3)), np.nan)


def redrawn(record: Record) -> np.ndarray:
    """Return the difference of two evolutions against the nets of round 0, as ``efforts``, [S]."""
    generations = record.arrays["rounds/generations"][:, 0]
    effort = np.log2(1 + generations).mean(-1)
    return effort[:, 0] - effort[:, 1]


def draw_images(ax: Axes, record: Record, ways: Mapping[str, Labeled]) -> None:
    """Draw the first net's images of every class, and the training image nearest to a CPPN's."""
    shown = {
        ways["direct"].label: record.arrays["direct/images"],
        ways["cppn"].label: record.arrays["cppn/images"],
        "nearest in training": record.arrays["cppn/nearest"],
        "gradient ascent": record.arrays["ascent/images"],
    }
    rows = [name.replace(" ", "\n", 1) for name in shown]
    images = np.stack(list(shown.values()))
    image_grid(ax, images, rows=rows, columns=record.numbers["class_names"])
    ax.set_title("What one net takes for each class")


def draw_evolution(ax: Axes, record: Record, ways: Mapping[str, Labeled]) -> None:
    """Draw what is missing to certainty in the worst class along evolution."""
    for name, way in ways.items():
        if f"{name}/trace" in record.arrays:
            worst = doubt(record.arrays[f"{name}/trace"].min(-1))
            generations = 1 + np.arange(worst.shape[1])
            label = way.label.replace(" ", "\n", 1)
            plots.seed_band(ax, generations, worst, plots.color_of(way.label), label)
    plots.theory_line(
        ax,
        [1, generations[-1]],
        [1e-4, 1e-4],
        "_99.99 %",
    )
    ax.annotate(
        "99.99 %",
        (1, 1e-4),
        (2, 4),
        textcoords="offset points",
        fontsize=10,
    )
    plots.log_axis(ax, "x")
    plots.log_axis(ax, "y")
    plots.describe(ax, "Worst class along evolution", "generation (first: drawn)", "1 - confidence")
    plots.mark_contradicted(ax, record, "nines-direct", "nines-cppn")


def draw_ways(ax: Axes, record: Record, ways: Mapping[str, Labeled]) -> None:
    """Draw the nines of confidence in the worst class at the end, by way, a dot a net."""
    labels = {name: way.label for name, way in ways.items()}
    labels["ascent"] = "gradient ascent"
    look = {"alpha": 0.6, "markersize": 8}
    for place, (name, label) in enumerate(labels.items()):
        worst = record.arrays[f"{name}/log_odds"].min(1)
        nines = -np.log10(doubt(worst))
        places = np.full(len(nines), place)
        ax.plot(nines, places, "o", color=plots.color_of(label), **look)
    ax.axvline(
        4,
        color="#333333",
        linestyle=(0, (4, 3)),
        linewidth=1.4,
    )
    names = [label.replace(" ", "\n", 1) for label in labels.values()]
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.set_xlim(0, None)
    title = "Worst class with one budget\n(a dot a net; dashes: 99.99 %)"
    plots.describe(ax, title, "nines of confidence", "")
    contested = ("random-short", "evolution-direct", "evolution-cppn", "ascent")
    plots.mark_contradicted(ax, record, *contested)


def draw_rounds(ax: Axes, record: Record, generations: int) -> None:
    """Draw the generations to 99 % after each training with fooling images."""
    found = 2 ** efforts(record)
    rounds = np.arange(found.shape[1])
    plots.seed_band(ax, rounds, found, plots.color_of("evolved pixels"), "_")
    plots.log_axis(ax, "y")
    ax.set_xticks(rounds)
    title = "Trained anew with fooling images:\nevolution of pixels to 99 %"
    never = generations + 2  # the drawn generation is the first, and this is past the last
    y = f"generation ({never}: never),\ngeometric mean of classes"
    plots.describe(ax, title, "trainings that knew them", y)
    plots.mark_contradicted(ax, record, "still", "harder", "control")


def draw_color(
    ax: Axes,
    record: Record,
    ways: Mapping[str, Labeled],
) -> None:
    """Draw the median confidence on color images, a line a net, between the two encodings."""
    names = [name for name in ways if f"color/{name}/log_odds" in record.arrays]
    by_way = []
    for name in names:
        confidence = probability(record.arrays[f"color/{name}/log_odds"])
        by_way.append(100 * np.median(confidence, axis=1))
    for line in np.stack(by_way, 1):
        ax.plot(
            range(len(names)),
            line,
            "-",
            color="#BBBBBB",
            linewidth=1.2,
        )
    for place, name in enumerate(names):
        places = np.full(len(by_way[place]), place)
        color = plots.color_of(ways[name].label)
        ax.plot(places, by_way[place], "o", color=color, markersize=8)
    ax.set_xticks(range(len(names)), [ways[name].label for name in names])
    ax.set_xlim(-0.4, len(names) - 0.6)
    ax.set_ylim(0, 104)
    plots.describe(ax, "Color images, conv nets\n(a line a net)", "", "median confidence, %")
    plots.mark_contradicted(ax, record, "color-cppn")


def draw_rubbish(ax: Axes, record: Record) -> None:
    """Draw what share of images of N(0, I) dense nets and softmax regression are sure of."""
    labels = {"dense": "MLP", "linear": "softmax"}
    for place, (name, label) in enumerate(labels.items()):
        shares = 100 * record.arrays[f"{name}/rubbish"]
        places = np.full(len(shares), place)
        ax.plot(places, shares, "o", color=plots.color_of(label), alpha=0.6, markersize=8)
    ax.set_xticks(range(len(labels)), ["dense nets", "softmax regression"])
    ax.set_xlim(-0.5, len(labels) - 0.5)
    ax.set_ylim(0, 104)
    title = "Noise, N(0, I): images of which\nnets are sure (a dot a net)"
    plots.describe(ax, title, "", "given a class above .5, %")
    plots.mark_contradicted(ax, record, "rubbish", "rubbish-linear")
