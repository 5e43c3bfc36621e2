"""The panels of class_pictures, and how a record is read by way."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from experiments.seeing._ascents import FIRST_PART
from jaxvision.report import plots
from jaxvision.report.image_grid import captioned_grid
from jaxvision.report.record import Record
from jaxvision.types import Axes

CHANCE = "#777777"
MOST_LETTERS = 8  # of a name above a picture
OBJECTIVES = ("-log", "-softmax", "-near", "")  # of a prior, as ways are named
OBJECTIVE_NAMES = ("log p", "p", "logit, as\nfar as p", "logit")
SLOPES = ("logit", "log p", "p")


class Labeled(Protocol):
    """A way to make pictures."""

    label: str


def of_way(
    record: Record,
    name: str,
    way: str,
) -> np.ndarray:
    """Return a score [N] of the pictures of one way."""
    column = record.numbers["ways"].index(way)
    return record.arrays[name][:, column]


def draw_pictures(
    ax: Axes,
    record: Record,
    ways: Mapping[str, Labeled],
    drawn: Sequence[str],
    nets: int,
) -> None:
    """Draw the first net's picture of every class, how many judges see it under each."""
    rows = []
    for name in drawn:
        share = 100 * of_way(record, "agreement", name).mean()
        label = ways[name].label.replace(" + ", "\n+ ")
        rows.append(f"{label}\n{share:.0f} %")
    judges = nets - 1
    votes = judges * record.arrays["picture_agreement"]
    words = np.array([[f"{count:.0f}/{judges}" for count in row] for row in votes])
    columns = [_short(name) for name in record.numbers["class_names"]]
    captioned_grid(ax, record.arrays["pictures"], words, rows=rows, columns=columns)
    ax.tick_params(axis="x", labelsize=9)
    title = "What one net takes for each class; below: how many other nets see it"
    ax.set_title(title)


def _short(name: str) -> str:
    """Return a class's name as far as it fits above a picture."""
    return name if len(name) <= MOST_LETTERS else f"{name[: MOST_LETTERS - 1]}."


def draw_agreement(
    ax: Axes,
    record: Record,
    labels: Mapping[str, str],
) -> None:
    """Draw the share of other nets that see the class, a dot a net, floor and ceiling."""
    ceiling = 100 * record.arrays["ceiling"].mean()
    ax.axvline(ceiling, color=plots.color_of("test"), linewidth=2)
    place = {"color": plots.color_of("test"), "ha": "right", "va": "center"}
    ax.text(ceiling - 1.5, len(labels) - 0.1, "test images", **place)
    for place, (name, label) in enumerate(labels.items()):
        found = 100 * of_way(record, "agreement", name)
        permuted = 100 * of_way(record, "permuted", name)
        color = plots.color_of(label)
        places = np.full(len(found), place)
        ax.barh(place, found.mean(), color=color, alpha=0.35)
        ax.plot(found, places, "o", color=color, markersize=6)
        ax.plot(permuted, places, "|", color=CHANCE, markersize=9)
    ax.set_yticks(range(len(labels)), labels.values())
    ax.set_ylim(len(labels) + 0.3, -0.6)
    ax.set_xlim(0, 103)
    title = "Other nets that see the class\n(gray: the next class, a control)"
    plots.describe(ax, title, "% of pictures, a dot a net", "")
    contested = ("l2", "blur", "fourier", "jitter", "unseen", "short")
    sets = tuple(f"yosinski-{i}" for i in range(1, 5))
    plots.mark_contradicted(ax, record, *contested, *sets)


def draw_liking(
    ax: Axes,
    record: Record,
    labels: Mapping[str, str],
) -> None:
    """Draw the net's own logit and how rough pictures are, both relative to test images."""
    highest = record.arrays["real_highest"]
    for place, name in enumerate(labels):
        liked = (of_way(record, "own_logit", name) / highest).mean()
        rough = of_way(record, "variation", name).mean()
        ax.plot(liked, place, "o", color=plots.color_of("logit"), markersize=8)
        ax.plot(rough, place, "s", color=plots.color_of("total variation"), markersize=7)
    ax.axvline(1, color=CHANCE, linewidth=1)
    ax.set_yticks(range(len(labels)), labels.values())
    ax.set_ylim(len(labels) + 0.9, -0.6)
    words = {
        "logit": "● own logit / the highest",
        "total variation": "■ total variation / the mean",
    }
    for place, (meaning, told) in enumerate(words.items()):
        below = len(labels) - 0.1 + 0.6 * place
        ax.text(1.1, below, told, color=plots.color_of(meaning), va="center", fontsize=10)
    title = "What the net gives its own\npictures, and how rough they are"
    plots.describe(ax, title, "relative to test images", "")
    plots.mark_contradicted(ax, record, "beyond-real", "rough", "sure", "alike")


def draw_objectives(ax: Axes, record: Record) -> None:
    """Draw the agreement by objective, at equal steps and at equal distance, for two priors."""
    places = np.arange(len(OBJECTIVES))
    for prior, label in (("none", "no prior"), ("jitter", "Fourier + jitter")):
        found = [100 * of_way(record, "agreement", prior + end) for end in OBJECTIVES]
        color = plots.color_of(label)
        shares = np.stack(found, axis=1)
        name = label.replace(" + ", "\n+ ")
        line = plots.seed_band(ax, places, shares, color, name)
        line.set_marker("o")
    ax.set_xticks(places, OBJECTIVE_NAMES, fontsize=9)
    ax.set_ylim(0, 115)
    ax.set_yticks(range(0, 101, 20))
    title = "By what is climbed in as many steps,\nand by the logit as far as p comes"
    plots.describe(ax, title, "", "others that see it, %")
    contested = ("softmax-none", "softmax-jitter", "log-none", "log-jitter")
    plots.mark_contradicted(ax, record, *contested, "near-none", "near-jitter")


def draw_slopes(ax: Axes, record: Record) -> None:
    """Draw the gradients of the three objectives on the way to the pictures without a prior."""
    found = record.arrays["slopes"]
    shares = 100 * np.linspace(0, FIRST_PART, found.shape[-1])
    for row, label in enumerate(SLOPES):
        bounded = np.maximum(found[:, row], 1e-12)
        plots.seed_band(ax, shares, bounded, plots.color_of(label), label)
    plots.log_axis(ax, "y")
    title = "Where the net is sure, the gradient\nof p dies, the logit's does not"
    plots.describe(ax, title, "% of the way from start to picture", "norm of the gradient")
    plots.mark_contradicted(ax, record, "log-gradient", "p-gradient")
