"""The panels of mode_collapse."""

from collections.abc import Mapping

import numpy as np

from experiments.generating import _mixtures as mixtures
from jaxvision.report import plots
from jaxvision.report.record import Record
from jaxvision.types import Axes

SHOWN = ("plain", "slow", "slow_unrolled")  # whose samples are drawn
LINES = {  # arm -> the words at its line's end
    "plain": "equal",
    "momentum": "β₁ .9",
    "slow": "slow D",
    "slow_unrolled": "unrolled",
    "closed": "7 places",
}
ENDS = (
    "plain",
    "wide",
    "momentum",
    "momentum_r1",
    "slow",
    "slow_r1",
    "slow_r1_strong",
    "slow_unrolled",
)
EXTENT = 2.7


def _color(name: str) -> str:
    meanings = {
        "plain": "equal rates",
        "wide": "equal rates",
        "momentum": "β₁ = .9",
        "momentum_r1": "β₁ = .9",
        "slow": "slow D",
        "slow_r1": "slow D",
        "slow_r1_strong": "slow D",
        "slow_unrolled": "unrolled",
        "closed": "seven places",
    }
    return plots.color_of(meanings[name])


def draw_samples(
    ax: Axes, record: Record, name: str, label: str, mixture: mixtures.Mixture
) -> None:
    """Draw the samples of the middle seed at the end; where they are good is drawn to scale."""
    from matplotlib.patches import Circle  # only who draws waits for it

    samples = np.float32(record.arrays[f"{name}/samples"])
    ax.plot(
        *mixture.centers.T, "o", markersize=17, markerfacecolor="none", color="#CCCCCC", zorder=1
    )
    for center in mixture.centers:
        good_here = Circle(center, mixtures.GOOD * mixture.deviation, color="#333333", zorder=3)
        ax.add_patch(good_here)
    ax.plot(*samples.T, ".", color=_color(name), markersize=4, alpha=0.5, zorder=2)
    shown = record.arrays[f"{name}/shown"]
    modes = record.arrays[f"{name}/modes"][shown, -1]
    good = record.arrays[f"{name}/good"][shown, -1]
    words = f"{modes:.0f} of 8 modes, {100 * good:.1f} % good"
    ax.grid(visible=False)
    ax.set(xlim=(-EXTENT, EXTENT), ylim=(-EXTENT, EXTENT), aspect="equal", xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    plots.describe(ax, f"{label[0].upper()}{label[1:]}:\n{words}", "", "")


def draw_modes(ax: Axes, record: Record, steps: np.ndarray) -> None:
    """Draw the modes along training."""
    for name, words in LINES.items():
        modes = record.arrays[f"{name}/modes"]
        ax.plot(steps, modes.mean(0), color=_color(name), label=words)
    ax.axhline(7, color="#999999", linewidth=1, linestyle=":")
    ax.set_ylim(-0.3, 8.4)
    plots.describe(ax, "Modes captured\n(mean over seeds)", "training step", "modes of 8")
    plots.mark_contradicted(ax, record, "covers", "eight", "seven", "no-difference")


def draw_good(ax: Axes, record: Record, steps: np.ndarray) -> None:
    """Draw the share of good samples along training."""
    for name in ("plain", "momentum", "slow", "slow_unrolled"):
        good = 100 * record.arrays[f"{name}/good"]
        ax.plot(steps, good.mean(0), color=_color(name), label=LINES[name])
    plots.describe(ax, "Good samples\n(mean over seeds)", "training step", "good samples, %")
    plots.mark_contradicted(ax, record, "covers-badly")


def draw_ends(ax: Axes, record: Record, labels: Mapping[str, str]) -> None:
    """Draw the modes at the end, a dot a seed."""
    for row, name in enumerate(ENDS):
        modes = record.arrays[f"{name}/modes"][:, -1]
        spread = 0.07 * (np.arange(len(modes)) - (len(modes) - 1) / 2)
        ax.plot(modes, row + spread, "o", color=_color(name), markersize=5, alpha=0.8)
        ax.plot([modes.mean()] * 2, [row - 0.38, row + 0.38], color=_color(name), linewidth=2)
    ax.set_yticks(range(len(ENDS)), [labels[name] for name in ENDS])
    ax.invert_yaxis()
    ax.set_xlim(-0.4, 8.4)
    plots.describe(ax, "At the end\n(dots: seeds)", "modes of 8", "")
    plots.mark_contradicted(
        ax,
        record,
        "wide-loses",
        "slow-loses",
        "momentum-loses",
        "r1-slow",
        "r1-beta1",
        "strong-r1",
        "unrolling",
    )
