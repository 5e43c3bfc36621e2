"""Panels of backward_rules: the maps, random nets, lost layers, scores, and the way there."""

from collections.abc import Mapping

import numpy as np

from experiments.seeing import _nets
from experiments.seeing._rule_parts import PLAIN, SHOWN
from experiments.seeing._rules import Method
from jaxvision.report import plots
from jaxvision.report.image_grid import captioned_grid
from jaxvision.report.record import Record
from jaxvision.types import Axes

FLOORS = {"random": "random map", "center": "center", "edges": "edge detector"}
_FLOOR_COLOR = "#777777"


def draw_pictures(ax: Axes, record: Record, table: Mapping[str, Method]) -> None:
    """Draw images and each rule's map of them, of the first net and of one without its weights.

    Under each map stands how its values correlate with the image's.
    """
    images = record.arrays["pictures/images"]
    twice = np.concatenate([images, images])
    rows, words = [twice], [[""] * len(twice)]
    for name in PLAIN:
        trained, drawn_anew = record.arrays[f"pictures/{name}"]
        maps = np.concatenate([trained, drawn_anew])
        rows.append(maps)
        words.append([_correlation(*pair) for pair in zip(maps, twice, strict=True)])
    names = ["image", *(table[name].label for name in PLAIN)]
    gap = captioned_grid(ax, np.stack(rows), np.array(words), rows=names)
    side = images.shape[2] + gap
    for column, label in ((0, "a trained net"), (SHOWN, "all its layers drawn anew")):
        ax.text(column * side, -3, label, va="bottom", fontsize=11)
    title = (
        "Which pixels raise the class: what comes back to them (gray: nothing);\n"
        "below: correlation with the image"
    )
    ax.set_title(title, pad=22)


def _correlation(one: np.ndarray, other: np.ndarray) -> str:
    """Return the correlation of two pictures' values; a picture of one color has none."""
    if not (np.ptp(one) and np.ptp(other)):
        return "none"
    found = np.corrcoef(one.ravel(), other.ravel())[0, 1]
    return f"{round(found, 2) + 0.0:.2f}"  # no minus before zero


def draw_recovery(
    ax: Axes, record: Record, table: Mapping[str, Method], filters: tuple[int, ...]
) -> None:
    """Draw how a random net's map correlates with its input, by filters."""
    for name in PLAIN:
        color = plots.color_of(table[name].label)
        plots.seed_band(ax, filters, record.arrays[f"random/conv/{name}"], color, table[name].label)
    pooled = record.arrays["random/pool/deconvnet"]
    color = plots.color_of(table["deconvnet"].label)
    line = plots.seed_band(ax, filters, pooled, color, "with max pool")
    line.set_linestyle("--")
    ax.set_xscale("log")
    ax.set_xticks(filters, [str(count) for count in filters])
    ax.set_xticks([], minor=True)
    ax.set_ylim(-0.08, 1)
    title = "A random convolution: how much of\nits input does the map return?"
    plots.describe(ax, title, "filters", "correlation with the input")
    found = ("nie-guided", "nie-gradient", "nie-deconvnet", "nie-pool", "nie-more", "nie-classes")
    plots.mark_contradicted(ax, record, *found)


def draw_cascade(ax: Axes, record: Record, table: Mapping[str, Method]) -> None:
    """Draw the ranks that are left as layers are drawn anew from the top."""
    anew = np.arange(len(_nets.LAYERS) + 1)
    for name in PLAIN:
        color = plots.color_of(table[name].label)
        unsigned = record.arrays[f"cascade/unsigned/{name}"]
        plots.seed_band(ax, anew, unsigned, color, table[name].label)
    signed = record.arrays["cascade/signed/gradient"]
    color = plots.color_of(table["gradient"].label)
    line = plots.seed_band(ax, anew, signed, color, "signed gradient")
    line.set_linestyle("--")
    ax.set_xticks(anew)
    ax.set_ylim(-0.08, 1.02)
    title = "Layers drawn anew from the top:\nwhat is left of |map|"
    plots.describe(ax, title, "layers drawn anew", "rank correlation")
    found = ("cascade-guided", "cascade-upper", "cascade-all", "cascade-signed", "cascade-sign")
    plots.mark_contradicted(ax, record, *found)


def draw_scores(ax: Axes, record: Record, table: Mapping[str, Method]) -> None:
    """Draw the share of each map that lies on the object, over the object's share."""
    labels = {name: method.label for name, method in table.items()}
    labels |= {"occlusion": "occlusion"} | FLOORS
    sizes = [size for size in ("large", "small") if f"{size}/guided" in record.arrays]
    for place, (name, label) in enumerate(reversed(labels.items())):
        color = _FLOOR_COLOR if name in FLOORS else plots.color_of(label)
        for size in sizes:
            found = record.arrays[f"{size}/{name}"][:, 0]
            marker = "o" if size == "large" else "D"
            filled = color if size == "large" else "white"
            ax.plot(found.mean(), place, marker, color=color, markerfacecolor=filled, markersize=9)
            ax.plot([found.min(), found.max()], [place, place], color=color, linewidth=1.5)
    ax.set_yticks(range(len(labels)), list(labels.values())[::-1])
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.6, len(labels) - 0.4))
    title = "Is the strongest pixel on the object?"
    if "small" in sizes:
        title += "\n(disks: large ones, diamonds: small)"
    plots.describe(ax, title, "share of images", "")
    found = ("center-large", "center-small", "deconvnet-center", "pointing-guided")
    plots.mark_contradicted(ax, record, *found)


def draw_along(ax: Axes, record: Record, table: Mapping[str, Method]) -> None:
    """Draw the share of each map on the object along training, with the floors."""
    looks = record.numbers["looks"]
    places = np.arange(len(looks))
    for name in PLAIN:
        color = plots.color_of(table[name].label)
        plots.seed_band(ax, places, record.arrays[f"along/{name}"], color, table[name].label)
    for name, label in FLOORS.items():
        floor = float(record.arrays[f"large/{name}"][:, 2].mean())
        heights = np.full(len(looks), floor)
        ax.plot(places, heights, color=_FLOOR_COLOR, linewidth=1, label=label)
    ax.set_xticks(places[::2], [f"{step:,}" for step in looks[::2]])
    title = "Along training: how much of the map\nlies on the object"
    plots.describe(ax, title, "step", "share of positive values")
    found = ("mass-guided", "mass-deconvnet", "softmax", "flat", "late", "occlusion-mass")
    plots.mark_contradicted(ax, record, *found, "edges-gradient", "edges-guided")


def draw_agreement(ax: Axes, record: Record, table: Mapping[str, Method]) -> None:
    """Draw how far each map agrees with occlusion's, where no masks say what is object."""
    labels = {name: method.label for name, method in table.items()} | FLOORS
    for place, (name, label) in enumerate(reversed(labels.items())):
        color = _FLOOR_COLOR if name in FLOORS else plots.color_of(label)
        found = record.arrays[f"large/agreement/{name}"]
        ax.plot([found.min(), found.max()], [place, place], color=color, linewidth=1.5)
        ax.plot(found.mean(), place, "o", color=color, markersize=9)
    ax.axvline(0, color=_FLOOR_COLOR, linewidth=1)
    ax.set_yticks(range(len(labels)), list(labels.values())[::-1])
    ax.set_ylim(-0.6, len(labels) - 0.4)
    plots.describe(ax, "Does the map agree with occlusion?", "rank correlation", "")
    plots.mark_contradicted(ax, record, "agreement")


def draw_accuracy(ax: Axes, record: Record) -> None:
    """Draw how often nets are right along training."""
    looks = record.numbers["looks"]
    places = np.arange(len(looks))
    found = 100 * record.arrays["along/accuracy"]
    plots.seed_band(ax, places, found, "#444444", "nets")
    ax.set_xticks(places[::2], [f"{step:,}" for step in looks[::2]])
    ax.set_ylim(0, 100)
    plots.describe(ax, "Along training: right answers", "step", "images, %")
