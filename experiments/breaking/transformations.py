"""Transformations: whether what a net says survives moving, scaling and turning the image.

Sources: Zeiler & Fergus 2014, "Visualizing and understanding convolutional networks" (arXiv
1311.2901), figure 5; Engstrom et al. 2019 (arXiv 1712.02779); Azulay & Weiss 2019 (arXiv
1805.12177); Zhang 2019 (arXiv 1904.11486). Claim in one sentence: small transformations change the
first layer a lot and the top layer little, and the output is stable to translations and scalings
but not to rotations.

Command: make exp-transformations (four minutes on two cores; embedded set, no download).

Nets in AlexNet's shape see test images moved up and down by 60 of 224 parts of a side, scaled by 1
to 1.8 and turned by 0 to 350 degrees. What lies beyond the border is swapped: emptiness may do what
one would blame on the shift. Nets trained on turned images are the counter-test. Poses (3 of 32
pixels, 30 degrees) are searched by a grid, at random and along the gradient. Nets on a torus, whose
response to shifts has a closed form, have a blur before each stride or none, at three depths.

What differs from the sources: small nets and images; whole shifts, since half a pixel blurs (digits
have three sizes of them); distances are in units of that of two images; probabilities are of images
that a net gets right. On the torus the mean image that nets take off stays in place, and shifts are
compared on images that all nets of a seed get right. Nets on a larger canvas have no turned kind.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping

import numpy as np

from experiments.breaking import _canvas as canvas
from experiments.breaking import _nets as lab
from experiments.breaking import _pixel_searches as spec_of
from experiments.breaking import _pose_search as searched
from experiments.breaking import _torus as torus
from experiments.breaking import _transform_panels as panels
from experiments.breaking import _transforming as measured
from experiments.breaking._transforms import BORDERS, CANVAS, SYMMETRIC, TRANSFORMS, all_poses
from jaxvision import cli
from jaxvision.fields import flagged, seeds_of
from jaxvision.nets import Spec, Wanted
from jaxvision.report import plots
from jaxvision.report.claims import Claim, Greater, Less, Share, Within
from jaxvision.report.record import Record
from jaxvision.types import Figure


@dataclasses.dataclass(frozen=True)
class Net:
    """A kind of net.

    Attributes:
      label: in the figure.
      turn: degrees up to which its training images were turned.
      blur: taps of the filter before each stride of a net on a torus; 0: a net in AlexNet's shape.
    """

    label: str
    turn: int = 0
    blur: int = 0


NETS = {
    "upright": Net("trained upright"),
    "turned": Net("trained turned", turn=180),
    "strided": Net("strided", blur=1),
    "blurred": Net("blurred", blur=3),
}
ALEXNETS = ("upright", "turned")
ON_TORUS = ("strided", "blurred")


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Images.")
    seeds: int = flagged(6, "Nets of each kind.", low=1, high=1000)
    first_seed: int = flagged(900, "First seed.", low=0, high=10**9)
    width: int = flagged(12, "Channels of AlexNet's shape, a multiple of 3.", low=3, high=768)
    steps: int = flagged(2000, "Training steps of AlexNet's shape.", low=1, high=10**6)
    torus_width: int = flagged(8, "Channels of nets on a torus.", low=1, high=512)
    torus_steps: int = flagged(1500, "Training steps of nets on a torus.", low=1, high=10**6)
    depths: tuple[int, ...] = flagged(
        (1, 2, 4), "Convolutions a stage of nets on a torus.", low=1, high=32
    )
    borders: tuple[str, ...] = flagged(
        (*BORDERS, CANVAS), "What lies beyond the border.", choices=(*BORDERS, CANVAS)
    )
    n_images: int = flagged(1000, "Test images shown.", low=2, high=10**6)
    n_few: int = flagged(120, "Of them, with other borders and to searches.", low=2, high=10**6)
    grid_shifts: int = flagged(5, "Shifts of the grid, each direction.", low=2, high=100)
    grid_turns: int = flagged(31, "Turns of the grid.", low=2, high=1000)
    ascent_steps: int = flagged(20, "Steps of the search by gradient.", low=1, high=10**4)


PRESETS = {
    "tiny": Config(
        seeds=2,
        first_seed=0,
        width=3,
        steps=2,
        depths=(),
        borders=(),
        n_images=6,
        n_few=4,
        grid_shifts=2,
        grid_turns=2,
        ascent_steps=2,
    ),
    "cpu": Config(),
    "gpu": Config(
        dataset="cifar10", seeds=10, width=48, steps=20_000, torus_width=32, torus_steps=20_000
    ),
    "paper": Config(
        dataset="cifar10", width=96, steps=100_000, torus_width=64, torus_steps=100_000
    ),
}


def wanted_nets(config: Config) -> list[Wanted]:
    """Return the nets that look at transformed images."""
    seeds = seeds_of(config)
    alexnets = [Wanted(_alexnet(config, NETS[name]), seeds) for name in ALEXNETS]
    on_torus = [
        Wanted(_on_torus(config, NETS[name], depth), seeds)
        for name in ON_TORUS
        for depth in config.depths
    ]
    return alexnets + on_torus


def _alexnet(config: Config, net: Net) -> Spec:
    spec = spec_of.conv_spec(config.dataset, config.width, config.steps)
    return dataclasses.replace(spec, turn=net.turn)


def _on_torus(config: Config, net: Net, depth: int) -> Spec:
    return torus.spec(config.dataset, depth, config.torus_width, net.blur, config.torus_steps)


def measure(
    config: Config, progress: cli.ShowProgress, kinds: Mapping[str, Net] = NETS
) -> tuple[dict, dict]:
    """Return curves by kind and transform, [S, P], rates of searches [S], and consistency."""
    torus.check_size(config.dataset)
    groups = [lab.trained(_alexnet(config, kinds[name]), seeds_of(config)) for name in ALEXNETS]
    nets = measured.together(groups)
    with progress(2, "showing images") as bar:
        by_net, examples = _looked(config, nets)
        bar.advance()
        by_net |= _searched(config, nets)
        bar.advance()
    arrays = measured.by_kind({"test_error": nets.test_error} | by_net, ALEXNETS)
    if CANVAS in config.borders:
        on_canvas = canvas.trained(_alexnet(config, kinds["upright"]), seeds_of(config))
        arrays |= canvas.measured_on(on_canvas, config.n_few)
    if config.depths:
        arrays |= _shifted(config, progress, kinds)
    return {}, arrays | examples


def _looked(config: Config, nets: lab.Nets) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return what becomes of answers and features of N nets, and examples of the first one."""
    some = lab.some_of(nets.data.test, config.n_images)
    few = lab.some_of(nets.data.test, config.n_few)
    side = some.images.shape[1]
    found = measured.look(nets, some, all_poses(TRANSFORMS, side), BORDERS["zero"])
    classes = SYMMETRIC.get(config.dataset, ())
    symmetric = np.isin(nets.data.class_names, classes)[some.labels]
    arrays = measured.curves(found, side)
    arrays["half_turn"] = measured.half_turn(found, side, symmetric)
    borders = [name for name in config.borders if name in BORDERS]
    if borders:
        arrays["area_by_border"] = measured.areas(nets, few, borders)
    return arrays, measured.examples_of(found, some, symmetric)


def _searched(config: Config, nets: lab.Nets) -> dict[str, np.ndarray]:
    """Return how many of the images that a net gets right each search fools, [N]."""
    few = lab.some_of(nets.data.test, config.n_few)
    search = searched.Search(config.grid_shifts, config.grid_turns, config.ascent_steps)
    seeds = np.tile(np.array(seeds_of(config), np.int32), len(ALEXNETS))
    found = searched.worst_poses(nets, seeds, few, search)
    return {way: searched.rate(found, way) for way in searched.WAYS}


def _shifted(
    config: Config, progress: cli.ShowProgress, kinds: Mapping[str, Net]
) -> dict[str, np.ndarray]:
    """Return what shifts around the torus do, by kind, [S, depths, ...]."""
    found, errors = [], []
    with progress(len(ON_TORUS) * len(config.depths), "shifting on a torus") as bar:
        for name in ON_TORUS:
            for depth in config.depths:
                nets = lab.trained(_on_torus(config, kinds[name], depth), seeds_of(config))
                some = lab.some_of(nets.data.test, config.n_images)
                found.append(torus.on_torus(nets, some, torus.mean_image(nets)))
                errors.append(nets.test_error)
                bar.advance()
    by_quantity = {
        "consistency": torus.consistency(found),
        "change": np.stack([each.change for each in found], 1),
        "test_error": np.stack(errors, 1),
    }
    return measured.by_kind(by_quantity, ON_TORUS, axis=1)


ZEILER, ENGSTROM = "Zeiler & Fergus 2014", "Engstrom et al. 2019"
AZULAY, ZHANG = "Azulay & Weiss 2019", "Zhang 2019"


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims and the questions beside them; the rules are fixed here."""
    Statistic = Callable[[Record], np.ndarray]

    def more_area(one: str, other: str, net: str = "upright") -> Statistic:
        return lambda record: panels.area(record, net, one) - panels.area(record, net, other)

    def first_pixel(record: Record) -> np.ndarray:
        sizes, distance = panels.folded(record, "upright", "shift", "distance")
        at_one = distance[:, sizes == 1][:, 0]
        return at_one[:, 0] / at_one[:, 1]

    def straight(transform: str, layer: int) -> Statistic:
        return lambda record: panels.straightness(record, transform, layer)

    def straighter(record: Record) -> np.ndarray:
        return straight("shift", 1)(record) - straight("shift", 0)(record)

    def with_every_border(record: Record) -> np.ndarray:
        areas = record.arrays["upright/area_by_border"]
        shift, scale, turn = np.moveaxis(areas, 2, 0)
        return (np.minimum(shift, scale) > turn).all(1)

    def half_turn(record: Record) -> np.ndarray:
        symmetric, others = record.arrays["upright/half_turn"].T
        return symmetric - others

    def found(way: str, net: str = "upright") -> Statistic:
        return lambda record: record.arrays[f"{net}/{way}"]

    def minus(one: Statistic, other: Statistic) -> Statistic:
        return lambda record: one(record) - other(record)

    def consistency(net: str) -> Statistic:
        return lambda record: record.arrays[f"{net}/consistency"].mean(1)

    def error(net: str) -> Statistic:
        return lambda record: record.arrays[f"{net}/test_error"].mean(1)

    def change(net: str) -> Statistic:
        return lambda record: panels.change_between(record, net)

    def by_depth(record: Record) -> np.ndarray:
        doublings = np.log2(config.depths)
        return np.polyfit(doublings, record.arrays["strided/consistency"].T, 1)[0]

    no_classes = (
        ""
        if config.dataset in SYMMETRIC
        else ("no class of the set is known to be symmetric: --dataset=mnist")
    )
    no_torus = "" if len(config.depths) > 1 else "needs --depths=1,2,4"
    few_borders = "" if BORDERS.keys() <= set(config.borders) else "needs all borders"
    no_canvas = "" if CANVAS in config.borders else f"needs --borders with {CANVAS}"
    question = "question"
    return [
        Claim("rest", "negative control, no transformation", "Images at rest keep features and "
              "answers (largest change over nets)", panels.change_at_rest, Within(0.0, 1e-4),
              "theory"),
        Claim("period", "negative control, total stride", "Nets on a torus: a shift by the total "
              "stride keeps the logits (largest relative change)", panels.change_at_period,
              Within(0.0, 1e-3), "theory", not_run=no_torus),
        Claim("layer1", f"{ZEILER}, figure 5", "A shift by one pixel moves the first layer more "
              "than the top layer (ratio of distances)", first_pixel, Greater(1.0)),
        Claim("linear-shift", f"{ZEILER}, section 4.1", "The top layer moves in a line with the "
              "shift (R squared above .9)", straight("shift", 1), Greater(0.9)),
        Claim("linear-scale", f"{ZEILER}, section 4.1", "The top layer moves in a line with the "
              "scale (R squared above .9)", straight("scale", 1), Greater(0.9)),
        Claim("straighter", f"{ZEILER}, section 4.1", "The top layer moves more in a line with the "
              "shift than the first layer (R squared)", straighter, Greater()),
        Claim("shift-turn", f"{ZEILER}, section 4.1", "Shifts leave the probability of the class "
              "higher than turns do (mean over the paper's ranges)",
              more_area("shift", "turn"), Greater()),
        Claim("scale-turn", f"{ZEILER}, section 4.1", "Scalings leave the probability of the class "
              "higher than turns do (mean over the paper's ranges)",
              more_area("scale", "turn"), Greater()),
        Claim("symmetric", f"{ZEILER}, section 4.1", "Half a turn leaves the probability higher "
              "for classes that look alike after it", half_turn, Greater(), not_run=no_classes),
        Claim("borders", f"{question}, borders", "Turns harm most whatever lies beyond the border: "
              "black, last pixel, mirror, torus, or nothing to cut", with_every_border, Share(),
              not_run=few_borders),
        canvas.claim_of(no_canvas),
        Claim("learned", f"{question}, training", "Nets trained on turned images are harmed more "
              "by shifts than by turns", more_area("turn", "shift", "turned"), Greater()),
        Claim("breaks", f"{ENGSTROM}, abstract", "Shifts by up to 3/32 of a side and turns by up "
              "to 30 degrees fool nets on over a fifth of the images (grid)",
              found("grid"), Greater(0.2)),
        Claim("augmented", f"{ENGSTROM}, abstract", "They still fool nets that were trained on "
              "turned images on over a tenth", found("grid", "turned"), Greater(0.1)),
        Claim("ten", f"{ENGSTROM}, search", "The grid fools over 2 points more than the worst of "
              "ten random poses", minus(found("grid"), found("ten")), Greater(0.02)),
        Claim("first-order", f"{ENGSTROM}, search", "The grid fools over 5 points more than a "
              "search along the gradient", minus(found("grid"), found("ascent")), Greater(0.05)),
        Claim("random-ascent", f"{ENGSTROM}, search", "The worst of ten random poses fools more "
              "than a search along the gradient", minus(found("ten"), found("ascent")), Greater()),
        Claim("blur", f"{ZHANG}, tables", "A blur before each stride makes answers to two shifts "
              "agree more often", minus(consistency("blurred"), consistency("strided")),
              Greater(), not_run=no_torus),
        Claim("curve", f"{question}, total stride", "Between multiples of the total stride shifts "
              "move logits less where a blur is before each stride (relative change)",
              minus(change("strided"), change("blurred")), Greater(), not_run=no_torus),
        Claim("blur-error", f"{ZHANG}, tables", "A blur before each stride lowers the test error",
              minus(error("strided"), error("blurred")), Greater(), not_run=no_torus),
        Claim("deeper-better", f"{ZHANG}, tables", "Deeper strided nets give two shifts one "
              "answer more often (slope by doublings)", by_depth, Greater(), not_run=no_torus),
        Claim("deeper-worse", f"{AZULAY}, first version", "Deeper strided nets give two shifts "
              "one answer less often (slope by doublings)", by_depth, Less(), not_run=no_torus),
    ]  # fmt: skip


def plot(record: Record, config: Config) -> Figure:
    """Draw pictures, what becomes of the answer and of the features, borders, depth, searches."""
    figure, axes = plots.new_figure(3, 2, 12.0)
    with plots.style():
        panels.draw_strip(axes[0, 0], record)
        panels.draw_answers(axes[0, 1], record)
        panels.draw_distances(axes[1, 0], record)
        panels.draw_borders(axes[1, 1], record, config.borders)
        panels.draw_depths(axes[2, 0], record, config.depths)
        poses = config.grid_shifts**2 * config.grid_turns
        panels.draw_searches(axes[2, 1], record, config.ascent_steps, poses)
    titles = {
        ("shift-turn", "scale-turn", "breaks"): "Turning harms most; small moves fool a net too",
        ("shift-turn", "scale-turn"): "Turning an image harms more than moving or scaling it",
        "breaks": "Small shifts and turns are enough to fool a net",
    }
    title = plots.headline(record, titles, "What moving, scaling and turning do to a net")
    return plots.finish(
        figure,
        record,
        title,
        net=f"AlexNet's shape, {config.width} channels first; nets on a torus, "
        f"{config.torus_width} channels",
        optimizer=f"SGD with momentum, {config.steps:,} and {config.torus_steps:,} steps",
        paper=f"{ZEILER}; {ENGSTROM}; {AZULAY}; {ZHANG}",
    )


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
