"""The panels of camouflage, and the pictures that its record keeps."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from experiments.breaking import _patch_rates as rates
from experiments.breaking import _patching as patching
from experiments.breaking._patch_rates import ANYWHERE, OFF
from jaxvision import runtime
from jaxvision.adversarial.patch import paste
from jaxvision.data.warps import Pose
from jaxvision.report import plots
from jaxvision.report.image_grid import image_grid
from jaxvision.report.record import Record
from jaxvision.types import Array, Axes

LABELS = {
    "patch": "patch",
    "one_place": "one place",
    "object": "real object",
    "noise": "noise",
    "gray": "gray",
}
BESIDE = ("gray", "object", "patch")  # in the pictures
EXAMPLES = 3  # scenes
GAP = 5  # pixels between pictures, for the word below each


def examples(
    made: patching.Made,
    seen: patching.Seen,
    given: patching.Given,
    patches: Mapping[str, slice],
    patterns: Mapping[str, slice],
    at: int,
) -> dict[str, np.ndarray]:
    """Return pictures of the first net: the first scenes it gets right with room beside the object.

    Whether it is led away or not: "pictures" [n, 4, H, W, C], the scene and ``BESIDE``, and with
    masks a fifth, that wears its pattern; "answers" [n, 4 or 5]; "wanted" [n] classes, "patches"
    [n, P, P, C].
    """
    right = (seen.clean[0] == given.labels) & given.room[-1, at]
    some = np.flatnonzero(right)[:EXAMPLES]
    if not len(some):  # nets that get nothing right, in smoke tests
        some = np.arange(min(EXAMPLES, len(given.labels)))
    classes, crops = given.crops.shape[:2]
    wanted = (given.labels[some] + 1 + np.arange(len(some))) % classes
    own = made.patches[0, 0, wanted]
    shown = [np.full_like(own, patching.GRAY), given.crops[wanted, 0], own]
    pose = Pose(*(leaf[-1, at][some] for leaf in given.poses))
    pasted = runtime.jit_once(_pasted)(given.scenes[some], np.stack(shown), pose)
    places = {
        "gray": np.full(len(some), patches["gray"].start),
        "object": patches["object"].start + wanted * crops,
        "patch": patches["patch"].start + wanted,
    }
    pictures = [given.scenes[some], *np.asarray(pasted)]
    told = [seen.clean[0, some]]
    told += [seen.patched[0, -1, at, places[name], some] for name in BESIDE]
    if given.masks is not None:
        pattern = made.patterns[0, given.labels[some]]
        pictures.append(np.where(given.masks[some][..., None] > 0, pattern, given.scenes[some]))
        told.append(seen.worn[0, patterns["pattern"].start, some])
    return {
        "pictures": np.stack(pictures, axis=1),
        "answers": np.stack(told, axis=1),
        "wanted": wanted,
        "patches": own,
    }


def _pasted(
    scenes: Array,
    patches: Array,
    pose: Pose,
) -> Array:
    """Return scenes [n, H, W, C] under each of patches [V, n, P, P, C]."""
    return jax.lax.map(lambda each: paste(scenes, each, pose), patches)


def draw_scenes(ax: Axes, record: Record, at: int) -> None:
    """Draw scenes with what lies beside their object, and what one net sees in each.

    A few scenes, led away or not: how often all scenes are is written above the columns.
    """
    names = record.numbers["class_names"]
    pictures, answers = record.arrays["pictures"], record.arrays["answers"]
    wanted = record.arrays["wanted"]
    alone = _enlarged(record.arrays["patches"], pictures.shape[2:4])
    words = {"gray": "with\ngray", "object": "with real\nobject", "patch": "with\npatch"}
    columns = ["scene"]
    for name in BESIDE:
        share = rates.led(record, "own", name)[:, -1, at].mean()  # at the places of the pictures
        columns.append(f"{words[name]}\n{100 * share:.0f} % led")
    columns += ["wearing\na pattern"] * (pictures.shape[1] - len(columns))
    columns.append("the\npatch")
    rows = [f"wanted:\n{names[each]}" for each in wanted]
    shown = np.concatenate([pictures, alone[:, None]], axis=1)
    image_grid(ax, shown, rows=rows, columns=columns, high=1.0, gap=GAP)
    bottom, top = ax.get_ylim()
    ax.set_ylim(bottom + GAP, top)  # room for a word below each picture of the last row too
    height, width = pictures.shape[2:4]
    for (row, column), answer in np.ndenumerate(answers):
        is_led = answer == wanted[row]
        ax.text(
            column * (width + GAP) + (width - 1) / 2,
            row * (height + GAP) + height - 0.5 + GAP / 2,
            names[answer],
            ha="center",
            va="center",
            fontsize=10.5,
            color=plots.color_of("patch") if is_led else "black",
            fontweight="bold" if is_led else "normal",
        )
    title = (
        "What one net sees, written below each scene\n"
        "(% led: of scenes like these, to the wanted class; mean over nets)"
    )
    plots.describe(ax, title, "", "")


def _enlarged(patches: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return patches [n, P, P, C] at the size of the scenes, pixels as squares."""
    side = patches.shape[1]
    rows = np.arange(size[0]) * side // size[0]
    columns = np.arange(size[1]) * side // size[1]
    return patches[:, rows][:, :, columns]


def draw_led(
    ax: Axes,
    record: Record,
    config: Any,
    place: int,
) -> None:
    """Draw how often pictures lead to a class, by area, at one kind of places."""
    names = list(LABELS) if place == ANYWHERE else ["patch", "object", "noise", "gray"]
    _by_area(ax, config, {name: rates.led(record, "own", name)[:, place] for name in names})
    where = ("Anywhere:", "Off the object:")[place]
    plots.describe(
        ax,
        f"{where}\nled to the wanted class",
        _named_area(record, place),
        "share of scenes",
    )
    shown = (
        ("beats-controls", "beats-object", "grows", "most", "one-place"),
        ("off-object", "overlap"),
    )
    plots.mark_contradicted(ax, record, *shown[place])


def draw_kept(
    ax: Axes,
    record: Record,
    config: Any,
) -> None:
    """Draw the right answers that are left beside patches, which cover nothing of the object."""
    names = ("gray", "object", "noise", "patch")
    _by_area(ax, config, {name: rates.kept(record, "own", name)[:, OFF] for name in names})
    plots.describe(
        ax,
        "Off the object:\nstill answered right",
        _named_area(record, OFF),
        "share of scenes",
    )
    plots.mark_contradicted(ax, record, "led-away", "costs")


def _named_area(record: Record, place: int) -> str:
    """Return the name of the axis, with the scenes that have room where not all have it."""
    most, least = 100 * record.arrays["room"][place][[0, -1]]
    if least == 100:
        return "area of the patch"
    return f"area of the patch; {most:.0f} to\n{least:.0f} % of scenes have room for it"


def _by_area(ax: Axes, config: Any, found: Mapping[str, np.ndarray]) -> None:
    """Draw what was found of every kind of picture, [S, areas], by the area that it covers."""
    for name, values in found.items():
        label = LABELS[name]
        plots.seed_band(ax, config.areas, values, plots.color_of(label), label)
    if len(config.areas) > 1:
        ax.set_xscale("log")
    ax.set_xticks(config.areas, [f"{area:.0%}" for area in config.areas])
    ax.set_xticks([], minor=True)
    ax.set_ylim(-0.02, 1.02)


def draw_handed(
    ax: Axes,
    record: Record,
    config: Any,
    at: int,
) -> None:
    """Draw what patches and patterns do to nets that they were not made for, a dot a seed."""
    told = _handed(record, config, at)
    for offset, (label, rows) in zip((-0.15, 0.15), told.items(), strict=False):
        color = plots.color_of(label)
        for place, values in enumerate(rows.values()):
            height = np.full(len(values), place + offset)
            ax.plot(
                values,
                height,
                "o",
                color=color,
                alpha=0.5,
                markersize=6,
                label="_dots",
            )
            middle = np.median(values)
            ax.plot(
                middle,
                place + offset,
                "|",
                color=color,
                markersize=16,
                label="_median",
            )
        ax.plot([], [], "o", color=color, label=label)
    names = list(told["patch"])
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.set_xlim(-0.03, 1.03)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    title = "Shown to other nets: led by\na patch, or away by a pattern"
    plots.describe(ax, title, "share of scenes (a dot: a seed)", "")
    shown = ("sibling", "other-kind", "own", "dazzle", "dazzle-sibling", "dazzle-other")
    plots.mark_contradicted(ax, record, *shown)


def _handed(
    record: Record,
    config: Any,
    at: int,
) -> dict[str, dict[str, np.ndarray]]:
    """Return by picture and by who looks, rates [S]."""

    def led(net: str, name: str) -> np.ndarray:
        return rates.led(record, net, name)[:, ANYWHERE, at]

    patch = {"its own net": led("own", "patch"), "next seed's net": led("own", "sibling")}
    patch["best control"] = rates.best_control(record, "own")[:, ANYWHERE, at]
    told = {"patch": patch}
    if record.numbers["has_masks"]:
        worn = {
            "its own net": rates.worn(record, "own", "pattern"),
            "next seed's net": rates.worn(record, "own", "sibling"),
            "best control": rates.best_worn(record, "own"),
        }
        told["pattern"] = worn
    if config.other != "none":
        patch["another kind"] = led("other", "patch")
        patch["best control\nfor that kind"] = rates.best_control(record, "other")[:, ANYWHERE, at]
    if config.other != "none" and "pattern" in told:
        worn["another kind"] = rates.worn(record, "other", "pattern")
        worn["best control\nfor that kind"] = rates.best_worn(record, "other")
    return told
