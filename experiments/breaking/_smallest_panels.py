"""Panels of minimal_perturbation's figure, and what they and the claims read from a record."""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.breaking._smallest import MULTIPLES, half_flipped
from jaxvision.report import plots
from jaxvision.report.image_grid import image_grid
from jaxvision.report.record import Record
from jaxvision.types import Axes

# Where a kind's name stands beside its point, in points, so that neighbors do not meet.
PLACES = {
    "fc100": (8, -16),
    "fc200": (-6, -30),
    "fc10_weak": (8, -2),
    "autoencoder": (8, -2),
}


def off_diagonal(record: Record, what: str) -> np.ndarray:
    """Return the mean error rate [S] over all pairs of two kinds of nets."""
    rates = record.arrays[f"transfer/{what}"]
    apart = ~np.eye(len(rates), dtype=bool)
    return rates[apart].mean(0)


def noise_slope(record: Record, sets: Sequence[str]) -> np.ndarray:
    """Return the slope [S] of log(noise that flips half / distance) on log(pixels)."""
    pixels = np.log([record.numbers["pixels"][name] for name in sets])
    curves = [record.arrays[f"noise/{name}"] for name in sets]
    ratios = np.log([half_flipped(curve) for curve in curves])
    centered = (pixels - pixels.mean())[:, None]
    covariance = (centered * ratios).sum(0)
    return covariance / np.square(centered).sum()


def draw_pictures(ax: Axes, record: Record) -> None:
    """Draw the images, the difference ten times, and what the net takes for one class."""
    if "pictures" not in record.arrays:
        ax.set_axis_off()
        return
    target = record.numbers["target"]
    rows = ("image", "difference\nx 10", f'all are "{target}"\nto the net')
    pictures = np.float32(record.arrays["pictures"])
    image_grid(ax, pictures, rows=rows, high=1.0)
    ax.set_title("Images, the smallest change towards one class, and the sum")
    plots.mark_contradicted(ax, record, "success")


def draw_distortion(
    ax: Axes,
    record: Record,
    labels: Mapping[str, str],
    published: Mapping[str, float],
) -> None:
    """Draw each kind's distortion against its test error, and the paper's where it has one."""
    for name, label in labels.items():
        error = 100 * np.median(record.arrays[f"{name}/test_error"])
        sizes = record.arrays[f"{name}/distortion"]
        middle = np.median(sizes)
        kind = "linear" if name.startswith("fc10_") else "sigmoid"
        color = plots.color_of(kind)
        ax.plot(
            [error, error],
            [sizes.min(), sizes.max()],
            color=color,
            label="_",
        )
        ax.plot([error], [middle], "o", color=color, label="_")
        if name in published:
            _publish(ax, error, middle, published[name], color)
        offset = PLACES.get(name, (8, 4))
        place = {"textcoords": "offset points", "fontsize": 10}
        ax.annotate(label, (error, middle), offset, color=color, **place)
    ax.margins(x=0.3, y=0.2)
    ax.set_ylim(bottom=0)
    title = "How far the nearest mistake is"
    if published:
        title += "\n(star: the paper's value)"
    plots.describe(ax, title, "test error, %", "distortion (rms)")
    ids = ("decay-more", "decay-some", "width", "autoencoder", "robust-is-bad")
    numbers = [f"paper-{name}" for name in labels]
    plots.mark_contradicted(ax, record, *_listed(record, (*ids, *numbers)))


def _publish(ax: Axes, error: float, measured: float, published: float, color: str) -> None:
    """Draw the paper's distortion above or below ours, joined to it."""
    dots = {"color": color, "linestyle": ":", "linewidth": 1.4}
    ax.plot([error, error], [measured, published], label="_", **dots)
    ax.plot([error], [published], "*", color=color, markersize=11, label="_")


def draw_transfer(
    ax: Axes,
    record: Record,
    labels: Mapping[str, str],
) -> None:
    """Draw who errs on whose images, in percent."""
    rates = 100 * np.median(record.arrays["transfer/adversarial"], axis=-1)
    # Darker than the table needs would hide its numbers.
    ax.imshow(rates, cmap="Blues", vmin=0, vmax=160, aspect="auto")
    for (row, column), rate in np.ndenumerate(rates):
        ax.text(
            column,
            row,
            f"{rate:.0f}",
            ha="center",
            va="center",
            fontsize=11,
        )
    names = list(labels.values())
    ax.set_xticks(
        range(len(names)),
        labels=names,
        rotation=45,
        ha="right",
    )
    ax.set_yticks(range(len(names)), labels=names)
    ax.grid(visible=False)
    noise = 100 * np.median(off_diagonal(record, "noise"))
    title = f"Errors on another net's images, %\n(on noise as large: {noise:.1f})"
    plots.describe(ax, title, "judged by", "made for")
    plots.mark_contradicted(ax, record, "transfer")


def draw_halves(ax: Axes, record: Record, longer: float) -> None:
    """Draw how two other nets fare on what was made for a net of one half of the images."""
    if "halves/same" not in record.arrays:
        ax.set_axis_off()
        return
    words = {
        "same": ("same half, other width", "train", -0.2),
        "other": ("other half, same width", "test", 0.2),
    }
    for judge, (label, meaning, shift) in words.items():
        shown = (judge, f"{judge}/longer", f"{judge}/noise")
        rates = [100 * record.arrays[f"halves/{kind}"] for kind in shown]
        middle = [np.median(rate) for rate in rates]
        places = np.arange(3) + shift
        ax.bar(
            places,
            middle,
            0.38,
            color=plots.color_of(meaning),
            label=label,
        )
        for place, rate in zip(places, rates, strict=True):
            ax.plot(
                [place, place],
                [rate.min(), rate.max()],
                color="black",
                label="_",
            )
    ax.set_xticks(range(3), labels=["smallest", f"{longer:g} times\nas long", "noise as\nlong"])
    ax.set_ylim(0, 135)
    ax.set_yticks(range(0, 101, 25))
    ax.legend(loc="upper left", fontsize=10)
    plots.describe(ax, "Made for a net of one half of the images", "perturbation", "errors, %")
    ids = ("same-half", "same-half-longer", "other-half")
    plots.mark_contradicted(ax, record, *_listed(record, ids))


def draw_noise(ax: Axes, record: Record, sets: Sequence[str]) -> None:
    """Draw how many images noise flips, by its norm over the distance and over sqrt(pixels)."""
    drawn = [name for name in sets if f"noise/{name}" in record.arrays]
    for name, color in zip(drawn, plots.shades(len(drawn)), strict=True):
        pixels = record.numbers["pixels"][name]
        flipped = 100 * record.arrays[f"noise/{name}"]
        plots.seed_band(ax, MULTIPLES / np.sqrt(pixels), flipped, color, name)
    plots.log_axis(ax, "x")
    plots.theory_line(ax, ax.get_xlim(), (50, 50), "_half")
    title = "How far noise must go, over\nthe nearest mistake"
    plots.describe(ax, title, "norm / (distance sqrt(pixels))", "images flipped, %")
    plots.mark_contradicted(ax, record, *_listed(record, ("root-law",)))


def _listed(record: Record, ids: Sequence[str]) -> list[str]:
    """Return those of the claims that the record has."""
    known = {claim["id"] for claim in record.claims}
    return [name for name in ids if name in known]
