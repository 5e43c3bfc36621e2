"""Panels of occlusion: five pictures of an image, what falls where, and corresponding parts."""

from collections.abc import Sequence

import numpy as np

from experiments.seeing import _nets
from experiments.seeing._covering import Panels
from experiments.seeing._nets import Shown
from jaxvision.report import plots
from jaxvision.report.image_grid import captioned_grid
from jaxvision.report.record import Record
from jaxvision.report.stats import spearman
from jaxvision.types import Axes

SHOWN = 6  # images
LABELS = {
    "gray": "gray",
    "mean": "mean color",
    "blur": "blur",
    "noise": "noise",
    "self": "the image itself",
}
BY_HEART = "random labels,"
OF_MEMORY = (
    "shuffled",
    "shuffled-known",
    "shuffled-chance",
    "shuffled-learned",
    "shuffled-less",
)
_BACKGROUND = "#999999"


def shown(found: Panels, some: Shown) -> dict[str, np.ndarray]:
    """Return the pictures of the first net, uint8 [SHOWN, ...]."""
    projection = found.projection[0, :SHOWN] ** 0.5
    return {
        "pictures/images": np.uint8(np.rint(255 * some.images[:SHOWN])),
        "pictures/strongest": _scaled(found.strongest[0, :SHOWN]),
        "pictures/projection": _scaled(projection),
        "pictures/probability": _scaled(found.probability[0, :SHOWN]),
        "pictures/predicted": np.int16(found.predicted[0, :SHOWN]),
    }


def _scaled(values: np.ndarray) -> np.ndarray:
    """Return [B, R, Q] as uint8, each from its lowest to its highest."""
    low = values.min((1, 2), keepdims=True)
    room = values.max((1, 2), keepdims=True) - low
    return np.uint8(np.rint(255 * (values - low) / np.where(room == 0, 1, room)))


def draw_pictures(ax: Axes, record: Record) -> None:
    """Draw Zeiler & Fergus' five panels, one image a column, a number under each map."""
    images = record.arrays["pictures/images"]
    height, width = images.shape[1:3]
    rows = [np.broadcast_to(images, (*images.shape[:3], 3))]
    for name in ("strongest", "projection", "probability"):
        picture = _of_size(record.arrays[f"pictures/{name}"], height, width)
        rows.append(np.broadcast_to(picture[..., None], rows[0].shape))
    predicted = _of_size(record.arrays["pictures/predicted"], height, width)
    rows.append(_class_colors(predicted))
    names = [
        "image",
        "strongest map\n(lows apart, places)",
        "its projection\n(rank correlation)",
        "probability\n(rank correlation)",
        "answer\n(other answers)",
    ]
    gap = captioned_grid(ax, np.stack(rows), _numbers(record), rows=names)
    _frame(ax, len(rows), len(images), height, width, gap)
    title = (
        "A gray window covers each place in turn.\n"
        "Dark: what falls; light: energy. Numbers: against the strongest map"
    )
    plots.describe(ax, title, "", "")
    ax.get_gridspec().set_height_ratios([1.5] + [1] * (ax.get_gridspec().nrows - 1))
    _name_classes(ax, np.unique(predicted), record.numbers["classes"])


def _numbers(record: Record) -> np.ndarray:
    """Return what stands under each picture, words [5, B].

    How far the darkest places of the strongest map and of the probability lie apart, how the ranks
    of the map's falls agree with its projection and with the falls of the probability, and how
    many places have another answer than most.
    """
    strongest, probability, predicted = (
        record.arrays[f"pictures/{name}"] for name in ("strongest", "probability", "predicted")
    )
    energy = _of_size(record.arrays["pictures/projection"], *strongest.shape[1:])
    words = []
    for fall, energy_of_one, chance, answers in zip(
        255 - strongest.astype(int), energy, 255 - probability.astype(int), predicted, strict=True
    ):
        most = np.bincount(answers.ravel()).argmax()
        words.append(
            [
                "",
                _between_lows(fall, chance),
                _agreement(fall, energy_of_one),
                _agreement(fall, chance),
                f"{100 * (answers != most).mean():.0f} %",
            ]
        )
    return np.array(words).T


def _between_lows(fall: np.ndarray, other: np.ndarray) -> str:
    """Return how many places the largest falls lie apart; a map of one value has none."""
    if not (np.ptp(fall) and np.ptp(other)):
        return "none"
    lows = [np.unravel_index(part.argmax(), part.shape) for part in (fall, other)]
    return f"{np.hypot(*np.subtract(*lows)):.0f}"


def _agreement(one: np.ndarray, other: np.ndarray) -> str:
    """Return the rank correlation of two maps in two digits; a map of one value has none."""
    if not (np.ptp(one) and np.ptp(other)):
        return "none"
    return f"{spearman(one.ravel(), other.ravel()).estimate:.2f}"


def _class_colors(classes: np.ndarray) -> np.ndarray:
    """Return the colors of classes [...] as uint8 [..., 3], ten that go round."""
    from matplotlib import colormaps  # only who draws waits for it

    palette = np.uint8(255 * np.array(colormaps["tab10"].colors))
    return palette[classes % len(palette)]


def _name_classes(ax: Axes, classes: np.ndarray, names: Sequence[str]) -> None:
    """Write the classes beside the grid, each in its color."""
    for place, number in enumerate(classes):
        color = _class_colors(number) / 255
        name = names[number] if number < len(names) else str(number)
        at = {"xy": (1, 0), "xycoords": "axes fraction", "textcoords": "offset points"}
        lift = 14 * (len(classes) - 1 - place)
        ax.annotate(name, xytext=(8, lift), color=color, fontweight="bold", fontsize=11, **at)


def _frame(ax: Axes, down: int, right: int, height: int, width: int, gap: int) -> None:
    """Draw a line around each picture: the page is as white as what does not fall."""
    from matplotlib.patches import Rectangle  # only who draws waits for it

    for row, column in np.ndindex(down, right):
        corner = (column * (width + gap) - 0.5, row * (height + gap) - 0.5)
        look = {"fill": False, "edgecolor": _BACKGROUND, "linewidth": 0.8, "clip_on": False}
        ax.add_patch(Rectangle(corner, width, height, **look))


def _of_size(pictures: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return pictures [B, R, Q] with as many pixels as the images, by the nearest."""
    rows = np.arange(height) * pictures.shape[1] // height
    columns = np.arange(width) * pictures.shape[2] // width
    return pictures[:, rows][:, :, columns]


def _pair(ax: Axes, place: float, found: np.ndarray, color: str) -> None:
    """Draw object (disk) and background (ring) [N, 2] on one row."""
    for column, filled in ((0, color), (1, "white")):
        values = found[:, column]
        ax.plot([values.min(), values.max()], [place, place], color=color, linewidth=1.5)
        ax.plot(values.mean(), place, "o", color=color, markerfacecolor=filled, markersize=9)


def draw_falls(ax: Axes, record: Record) -> None:
    """Draw by how much probability, answers and the strongest map fall."""
    rows = {
        "probability": record.arrays["true/window/gray/fall"],
        "answer changes\n(share of places)": record.arrays["panels/changed"],
        "strongest map\n(share of its sum)": record.arrays["panels/strongest"],
        f"{BY_HEART}\nimages known by heart": record.arrays["shuffled/learned/gray/fall"],
        f"{BY_HEART}\ntest images": record.arrays["shuffled/window/gray/fall"],
    }
    color = plots.color_of("occlusion")
    for place, found in enumerate(reversed(rows.values())):
        _pair(ax, place, found, color)
    ax.axvline(0, color=_BACKGROUND, linewidth=1)
    ax.set_yticks(range(len(rows)), list(rows)[::-1])
    ax.set_ylim(-0.6, len(rows) - 0.4)
    title = "What covering costs: object\n(filled), background (hollow)"
    plots.describe(ax, title, "fall of the probability, or share", "")
    plots.mark_contradicted(ax, record, "object", "class", "strongest", *OF_MEMORY)


def draw_fills(ax: Axes, record: Record, fills: Sequence[str]) -> None:
    """Draw the fall of the probability by what covers."""
    rows = {LABELS[fill]: record.arrays[f"true/window/{fill}/fall"] for fill in fills}
    rows["gray, smaller"] = record.arrays["true/small/gray/fall"]
    color = plots.color_of("occlusion")
    for place, found in enumerate(reversed(rows.values())):
        _pair(ax, place, found, color)
    ax.axvline(0, color=_BACKGROUND, linewidth=1)
    ax.set_yticks(range(len(rows)), list(rows)[::-1])
    ax.set_ylim(-0.6, len(rows) - 0.4)
    title = "What covers: fall on object\n(filled), background (hollow)"
    plots.describe(ax, title, "fall of the probability", "")
    plots.mark_contradicted(ax, record, "fills", "edges", "window", "self")


def draw_anywhere(ax: Axes, record: Record, fills: Sequence[str]) -> None:
    """Draw the fall of the probability by what covers, where no masks say what is object."""
    rows = {LABELS[fill]: f"true/window/{fill}/anywhere" for fill in fills}
    rows |= {
        "gray, smaller": "true/small/gray/anywhere",
        f"{BY_HEART}\nimages known by heart": "shuffled/learned/gray/anywhere",
        f"{BY_HEART}\ntest images": "shuffled/window/gray/anywhere",
    }
    color = plots.color_of("occlusion")
    for place, name in enumerate(reversed(rows.values())):
        found = record.arrays[name]
        ax.plot([found.min(), found.max()], [place, place], color=color, linewidth=1.5)
        ax.plot(found.mean(), place, "o", color=color, markersize=9)
    ax.axvline(0, color=_BACKGROUND, linewidth=1)
    ax.set_yticks(range(len(rows)), list(rows)[::-1])
    ax.set_ylim(-0.6, len(rows) - 0.4)
    title = "What covering costs\n(mean, and range of nets)"
    plots.describe(ax, title, "fall of the probability", "")
    plots.mark_contradicted(ax, record, "self", *OF_MEMORY)


def draw_maps(ax: Axes, record: Record) -> None:
    """Draw how far the strongest map goes with its projection and with the class."""
    rows = {
        "with its projection": "panels/projection",
        "with the second\nmap's projection": "panels/another",
        "with the probability": "panels/alike",
        "images: lowest places\nfar apart (share)": "panels/apart",
    }
    for place, (label, name) in enumerate(reversed(rows.items())):
        found = record.arrays[name]
        color = plots.color_of("deconvnet" if "projection" in label else "occlusion")
        ax.plot(found, np.full(len(found), place), "o", color=color, markersize=7, alpha=0.7)
        ax.plot(found.mean(), place, "|", color=color, markersize=24, markeredgewidth=2.5)
    ax.axvline(0, color=_BACKGROUND, linewidth=1)
    ax.set_yticks(range(len(rows)), list(rows)[::-1])
    ax.set(xlim=(-0.2, 1), ylim=(-0.6, len(rows) - 0.4))
    title = "The strongest map's fall:\nwhat it goes with (dots: nets)"
    plots.describe(ax, title, "rank correlation, or share", "")
    plots.mark_contradicted(ax, record, "projection", "projection-own", "together", "apart")


def draw_alike(ax: Axes, record: Record) -> None:
    """Draw the distance of signs of change when the same part, or a random one, is covered."""
    rows = {
        "last convolution": f"alike/{_nets.LAST}/{{}}",
        "its units that move": f"alike/{_nets.LAST}/{{}}_moved",
        "logits": "alike/logits/{}",
    }
    color = plots.color_of("occlusion")
    for place, name in enumerate(reversed(rows.values())):
        part = record.arrays[name.format("part")].mean(1)
        random = record.arrays[name.format("random")]
        _pair(ax, place, np.stack([part, random], axis=1), color)
    ax.set_yticks(range(len(rows)), list(rows)[::-1])
    ax.set(xlim=(0, 0.55), ylim=(-0.6, len(rows) - 0.4))
    title = "Signs that differ: same part\n(filled), random part (hollow)"
    plots.describe(ax, title, "share that differs (.5: chance)", "")
    plots.mark_contradicted(ax, record, "alike-conv", "alike-top", "alike-moved")
