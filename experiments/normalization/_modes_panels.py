"""The panels of batchnorm_modes's figure. Errors are drawn in percent."""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxvision.report import plots
from jaxvision.report.record import Record
from jaxvision.types import Axes

NetAndWay = tuple[str, str]


def draw_ways(ax: Axes, record: Record, net: str, ways: Mapping[str, str]) -> None:
    """Draw a net's test error by step, answered in each of the ways {name: label}."""
    steps = record.arrays[f"{net}/steps"]
    for way, label in ways.items():
        errors = 100 * record.arrays[f"{net}/{way}"]
        plots.seed_band(ax, steps, errors, plots.color_of(label), label)
    plots.log_axis(ax, "x")
    ax.set_ylim(0, 100)


def draw_sizes(ax: Axes, record: Record, nets: Mapping[int, str], companies: Sequence[int]) -> None:
    """Draw the error at the end by the size of training batches {size: net}, in both modes."""
    sizes = sorted(nets)
    right = [record.arrays[f"{nets[size]}/population"][:, -1] for size in sizes]
    draw = plots.seed_band
    draw(ax, sizes, 100 * np.stack(right, 1), plots.color_of("population"), "population")
    own = [size for size in sizes if size in companies]
    if own:
        errors = [
            record.arrays[f"{nets[size]}/company_mixed"][:, list(companies).index(size)]
            for size in own
        ]
        color = plots.color_of("train mode")
        draw(ax, own, 100 * np.stack(errors, 1), color, "train mode")
    plots.log_axis(ax, "x")
    ax.set_ylim(0, 100)
    plots.describe(ax, "Trained in small batches", "images a training batch", "test error, %")


@plots.style()
def draw_companies(ax: Axes, record: Record, net: str, companies: Sequence[int]) -> None:
    """Draw the error of train mode by how many images answer together, and of the population."""
    labels = {"mixed": ("train mode", "mixed"), "one_class": ("one class", "one class")}
    for kind, (meaning, label) in labels.items():
        errors = 100 * record.arrays[f"{net}/company_{kind}"]
        plots.seed_band(ax, companies, errors, plots.color_of(meaning), label)
    right = 100 * record.arrays[f"{net}/population"][:, -1:]
    right = np.broadcast_to(right, (len(right), len(companies)))
    plots.seed_band(ax, companies, right, plots.color_of("population"), "population")
    plots.log_axis(ax, "x")
    ax.set_ylim(0, 100)
    plots.describe(ax, "Train mode left on to answer", "images that answer together", "error, %")


@plots.style()
def draw_leak(ax: Axes, record: Record, nets: Mapping[str, str]) -> None:
    """Draw what nets {name: its batches} seem to learn, and what they have learned."""
    meanings = {"mixed": "population", "one class": "one class"}
    for net, short in nets.items():
        color = plots.color_of(meanings[short])
        steps = record.arrays[f"{net}/steps"]
        training = 100 * record.arrays[f"{net}/train_error"]
        middles = (np.arange(training.shape[1]) + 0.5) * steps[-1] / training.shape[1]
        line = plots.seed_band(ax, middles, training, color, f"{short}, training")
        line.set_linestyle(":")
        test = 100 * record.arrays[f"{net}/population"]
        plots.seed_band(ax, steps, test, color, f"{short}, test")
    ax.set_ylim(0, 100)
    plots.describe(ax, "Every training batch of one class", "step", "error, %")


@plots.style()
def draw_beside(ax: Axes, record: Record, pairs: Mapping[str, tuple[NetAndWay, NetAndWay]]) -> None:
    """Draw the error of each way by step, and of the right one beside it, dashed."""
    for label, (other, right) in pairs.items():
        color = plots.color_of(label)
        plots.seed_band(ax, *_curve(record, *other), color, label)
        steps, errors = _curve(record, *right)
        ax.plot(steps, np.median(errors, 0), "--", color=plots.color_of("population"))
    plots.log_axis(ax, "x")
    plots.log_axis(ax, "y")
    title = "Biased variance by batch, and statistics\nper 64 (dashed: the right one beside it)"
    plots.describe(ax, title, "step", "test error, %")


def _curve(record: Record, net: str, way: str) -> tuple[np.ndarray, np.ndarray]:
    """Return steps [T], and a way's errors in percent [S, T], none below a tenth."""
    errors = 100 * record.arrays[f"{net}/{way}"]
    return record.arrays[f"{net}/steps"], np.maximum(errors, 0.1)  # for axes of powers of ten
