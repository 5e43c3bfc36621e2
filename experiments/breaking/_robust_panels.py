"""Panels of robust_3d's figure, its turntable, and what they and the claims read from a record."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np

from experiments.breaking import _worlds as worlds
from experiments.breaking._nets import Nets, logits_of_all
from experiments.breaking._robust import ENOUGH, KINDS, Judged, Made
from jaxvision.adversarial.threat import LEVELS
from jaxvision.data import solids
from jaxvision.report import plots
from jaxvision.report.animation import captioned, to_gif
from jaxvision.report.image_grid import image_grid
from jaxvision.report.record import Record
from jaxvision.types import Axes

FRAMES = 16  # of a turn; the figure shows every second one
_SECONDS = 0.25
# What is shown to a net: its name in the figure, its color.
SHOWN = {
    "clean": ("as it is", "clean images"),
    "noise": ("noise", "noise"),
    "rival": ("of the target's class", "target class"),
    "one_pose": ("PGD, one pose", "PGD"),
    "eot": ("EOT", "EOT"),
}


def rate(record: Record, kind: str, shown: str, quantity: str = "target") -> np.ndarray:
    """Return the share of poses in which a net sees target or class ("right"), [S, B]."""
    return record.arrays[f"{kind}/{quantity}"][:, KINDS.index(shown)]


def diagonal_lead(matrix: np.ndarray) -> np.ndarray:
    """Return by how much the diagonal of [S, V, V] is above the rest, means, [S]."""
    on_diagonal = np.eye(matrix.shape[1], dtype=bool)
    return matrix[:, on_diagonal].mean(1) - matrix[:, ~on_diagonal].mean(1)


def worst_below_mean(record: Record) -> np.ndarray:
    """Return by how much a net's worst solid is below the mean of its solids, EOT's, [S]."""
    rates = rate(record, "solid", "eot")
    return rates.mean(1) - rates.min(1)


def skew(record: Record) -> np.ndarray:
    """Return median minus mean of EOT's rates on solids, [S]: above 0 where the tail is low."""
    rates = rate(record, "solid", "eot")
    return np.median(rates, 1) - rates.mean(1)


def turned(nets: Nets, given: worlds.Given, made: Made, judged: Judged) -> dict[str, np.ndarray]:
    """Return a turntable of the first net's object in the middle of its objects by success.

    Returns:
      frames uint8 [2, T, S, S, 3], the texture as it is and EOT's; answers int [2, T] of the net;
      classes int [2], the object's and the target.
    """
    rates = judged.target[0, KINDS.index("eot")]
    row = int(np.argsort(rates, kind="stable")[len(rates) // 2])
    attacked = made.pictures[0, -1, made.chosen[0], row]
    textures = np.stack([given.pictures[row], attacked])
    frames = worlds.turntable(given.scene, row, textures, FRAMES)
    first = nets._replace(variables=jax.tree.map(lambda leaf: leaf[:1], nets.variables))
    shown = frames.reshape(-1, *frames.shape[2:])
    (logits,) = logits_of_all(first, shown)
    pixels = np.rint(LEVELS * frames)
    return {
        "turntable/frames": pixels.astype(np.uint8),
        "turntable/answers": logits.argmax(1).reshape(2, FRAMES),
        "turntable/classes": np.array([given.labels[row], given.targets[row]]),
    }


def draw_turntable(ax: Axes, record: Record) -> None:
    """Draw every second frame of both turns, with the net's answer below each."""
    frames = record.arrays["turntable/frames"][:, ::2]
    answers = record.arrays["turntable/answers"][:, ::2]
    label, target = record.arrays["turntable/classes"]
    side, gap = frames.shape[2], 10
    image_grid(ax, frames, rows=["texture\nas it is", "EOT's"], gap=gap)
    step = side + gap
    colors = {label: plots.color_of("clean images"), target: plots.color_of("EOT")}
    for (row, column), answer in np.ndenumerate(answers):
        middle = column * step + (side - 1) / 2
        below = row * step + side + (gap - 1) / 2
        ax.text(
            middle,
            below,
            solids.CLASS_NAMES[answer],
            ha="center",
            va="center",
            fontsize=11,
            color=colors.get(answer, "#555555"),
            fontweight="bold" if answer in colors else "normal",
        )
    ax.set_ylim(2 * step - 0.5, -0.5)
    names = [solids.CLASS_NAMES[each] for each in (label, target)]
    ax.set_title(f"A solid turns, and one net says what it sees ({names[0]}; target: {names[1]})")


def draw_rates(ax: Axes, record: Record, labels: Mapping[str, str]) -> None:
    """Draw how often the target is seen in fresh poses, a dot a net, by kind of nets."""
    width = 0.15
    for place, kind in enumerate(labels):
        for offset, (shown, (_, color)) in enumerate(SHOWN.items()):
            values = 100 * rate(record, kind, shown).mean(1)
            middle = place + (offset - 2) * width
            _dots(ax, values, middle, plots.color_of(color))
    _name_shown(ax)
    ax.set_xticks(range(len(labels)), list(labels.values()))
    ax.set_ylim(-3, 103)
    plots.describe(ax, "In fresh poses:\nwho shows the target?", "", "poses, %")
    plots.mark_contradicted(
        ax, record, "gap-flat", "gap-solid", "rival", "learned", "own-pose-flat", "own-pose-solid"
    )


def _dots(ax: Axes, values: np.ndarray, place: float, color: str) -> None:
    """Draw a dot a net, and their median as a bar."""
    places = np.full(len(values), place)
    ax.plot(places, values, "o", color=color, alpha=0.5, markersize=5, label="_nets")
    middle = np.median(values)
    ends = (place - 0.06, place + 0.06)
    ax.plot(ends, (middle, middle), color=color, linewidth=3, label="_median")


def _name_shown(ax: Axes) -> None:
    """Write what is shown beside the panel, in its color."""
    for line, (label, color) in enumerate(SHOWN.values()):
        ax.text(
            1.02,
            0.95 - 0.1 * line,
            label,
            color=plots.color_of(color),
            transform=ax.transAxes,
            va="top",
            fontsize=10,
            fontweight="bold",
        )


def draw_tail(ax: Axes, record: Record) -> None:
    """Draw the objects of each net from worst to best."""
    for shown in ("one_pose", "eot"):
        label, color = SHOWN[shown]
        rates = 100 * np.sort(rate(record, "solid", shown), axis=1)
        count = rates.shape[1]
        shares = np.linspace(100 / count, 100, count)
        line = plots.seed_band(ax, shares, rates, plots.color_of(color), label)
        line.set_marker("o")
    ax.set_ylim(-3, 103)
    title = "Solids, object by object:\nthe worst ones are on the left"
    plots.describe(ax, title, "objects, % (worst first)", "poses that show the target, %")
    plots.mark_contradicted(ax, record, "worst", "skewed", "accuracy")


def draw_budgets(ax: Axes, record: Record, sizes: Sequence[float]) -> None:
    """Draw how often the target is seen by size, made and judged in each distribution."""
    by_size = 100 * record.arrays["flat/by_size"]
    colors = plots.shades(len(worlds.FLAT.names))
    for stage, name in enumerate(worlds.FLAT.names):
        plots.seed_band(ax, sizes, by_size[:, stage], colors[stage], name)
    plots.theory_line(ax, sizes, np.full(len(sizes), 100 * ENOUGH), "_enough")
    ax.set_ylim(0, 103)
    title = "Flat pictures: more freedom\nof poses asks for more change"
    plots.describe(ax, title, "size of the change, L2", "poses that show the target, %")
    plots.mark_contradicted(ax, record, "turn", "shift", "scale", "light")


def draw_matrix(ax: Axes, record: Record) -> None:
    """Draw how often the target is seen, made in the poses of one distribution, seen in another."""
    rates = np.median(record.arrays["flat/matrix"], axis=0)
    ax.imshow(rates, vmin=0, vmax=1, cmap="Blues")
    for (row, column), found in np.ndenumerate(rates):
        color = "white" if found > 0.55 else "black"
        share = f"{100 * found:.0f}"
        ax.text(column, row, share, color=color, ha="center", va="center")
    places = range(len(rates))
    ax.set_xticks(places, worlds.FLAT.names, rotation=35, ha="right")
    ax.set_yticks(places, worlds.FLAT.names)
    ax.grid(visible=False)
    title = "Made for some poses,\nseen in others (poses, %)"
    plots.describe(ax, title, "seen in", "made for")
    plots.mark_contradicted(ax, record, "diagonal")


def animation(record: Record) -> bytes:
    """Return both turns side by side as a GIF, the net's answers below them."""
    plain, attacked = record.arrays["turntable/frames"]
    frames = np.concatenate([plain, attacked], 2)
    answers = record.arrays["turntable/answers"].T
    captions = [[solids.CLASS_NAMES[answer] for answer in pair] for pair in answers]
    return to_gif(captioned(frames, captions), [_SECONDS] * len(frames))
