"""Panels of ``dcgan``, and the few pictures that its record keeps for them."""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.generating import _gan as gan
from experiments.generating import _gan_measures as measures
from experiments.generating._fcd_panels import draw_anchor, draw_curves, name_anchor, step_axis
from jaxvision.report import animation, plots
from jaxvision.report.image_grid import image_grid
from jaxvision.report.record import Record
from jaxvision.types import Axes

COLUMNS = 8  # pictures of a row
WALKS = 4  # interpolations that are kept as pictures
EVERY = 2  # step of them
KERNELS = 8  # of a layer that are shown
JUMPERS = {
    "line": "line",
    "scores": "keeps\nthe prior",
    "slerp": "circle",
    "crossfade": "crossfade",
    "memorizer": "memorizer",
}
LEFT = ("half the classes", "blurred")  # anchors that are named at the left
STEPS_APART = 0.3  # room for a step's name, of the axis
CLOSE = 1.4  # two anchors whose names would touch: one is so many times the other
Z_KINDS = {"generated": "generated", "held_out": "held out", "copies": "noisy copies"}


def shown_between(
    painted: np.ndarray,
    routes: measures.Routes,
    train: np.ndarray,
    memory: measures.Memory,
    nearest: np.ndarray,
) -> dict[str, np.ndarray]:
    """Return pictures of one seed: walks, a memorizer's, and generated images with neighbors."""
    fresh = routes.middles["scores"][:COLUMNS]
    return {
        "walks": painted[routes.paths["line"][:WALKS, ::EVERY]],
        "remembered": train[memory.rows[0, _places(memory.rows.shape[1])]],
        "generated": painted[fresh],
        "nearest": train[nearest[:COLUMNS]],
    }


def weights_of(played: gan.Played) -> dict[str, np.ndarray]:
    """Return kernels of one seed before and after training, [2, KERNELS, k, k, C] of each net.

    The discriminator's first convolution, by output channel, and the generator's last, by input
    channel: those that see pixels.
    """
    layers = sorted(name for name in played.generator["params"] if name.startswith("up"))
    last = played.generator["params"][layers[-1]]["kernel"]
    first = played.discriminator["params"]["conv1"]["kernel"]
    found = {}
    for name, kernel in (("discriminator", first), ("generator", last)):
        ends = kernel[0, [0, -1], ..., :KERNELS]
        found[f"weights/{name}"] = np.moveaxis(ends, -1, 1)
    return found


def draw_samples(ax: Axes, record: Record, labels: Mapping[str, str], looks: Sequence[int]) -> None:
    """Draw what the same codes become along training, and what other arms make in the end."""
    pictures = list(record.arrays["half/samples"])
    rows = [f"step {step:,}" for step in looks]
    for name, label in labels.items():
        samples = record.arrays.get(f"{name}/samples")
        if name != "half" and samples is not None:
            pictures.append(samples[-1])
            rows.append(label)
    image_grid(ax, np.stack(pictures), rows=rows)
    plots.describe(ax, "The same codes along training", "", "")


def draw_distances(
    ax: Axes, record: Record, labels: Mapping[str, str], looks: Sequence[int]
) -> None:
    """Draw FCD along training between its anchors."""
    heights = {name: record.arrays[f"anchor/{name}"].mean() for name in measures.ANCHORS}
    draw_curves(ax, record, labels, looks)
    lower = min(LEFT, key=heights.get)
    for height in heights.values():
        draw_anchor(ax, looks, height)
    for names in _told_apart(heights):
        side = "left" if names[0] in LEFT else "right"
        edge = "top" if names[0] == lower else "bottom"
        name_anchor(ax, looks, heights[names[-1]], ", ".join(names), edge, side)
    plots.log_axis(ax, "y")
    ax.set_ylim(top=2 * max(heights.values()))
    step_axis(ax, looks, STEPS_APART)
    plots.describe(ax, "Distance to real images\n(dashes: anchors)", "step", "FCD")


def _told_apart(heights: Mapping[str, float]) -> list[list[str]]:
    """Return names by label, from below: those at the right that lie too close share one."""
    at_right = sorted((name for name in heights if name not in LEFT), key=heights.get)
    labels = [[name] for name in LEFT]
    for name in at_right:
        if labels[-1][-1] not in LEFT and heights[name] < CLOSE * heights[labels[-1][-1]]:
            labels[-1].append(name)
        else:
            labels.append([name])
    return labels


def draw_between(ax: Axes, record: Record) -> None:
    """Draw a walk between two codes, a memorizer's, and images with their nearest neighbors."""
    walk = record.arrays["walks"][0]
    rows = {
        "between codes": walk[_places(len(walk))],
        "memorizer": record.arrays["remembered"],
        "generated": record.arrays["generated"],
        "nearest real": record.arrays["nearest"],
    }
    image_grid(ax, np.stack(list(rows.values())), rows=list(rows))
    told = [
        f"{label} {', '.join(_tenths(z) for z in record.arrays[f'copying/{kind}'].mean(0))}"
        for kind, label in Z_KINDS.items()
    ]
    words = "\n".join(["z of the copy test (below 0: near)", "by pixels, by features:", *told])
    plots.describe(ax, "A walk, and nearest neighbors", words, "")


def _tenths(value: float) -> str:
    """Return a number with one decimal, zero without a sign."""
    return f"{round(value, 1) + 0.0:.1f}"


def draw_jumps(ax: Axes, record: Record) -> None:
    """Draw the jump of every way between two images, a dot for each seed."""
    for row, name in enumerate(JUMPERS):
        values = record.arrays[f"jump/{name}"]
        color = plots.color_of("memorizer" if name == "memorizer" else "between codes")
        ax.plot(values, np.full(len(values), -row), "o", color=color, alpha=0.6)
        ax.plot(values.mean(), -row, "|", color=color, markersize=22, markeredgewidth=3)
    ax.axvline(1, color="#555555", linewidth=1)
    ax.set_yticks(-np.arange(len(JUMPERS)), labels=list(JUMPERS.values()))
    ax.set_ylim(-len(JUMPERS) + 0.4, 0.6)
    plots.log_axis(ax, "x")
    plots.describe(
        ax, "Largest step over mean step\nbetween two images", "1: steady; 32: one jump", ""
    )


def draw_weights(ax: Axes, record: Record) -> None:
    """Draw the kernels that see pixels, before and after training."""
    names = {"discriminator": "D, first layer", "generator": "G, last layer"}
    rows = []
    pictures = []
    for name, label in names.items():
        kernels = record.arrays[f"weights/{name}"]
        for when, of_time in zip(("start", "end"), kernels, strict=True):
            rows.append(f"{label}, {when}")
            pictures.append(of_time / np.abs(of_time).max())
    grid = np.stack(pictures)
    if grid.shape[-1] not in (1, 3):
        grid = grid.mean(-1, keepdims=True)
    image_grid(ax, grid, rows=rows, low=-1.0, high=1.0)
    plots.describe(ax, "Weights that see pixels", "", "")


def draw_probes(ax: Axes, record: Record, looks: Sequence[int]) -> None:
    """Draw what a linear probe makes of the discriminator's features along training."""
    color = plots.color_of("discriminator")
    plots.seed_band(ax, np.sqrt(looks), 100 * record.arrays["probe"], color, "discriminator")
    height = 100 * float(record.arrays["probe_pixels"])
    plots.theory_line(ax, np.sqrt(looks), np.full(len(looks), height), "pixels")
    step_axis(ax, looks, STEPS_APART)
    title = "Linear probe on D's features\n(step 0: a random D)"
    plots.describe(ax, title, "step", "test accuracy, %")


def animated(record: Record) -> bytes:
    """Return a GIF: what codes become along training, slowly, then walks between codes."""
    along = record.arrays["half/samples"][:, :WALKS]
    walks = record.arrays["walks"].swapaxes(0, 1)
    frames = np.concatenate([along, walks, walks[::-1]])[:, None]
    seconds = [0.7] * len(along) + [0.12] * (2 * len(walks))
    return animation.to_gif(animation.grids(frames), seconds)


def _places(count: int) -> np.ndarray:
    """Return ``COLUMNS`` places of ``count``, both ends among them."""
    return np.rint(np.linspace(0, count - 1, COLUMNS)).astype(int)
