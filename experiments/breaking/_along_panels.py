"""The panels of robustness_in_training."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.breaking._along_families import families_of, sizes_of
from experiments.breaking._along_nets import Kind
from experiments.breaking._along_pairs import late_steps
from experiments.breaking._along_sides import STILL
from jaxvision.report import plots
from jaxvision.report.record import Record
from jaxvision.types import Axes

LEARNED = 0.1  # error up to which a net's distance is shown
HALF = 0.5  # and up to which it is fooled by what another step made
COLORS = {
    "he": "He",
    "xavier": "Xavier",
    "decay": "weight decay",
    "bn": "batch norm",
    "small": "small start",
    "he_again": "other draws",
}
SIZE_CLAIMS = (
    *("width-helps", "depth-hurts", "depth-helps", "depth-trained"),
    *("same-width-he", "same-depth-he", "same-depth-xavier"),
    *("still-widest-he", "still-deepest-he", "still-deepest-xavier"),
    *("closer-widest-he", "closer-deepest-he", "closer-deepest-xavier"),
    *("farther-widest-he", "farther-deepest-he", "farther-deepest-xavier"),
)


def learned_by(record: Record, config: Any, arm: str, most: float) -> np.ndarray:
    """Return which nets of an arm, at which snapshots, have learned, bool [S, T].

    They err at most so often, or are at the reference or past it: from there on they are compared,
    however hard the images are.
    """
    compared = np.array(config.snapshots) >= config.reference
    return (record.arrays[f"{arm}/error"] <= most) | compared


def shown_distances(record: Record, config: Any, arm: str) -> np.ndarray:
    """Return an arm's distances [S, T], NaN where the net has not learned."""
    learned = learned_by(record, config, arm, LEARNED)
    return np.where(learned, record.arrays[f"{arm}/distance"], np.nan)


def draw_distances(ax: Axes, record: Record, config: Any, arms: Mapping[str, Kind]) -> None:
    """Draw every arm's distance, of what it was at the reference, from when it has learned."""
    steps = np.array(config.snapshots)
    place = config.snapshots.index(config.reference)
    low, high = 2**-STILL, 2**STILL
    ax.axhspan(low, high, color="#E4E4E4", linewidth=0)
    names = [name for name in config.arms if not arms[name].others]
    for name in names:
        distances = shown_distances(record, config, name)
        relative = distances / record.arrays[f"{name}/distance"][:, place, None]
        learned = np.isfinite(distances).all(0) & (steps > 0)
        color = plots.color_of(COLORS[name])
        label = arms[name].label
        plots.seed_band(ax, steps[learned], relative[:, learned], color, label)
    ax.axvline(config.reference, color="#999999", linewidth=1)
    plots.log_axis(ax, "x")
    ax.set_ylim(min(ax.get_ylim()[0], 0.88), max(ax.get_ylim()[1], 1.12))
    corner = {"transform": ax.transAxes, "ha": "right", "color": "#555555"}
    ax.text(0.99, 0.93, "farther: Lyu & Li", va="top", **corner)
    ax.text(0.99, 0.04, "closer: Mickisch", va="bottom", **corner)
    title = (
        f"Distance to the nearest mistake, times that at step {config.reference:,}\n"
        "(one set of test images for all arms; gray: still)"
    )
    plots.describe(ax, title, "training step", "relative distance")
    sides = [f"{side}-{name}" for name in names for side in ("closer", "farther")]
    plots.mark_contradicted(ax, record, *sides)


def draw_friends(ax: Axes, record: Record, config: Any, arms: Mapping[str, Kind]) -> None:
    """Draw each arm's way from the reference to the end: gradient and distance."""
    late = late_steps(config)
    for name in config.arms:
        if arms[name].others:
            continue
        slope = np.median(record.arrays[f"{name}/loss_slope"][:, late], 0)
        distance = np.median(record.arrays[f"{name}/distance"][:, late], 0)
        color = plots.color_of(COLORS[name])
        ax.plot(slope, distance, color=color, label=f"_{name}")
        ax.plot(slope[:1], distance[:1], "o", color=color, markersize=5, label="_start")
        ax.annotate(
            "",
            (slope[-1], distance[-1]),
            (slope[-2], distance[-2]),
            arrowprops={"arrowstyle": "-|>", "color": color, "mutation_scale": 16},
        )
        ax.annotate(
            arms[name].label,
            (slope[-1], distance[-1]),
            (7, 0),
            textcoords="offset points",
            va="center",
            color=color,
            fontsize=10,
        )
    plots.log_axis(ax, "x")
    low, high = ax.get_xlim()
    ax.set_xlim(high, low / 4)  # the names of arms stand right of their end
    title = (
        "Is the loss's gradient a friend?\n"
        f"From step {config.reference:,} (dot) to the last (arrow)"
    )
    plots.describe(ax, title, "L1 norm of the loss's gradient, falling", "L2 distance")
    ends = ("xavier-farther", "decay-farther", "small-closer", "bn-dense")
    plots.mark_contradicted(ax, record, "friend", "false-friend", "gradient-falls", *ends)


def draw_crossed(ax: Axes, record: Record, config: Any) -> None:
    """Draw what the perturbation of step s does to the net of step t, He."""
    learned = learned_by(record, config, "he", HALF).all(0)
    places = np.flatnonzero(learned)
    rates = np.median(record.arrays["he/crossed"], axis=0)[np.ix_(places, places)]
    ax.imshow(rates, vmin=0, vmax=1, cmap="Blues")
    for (row, column), rate in np.ndenumerate(rates):
        color = "white" if rate > 0.55 else "black"
        text = f"{100 * rate:.0f}"
        ax.text(column, row, text, ha="center", va="center", color=color, fontsize=9)
    steps = [f"{config.snapshots[place]:,}" for place in places]
    ax.set_xticks(range(len(steps)), steps, rotation=35, ha="right")
    ax.set_yticks(range(len(steps)), steps)
    ax.grid(visible=False)
    title = "One change for all images, He:\nfooled by what another step made, %"
    plots.describe(ax, title, "net of step", "made at step")
    plots.mark_contradicted(ax, record, "universal-early", "universal-late", "universal-own")


def draw_sizes(ax: Axes, record: Record, config: Any) -> None:
    """Draw the distance by depth and by width, early and late in training.

    Relative to the smallest net of each family at the end: what lies lower early moves away.
    """
    looks = {"depth_he": "He", "depth_xavier": "Xavier", "width": "wider"}
    labels = {"depth_he": "deeper, He", "depth_xavier": "deeper, Xavier", "width": "wider, He"}
    families = families_of(config)
    shown = [name for name in looks if name in families]
    for name in shown:
        sizes = sizes_of(families[name])
        distance = record.arrays[f"{name}/along"]
        relative = distance / distance[:, :1, -1:]
        times = sizes / sizes[0]
        color = plots.color_of(looks[name])
        late = plots.seed_band(ax, times, relative[..., -1], color, labels[name])
        late.set_linewidth(3)
        early = np.nanmedian(relative[..., 0], axis=0)
        ax.plot(times, early, color=color, linewidth=1, label=f"_{name}")
    if shown:
        plots.log_axis(ax, "x")
        ax.axhline(1, color="#999999", linewidth=1)
    steps = f"(thin: step {config.reference:,}, thick: {config.size_steps:,})"
    title = f"Distance of larger nets\n{steps}"
    plots.describe(ax, title, "times as deep or wide", "distance / smallest, late")
    plots.mark_contradicted(ax, record, *SIZE_CLAIMS)


def draw_conv(ax: Axes, record: Record, config: Any) -> None:
    """Draw the share of images that stand PGD, by size, with and without batch norm."""
    if config.channels:
        sizes = 255 * np.array((0, *config.epsilons))
        for net, meaning in (("conv", "conv net"), ("conv_bn", "batch norm")):
            stands = record.arrays[f"{net}/stands"]
            clean = np.ones((len(stands), 1))
            rates = np.concatenate([clean, stands], 1)
            label = {"conv": "without", "conv_bn": "batch norm"}[net]
            plots.seed_band(ax, sizes, rates, plots.color_of(meaning), label)
        ax.set_ylim(min(0.8, ax.get_ylim()[0]), 1.02)
    title = "Conv nets under PGD, images\nthat both have right"
    plots.describe(ax, title, "largest change of a pixel, of 255", "share that stands")
    plots.mark_contradicted(ax, record, "bn-cost", "bn-cost-large", "bn-conv")
