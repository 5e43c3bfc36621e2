"""Panels of ``preferred_inputs``, and the few pictures that its record keeps for them."""

from collections.abc import Mapping

import numpy as np

from experiments.generating._preferred_claims import of_way
from experiments.generating._preferred_looks import DRAWN
from experiments.generating._subjects import KINDS
from jaxvision.report import plots
from jaxvision.report.image_grid import captioned_grid, image_grid
from jaxvision.report.record import Record
from jaxvision.types import Axes, Figure

ODD_SHOWN = 5  # classes of each odd kind
CHANCE = "#777777"
NEARNESS = {"inverter": "inverter", "held_out": "held out", "copies": "copies"}
DENSE = {"none": "dense net, no prior", "inverter": "dense net, inverter"}


def drawn(record: Record, labels: Mapping[str, str], nets: int) -> Figure:
    """Return the figure without its title."""
    figure, axes = plots.new_figure(3, 2, 12.6)
    axes[0, 0].get_gridspec().set_height_ratios([1.35, 1.15, 0.6])
    with plots.style():
        _draw_pictures(plots.merged(axes[0]), record, labels, nets)
        _draw_agreement(axes[1, 0], record, labels)
        _draw_nearness(axes[1, 1], record, labels)
        _draw_odd(axes[2, 0], record, nets)
        _draw_blur(axes[2, 1], record)
    return figure


def _draw_pictures(ax: Axes, record: Record, labels: Mapping[str, str], nets: int) -> None:
    """Draw the first net's picture of every class, how many judges see it under each."""
    judges = nets - 1
    names = [name for name in DRAWN if name in record.numbers["ways"]]
    columns = record.numbers["class_names"]
    rows = []
    words = []
    for name in names:
        share = 100 * of_way(record, "agreement", name).mean()
        label = labels[name].replace(" + ", "\n+ ")
        rows.append(f"{label}\n{share:.0f} %")
        row = record.numbers["ways"].index(name)
        votes = record.arrays["votes"][row, : len(columns)]
        words.append(_counted(votes, judges))
    captioned_grid(ax, record.arrays["pictures"], np.array(words), rows=rows, columns=columns)
    ax.tick_params(axis="x", labelsize=9)
    ax.set_title("One net's pictures of its classes; below: how many other nets see the class")


def _counted(shares: np.ndarray, judges: int) -> list[str]:
    """Return shares of judges as counts, such as 3/4."""
    return [f"{judges * share:.0f}/{judges}" for share in shares]


def _draw_agreement(ax: Axes, record: Record, labels: Mapping[str, str]) -> None:
    """Draw the share of other nets that see the class, a dot a net, with floor and ceiling."""
    found = {}
    for name in record.numbers["ways"]:
        shares = of_way(record, "agreement", name)
        found[labels[name]] = shares, of_way(record, "permuted", name)
    for name, label in DENSE.items():
        shares = of_way(record, "dense/agreement", name, "dense_ways")
        permuted = of_way(record, "dense/permuted", name, "dense_ways")
        found[label] = shares, permuted
    top = 100 * record.arrays["ceiling"].mean()
    color = plots.color_of("test")
    ax.axvline(top, color=color, linewidth=2)
    place = {"color": color, "ha": "right", "va": "center"}
    ax.text(top - 1.5, len(found) - 0.1, "test images", **place)
    for row, (label, (shares, permuted)) in enumerate(found.items()):
        color = plots.color_of(label)
        rows = np.full(len(shares), row)
        dots = {"color": color, "markersize": 5}
        ticks = {"color": CHANCE, "markersize": 8}
        ax.barh(row, 100 * shares.mean(), color=color, alpha=0.35)
        ax.plot(100 * shares, rows, "o", **dots)
        ax.plot(100 * permuted, rows, "|", **ticks)
    ax.set_yticks(range(len(found)), list(found))
    ax.set_ylim(len(found) + 0.4, -0.6)
    ax.set_xlim(0, 102)
    title = "Other nets that see the class\n(gray: the next class, a control)"
    plots.describe(ax, title, "% of pictures, a dot a net", "")
    contested = ("prior", "beats-yosinski", "beats-fourier", "beats-gan", "fourier", "short")
    parts = ("training", "bounds", "discriminator", "transfer", "transfer-costs", "control")
    plots.mark_contradicted(ax, record, *contested, *parts)


def _draw_nearness(ax: Axes, record: Record, labels: Mapping[str, str]) -> None:
    """Draw how far pictures lie from real ones of their class, and how unlike each other."""
    anchors = record.arrays["anchors"]
    floor = anchors[:, 0]
    names = record.numbers["ways"]
    for place, name in enumerate(names):
        distance = of_way(record, "fcd", name) / floor
        unlike = of_way(record, "diversity", name)
        _draw_marks(ax, place, distance, "o", "distance to the class")
        _draw_marks(ax, place, unlike, "s", "distance between pictures")
    small = {"va": "center", "fontsize": 9, "color": CHANCE}
    dashed = {"linewidth": 1, "linestyle": (0, (4, 3)), "color": CHANCE}
    for column, word, side in ((1, "blurred ", "right"), (2, " noise", "left")):
        across = np.median(anchors[:, column] / floor)
        ax.axvline(across, **dashed)
        ax.annotate(word, (across, -0.7), ha=side, **small)
    ax.axvline(1, color=CHANCE, linewidth=1)
    plots.log_axis(ax, "x")
    left, right = ax.get_xlim()
    ax.set_xlim(min(left, 0.2), right)
    told = {"distance to the class": "● ", "distance between pictures": "■ "}
    for row, (meaning, mark) in enumerate(told.items()):
        color = plots.color_of(meaning)
        below = len(names) + 0.1 + 0.7 * row
        ax.text(
            0.02,
            below,
            mark + meaning,
            transform=ax.get_yaxis_transform(),
            color=color,
            va="center",
            fontsize=10,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},  # lines pass below
        )
    ax.set_yticks(range(len(names)), [labels[name] for name in names])
    ax.set_ylim(len(names) + 1.3, -1.0)
    title = "Distance to real images (FCD),\nand between pictures"
    plots.describe(ax, title, "relative to test images", "")
    plots.mark_contradicted(ax, record, "metric", "nearer", "alike", "reverse")


def _draw_marks(ax: Axes, place: int, values: np.ndarray, mark: str, meaning: str) -> None:
    """Draw a mark for each net, and a larger one at their median."""
    color = plots.color_of(meaning)
    places = np.full(len(values), place)
    ax.plot(values, places, mark, color=color, alpha=0.35, markersize=5)
    ax.plot(np.median(values), place, mark, color=color, markersize=8)


def _draw_odd(ax: Axes, record: Record, nets: int) -> None:
    """Draw pictures of odd classes, and how many judges put each into the very class."""
    pictures = record.arrays["odd/pictures"]
    classes = len(pictures) // 2
    shown = min(ODD_SHOWN, classes)
    row = record.numbers["odd_ways"].index("inverter")
    votes = record.arrays["odd/votes"][row]
    judges = nets - 1
    rows = []
    images = []
    words = []
    for kind, name in enumerate(KINDS[1:]):
        some = slice(kind * classes, kind * classes + shown)
        seen, of_others = (
            100 * of_way(record, f"odd/{name}/{score}", "inverter", "odd_ways").mean()
            for score in ("kind", "elsewhere")
        )
        rows.append(f"{name}\n{seen:.0f} %\n(others {of_others:.0f} %)")
        images.append(pictures[some])
        words.append(_counted(votes[some], judges))
    columns = record.numbers["class_names"][:shown]
    captioned_grid(ax, np.stack(images), np.array(words), rows=rows, columns=columns)
    ax.set_title("Classes that the inverter never saw\n(left: seen as the kind; below: class)")
    plots.mark_contradicted(ax, record, "odd-mosaic", "odd-blurred", "odd-least")


def _draw_blur(ax: Axes, record: Record) -> None:
    """Draw test images and what inverters rebuild of them."""
    rows = ["test image"]
    for name, label in (("inverter", "inverter"), ("smooth", "no discrim.")):
        rough = 100 * record.arrays[f"rebuilt/{name}"].mean()
        rows.append(f"{label}\n{rough:.0f} %")
    image_grid(ax, record.arrays["rebuilt"], rows=rows)
    ax.set_title("Rebuilt from features\n(% of the total variation)")
    words = []
    for key, name in NEARNESS.items():
        z = record.arrays[f"near/{key}/z"].mean()
        words.append(f"{name} {z:+.1f}")
    told = ", ".join(words)
    ax.set_xlabel(f"copy test of pictures, z:\n{told}", fontsize=10)
    plots.mark_contradicted(ax, record, "blur", "smooth-short", "no-copies", "held-out")
