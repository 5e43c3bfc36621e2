"""Panels of the figure of optimizers_and_rates."""

from collections.abc import Sequence

import numpy as np

from experiments.normalization._rate_statistics import Reader, rate_per_image
from experiments.normalization._rates import TARGETS, Arm, grid_of, longest_run, sizes_of
from jaxvision.report import plots
from jaxvision.report.record import Record
from jaxvision.types import Axes

STARTS = {"he": "He", "xavier": "Xavier"}
PROPORTION = {"early": "_in proportion", "late": "in proportion"}  # one label for both lines
LOWEST = 1.5  # percent, of the axes of errors: a net that errs less is no better to see


def draw_curves(ax: Axes, record: Record, read: Reader, arms: Sequence[str]) -> None:
    """Draw the test error of arms by learning rate."""
    for name in arms:
        arm = read.arms[name]
        rates = grid_of(read.config, arm)
        color = plots.color_of(arm.label)
        plots.quartile_band(ax, rates, percent(record.arrays[f"{name}/error"]), color, arm.label)
    plots.log_axis(ax, "x")
    _error_axis(ax)
    plots.mark_contradicted(ax, record, "muon-error")
    plots.describe(ax, "Too small is slow, too large diverges", "learning rate", "test error, %")


def draw_ranges(ax: Axes, record: Record, read: Reader) -> None:
    """Draw the usable rates of each arm as a bar, from the smallest to the largest."""
    names = shown_arms(read)
    for row, name in enumerate(names):
        lowest, largest = (10 ** middle(edge) for edge in read.usable_range(record, name))
        color = plots.color_of(read.arms[name].label)
        ax.plot([lowest, largest], [row, row], color=color, linewidth=7, label=f"_{name}")
        decades = f"{np.log10(largest / lowest):.1f}"
        look = {"color": color, "va": "center", "fontsize": 9.5}
        ax.annotate(decades, (largest, row), (8, 0), textcoords="offset points", **look)
    _arm_rows(ax, [read.arms[name] for name in names])
    plots.log_axis(ax, "x")
    tried = [rate for name in names for rate in grid_of(read.config, read.arms[name])]
    ax.set_xlim(min(tried) / 1_000_000, max(tried) * 3)  # room for the words and the last number
    ticks = (0.001, 1.0)
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.tick_params(axis="x", which="minor", length=0)
    warmed = [f"warm-up-{name}" for name, arm in read.arms.items() if arm.warm]
    claims = ["adam-wider", "start-moves-sgd", "adam-steadier", "momentum-tenfold", *warmed]
    plots.mark_contradicted(ax, record, *claims)
    margin = 100 * read.config.usable_margin
    title = f"Usable rates, in decades: error\nwithin {margin:g} points of the best"
    plots.describe(ax, title, "learning rate", "")


def draw_losses(ax: Axes, record: Record, read: Reader) -> None:
    """Draw each seed's training loss at the best rate of each arm."""
    names = shown_arms(read)
    losses = [np.exp(read.log_loss(name)(record)) for name in names]
    for row, (name, loss) in enumerate(zip(names, losses, strict=True)):
        color = plots.color_of(read.arms[name].label)
        rows = np.full(len(loss), row)
        ax.plot(loss, rows, "o", color=color, alpha=0.4, markersize=5, label=f"_{name}")
        look = {"markersize": 15, "markeredgewidth": 3}
        ax.plot(np.median(loss), row, "|", color=color, label=f"_{name}", **look)
    _arm_rows(ax, [read.arms[name] for name in names])
    plots.log_axis(ax, "x")
    _make_room(ax, np.array(losses))
    plots.mark_contradicted(ax, record, "muon-adam", "muon-momentum")
    title = f"Loss at the best rate after\n{read.config.steps} steps (dots: seeds)"
    plots.describe(ax, title, "training loss, nats", "")


def _make_room(ax: Axes, values: np.ndarray) -> None:
    """Leave the left half of a log axis to the words of its rows, without ticks there."""
    known = values[np.isfinite(values)]
    if not known.size:
        return
    least, most = known.min(), 1.1 * known.max()
    ax.set_xlim(least, most)
    ticks = [tick for tick in ax.get_xticks() if least <= tick <= most]
    ax.set_xlim(least * (least / most) ** 1.3, most)
    ends = ticks[:1] + ticks[1:][-1:]  # more would meet in half of a panel
    ax.set_xticks(ends, [f"{tick:g}" for tick in ends])
    ax.tick_params(axis="x", which="minor", length=0)


def draw_batches(ax: Axes, record: Record, read: Reader) -> None:
    """Draw the test error of each batch size by the rate over the batch size."""
    sizes = sizes_of(read.config)
    for size, color in zip(sizes, plots.shades(len(sizes)), strict=True):
        error = percent(record.arrays[f"batch_{size}/error"])
        plots.quartile_band(ax, rate_per_image(read.config, size), error, color, f"batch {size}")
    best = record.numbers["batches"][str(sizes[0])]["best"]
    scaled = rate_per_image(read.config, sizes[0])[best]
    ax.axvline(scaled, color="#888888", linewidth=1.2, linestyle=(0, (1, 2)), label="_scaled")
    plots.log_axis(ax, "x")
    _error_axis(ax)
    title = "Momentum: one curve, were linear\nscaling exact (dotted: the rate scaled)"
    plots.describe(ax, title, "learning rate / batch size", "test error, %")


def draw_scaling(ax: Axes, record: Record, read: Reader) -> None:
    """Draw the test error by batch size: at the rate scaled up, with a warm-up, at its own rate."""
    sizes = sizes_of(read.config)
    lines = {
        "scaled up": read.scaled_error,
        "with warm-up": read.warm_error,
        "own best rate": read.own_error,
    }
    for label, statistic in lines.items():
        values = np.stack([statistic(size)(record) for size in sizes], axis=1)
        plots.quartile_band(ax, sizes, percent(values), plots.color_of(label), label)
    _size_axis(ax, sizes)
    _error_axis(ax)
    claims = [f"linear-{size}" for size in sizes[1:-1]]
    claims += [f"limit-{sizes[-1]}", *(f"warm-up-{size}" for size in sizes[1:][-2:])]
    plots.mark_contradicted(ax, record, *claims)
    title = f"Errors of larger batches, all\nafter {read.config.n_images:,} images"
    plots.describe(ax, title, "batch size", "test error, %")


def draw_steps(ax: Axes, record: Record, read: Reader) -> None:
    """Draw the steps to both targets by batch size, each at its quickest rate."""
    sizes = sizes_of(read.config)
    few = False
    for target, color in zip(TARGETS, plots.shades(2), strict=True):
        steps = np.stack([read.steps(size, target)(record) for size in sizes], axis=1)
        level = 100 * getattr(read.config, f"target_error_{target}")
        few |= _draw_reached(ax, np.array(sizes), steps, color, f"to {level:g} %")
        proportion = middle(steps[:, 0]) * sizes[0] / np.array(sizes)
        plots.theory_line(ax, sizes, proportion, PROPORTION[target])
    _size_axis(ax, sizes)
    plots.log_axis(ax, "y")
    ax.set_ylim(1, 2 * longest_run(read.config))
    plots.mark_contradicted(ax, record, "perfect-scaling", "diminishing", "noise-grows")
    fewer = {"diminishing": "Larger batches need fewer steps,\nbut not in proportion"}
    title = plots.headline(record, fewer, otherwise="Steps that larger batches need")
    title += "\n(dots: under half of the seeds get there)" if few else ""
    plots.describe(ax, title, "batch size", "steps to the test error")


@plots.style()
def _draw_reached(ax: Axes, sizes: np.ndarray, steps: np.ndarray, color: str, label: str) -> bool:
    """Draw steps [S, sizes] as a line while half of the seeds get there, as dots beyond.

    A median over the few quickest seeds would look like one over all. Returns whether there is
    anything beyond.
    """
    found = np.isfinite(steps)
    enough = found.mean(axis=0) >= 0.5
    end = len(sizes) if enough.all() else int(np.argmin(enough))
    if end:
        plots.seed_band(ax, sizes[:end], steps[:, :end], color, label)
    else:
        ax.plot([], [], color=color, label=f"{label}: too few seeds")
    beyond = np.broadcast_to(sizes, steps.shape)[:, end:]
    ax.plot(beyond.ravel(), steps[:, end:].ravel(), "o", color=color, markersize=5, label="_few")
    return bool(found[:, end:].any())


def middle(values: np.ndarray) -> float:
    """Return the median of the values that are known; NaN where none is."""
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else float("nan")


def percent(error: np.ndarray) -> np.ndarray:
    """Return errors in percent; a run that has diverged errs on all images."""
    return np.maximum(100 * np.nan_to_num(error, nan=1.0), LOWEST)


def _error_axis(ax: Axes) -> None:
    plots.log_axis(ax, "y")
    ax.set_ylim(LOWEST, 500)  # room for the labels of lines that end at 100
    ticks = (2, 5, 10, 20, 50, 100)
    ax.set_yticks(ticks, [str(tick) for tick in ticks])
    ax.tick_params(axis="y", which="minor", length=0)


def _size_axis(ax: Axes, sizes: Sequence[int]) -> None:
    plots.log_axis(ax, "x")
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.minorticks_off()


@plots.style()
def _arm_rows(ax: Axes, arms: Sequence[Arm]) -> None:
    """Make a panel of rows, the first on top, an arm in words at the left of each."""
    for row, arm in enumerate(arms):
        look = {"color": plots.color_of(arm.label), "va": "center", "fontsize": 9.5}
        ax.annotate(words_of(arm), (0.01, row), xycoords=("axes fraction", "data"), **look)
    ax.set_yticks([])
    ax.set_ylim(len(arms) - 0.5, -0.5)


def shown_arms(read: Reader) -> list[str]:
    """Return the arms that have a row: all but those with other draws of the weights."""
    return [name for name, arm in read.arms.items() if not arm.replicate]


def words_of(arm: Arm) -> str:
    """Return an arm in words: its optimizer, and its start or its warm-up."""
    return f"{arm.label}, {'warm-up' if arm.warm else STARTS[arm.weights]}"
