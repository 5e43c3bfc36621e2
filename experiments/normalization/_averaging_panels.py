"""The panels of the figure of model_averaging."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.normalization._dropout_panels import dots
from jaxvision.report import plots
from jaxvision.report.record import Record
from jaxvision.training import ensembles
from jaxvision.types import Axes

DOTS = "(dots: groups, bar: mean)"


def draw_ensembles(ax: Axes, record: Record, sizes: Sequence[int]) -> None:
    """Draw the error by the number of members, beside the law of independent errors."""
    error = record.arrays["ensemble/error"]
    single = record.arrays["single/error"].mean()
    law = [100 * ensembles.independent_error(single, size) for size in sizes]
    plots.seed_band(ax, sizes, 100 * error, plots.color_of("ensemble"), "together")
    plots.theory_line(ax, sizes, law, "independent")
    ax.set_xscale("log", base=2)
    ax.set_xticks(sizes, labels=[str(size) for size in sizes])
    plots.describe(ax, "How many nets are worth it?", "nets", "test error, %")
    plots.mark_contradicted(ax, record, "errs-less", "few-members", "dependent")


def draw_rivals(ax: Axes, record: Record, members: int) -> None:
    """Draw the error of the ensemble and of single nets, one of them as large, one as long."""
    rows = {
        "one net": 100 * record.arrays["single/error"],
        f"{members} nets": 100 * record.arrays["ensemble/error"][:, -1],
        "one, as many\nweights": 100 * record.arrays["wide/error"],
        "one, as many\nsteps": 100 * record.arrays["long/error"],
    }
    colors = ["one net", "ensemble", "wide net", "long run"]
    _draw_rows(ax, rows, colors)
    title = "At equal cost: is one\nlarger net as good?"
    plots.describe(ax, title, f"test error, %\n{DOTS}", "")
    plots.mark_contradicted(ax, record, "as-many-weights", "as-much-compute")


def draw_losses(ax: Axes, record: Record, members: int) -> None:
    """Draw log losses with a temperature for each, the same rivals."""
    rows = {
        f"{members} nets": record.arrays["ensemble/calibrated_loss"],
        "one, as many\nweights": record.arrays["wide/calibrated_loss"],
        "one, as many\nsteps": record.arrays["long/calibrated_loss"],
        "one, dropout": record.arrays["scaled/calibrated_loss"],
    }
    _draw_rows(ax, rows, ["ensemble", "wide net", "long run", "dropout"])
    title = "How sure to be: log loss, each\nwith a temperature of its own"
    plots.describe(ax, title, f"test loss, nats\n{DOTS}", "")
    plots.mark_contradicted(ax, record, "temperature")


def draw_masks(ax: Axes, record: Record) -> None:
    """Draw the error by the number of masks, beside that of scaled weights."""
    error = 100 * record.arrays["masks/error"]
    counts = 1 + np.arange(error.shape[1])
    plots.seed_band(ax, counts, error, plots.color_of("dropout"), "masks")
    scaled = 100 * np.median(record.arrays["scaled/error"])
    label = "scaled"
    color = plots.color_of("no dropout")
    ax.plot(counts, np.full(len(counts), scaled), color=color, label=label)
    plots.log_axis(ax, "x")
    title = "Dropout: how many masks are\nas good as scaled weights?"
    plots.describe(ax, title, "masks averaged", "test error, %")
    plots.mark_contradicted(ax, record, "fifty-masks", "one-mask", "five-masks")


def draw_averages(ax: Axes, record: Record) -> None:
    """Draw the errors of a run with dropout at constant rate: its last weights and averages."""
    names = {
        "last": "last weights",
        "ema": "moving average",
        "swa": "SWA",
        "snapshots": "ensemble of\nsnapshots",
        "scaled": "rate falls\nto zero",
    }
    rows = {label: 100 * record.arrays[f"{name}/error"] for name, label in names.items()}
    colors = ["one net", "moving average", "SWA", "ensemble", "dropout"]
    _draw_rows(ax, rows, colors)
    title = "A run at constant rate:\nwhat its averages are worth"
    plots.describe(ax, title, f"test error, %\n{DOTS}", "")
    plots.mark_contradicted(ax, record, "swa", "swa-decay", "swa-ensemble", "ema")


def draw_soups(ax: Axes, record: Record, config: Any) -> None:
    """Draw errors of soups, of nets of other starts and of branches, beside their parts'."""
    names = ["own", *(f"shared/{step}" for step in config.shared_steps)]
    labels = ["other\nstarts", *(f"{step}" for step in config.shared_steps)]
    places = np.arange(len(names))
    for kind, color, label in (
        ("soup", "SWA", "weights"),
        ("parts", "one net", "one net"),
        ("ensemble", "ensemble", "together"),
    ):
        error = [100 * record.arrays[f"{name}/{kind}/error"] for name in names]
        plots.seed_band(ax, places, np.stack(error, 1), plots.color_of(color), label)
    ax.set_xticks(places, labels=labels)
    plots.log_axis(ax, "y")
    title = f"{config.n_branches} nets: their weights averaged,\none of them, all of them together"
    plots.describe(ax, title, "steps that the nets share", "test error, %")
    names = ["soup-apart", "soup", "soup-ensemble"]
    if len(config.shared_steps) > 1:
        names += ["soup-early", "late"]
    plots.mark_contradicted(ax, record, *names)


def _draw_rows(ax: Axes, rows: dict[str, np.ndarray], colors: Sequence[str]) -> None:
    dots(ax, list(rows.values()), [plots.color_of(color) for color in colors])
    ax.set_yticks(range(len(rows)), labels=list(rows))
