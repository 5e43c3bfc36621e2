"""The panels of fast_gradient."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxvision.report import plots
from jaxvision.report.image_grid import image_grid
from jaxvision.report.record import Record
from jaxvision.types import Axes

LARGE = 4  # which of the sizes nets are trained at
SHOWN = (0, 2, LARGE)  # of the sizes, in the pictures
COLUMNS = 3  # images
ATTACKS = {"fgsm": "FGSM", "pgd": "PGD", "worst": "worst of all"}
# Ways of which the errors at the size of training are drawn, from top to bottom.
ROWS = ("plain", "corners", "uniform", "fgsm", "start", "mix")
DOTS = {"clean": "clean images", "noise": "noise", "fgsm": "FGSM", "worst": "worst of all"}
ASIDE = (-0.27, -0.09, 0.09, 0.27)  # of a row: dots of one error do not hide each other
PUBLISHED = {"softmax": 0.999, "MLP": 0.894}  # on MNIST at .25; the paper's dense net is a maxout


def show_errors(ax: Axes) -> None:
    """Let the axis end above 1, so that the names of lines that end there stand in the panel."""
    ax.set_ylim(0, 1.45)
    ax.set_yticks(np.linspace(0, 1, 6))


def draw_pictures(ax: Axes, record: Record, sizes: np.ndarray) -> None:
    """Draw a few images as FGSM changes them, and what one net says of them."""
    shown = list(SHOWN)
    images = record.arrays["pictures"][shown, :COLUMNS]
    answers = record.arrays["answers"][shown, :COLUMNS]
    rows = [f"{sizes[at]:g}" for at in SHOWN]
    image_grid(ax, images, rows=rows, high=1.0)
    height, width = images.shape[2:4]
    for (row, column), answer in np.ndenumerate(answers):
        right = (column + 1) * (width + 1) - 1.6
        top = row * (height + 1) - 0.4
        kept = answer == answers[0, column]
        color = "white" if kept else plots.color_of("FGSM")
        look = {"facecolor": color, "pad": 1.5}
        ax.text(
            right,
            top,
            str(answer),
            ha="right",
            va="top",
            fontsize=10,
            bbox=look,
        )
    plots.describe(ax, "One step of FGSM, and the answer", "", "largest change")


def draw_nets(ax: Axes, record: Record, sizes: np.ndarray, on_mnist: bool) -> None:
    """Draw FGSM's error by size for three nets, and noise of the same size."""
    for way, label in (("softmax", "softmax"), ("plain", "MLP"), ("conv", "conv net")):
        if f"{way}/fgsm" in record.arrays:
            found = record.arrays[f"{way}/fgsm"]
            plots.seed_band(ax, sizes, found, plots.color_of(label), label)
    noise = record.arrays["plain/noise"]
    plots.seed_band(ax, sizes, noise, plots.color_of("noise"), "MLP, noise")
    title = "FGSM's error, and that of noise\nof the same size"
    if on_mnist:
        look = {"markersize": 13, "markeredgecolor": "black", "label": "_published"}
        for label, error in PUBLISHED.items():
            ax.plot(0.25, error, "*", color=plots.color_of(label), **look)
        title = "FGSM's error (stars: published,\nof softmax and of a maxout net)"
    show_errors(ax)
    plots.describe(ax, title, "largest change of a pixel", "error")
    falls = ("softmax-falls", "dense-falls", "conv-falls")
    plots.mark_contradicted(ax, record, *falls, "slide", "softmax-mnist", "dense-mnist")


def draw_masked(ax: Axes, record: Record, sizes: np.ndarray, epsilon: float) -> None:
    """Draw a net of half FGSM under attacks, and the clean net under FGSM."""
    for attack, label in ATTACKS.items():
        found = record.arrays[f"mix/{attack}"]
        line = plots.seed_band(ax, sizes, found, plots.color_of(label), label)
        if attack == "pgd":  # it is the worst of all nearly everywhere: seen on top of that
            line.set(linestyle=(0, (2, 1.5)), zorder=3)
    noise = record.arrays["mix/noise"]
    plots.seed_band(ax, sizes, noise, plots.color_of("noise"), "noise")
    ax.axvline(epsilon, color="#999999", linewidth=1)
    show_errors(ax)
    title = "Trained on half FGSM it seems robust:\nto FGSM alone"
    plots.describe(ax, title, "largest change of a pixel", "error")
    plots.mark_contradicted(ax, record, "mix-helps", "masked-pgd", "masked-size", "masked-noise")


def draw_ways(
    ax: Axes,
    record: Record,
    ways: Mapping[str, Any],
    epsilon: float,
) -> None:
    """Draw each way's errors at the size of training: clean, FGSM, the worst of all."""
    places = np.arange(len(ROWS))
    for (attack, label), aside in zip(DOTS.items(), ASIDE, strict=True):
        if attack == "clean":
            found = [record.arrays[f"{way}/fgsm"][:, 0] for way in ROWS]
        else:
            found = [record.arrays[f"{way}/{attack}"][:, LARGE] for way in ROWS]
        middle = np.median(found, axis=1)
        color = plots.color_of(label)
        ax.plot(middle, places + aside, "o", color=color, markersize=6, label=label)
    ax.set_yticks(places, [ways[way].label for way in ROWS])
    ax.set(xlim=(-0.02, 1.05), ylim=(len(ROWS) - 0.4, -0.6))
    below = {"loc": "upper center", "bbox_to_anchor": (0.3, -0.22)}
    ax.legend(ncols=2, handletextpad=0.2, frameon=False, **below)
    plots.describe(ax, f"Errors at {epsilon:g},\nby what a net learned from", "error", "")
    learned = ("clean-gains", "noise-fails", "worst", "leak", "leak-answer")
    plots.mark_contradicted(ax, record, *learned, "mix-mnist", "noise-mnist")


def draw_honest(ax: Axes, record: Record, sizes: np.ndarray) -> None:
    """Draw the worst attack's error by size for ways to train."""
    shown = {
        "plain": ("clean images", "clean images"),
        "mix": ("half FGSM", "half FGSM"),
        "honest_mix": ("half FGSM, small", "half FGSM, small"),
        "honest_pgd": ("PGD training", "PGD, small"),
    }
    for way, (meaning, label) in shown.items():
        found = record.arrays[f"{way}/worst"]
        plots.seed_band(ax, sizes, found, plots.color_of(meaning), label)
    show_errors(ax)
    title = "The worst of all attacks:\nwhat training gains"
    plots.describe(ax, title, "largest change of a pixel", "error")
    plots.mark_contradicted(ax, record, "honest", "honest-gap")


def draw_filters(ax: Axes, record: Record) -> None:
    """Draw the net of 4 filters along its training on FGSM."""
    if "filters/along_fgsm" not in record.arrays:
        ax.set_axis_off()
        return
    steps = record.arrays["looks"]
    for quantity, label in (("fgsm", "FGSM"), ("pgd", "PGD")):
        found = record.arrays[f"filters/along_{quantity}"]
        plots.seed_band(ax, steps, found, plots.color_of(label), label)
    meaning = "gradients' cosine"
    for way, label in (("filters", "cosine"), ("filters_pgd", "cosine, on PGD")):
        cosine = record.arrays[f"{way}/along_cosine"]
        line = plots.seed_band(ax, steps, cosine, plots.color_of(meaning), label)
        if way == "filters_pgd":
            line.set(linestyle="--")
    show_errors(ax)
    parted = {
        "few-filters": "4 filters trained on FGSM: PGD's\nand FGSM's errors part",
        "few-pgd": "4 filters trained on FGSM: PGD fools\nmore; trained on PGD, less so",
    }
    title = plots.headline(record, parted, "4 filters trained on FGSM: errors,\nand a cosine")
    plots.describe(ax, title, "step", "error, or cosine")
    plots.mark_contradicted(
        ax, record, "few-filters", "few-turn", "few-turn-pgd", "few-collapse", "few-pgd"
    )
