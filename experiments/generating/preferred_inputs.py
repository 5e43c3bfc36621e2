"""Preferred inputs: class pictures made in the codes of a net that has learned to make images.

Sources: Nguyen et al. 2016, "Synthesizing the preferred inputs for neurons in neural networks via
deep generator networks" (arXiv 1605.09304), and the authors' code; Dosovitskiy & Brox 2016 (arXiv
1602.02644); Nguyen et al. 2017 (arXiv 1612.00005).
Source: Nguyen et al. 2016. Claim in one sentence: a class picture that is climbed in the codes of a
learnt inverter is one that other nets recognize, and it shows classes that the inverter never saw.

Command: make exp-preferred-inputs (four minutes on two cores; an embedded set, no download).

A net's hidden dense layer is inverted: a second net learns to make each image again from its
features, by the errors of features and pixels and by a discriminator. Then the first net's classes
are climbed in those codes, by the authors' steps, clip and decay. Beside it stand the same net's
pictures by other priors, as many steps each, and each stands beside what other nets see in it.
Controls: the inverter before training, codes without bounds, an inverter without a discriminator,
pictures scored for the next class, and the same net as the generator of a GAN, which draws its
codes and inverts nothing: a DCGAN's latent codes, but for batch norm in the generator.

Classes that the inverter never saw are mosaics (quarters of the image exchanged) and blurred copies
of all classes: nets that know them are climbed through inverters of nets that do not, and which
learned from the ordinary images. And dense nets are climbed through the inverters of conv nets.

What differs from the sources: 16x16 images, small nets, a minute or two of training. Codes are in
units of their own standard deviation, so the authors' first step of 8 is a large one. The weights
of the three losses are theirs, turned from sums to means; ours compare the last convolution's
features, over their mean square. The distance to a class is Frechet's (FCD) in a net of our own, of
features less the mean of the class that is wanted, along their 16 largest axes. Copies are sought
in pixels, where a smooth picture is near to many images without being a copy of one. Yosinski's
blur, scaled to 16 pixels, is none.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping

import numpy as np

from experiments.generating import _learnt_priors as learnt
from experiments.generating import _preferred_claims as preferred_claims
from experiments.generating import _preferred_looks as looks
from experiments.generating import _preferred_panels as panels
from experiments.generating import _preferred_scores as scores
from experiments.generating import _preferred_training as training
from experiments.generating import _subjects as subjects
from experiments.generating._preferring import Way
from experiments.generating._ruler import resized
from jaxvision import cli
from jaxvision.attribution.regularizers import YOSINSKI
from jaxvision.data import load
from jaxvision.fields import flagged
from jaxvision.report import plots
from jaxvision.report.claims import Claim
from jaxvision.report.record import Record
from jaxvision.types import Figure, UserError

WAYS = {
    "none": Way("no prior", "pixels", rate=0.005),
    "yosinski": Way("Yosinski 3", "pixels", recipe=YOSINSKI[2]),
    "fourier": Way("Fourier + jitter", "waves", rate=0.02, jitter=1),
    "gan": Way("GAN", "codes", rate=0.05, learnt="gan"),
    "inverter": Way("inverter", "codes", learnt="inverter"),
    "smooth": Way("no discriminator", "codes", learnt="smooth"),
    "unbounded": Way("no bounds", "codes", learnt="inverter", bounded=False),
    "untrained": Way("untrained inverter", "codes"),
}
BATCH = 32  # images of a step of nets that make images


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Images that all nets learn from.")
    size: int = flagged(16, "Pixels of a side; images are scaled to it.", low=8, high=64)
    seeds: int = flagged(5, "Nets of each kind, and inverters.", low=2, high=100)
    first_seed: int = flagged(940, "First seed.", low=0, high=10**9)
    width: int = flagged(12, "Channels of the first convolution.", low=2, high=256)
    units: int = flagged(64, "Units of dense layers.", low=17, high=4096)
    steps: int = flagged(800, "Training steps of nets.", low=10, high=10**6)
    layer: str = flagged(
        "dense", "Layer that is inverted.", choices=("conv1", "conv2", "conv3", "dense")
    )
    inverter_width: int = flagged(12, "Inverter's last channels.", low=2, high=512)
    inverter_units: int = flagged(96, "Inverter's first units.", low=2, high=8192)
    inverter_steps: int = flagged(1200, "Training steps of inverters.", low=1, high=10**6)
    inverter_rate: float = flagged(0.001, "Adam's rate for inverters.", low=0)
    inverter_layers: int = flagged(2, "Doublings from codes to images.", low=1, high=5)
    ascent_steps: int = flagged(200, "Steps of a class picture.", low=1, high=10**5)
    starts: int = flagged(6, "Pictures of a class, an even number.", low=2, high=1000)

    def __post_init__(self) -> None:
        if self.starts % 2:
            raise UserError(
                f"--starts={self.starts} must be even: odd classes are twice as many, and get half"
            )


PRESETS = {
    "tiny": Config(
        size=8,
        seeds=2,
        first_seed=0,
        width=2,
        units=17,
        steps=10,
        inverter_width=2,
        inverter_units=4,
        inverter_steps=2,
        inverter_layers=1,
        ascent_steps=2,
        starts=2,
    ),
    "cpu": Config(),
    "gpu": Config(
        dataset="cifar10",
        size=32,
        seeds=10,
        width=64,
        units=512,
        steps=20_000,
        inverter_width=64,
        inverter_units=1024,
        inverter_steps=50_000,
        inverter_rate=2e-4,
        inverter_layers=3,
        starts=20,
    ),
    "paper": Config(
        dataset="imagenet_resized/64x64",
        size=64,
        width=96,
        units=4096,
        steps=450_000,
        inverter_width=64,
        inverter_units=4096,
        inverter_steps=500_000,
        inverter_rate=2e-4,
        inverter_layers=4,
        starts=20,
    ),
}


def measure(
    config: Config,
    progress: cli.ShowProgress,
    ways: Mapping[str, Way] = WAYS,
    means: Callable[[np.ndarray, int], np.ndarray] = scores.shifted,
) -> tuple[dict, dict]:
    """Return scores by net and way [S, W], and pictures of the first net.

    ``means``: the classes that nets of permuted classes mean.
    """
    data = resized(load(config.dataset), config.size)
    data = data._replace(test=data.test.sample(scores.MOST_HELD_OUT))
    scores.check(data, config.starts)
    with progress(4, "three trainings, then pictures") as bar:
        trained = training.train(config, data, *_budgets(config), bar.advance)
        pictures = training.climb(config, trained, ways)
        bar.advance()
    numbers = {
        "ways": list(ways),
        "dense_ways": list(pictures["dense"].ways),
        "odd_ways": list(pictures["odd"].ways),
        "class_names": list(data.class_names),
        "broken_at": trained.learnt.broken_at,
    }
    return numbers, looks.found(config, trained, pictures, means)


def _budgets(config: Config) -> tuple[subjects.Budget, learnt.Budget]:
    channels = (config.width, 2 * config.width, 4 * config.width)
    nets = subjects.Budget(channels, config.units, config.steps)
    inverters = learnt.Budget(
        config.inverter_width,
        config.inverter_layers,
        config.inverter_units,
        config.inverter_steps,
        BATCH,
        config.inverter_rate,
    )
    return nets, inverters


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims and the questions beside them; the rules are fixed here."""
    del config
    return preferred_claims.claims_of()


def plot(record: Record, config: Config) -> Figure:
    """Draw pictures by prior, who sees them, how near they are, odd classes, and the blur."""
    figure = panels.drawn(record, {name: way.label for name, way in WAYS.items()}, config.seeds)
    titles = {
        ("prior", "beats-yosinski", "beats-fourier", "beats-gan"): (
            "Through a learnt inverter other nets see the class best"
        ),
        "prior": "Through a learnt inverter other nets see the class better than without a prior",
    }
    return plots.finish(
        figure,
        record,
        plots.headline(record, titles, "Pictures of classes through learnt priors"),
        net=f"Three convolutions from {config.width} channels and {config.units} units, inverted",
        optimizer=f"Adam, {config.steps:,} and {config.inverter_steps:,} steps; pictures: "
        f"{config.ascent_steps} steps",
        paper="Nguyen et al. 2016; Dosovitskiy & Brox 2016",
    )


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
