"""Panels of ``moving_shapes``, and its animation."""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.generating._clip_looks import ANCHORS
from experiments.generating._fcd_panels import draw_anchor, draw_curves, name_anchor, step_axis
from jaxvision.report import animation, plots
from jaxvision.report.image_grid import image_grid
from jaxvision.report.record import Record
from jaxvision.types import Axes

_WHITE = 255
_SECONDS = 0.12  # of a frame of the animation
_MOST_COLUMNS = 8  # frames that a strip has room for
_PAUSE = 0.4  # of the last one
_STEPS_APART = 0.2  # room for a step's name, of the axis
_CHANCE = "another clip's mask"
_MOTION = {  # what it is called, and in which unit
    "share": ("pixels that move, %", 100),
    "straightness": ("straightness of their way", 1),
    "flicker": ("flicker where nothing moves, gray levels", 1),
}
_ANCHOR_NAMES = {
    "real": "real",
    "shuffled": "shuffled",
    "frozen": "standing still",
    "blurred": "blurred",
    "noise": "noise",
}
_ERRORS = ("two/sought/error", "one/sought/error")
_BELOW = "blurred"  # the anchor that is named below its line
_SOUGHT = {
    "mask": ("two/sought/mask", "two streams"),
    "mask, by\nchance": ("two/sought/by_chance", _CHANCE),
    "what moves,\ntwo streams": ("two/sought/moving", "two streams"),
    "what moves,\none stream": ("one/sought/moving", "one stream"),
    "what moves,\nreal clips": ("finder/overlap", "real clips"),
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
    count = record.arrays["real/clips"].shape[1]
    names = [*frame_names(count), "behind"]
    pictures = np.stack(list(rows.values()))
    image_grid(ax, pictures, rows=list(rows), columns=names)
    title = "Frames from left to right, and the background behind them"
    plots.describe(ax, title, _motion_told(record), "")


def _motion_told(record: Record) -> str:
    """Return how clips move, in words: means over seeds at the end."""
    lines = []
    for quantity, (words, factor) in _MOTION.items():
        real = factor * record.arrays[f"real/{quantity}"].mean()
        told = [f"real {real:.3g}"]
        for name, label in (("two", "two streams"), ("one", "one stream")):
            if f"{name}/{quantity}" in record.arrays:
                value = factor * record.arrays[f"{name}/{quantity}"][:, -1].mean()
                told.append(f"{label} {value:.3g}")
        lines.append(f"{words}: {', '.join(told)}")
    return "\n".join(lines)


def _gray(masks: np.ndarray) -> np.ndarray:
    """Return masks [..., H, W] as pictures [..., H, W, 3]."""
    return np.repeat(masks[..., None], 3, axis=-1)


def _row(clip: np.ndarray, behind: np.ndarray | None = None) -> np.ndarray:
    """Return a clip's strip and one more picture, white where there is none."""
    frames = strip(clip)
    last = np.full_like(frames[0], _WHITE) if behind is None else behind
    return np.concatenate([frames, last[None]])


def draw_sought(ax: Axes, record: Record) -> None:
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
    title = "Real clips, sought in generators:\noverlap with the true mask"
    errors = [record.arrays[name].mean() for name in _ERRORS if name in record.arrays]
    told = " and ".join(f"{error:.2g}" for error in errors)
    axis = f"intersection over union\n(found clips miss by {told} times\nwhat a still picture does)"
    plots.describe(ax, title, axis, "")


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
    step_axis(ax, looks, _STEPS_APART)
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
    step_axis(ax, looks, _STEPS_APART)
    plots.describe(ax, "How much the mask covers", "step", "mean mask")


def draw_distances(
    ax: Axes, record: Record, labels: Mapping[str, str], looks: Sequence[int]
) -> None:
    """Draw FCD along training between its anchors."""
    draw_curves(ax, record, labels, looks)
    for name in ANCHORS:
        height = record.arrays[f"anchor/{name}"].mean()
        draw_anchor(ax, looks, height)
        edge = "top" if name == _BELOW else "bottom"
        name_anchor(ax, looks, height, _ANCHOR_NAMES[name], edge)
    plots.log_axis(ax, "y")
    ax.set_ylim(top=2 * record.arrays["anchor/noise"].mean())
    step_axis(ax, looks, _STEPS_APART)
    plots.describe(ax, "Distance to real clips\n(dashes: anchors)", "step", "FCD")


def animated(record: Record) -> bytes:
    """Return a GIF: columns real, two streams, its mask, its background, one stream."""
    kinds = [record.arrays["real/clips"]]
    if "two/clips" in record.arrays:
        clips = record.arrays["two/clips"]
        masks = _gray(record.arrays["two/masks"])
        behind = record.arrays["two/backgrounds"][:, None]
        still = np.broadcast_to(behind, clips.shape)
        kinds += [clips, masks, still]
    if "one/clips" in record.arrays:
        kinds.append(record.arrays["one/clips"])
    beside = np.stack(kinds, axis=1)  # [N, kinds, T, H, W, C]
    frames = np.moveaxis(beside, 2, 0)
    seconds = [_SECONDS] * (len(frames) - 1) + [_PAUSE]
    return animation.to_gif(animation.grids(frames), seconds)
