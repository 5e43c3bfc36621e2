"""Panels of ``moving_shapes``, and its animation."""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.generating._clip_looks import ANCHORS
from jaxvision.report import animation, plots
from jaxvision.report.image_grid import image_grid
from jaxvision.report.record import Record
from jaxvision.types import Axes

_WHITE = 255
_SECONDS = 0.12  # of a frame of the animation
_MOST_COLUMNS = 8  # frames that a strip has room for
_PAUSE = 0.4  # of the last one
_CHANCE = "another clip's mask"
_ANCHOR_NAMES = {
    "real": "real",
    "shuffled": "shuffled",
    "frozen": "standing still",
    "blurred": "blurred",
    "noise": "noise",
}
_SOUGHT = {
    "mask, two streams": ("two/sought/mask", "two streams"),
    "another's truth": ("two/sought/by_chance", _CHANCE),
    "motion, two streams": ("two/sought/moving", "two streams"),
    "motion, one stream": ("one/sought/moving", "one stream"),
    "motion, real clips": ("finder/overlap", "real clips"),
}


def strip(clip: np.ndarray) -> np.ndarray:
    """Return the frames of a clip [T, ...] that a strip shows, in their order."""
    return clip[shown_frames(len(clip))]


def shown_frames(count: int) -> np.ndarray:
    """Return which of a clip's frames a strip shows, first and last among them."""
    places = np.linspace(0, count - 1, min(count, _MOST_COLUMNS))
    return np.rint(places).astype(int)


def frame_names(count: int) -> list[str]:
    """Return what stands above the frames of a strip: 1, 2, ..., by number, not by spelling."""
    return [str(1 + frame) for frame in shown_frames(count)]


def draw_clips(ax: Axes, record: Record) -> None:
    """Draw a real clip with its mask, two of two streams with theirs, and one of one stream."""
    rows = {
        "real": _row(record.arrays["real/clips"][0]),
        "true mask": _row(_gray(_WHITE * record.arrays["real/masks"][0])),
    }
    if "two/clips" in record.arrays:
        for number in range(2):
            letter = "AB"[number]
            behind = record.arrays["two/backgrounds"][number]
            rows[f"two streams {letter}"] = _row(record.arrays["two/clips"][number], behind)
            rows[f"its mask {letter}"] = _row(_gray(record.arrays["two/masks"][number]))
    if "one/clips" in record.arrays:
        rows["one stream"] = _row(record.arrays["one/clips"][0])
    names = [*frame_names(len(record.arrays["real/clips"][0])), "behind"]
    image_grid(ax, np.stack(list(rows.values())), rows=list(rows), columns=names)
    ax.set_title("Frames from left to right; at the end the background")


def _gray(masks: np.ndarray) -> np.ndarray:
    """Return masks [T, H, W] as pictures [T, H, W, 3]."""
    return np.repeat(masks[..., None], 3, axis=-1)


def _row(clip: np.ndarray, behind: np.ndarray | None = None) -> np.ndarray:
    """Return a clip's strip and one more picture, white where there is none."""
    frames = strip(clip)
    last = np.full_like(frames[0], _WHITE) if behind is None else behind
    return np.concatenate([frames, last[None]])


def draw_ends(ax: Axes, record: Record) -> None:
    """Draw what real clips sought in the generators say, a dot for each seed."""
    there = {label: row for label, row in _SOUGHT.items() if row[0] in record.arrays}
    for height, (name, meaning) in enumerate(there.values()):
        values = record.arrays[name]
        color = plots.color_of(meaning)
        ax.plot(values, np.full(len(values), -height), "o", color=color, alpha=0.6)
        ax.plot(values.mean(), -height, "|", color=color, markersize=22, markeredgewidth=3)
    ax.set_yticks(-np.arange(len(there)), labels=list(there))
    ax.set_ylim(-len(there) + 0.4, 0.6)
    ax.set_xlim(0, 1)
    title = "Real clips, sought in the generator:\noverlap with the true mask"
    plots.describe(ax, title, "intersection over union", "")


def draw_overlaps(ax: Axes, record: Record, looks: Sequence[int]) -> None:
    """Draw how masks overlap what moves in their own clips, along training."""
    places = np.sqrt(looks)
    drawn = {"its own mask": ("two/overlap", "two streams"), _CHANCE: ("two/by_chance", _CHANCE)}
    for label, (name, meaning) in drawn.items():
        if name in record.arrays:
            values = record.arrays[name]
            plots.seed_band(ax, places, values, plots.color_of(meaning), label)
    ceiling = float(record.arrays["finder/overlap"].mean())
    plots.theory_line(ax, places, np.full(len(looks), ceiling), "true masks,\nreal clips")
    ax.set_ylim(0, 1)
    _step_axis(ax, looks)
    title = "Two streams: what moves in a sample\nagainst masks"
    plots.describe(ax, title, "step", "intersection over union")


def draw_covered(ax: Axes, record: Record, labels: Mapping[str, str], looks: Sequence[int]) -> None:
    """Draw how much the masks cover along training, with the penalty and without."""
    places = np.sqrt(looks)
    for name in ("two", "free"):
        if f"{name}/covered" in record.arrays:
            values = record.arrays[f"{name}/covered"]
            label = "penalty .1" if name == "two" else labels[name]
            plots.seed_band(ax, places, values, plots.color_of(labels[name]), label)
    truth = float(record.arrays["real/covered"].mean())
    plots.theory_line(ax, places, np.full(len(looks), truth), "objects")
    ax.set_ylim(0, 1)
    _step_axis(ax, looks)
    plots.describe(ax, "How much the mask covers", "step", "mean mask")


def draw_distances(
    ax: Axes, record: Record, labels: Mapping[str, str], looks: Sequence[int]
) -> None:
    """Draw FCD along training between its anchors."""
    places = np.sqrt(looks)
    for name, label in labels.items():
        if f"{name}/fcd" in record.arrays:
            values = record.arrays[f"{name}/fcd"]
            plots.seed_band(ax, places, values, plots.color_of(label), label)
    for name in ANCHORS:
        height = record.arrays[f"anchor/{name}"].mean()
        plots.theory_line(ax, places, np.full(len(looks), height), "_anchor")
        ax.annotate(
            _ANCHOR_NAMES[name],
            (0, height),
            (0, 2),
            textcoords="offset points",
            ha="left",
            va="bottom",
            fontsize=9.5,
        )
    plots.log_axis(ax, "y")
    ax.set_ylim(top=2 * record.arrays["anchor/noise"].mean())
    _step_axis(ax, looks)
    plots.describe(ax, "Distance to real clips\n(dashes: anchors)", "step", "FCD")


def draw_motion(ax: Axes, record: Record, labels: Mapping[str, str]) -> None:
    """Draw how clips move at the end against real ones, a dot for each seed."""
    quantities = {
        "share": "pixels that move",
        "speed": "speed",
        "straightness": "straightness",
        "flicker": "flicker elsewhere",
    }
    for height, quantity in enumerate(quantities):
        real = record.arrays[f"real/{quantity}"]
        for shift, (name, label) in enumerate(labels.items()):
            if f"{name}/{quantity}" not in record.arrays:
                continue
            ratio = record.arrays[f"{name}/{quantity}"][:, -1] / real
            place = -height + 0.22 - 0.22 * shift
            color = plots.color_of(label)
            ax.plot(ratio, np.full(len(ratio), place), "o", color=color, alpha=0.7, markersize=5)
    ax.axvline(1, color="#555555", linewidth=1)
    ax.set_yticks(-np.arange(len(quantities)), labels=list(quantities.values()))
    ax.set_ylim(-len(quantities) + 0.4, 0.6)
    plots.log_axis(ax, "x")
    title = "How samples move, over real clips\n(colors as on the left)"
    plots.describe(ax, title, "1: as real clips", "")


def animated(record: Record) -> bytes:
    """Return a GIF: columns real, two streams, its mask, its background, one stream."""
    kinds = [record.arrays["real/clips"]]
    if "two/clips" in record.arrays:
        clips = record.arrays["two/clips"]
        masks = np.stack([_gray(mask) for mask in record.arrays["two/masks"]])
        behind = record.arrays["two/backgrounds"]
        kinds += [clips, masks, np.repeat(behind[:, None], clips.shape[1], axis=1)]
    if "one/clips" in record.arrays:
        kinds.append(record.arrays["one/clips"])
    frames = np.stack(kinds, axis=1).transpose(2, 0, 1, 3, 4, 5)
    seconds = [_SECONDS] * (len(frames) - 1) + [_PAUSE]
    return animation.to_gif(animation.grids(frames), seconds)


def _step_axis(ax: Axes, looks: Sequence[int]) -> None:
    """Name those steps of a square-root axis that have room, the last one above all."""
    shown = [looks[-1]]
    for step in reversed(looks):
        apart = np.sqrt(shown[-1]) - np.sqrt(step)
        if apart > 0.2 * np.sqrt(looks[-1]):
            shown.append(step)
    ax.set_xticks(np.sqrt(shown), labels=[f"{step:,}" for step in shown])
