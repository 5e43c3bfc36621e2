"""Panels of one_pixel's figure, and what they and the claims read from a record."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from experiments.breaking._pixel_searches import rate, share_inside, share_of
from jaxvision.report import plots
from jaxvision.report.image_grid import image_grid
from jaxvision.report.record import Record
from jaxvision.types import Axes

MOST_IMAGES = 6


class Labeled(Protocol):
    """An attack as the table has it."""

    label: str
    pixels: tuple[int, ...]


def family_rates(record: Record) -> np.ndarray:
    """Return how many of the images that a net gets right one pixel fools, [S, W]."""
    success = np.moveaxis(record.arrays["family/success"], 1, 0)
    right = np.moveaxis(record.arrays["family/right"], 1, 0)
    pairs = zip(success, right, strict=True)
    return np.stack([rate(*pair) for pair in pairs], 1)


def attack_rate(
    record: Record,
    attacks: Mapping[str, Labeled],
    name: str,
    pixels: int = 1,
    kind: str = "success",
) -> np.ndarray:
    """Return the rate [S] of an attack on gray images."""
    place = attacks[name].pixels.index(pixels)
    success = record.arrays[f"{name}/{kind}"]
    return rate(success[:, place], record.arrays[f"{name}/right"])


def chance_rate(record: Record) -> np.ndarray:
    """Return how many of the gray images that a net gets right a random pixel fools, [S]."""
    right = record.arrays["family/right"][:, -1]
    share = np.where(right, record.arrays["random/share"], 0.0)
    return share_of(share.sum(1), right.sum(1))


def draw_images(ax: Axes, record: Record, names: Sequence[str]) -> None:
    """Draw images of the first net that one pixel fools, before and after, with the answers."""
    arrays = record.arrays
    fooled = arrays["color/success"][0] & arrays["color/right"][0]
    rows = np.flatnonzero(fooled)[:MOST_IMAGES]
    if not len(rows):
        ax.set_axis_off()
        return
    shown = [arrays[f"color/{kind}"][rows] for kind in ("images", "attacked")]
    labels, predictions = arrays["color/labels"], arrays["color/predictions"]
    columns = [f"{names[labels[row]]}\n→ {names[predictions[row]]}" for row in rows]
    kinds = ["image", "one pixel\nchanged"]
    image_grid(ax, np.stack(shown), rows=kinds, columns=columns, gap=3)
    ax.set_title("What the net says before and after (every pixel was tried)")


def draw_searches(
    ax: Axes,
    record: Record,
    attacks: Mapping[str, Labeled],
) -> None:
    """Draw the rate of each one-pixel attack on gray images, a dot a net."""
    largest = 0.0
    for place, (name, attack) in enumerate(attacks.items()):
        rates = _known(100 * attack_rate(record, attacks, name))
        _dots(ax, rates, place, plots.color_of(attack.label))
        passes = record.arrays[f"{name}/forwards"][:, 0].mean()
        ax.annotate(
            f"{passes:,.0f} passes",
            (rates.max(initial=0), place),
            (8, 0),
            textcoords="offset points",
            va="center",
            fontsize=10,
        )
        largest = rates.max(initial=largest)
    _dots(
        ax,
        _known(100 * chance_rate(record)),
        len(attacks),
        plots.color_of("random pixel"),
    )
    labels = [attack.label.replace(", ", ",\n") for attack in attacks.values()]
    ax.set_yticks(range(len(attacks) + 1), [*labels, "random pixel"])
    ax.set_xlim(-2, 1.7 * largest + 2)
    ax.set_ylim(len(attacks) + 0.6, -0.6)
    plots.describe(ax, "Gray images:\nwho finds the pixel", "images fooled, %", "")
    plots.mark_contradicted(ax, record, "fools", "evolution", "short", "corners", "chance")


def draw_pixels(
    ax: Axes,
    record: Record,
    attacks: Mapping[str, Labeled],
) -> None:
    """Draw the rate by number of pixels, of evolution and of pixels tried one after another."""
    for name, attack in attacks.items():
        if len(attack.pixels) > 1:
            measured = record.arrays[f"{name}/success"].shape[1]
            numbers = attack.pixels[:measured]
            by_number = [attack_rate(record, attacks, name, number) for number in numbers]
            rates = 100 * np.stack(by_number, 1)
            # A word is enough beside a line: the panel to the left has them whole.
            label = attack.label.partition(",")[0].replace(" tried", "")
            plots.seed_band(ax, numbers, rates, plots.color_of(attack.label), label)
            ax.set_xticks(numbers)
    ax.set_ylim(0, 104)
    plots.describe(ax, "Gray images: more pixels", "pixels changed at most", "images fooled, %")
    plots.mark_contradicted(ax, record, "three", "five", "greedy")


def draw_family(ax: Axes, record: Record, widths: Sequence[int]) -> None:
    """Draw each net of the family: its test accuracy, and how often one pixel fools it."""
    accuracy = 100 * (1 - record.arrays["family/test_error"])
    rates = 100 * family_rates(record)
    colors = plots.shades(len(widths))
    for i, width in enumerate(widths):
        look = {"color": colors[i], "markersize": 7}
        ax.plot(
            accuracy[:, i],
            rates[:, i],
            "o",
            label=f"{width} units",
            **look,
        )
    # Words alone: dots of a legend would lie among those of the nets.
    ax.legend(markerscale=0, handlelength=0, handletextpad=0, labelcolor="linecolor")
    plots.describe(ax, "Gray images:\nnets of five widths", "test accuracy, %", "images fooled, %")
    plots.mark_contradicted(ax, record, "accuracy")


def draw_places(ax: Axes, record: Record) -> None:
    """Draw how often a pixel is enough, on the object and beside it, a line a net."""
    arrays = record.arrays
    place = arrays["color/vulnerable"], arrays["color/right"]
    masks = arrays["color/masks"]
    regions = {"object": masks, "background": ~masks}
    shares = [100 * share_inside(*place, region) for region in regions.values()]
    color = plots.color_of("everything tried")
    for line in np.stack(shares, 1):
        ax.plot(range(len(regions)), line, "o-", color=color)
    ax.set_xticks(range(len(regions)), regions)
    ax.set_xlim(-0.4, len(regions) - 0.6)
    ax.set_ylim(0, None)
    title = "Color images: which pixels\nare enough (a line a net)"
    plots.describe(ax, title, "place of the pixel", "of all pixels there, %")
    plots.mark_contradicted(ax, record, "object", "fools-color")


def draw_colors(ax: Axes, record: Record, published: float | None) -> None:
    """Draw each net of color images: its test accuracy, and how often one pixel fools it.

    Where nobody knows which pixels are the object's. ``published`` is the paper's rate, dashed.
    """
    arrays = record.arrays
    accuracy = 100 * (1 - arrays["color/test_error"])
    rates = 100 * rate(arrays["color/success"], arrays["color/right"])
    ax.plot(accuracy, rates, "o", color=plots.color_of("everything tried"), markersize=7)
    title = "Color images: how many\none pixel fools (a dot a net)"
    if published is not None:
        plots.theory_line(ax, ax.get_xlim(), (100 * published, 100 * published), "_published")
        title = f"Color images (a dot a net;\ndashed: the paper's {100 * published:.2f} %)"
    ax.set_ylim(0, None)
    plots.describe(ax, title, "test accuracy, %", "images fooled, %")
    plots.mark_contradicted(ax, record, "fools-color", "two-thirds")


def _dots(
    ax: Axes,
    values: np.ndarray,
    place: float,
    color: str,
) -> None:
    places = np.full(len(values), place)
    ax.plot(values, places, "o", color=color, alpha=0.6, markersize=8)
    middle = np.median(values) if len(values) else np.nan
    bar = place - 0.25, place + 0.25
    ax.plot([middle, middle], bar, color=color, linewidth=3)


def _known(rates: np.ndarray) -> np.ndarray:
    """Return the rates of nets that get an image right."""
    return rates[np.isfinite(rates)]
