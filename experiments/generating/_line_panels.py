"""The panels of gan_objective."""

import numpy as np
import scipy

from experiments.generating import _line as line
from jaxvision.report import plots
from jaxvision.report.record import Record
from jaxvision.types import Axes

SHOWN = 2.0  # the distance whose discriminators are drawn


def draw_answers(ax: Axes, record: Record, trained: tuple[float, ...]) -> None:
    """Draw what discriminators answer, over the two densities."""
    x = line.GRID
    inside = (x > -3.5) & (x < 5.5)
    for center, words, at in ((0.0, "data", -0.9), (SHOWN, "generated", 3.2)):
        color = plots.color_of(words)
        density = scipy.stats.norm.pdf(x, center)
        ax.fill_between(
            x[inside],
            0,
            density[inside],
            color=color,
            alpha=0.25,
            linewidth=0,
        )
        ax.text(at, 0.43, words, color=color, ha="center", fontweight="bold")
    logits = record.arrays["fresh/logits"][:, trained.index(SHOWN)]
    color = plots.color_of("discriminator")
    for each in logits:
        ax.plot(
            x[inside],
            scipy.special.expit(each)[inside],
            color=color,
            linewidth=1.2,
            alpha=0.6,
        )
    best = scipy.special.expit(line.best_logit(x, SHOWN))
    plots.theory_line(ax, x[inside], best[inside], "_best")
    ax.text(1.1, 0.9, "D(x), trained", color=color, fontweight="bold")
    ax.text(1.1, 0.7, "dashes:\np / (p + q)")
    ax.set(ylim=(0, 1.05), xlim=(-3.5, 5.5))
    plots.describe(ax, "The best answer is p / (p + q)", "x", "called real")
    plots.mark_contradicted(ax, record, "optimal")


def draw_values(ax: Axes, record: Record, trained: tuple[float, ...]) -> None:
    """Draw the value by distance."""
    fine = np.linspace(0, 8, 81)
    values = [-np.log(4) + 2 * line.jensen_shannon(distance) for distance in fine]
    plots.theory_line(ax, fine, values, "_value")
    color = plots.color_of("discriminator")
    for each in record.arrays["fresh/value"]:
        ax.plot(trained, each, "o", color=color, markersize=7, alpha=0.6)
    ax.text(3.3, -0.5, "dots: trained", color=color, fontweight="bold")
    ax.text(3.3, -0.7, "dashes:\n−log 4 + 2 JSD", va="top")
    plots.describe(ax, "Its value measures\nhow far p and q are apart", "distance d", "value, nats")
    plots.mark_contradicted(ax, record, "value", "divergence")


def draw_gradients(ax: Axes, record: Record, distances: np.ndarray) -> None:
    """Draw both gradients by distance, on a logarithmic axis."""
    apart = distances > 0
    for name, words in (("saturating", "saturating"), ("non_saturating", "non-saturating")):
        found = record.arrays[f"gradient/{name}"]
        ax.plot(
            distances[apart],
            found[apart],
            "o-",
            color=plots.color_of(words),
            label=words,
        )
    fine = np.linspace(3, 8, 51)
    plots.theory_line(
        ax,
        fine,
        np.sqrt(np.pi / 2) * np.exp(-(fine**2) / 8),
        "_law",
    )
    plots.log_axis(ax, "y")
    ax.text(0.7, 1e-3, "dashes:\n√(π/2) exp(−d²/8)", ha="left")
    plots.describe(
        ax, "Far apart, one gradient dies\nand the other lives", "distance d", "gradient by d"
    )
    plots.mark_contradicted(ax, record, "saturating", "non-saturating", "sum", "dies", "lives")


def draw_overfitted(ax: Axes, record: Record, steps: int, points: int) -> None:
    """Draw what the overfitted discriminator reports, and what is true."""
    own, true = record.arrays["again/own"], record.arrays["again/true"]
    at = np.arange(own.shape[1]) * (steps // line.LOOKS)
    plots.seed_band(ax, at, own, plots.color_of("own points"), "its own\npoints")
    plots.seed_band(ax, at, true, plots.color_of("all points"), "other points")
    ax.set_ylim(-10.5, 0.8)
    ax.axhline(
        -np.log(4),
        color="#333333",
        linestyle=(0, (4, 3)),
        linewidth=1.4,
    )
    ax.text(
        at[-1],
        -np.log(4),
        "−log 4: no distance ",
        ha="right",
        va="bottom",
        fontsize=10.5,
    )
    plots.describe(
        ax,
        f"p = q, the same {points} points again:\nthe value lies",
        "training step",
        "value, nats",
    )
    plots.mark_contradicted(ax, record, "chance", "overfitted", "overfitted-fresh")
