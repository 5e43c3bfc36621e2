"""The panels of features_along_training."""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxvision.report import plots
from jaxvision.report.image_grid import captioned_grid
from jaxvision.report.record import Record
from jaxvision.types import Axes

PURITY = {"purity": "units", "axes_purity": "random directions"}
SHORT = {"units": "units", "random directions": "directions"}  # as far as it fits beside a panel


def draw_units(
    ax: Axes,
    record: Record,
    layers: Sequence[str],
    steps: Sequence[int],
) -> None:
    """Draw what one net's units and classes look like along training, a number under each."""
    images = record.arrays["preferred"]
    filters = record.arrays["filters"][:1]
    pictures = record.arrays["class_pictures"]
    drawn = _as_pictures(filters, images.shape[2])
    columns = np.concatenate([drawn, images, pictures])
    judges = len(record.arrays["picture_agreement"]) - 1
    words = [
        *_words(_cosines(filters), "{:.2f}"),
        *_words(8 * record.arrays["preferred_kept"], "{:.0f}/8"),
        *_words(judges * record.arrays["class_picture_agreement"], f"{{:.0f}}/{judges}"),
    ]
    names = record.numbers["class_names"]
    shown = [names[0], names[len(names) // 2]]
    units = [f"{layer}{unit}" for layer in layers for unit in "ab"]
    captioned_grid(
        ax,
        columns.swapaxes(0, 1),
        np.array(words).T,
        rows=_steps(steps),
        columns=["filter", *units, *shown],
    )
    title = "One net: a filter (its cosine with the last), images that units like best (how many\n"
    title += "of the last eight they like already), class pictures (other nets that see the class)"
    ax.set_title(title)


def draw_likeness(
    ax: Axes,
    record: Record,
    layers: Sequence[str],
) -> None:
    """Draw how much units of each layer answer as they will in the end, He without batch norm."""
    steps = 1 + record.arrays["looks"]
    alike = record.arrays["he/alike"]
    for layer, color in enumerate(plots.shades(len(layers))):
        name = layers[layer].replace("conv", "layer ")
        plots.seed_band(ax, steps, alike[:, :, layer], color, name)
    ax.axhline(0.9, color="#777777", linewidth=1)
    plots.log_axis(ax, "x")
    ax.set_ylim(None, 1.02)
    title = "He: how far units answer\nas they will in the end"
    plots.describe(ax, title, "1 + training step", "rank correlation")
    plots.mark_contradicted(ax, record, "lower-first-he", "kept")


def draw_settling(
    ax: Axes,
    record: Record,
    labels: Mapping[str, str],
) -> None:
    """Draw when units settle by layer for every kind of net, and He's layers' spaces."""
    for name, label in labels.items():
        times = 100 * record.arrays[f"{name}/settled"]
        layers = 1 + np.arange(times.shape[1])
        line = plots.seed_band(ax, layers, times, plots.color_of(label), label)
        line.set_marker("o")
    space = 100 * record.arrays["he/space_settled"].mean(0)
    plots.theory_line(ax, layers, space, "_space")
    ax.set_xticks(layers)
    ax.set_ylim(0, 100)
    title = "When units settle, by layer\n(dashes: He's spaces, CKA)"
    plots.describe(ax, title, "convolution", "% of training")
    slopes = tuple(f"lower-first-{name}" for name in labels)
    plots.mark_contradicted(ax, record, *slopes, "bn-sooner", "he-sooner", "units-after-space")


def draw_purity(ax: Axes, record: Record) -> None:
    """Draw how often preferred images are of one class, by layer at the start and in the end."""
    for what, label in PURITY.items():
        found = record.arrays[f"he/{what}"]
        layers = 1 + np.arange(found.shape[-1])
        color = plots.color_of(label)
        line = plots.seed_band(ax, layers, found[:, -1], color, SHORT[label])
        line.set_marker("o")
        start = np.median(found[:, 0], axis=0)
        ax.plot(layers, start, ":", color=color, label=f"_{what}")
    ax.set_xticks(layers)
    ax.set_ylim(0, 1)
    title = "He: images that units or random\ndirections like best, of one class"
    plots.describe(ax, title, "convolution (dotted: at the start)", "share of the commonest")
    pairs = [f"directions-{kind}-{layer}" for kind in ("he", "he-bn") for layer in (3, 5)]
    purer = [f"units-purer-{kind}" for kind in ("he", "he-bn")]
    plots.mark_contradicted(ax, record, *pairs, *purer, "purer")


def draw_pictures(ax: Axes, record: Record, steps: Sequence[int]) -> None:
    """Draw how many of the other nets see the class in pictures made along training."""
    seen = 100 * record.arrays["picture_agreement"]
    color = plots.color_of("Fourier + jitter")
    places = 1 + np.array(steps)
    line = plots.seed_band(ax, places, seen, color, "_agreement")
    line.set_marker("o")
    chance = 100 / len(record.numbers["class_names"])
    ax.axhline(chance, color="#777777", linewidth=1)
    plots.log_axis(ax, "x")
    ax.set_ylim(0, 100)
    title = "Class pictures made on the way:\nothers see the class (line: chance)"
    plots.describe(ax, title, "1 + training step", "% of pictures")
    plots.mark_contradicted(ax, record, "pictures")


def _steps(steps: Sequence[int]) -> list[str]:
    *early, last = steps
    return [f"step {step:,}" for step in early] + [f"end ({last:,})"]


def _words(
    numbers: np.ndarray,
    form: str,
) -> list[list[str]]:
    return [[form.format(value) for value in row] for row in numbers]


def _cosines(filters: np.ndarray) -> np.ndarray:
    """Return each filter's cosine with its last self, filters [F, T, ...] -> [F, T]."""
    flat = filters.reshape(*filters.shape[:2], -1)
    lengths = np.linalg.norm(flat, axis=-1)
    products = (flat * flat[:, -1:]).sum(-1)
    return products / (lengths * lengths[:, -1:])


def _as_pictures(filters: np.ndarray, size: int) -> np.ndarray:
    """Return filters [F, T, h, w, C] as gray-centered pictures uint8 [F, T, size, size, C]."""
    largest = np.abs(filters).max((-3, -2, -1), keepdims=True)
    values = 127.5 + 127.5 * filters / np.where(largest > 0, largest, 1)
    rows = np.arange(size) * filters.shape[-3] // size
    columns = np.arange(size) * filters.shape[-2] // size
    large = values[:, :, rows][:, :, :, columns]
    return np.rint(large).astype(np.uint8)
