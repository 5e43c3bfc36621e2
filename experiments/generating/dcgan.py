"""DCGAN: whether a small one learns, interpolates and represents, or only remembers.

Sources: Radford, Metz & Chintala 2015, "Unsupervised representation learning with deep
convolutional generative adversarial networks" (arXiv 1511.06434), sections 3 to 6; White 2016
(arXiv 1609.04468) on interpolation; Chintala et al. 2016, "How to train a GAN?" (ganhacks), rule 4
on batch norm. Claim in one sentence: the net trains stably with beta1 = .5 and not with .9, paints
all classes without copying, goes smoothly from image to image, and its discriminator has learned
features worth using.

Command: make exp-dcgan (7 minutes on two cores; drawn shapes, no download).

What differs from the paper: 16x16 images, a net of two strided convolutions, Adam at 1e-3 for two
thousand steps, and numbers where the paper shows pictures. The shapes are scaled down from 32x32.
The distance is Frechet's in the features of a classifier of our own (FCD, no FID), always of as
many images, with anchors measured on the same classifier: real against real is the floor, noise the
ceiling. Images are painted with running statistics of batch norm. Jumps are the largest step in the
classifier's features over the mean step; the control is a generator that only remembers. Copies are
sought by the test of Meehan et al. 2020, in pixels and in features, against copies and held-out
images. The discriminator's features are probed beside those of the same discriminator before
training, the control that the paper lacks. A net that is not finite any more counts as noise.

Batch norm of the discriminator gets real and generated images apart. One norm over a batch at -1
and one at +1, of deviation .1, leaves them at -.9955 and +.9955; apart each is centered at 0. So
one batch tells the discriminator which half an image is in. Two arms mix them: in both players'
losses, and in the discriminator's alone, as copied code has it, where the generator's images then
come without company.
"""

import dataclasses
import sys
from collections.abc import Mapping

from experiments.generating import _gan as gan
from experiments.generating import _gan_claims as gan_claims
from experiments.generating import _gan_looks as looks
from experiments.generating import _gan_measures as measures
from experiments.generating import _gan_panels as panels
from experiments.generating._ruler import Ruler, deep, resized
from jaxvision import cli
from jaxvision.data import load
from jaxvision.fields import flagged, seeds_of
from jaxvision.report import plots
from jaxvision.report.claims import Claim
from jaxvision.report.record import Record
from jaxvision.types import Figure, UserError

ARMS = {
    "half": gan.Arm("β₁ = .5", 0.5),
    "momentum": gan.Arm("β₁ = .9", 0.9),
    "mixed": gan.Arm("mixed batch norm", 0.5, mixed="both"),
    "copied": gan.Arm("mixed for D alone", 0.5, mixed="discriminator"),
}
NO_COPIES = ("no-jump", "no-copies-pixels", "no-copies-features")
LEARNS = ("falls", "beats-blur")  # claims: images nearer than before, and than blurred real ones
MAIN = gan_claims.MAIN  # the arm whose nets are looked into


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("shapes16k", "Data set: an embedded one, a TFDS name, or a path.")
    size: int = flagged(16, "Pixels of a side; images are scaled to it.", low=8, high=128)
    seeds: int = flagged(5, "Games of each arm.", low=1, high=1000)
    first_seed: int = flagged(910, "First seed.", low=0, high=10**9)
    width: int = flagged(16, "Channels at the images' side of both nets.", low=2, high=512)
    layers: int = flagged(2, "Strided convolutions of each net.", low=1, high=6)
    kernel: int = flagged(5, "Pixels of a side of their windows.", low=2, high=9)
    codes: int = flagged(32, "Coordinates of a code.", low=2, high=4096)
    steps: int = flagged(2000, "Steps of a game.", low=1, high=10**6)
    batch_size: int = flagged(64, "Real images in a step, and generated ones.", low=2, high=4096)
    learning_rate: float = flagged(0.001, "Adam's, of both nets.", low=0)
    looks: tuple[int, ...] = flagged(
        (0, 100, 250, 500, 1000, 1500, 2000),
        "Steps at which images are painted.",
        low=0,
        high=10**6,
    )
    n_images: int = flagged(1000, "Images on both sides of a distance.", low=40, high=50_000)
    ruler_steps: int = flagged(3200, "Training steps of the classifier.", low=1, high=10**6)
    ruler_units: int = flagged(64, "Its features.", low=2, high=4096)
    probe_images: int = flagged(4000, "Images a probe learns from.", low=20, high=50_000)

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
        dataset="digits",
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
    arms: Mapping[str, gan.Arm] = ARMS,
    paint: looks.Paint = gan.painted,
) -> tuple[dict, dict]:
    """Train the games of every arm, then look into what they paint and what they have learned."""
    data = resized(load(config.dataset), config.size)
    shape = data.train.images.shape[1:]
    sizes = gan.Sizes(shape, config.codes, config.width, config.layers, config.kernel)
    budget = gan.Budget(config.steps, config.batch_size, config.learning_rate, config.looks)
    ruler = Ruler(data, deep(config.size, config.ruler_units, config.ruler_steps))
    seeds = seeds_of(config)
    held = [measures.anchored(ruler, data.train, config.n_images, seed) for seed in seeds]
    given = looks.Given(config, data, sizes, ruler, held, paint)
    with progress(len(arms) * config.seeds * config.steps, "games") as bar:
        games = gan.play(sizes, budget, data, arms, seeds, bar.advance)
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
    """Return the sources' claims; the rules are fixed in their module."""
    del config
    return gan_claims.all_claims()


def plot(record: Record, config: Config) -> Figure:
    """Draw samples and distance along training, what lies between codes, copies and features."""
    figure, axes = plots.new_figure(3, 2, 12.5)
    grid = axes[0, 0].get_gridspec()
    grid.set_width_ratios([1.7, 1])
    grid.set_height_ratios([1.5, 1, 1])  # of samples there are most rows
    labels = {name: arm.label for name, arm in ARMS.items()}
    panels.draw_samples(axes[0, 0], record, labels, config.looks)
    plots.mark_contradicted(axes[0, 0], record, "mixed", "copied")
    panels.draw_distances(axes[0, 1], record, labels, config.looks)
    names = ("metric", "floor-law", "falls", "beats-blur", "momentum")
    plots.mark_contradicted(axes[0, 1], record, *names)
    panels.draw_between(axes[1, 0], record)
    plots.mark_contradicted(axes[1, 0], record, *(claim.id for claim in gan_claims.of_copies()))
    panels.draw_jumps(axes[1, 1], record)
    plots.mark_contradicted(axes[1, 1], record, "no-jump")
    panels.draw_weights(axes[2, 0], record)
    panels.draw_probes(axes[2, 1], record, config.looks)
    plots.mark_contradicted(axes[2, 1], record, "features", "over-pixels")
    return plots.finish(
        figure,
        record,
        _title(record),
        net=f"DCGAN, {config.width} channels at {config.size}x{config.size}, {config.codes} codes",
        optimizer=f"Adam, rate {config.learning_rate:g}, {config.steps:,} steps",
        paper="Radford et al. 2015",
    )


def _title(record: Record) -> str:
    """Return what the verdicts carry: nearer images are not yet good ones."""
    return plots.headline(
        record,
        {
            (
                *LEARNS,
                *NO_COPIES,
                "momentum",
            ): "A small DCGAN learns without copying; momentum sets it back",
            (*LEARNS, "copied"): "A small DCGAN learns; batch norm mixed for D alone sets it back",
            ("falls", "copied"): "A small DCGAN gets nearer to real images; batch norm mixed for "
            "D alone sets it back",
            (*LEARNS, *NO_COPIES): "A small DCGAN learns without copying",
            LEARNS: "A small DCGAN learns",
            "falls": "A small DCGAN gets nearer to real images",
        },
        "A small DCGAN, measured",
    )


def animate(record: Record, config: Config) -> bytes:
    """Return the animation: the same codes along training, then on their way to others."""
    del config
    return panels.animated(record)


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
