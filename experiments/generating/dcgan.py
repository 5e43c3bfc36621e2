"""DCGAN: whether a small one learns, interpolates and represents, or only remembers.

Sources: Radford, Metz & Chintala 2015, "Unsupervised representation learning with deep
convolutional generative adversarial networks" (arXiv 1511.06434), sections 3 to 6; White 2016
(arXiv 1609.04468) on interpolation. Claim in one sentence: the net trains stably with beta1 = .5
and not with .9, paints all classes without copying, goes smoothly from image to image, and its
discriminator has learned features worth using.

Command: make exp-dcgan (4 minutes on two cores; embedded digits, no download).

What differs from the paper: 16x16 images, a net of two strided convolutions, Adam at 1e-3 for a
thousand steps, and numbers where the paper shows pictures. The digits are enlarged from 8x8. The
distance is Frechet's in the features of a classifier of our own (FCD, no FID), always of as many
images, with anchors measured on the same classifier: real against real is the floor, noise the
ceiling. Images are painted with running statistics of batch norm; real and generated batches never
share theirs. Jumps are the largest step in the classifier's features over the mean step; the
control is a generator that only remembers. Copies are sought by the test of Meehan et al. 2020, in
pixels and in features, against copies and held-out images. The discriminator's features are probed
beside those of the same discriminator before training, the control that the paper lacks. A net that
is not finite any more counts as noise.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from experiments.generating import _codes as codes_lib
from experiments.generating import _gan as gan
from experiments.generating import _gan_looks as looks
from experiments.generating import _gan_measures as measures
from experiments.generating import _gan_panels as panels
from experiments.generating._ruler import Ruler, resized
from jaxvision import cli
from jaxvision.data import load
from jaxvision.fields import flagged, seeds_of
from jaxvision.report import plots
from jaxvision.report.claims import Claim, Equivalent, Greater, Less, Share, Within
from jaxvision.report.record import Record
from jaxvision.types import Figure, UserError


class Arm(NamedTuple):
    """A way to train.

    Attributes:
      label: in the figure.
      beta1: Adam's, of both nets.
    """

    label: str
    beta1: float


ARMS = {"half": Arm("β₁ = .5", 0.5), "momentum": Arm("β₁ = .9", 0.9)}
MAIN = "half"  # the arm whose nets are looked into


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, a TFDS name, or a path to yours.")
    size: int = flagged(16, "Pixels of a side; images are scaled to it.", low=8, high=128)
    seeds: int = flagged(6, "Games of each arm.", low=1, high=1000)
    first_seed: int = flagged(900, "First seed.", low=0, high=10**9)
    width: int = flagged(16, "Channels at the images' side of both nets.", low=2, high=512)
    layers: int = flagged(2, "Strided convolutions of each net.", low=1, high=6)
    kernel: int = flagged(5, "Pixels of a side of their windows.", low=2, high=9)
    codes: int = flagged(32, "Coordinates of a code.", low=2, high=4096)
    steps: int = flagged(1000, "Steps of a game.", low=1, high=10**6)
    batch_size: int = flagged(64, "Real images in a step, and generated ones.", low=2, high=4096)
    learning_rate: float = flagged(0.001, "Adam's, of both nets.", low=0)
    looks: tuple[int, ...] = flagged(
        (0, 50, 100, 200, 400, 700, 1000), "Steps at which images are painted.", low=0, high=10**6
    )
    n_images: int = flagged(700, "Images on both sides of a distance.", low=40, high=50_000)
    ruler_steps: int = flagged(600, "Training steps of the classifier.", low=1, high=10**6)
    ruler_units: int = flagged(32, "Its features.", low=2, high=4096)
    probe_images: int = flagged(1437, "Images a probe learns from.", low=20, high=50_000)

    def __post_init__(self) -> None:
        if list(self.looks) != sorted({0, *self.looks, self.steps}):
            raise UserError(
                f"--looks={','.join(map(str, self.looks))} must rise from 0 to --steps={self.steps}"
            )
        if self.n_images // 4 <= self.ruler_units:
            raise UserError(
                f"--n_images={self.n_images}: a quarter of them must be more than "
                f"--ruler_units={self.ruler_units}, or their distance means nothing"
            )


PRESETS = {
    "tiny": Config(
        size=8,
        seeds=2,
        first_seed=0,
        width=2,
        codes=4,
        steps=4,
        batch_size=8,
        looks=(0, 4),
        n_images=40,
        ruler_steps=10,
        ruler_units=8,
        probe_images=40,
    ),
    "cpu": Config(),
    "gpu": Config(
        dataset="cifar10",
        size=32,
        seeds=10,
        width=64,
        layers=3,
        codes=100,
        steps=20_000,
        batch_size=64,
        learning_rate=2e-4,
        looks=(0, 500, 1000, 2000, 5000, 10_000, 20_000),
        n_images=5000,
        ruler_steps=8000,
        ruler_units=128,
        probe_images=5000,
    ),
    "paper": Config(
        dataset="imagenet_resized/64x64",
        size=64,
        width=128,
        layers=4,
        codes=100,
        steps=250_000,
        batch_size=128,
        learning_rate=2e-4,
        looks=(0, 10_000, 50_000, 100_000, 250_000),
        n_images=10_000,
        ruler_steps=50_000,
        ruler_units=512,
        probe_images=5000,
    ),
}


def measure(
    config: Config,
    progress: cli.ShowProgress,
    arms: Mapping[str, Arm] = ARMS,
    paint: looks.Paint = gan.painted,
) -> tuple[dict, dict]:
    """Train the games of every arm, then look into what they paint and what they have learned."""
    data = resized(load(config.dataset), config.size)
    shape = data.train.images.shape[1:]
    sizes = gan.Sizes(shape, config.codes, config.width, config.layers, config.kernel)
    budget = gan.Budget(config.steps, config.batch_size, config.learning_rate, config.looks)
    ruler = Ruler(data, (16, 32), config.ruler_units, config.ruler_steps)
    seeds = seeds_of(config)
    held = [measures.anchored(ruler, data.train, config.n_images, seed) for seed in seeds]
    given = looks.Given(config, data, sizes, ruler, held, paint)
    betas = {name: arm.beta1 for name, arm in arms.items()}
    with progress(len(arms) * config.seeds * config.steps, "games") as bar:
        games = gan.play(sizes, budget, data, betas, seeds, bar.advance)
    numbers = {"ruler_error": ruler.test_error, "broken_at": {}}
    arrays = looks.anchor_arrays(held)
    for name, played in games.items():
        arrays |= looks.along(given, played, name)
        numbers["broken_at"][name] = played.broken_at.tolist()
    if MAIN in games:
        arrays |= looks.between(given, games[MAIN])
        arrays |= looks.learned(given, games[MAIN])
        arrays |= panels.weights_of(games[MAIN])
    return numbers, arrays


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims; the rules are fixed here."""
    paper = "Radford et al. 2015"

    def read(name: str) -> Callable[[Record], np.ndarray]:
        return lambda record: record.arrays[name]

    def end(name: str) -> Callable[[Record], np.ndarray]:
        return lambda record: record.arrays[name][:, -1]

    def log_ratio(one: Callable, other: Callable) -> Callable[[Record], np.ndarray]:
        return lambda record: np.log2(one(record) / other(record))

    def ordered(record: Record) -> np.ndarray:
        real, blurred, half, single, noise = (
            record.arrays[f"anchor/{name}"] for name in measures.ANCHORS
        )
        rises = (real < blurred) & (blurred < noise)
        return rises & (half > 2 * real) & (single > half)

    def copies(kind: str) -> Callable[[Record], np.ndarray]:
        return lambda record: record.arrays[f"copying/{kind}"].mean(1)

    def probe_gain(record: Record) -> np.ndarray:
        probe = record.arrays["probe"]
        return probe[:, -1] - probe[:, 0]

    def over_pixels(record: Record) -> np.ndarray:
        return record.arrays["probe"][:, -1] - record.arrays["probe_pixels"]

    meehan = "Meehan et al. 2020"
    main = {"needs": (MAIN,)}
    return [
        Claim("metric", "condition, a distance that is of use", "FCD orders real < blurred < "
              "noise, and half the classes are at twice the floor, one class further", ordered,
              Share()),
        Claim("floor-law", "closed form, two samples of one Gaussian law", "Real against real: FCD "
              "is what the formula has for as many images (ratio)",
              lambda r: r.arrays["anchor/real"] / r.arrays["floor_law"], Within(1.0, 0.25),
              "theory"),
        Claim("few-images", "Heusel et al. 2017, notes of their code", "With few images the "
              "distance is underestimated (real against real, a quarter of the images less all)",
              lambda r: r.arrays["quarter"] - r.arrays["anchor/real"], Less(), "theory"),
        Claim("falls", f"{paper}, section 4", "FCD is smaller after training than before",
              lambda r: end("half/fcd")(r) < r.arrays["half/fcd"][:, 0], Share(), **main),
        Claim("beats-blur", "question, anchors", "FCD after training is below that of blurred real "
              "images (octaves)", log_ratio(end("half/fcd"), read("anchor/blurred")), Less(),
              **main),
        Claim("above-floor", "question, anchors", "FCD after training is more than twice the floor "
              "(octaves)", log_ratio(end("half/fcd"), read("anchor/real")), Greater(1.0), **main),
        Claim("all-classes", f"{paper}, section 4", "Every class is painted, more than 1 % of "
              "images each", lambda r: (end("half/shares")(r) > 0.01).all(1), Share(), **main),
        Claim("momentum", f"{paper}, section 4", "With beta1 = .9 FCD ends larger than with .5 "
              "(octaves)", log_ratio(end("momentum/fcd"), end("half/fcd")), Greater(),
              needs=("half", "momentum")),
        Claim("no-jump", f"{paper}, section 6.1", "On a straight line between codes the largest "
              "step over the mean step is less than a quarter of a memorizer's (octaves)",
              log_ratio(read("jump/line"), read("jump/memorizer")), Less(-2.0), **main),
        Claim("line-middle", "closed form, uniform codes", "The middle of a straight line has a "
              "mean square of 1/6, codes 1/3", read("line_middle"),
              Within(codes_lib.MIDDLE_OF_LINE, 0.01), "theory", **main),
        Claim("slerp-outside", "closed form, uniform codes", "The middle of a great circle has "
              "8.6 % of its coordinates outside of the cube", read("slerp_outside"),
              Within(codes_lib.OUTSIDE_BY_SLERP, 0.01), "theory", **main),
        Claim("slerp-better", "White 2016, section 2", "Middles of great circles are better images "
              "than those of straight lines (FCD of lines over circles, octaves)",
              log_ratio(read("middle/line"), read("middle/slerp")), Greater(), **main),
        Claim("scores-better", "question, uniform codes", "Middles that keep the prior are better "
              "images than those of straight lines (FCD, octaves)",
              log_ratio(read("middle/line"), read("middle/scores")), Greater(), **main),
        Claim("no-copies", f"{paper}, section 4.1", "Generated images lie no nearer to training "
              "images than held-out ones do (z, mean of pixels and features)", copies("generated"),
              Greater(-1.645), **main),
        Claim("copies-found", f"{meehan}, positive control", "Training images with a little noise "
              "are found to be copies (z)", copies("copies"), Less(-5.0), **main),
        Claim("held-out", f"{meehan}, negative control", "Held-out images are not (z of one half "
              "against the other)", copies("held_out"), Equivalent(1.645), **main),
        Claim("features", f"{paper}, section 5", "A linear probe on the trained discriminator's "
              "features is right more often than on those of the same net before training",
              probe_gain, Greater(), **main),
        Claim("over-pixels", f"{paper}, section 5", "A linear probe on the trained discriminator's "
              "features is right more often than on pixels", over_pixels, Greater(), **main),
    ]  # fmt: skip


def plot(record: Record, config: Config) -> Figure:
    """Draw samples and distance along training, what lies between codes, copies and features."""
    figure, axes = plots.new_figure(3, 2, 12.5)
    axes[0, 0].get_gridspec().set_width_ratios([1.4, 1])
    panels.draw_samples(axes[0, 0], record, config.looks)
    labels = {name: arm.label for name, arm in ARMS.items()}
    panels.draw_distances(axes[0, 1], record, labels, config.looks)
    names = ("metric", "floor-law", "few-images", "falls", "beats-blur", "all-classes", "momentum")
    plots.mark_contradicted(axes[0, 1], record, *names)
    panels.draw_between(axes[1, 0], record)
    plots.mark_contradicted(axes[1, 0], record, "no-copies", "copies-found", "held-out")
    panels.draw_jumps(axes[1, 1], record)
    plots.mark_contradicted(axes[1, 1], record, "no-jump")
    panels.draw_weights(axes[2, 0], record)
    panels.draw_probes(axes[2, 1], record, config.looks)
    plots.mark_contradicted(axes[2, 1], record, "features", "over-pixels")
    title = plots.headline(
        record,
        {
            ("falls", "no-jump", "no-copies", "momentum"): "A small DCGAN learns without copying, "
            "and momentum sets it back",
            ("falls", "no-jump", "no-copies"): "A small DCGAN learns without copying",
            "falls": "A small DCGAN learns",
        },
        "A small DCGAN, measured",
    )
    return plots.finish(
        figure,
        record,
        title,
        net=f"DCGAN, {config.width} channels at {config.size}x{config.size}, {config.codes} codes",
        optimizer=f"Adam, rate {config.learning_rate:g}, {config.steps:,} steps",
        paper="Radford et al. 2015",
    )


def animate(record: Record, config: Config) -> bytes:
    """Return the animation: the same codes along training, then on their way to others."""
    del config
    return panels.animated(record)


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
