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
from collections.abc import Mapping

import numpy as np

from experiments.breaking import _canvas as canvas
from experiments.breaking import _nets as lab
from experiments.breaking import _pixel_searches as spec_of
from experiments.breaking import _pose_search as searched
from experiments.breaking import _torus as torus
from experiments.breaking import _transform_panels as panels
from experiments.breaking import _transforming as measured
from experiments.breaking._transform_claims import AZULAY, ENGSTROM, ZEILER, ZHANG, claims_of
from experiments.breaking._transforms import BORDERS, CANVAS, SYMMETRIC, TRANSFORMS, all_poses
from jaxvision import cli
from jaxvision.fields import flagged, seeds_of
from jaxvision.nets import Spec, Wanted
from jaxvision.report import plots
from jaxvision.report.claims import Claim
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
PARTS = ("borders", "searches", "canvas")  # what is asked beside the curves of NETS


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
    config: Config,
    progress: cli.ShowProgress,
    kinds: Mapping[str, Net] = NETS,
    parts: tuple[str, ...] = PARTS,
) -> tuple[dict, dict]:
    """Return curves by kind and transform, [S, P], rates of searches [S], and consistency."""
    torus.check_size(config.dataset)
    arrays = {}
    alexnets = [name for name in ALEXNETS if name in kinds]
    if alexnets:
        arrays = _of_alexnets(config, progress, {name: kinds[name] for name in alexnets}, parts)
    if CANVAS in config.borders and "canvas" in parts:
        upright = kinds.get("upright", NETS["upright"])
        on_canvas = canvas.trained(_alexnet(config, upright), seeds_of(config))
        arrays |= canvas.measured_on(on_canvas, config.n_few)
    on_torus = [name for name in ON_TORUS if name in kinds]
    if config.depths and on_torus:
        arrays |= _shifted(config, progress, {name: kinds[name] for name in on_torus})
    return {}, arrays


def _of_alexnets(
    config: Config, progress: cli.ShowProgress, kinds: Mapping[str, Net], parts: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Return what becomes of nets in AlexNet's shape, and examples."""
    groups = [lab.trained(_alexnet(config, kind), seeds_of(config)) for kind in kinds.values()]
    nets = measured.together(groups)
    with progress(2, "showing images") as bar:
        by_net, examples = _looked(config, nets, parts)
        bar.advance()
        if "searches" in parts:
            by_net |= _searched(config, nets, len(kinds))
        bar.advance()
    by_net = {"test_error": nets.test_error} | by_net
    return measured.by_kind(by_net, list(kinds)) | examples


def _looked(
    config: Config, nets: lab.Nets, parts: tuple[str, ...]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
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
    if borders and "borders" in parts:
        arrays["area_by_border"] = measured.areas(nets, few, borders)
    return arrays, measured.examples_of(found, some, symmetric)


def _searched(config: Config, nets: lab.Nets, kinds: int) -> dict[str, np.ndarray]:
    """Return how many of the images that nets of so many kinds get right each search fools."""
    few = lab.some_of(nets.data.test, config.n_few)
    search = searched.Search(config.grid_shifts, config.grid_turns, config.ascent_steps)
    seeds = np.tile(np.array(seeds_of(config), np.int32), kinds)
    found = searched.worst_poses(nets, seeds, few, search)
    return {way: searched.rate(found, way) for way in searched.WAYS}


def _shifted(
    config: Config, progress: cli.ShowProgress, kinds: Mapping[str, Net]
) -> dict[str, np.ndarray]:
    """Return what shifts around the torus do, by kind, [S, depths, ...]."""
    found, errors = [], []
    with progress(len(kinds) * len(config.depths), "shifting on a torus") as bar:
        for kind in kinds.values():
            for depth in config.depths:
                nets = lab.trained(_on_torus(config, kind, depth), seeds_of(config))
                some = lab.some_of(nets.data.test, config.n_images)
                found.append(torus.on_torus(nets, some, torus.mean_image(nets)))
                errors.append(nets.test_error)
                bar.advance()
    by_quantity = {
        "consistency": torus.consistency(found),
        "change": np.stack([each.change for each in found], 1),
        "test_error": np.stack(errors, 1),
    }
    return measured.by_kind(by_quantity, list(kinds), axis=1)


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims and the questions beside them."""
    return claims_of(config)


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
