"""The turntable of robust_3d: a solid turns, as it is and attacked, and a net says what it sees."""

import jax
import numpy as np

from experiments.breaking import _worlds as worlds
from experiments.breaking._nets import Nets, logits_of_all
from experiments.breaking._robust import Made
from jaxvision.adversarial.threat import LEVELS
from jaxvision.data import solids
from jaxvision.report import plots
from jaxvision.report.animation import captioned, to_gif
from jaxvision.report.image_grid import image_grid
from jaxvision.report.record import Record
from jaxvision.types import Axes

FRAMES = 16  # of a turn; the figure shows every second one
_SECONDS = 0.25


def turned(nets: Nets, given: worlds.Given, made: Made) -> dict[str, np.ndarray]:
    """Return a turntable of one object before the first net.

    Returns:
      frames uint8 [2, T, S, S, 3], the texture as it is and EOT's; answers int [2, T] of the net;
      classes int [2], the object's and the target.
    """
    attacked = made.pictures[0, -1, made.chosen[0]]
    both = np.stack([given.pictures, attacked], 1)
    frames = np.stack(
        [worlds.turntable(given.scene, row, textures, FRAMES) for row, textures in enumerate(both)]
    )
    answers = _answers(nets, frames)
    row = first_seen_right(answers[:, 0], given.labels, given.targets)
    pixels = np.rint(LEVELS * frames[row])
    return {
        "turntable/frames": pixels.astype(np.uint8),
        "turntable/answers": answers[row],
        "turntable/classes": np.array([given.labels[row], given.targets[row]]),
    }


def first_seen_right(
    answers: np.ndarray,
    labels: np.ndarray,
    targets: np.ndarray,
) -> int:
    """Return the first object whose answers [B, T] are mostly right and never the target.

    How an attack fares has no part in it; the first object where there is none such.
    """
    right = answers == labels[:, None]
    away = answers != targets[:, None]
    suits = (right.mean(1) > 0.5) & away.all(1)
    return int(np.argmax(suits))


def _answers(nets: Nets, frames: np.ndarray) -> np.ndarray:
    """Return the classes int [B, 2, T] that the first net sees in frames [B, 2, T, S, S, 3]."""
    variables = jax.tree.map(lambda leaf: leaf[:1], nets.variables)
    first = nets._replace(variables=variables)
    shown = frames.reshape(-1, *frames.shape[3:])
    (logits,) = logits_of_all(first, shown)
    return logits.argmax(1).reshape(frames.shape[:3])


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
    shown, wanted = (solids.CLASS_NAMES[each] for each in (label, target))
    ax.set_title(f"A solid turns, and one net says what it sees ({shown}; target: {wanted})")


def animation(record: Record) -> bytes:
    """Return both turns side by side as a GIF, the net's answers below them."""
    plain, attacked = record.arrays["turntable/frames"]
    frames = np.concatenate([plain, attacked], 2)
    names = np.array(solids.CLASS_NAMES)
    captions = names[record.arrays["turntable/answers"]].T
    return to_gif(captioned(frames, captions), [_SECONDS] * len(frames))
