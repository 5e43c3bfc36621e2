"""Mode collapse: which GANs lose modes of a ring, and what brings them back.

Sources: Metz et al. 2017, "Unrolled generative adversarial networks" (arXiv 1611.02163); Srivastava
et al. 2017, VEEGAN (arXiv 1705.07761), for the rule of counting; Radford et al. 2016 (arXiv
1511.06434), section 3, for beta1.
Source: Mescheder et al. 2018 (arXiv 1801.04406), for R1. Claim in one sentence: who loses modes is
a matter of who learns faster and with what momentum, and weak R1 does not bring them back.

Command: make exp-mode-collapse (under 4 minutes on two cores, no data).

A ring of 8 modes and a grid of 25. A sample is good within 3 deviations of the nearest mode, a mode
is captured if one of 2,500 samples is good and nearest to it. That rule counts 8 modes for a cloud
of which one sample in twenty is good, so the share of good samples stands beside every number of
modes. All arms but one start from the same weights and see the same points, so they are paired by
seed. The weights are those of Metz et al. 2017: orthogonal of gain .8, the discriminator's points
divided by 4. One arm has He's larger weights and points divided by 2.

Pitfall: the notebook of the unrolled GAN, and much code copied from it, lays its 8 modes from 0 to
2 pi with both ends: 7 places, one of double weight. Counted by the same 8 centers no GAN can have
more than 7; it is an arm here.

What differs from the sources: Adam at rate .001, nets of two layers, 1,500 steps. That is short:
where rates are equal the share of good samples still rises at the end.
"""

import dataclasses
import sys
from collections.abc import Mapping

import numpy as np

from experiments.generating import _collapse as collapse
from experiments.generating import _collapse_panels as panels
from experiments.generating import _mixtures as mixtures
from experiments.generating import _planes as planes
from jaxvision import cli
from jaxvision.fields import flagged
from jaxvision.report import plots
from jaxvision.report.claims import Claim, Equivalent, Greater, Less, Statistic, Within
from jaxvision.report.record import Record
from jaxvision.types import Figure

RING = mixtures.ring()
CLOSED = mixtures.ring(closed=True)
GRID = mixtures.grid(deviation=0.05)


@dataclasses.dataclass(frozen=True)
class Arm:
    """A way to train.

    Attributes:
      label: in the figure.
      data: the mixture.
      kind: of step.
      slowness: how many times slower the discriminator learns than the generator.
      momentum: Adam's beta1.
      gamma: of R1.
      replicate: draws of another kind for the same seeds.
      wide: whether the nets start from He's weights and not as in Metz et al. 2017.
    """

    label: str
    data: mixtures.Mixture = RING
    kind: collapse.Kind = collapse.BY_TURNS
    slowness: float = 1.0
    momentum: float = 0.5
    gamma: float = 0.0
    replicate: int = 0
    wide: bool = False


UNROLLED = collapse.foresighted(5)
ARMS = {
    "plain": Arm("equal rates"),
    "wide": Arm("equal, He's weights", wide=True),
    "again": Arm("equal rates, other draws", replicate=1),
    "momentum": Arm("β₁ .9", momentum=0.9),
    "slow": Arm("slow D", slowness=10.0),
    "closed": Arm("7 places for 8", data=CLOSED),
    "grid": Arm("grid, equal rates", data=GRID),
    "grid_slow": Arm("grid, slow", data=GRID, slowness=10.0),
    "momentum_r1": Arm("β₁ .9, R1 .1", momentum=0.9, gamma=0.1),
    "slow_r1": Arm("slow D, R1 .1", slowness=10.0, gamma=0.1),
    "slow_r1_strong": Arm("slow D, R1 10", slowness=10.0, gamma=10.0),
    "slow_unrolled": Arm("slow D, unrolled", kind=UNROLLED, slowness=10.0),
}
RECOUNTED = ("plain", "closed")  # whose real points are counted too
REPLICATED = 10**6  # what is added to the seeds of a replicate


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    seeds: int = flagged(8, "Paired seeds of every arm.", low=2, high=1000)
    first_seed: int = flagged(900, "First of them.", low=0, high=10**6)
    width: int = flagged(64, "Units of both nets' hidden layers.", low=2, high=1024)
    hidden_layers: int = flagged(2, "How many each net has.", low=1, high=8)
    codes: int = flagged(8, "Numbers in a code.", low=1, high=1024)
    batch_size: int = flagged(128, "Points in a step.", low=1, high=65_536)
    learning_rate: float = flagged(0.001, "The generator's.", low=0)
    looks: int = flagged(30, "Times that modes are counted.", low=1, high=1000)
    steps_between: int = flagged(50, "Steps between two of them.", low=1, high=10**5)


PRESETS = {
    "tiny": Config(seeds=2, first_seed=0, width=8, batch_size=16, looks=2, steps_between=4),
    "cpu": Config(),
    "gpu": Config(seeds=20, width=128, batch_size=512, steps_between=500),
    "paper": Config(
        seeds=10, width=128, codes=256, batch_size=512, learning_rate=1e-4, steps_between=1000
    ),
}


def measure(
    config: Config, progress: cli.ShowProgress, arms: Mapping[str, Arm] = ARMS
) -> tuple[dict, dict]:
    """Return modes, good share and largest share of every arm, [S, looks], and samples."""
    shape = planes.Shape(config.codes, config.width, config.hidden_layers)
    scale = collapse.Scale(shape, config.batch_size, config.steps_between, config.looks)
    kinds = list(dict.fromkeys(arm.kind for arm in arms.values()))
    members = [[name for name, arm in arms.items() if arm.kind == kind] for kind in kinds]
    groups = [
        (kind, collapse.stacked([each for name in names for each in _settings(config, arms[name])]))
        for kind, names in zip(kinds, members, strict=True)
    ]
    with progress(1, "programs of all arms") as bar:
        found = collapse.play(scale, groups)
        bar.advance(1)
    arrays = {}
    seeds = np.arange(config.first_seed, config.first_seed + config.seeds)
    for names, seen in zip(members, found, strict=True):
        for i, name in enumerate(names):
            rows = slice(i * config.seeds, (i + 1) * config.seeds)
            for quantity in ("modes", "good", "largest"):
                arrays[f"{name}/{quantity}"] = np.float32(getattr(seen, quantity)[rows])
            arrays[f"{name}/broken_at"] = seen.broken_at[rows]
            if name in RECOUNTED:
                arrays[f"{name}/real"] = collapse.counted_real(arms[name].data, seeds)
            if name in panels.SHOWN:
                modes, good = arrays[f"{name}/modes"], arrays[f"{name}/good"]
                shown = middle_seed(modes[:, -1], good[:, -1])
                arrays[f"{name}/shown"] = shown
                arrays[f"{name}/samples"] = np.float16(seen.samples[rows][shown, -1])
    return {}, arrays


def middle_seed(modes: np.ndarray, good: np.ndarray) -> int:
    """Return the seed in the middle: by the modes [S] it has, and by its good samples [S]."""
    order = np.lexsort((good, modes))
    return int(order[len(order) // 2])


def _settings(config: Config, arm: Arm) -> list[collapse.Setting]:
    """Return an arm's settings, one a seed."""
    first = config.first_seed + arm.replicate * REPLICATED
    numbers = config.learning_rate, arm.slowness, arm.momentum, arm.gamma
    return [
        collapse.Setting(
            np.int32(seed),
            *(np.float32(number) for number in numbers),
            np.bool_(arm.wide),
            arm.data.centers,
            arm.data.deviation,
        )
        for seed in range(first, first + config.seeds)
    ]


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims and the questions beside them; the rules are fixed here."""
    del config
    metz, question = "Metz et al. 2017", "question of this gallery"

    def last(arm: str, quantity: str = "modes") -> Statistic:
        return lambda record: record.arrays[f"{arm}/{quantity}"][:, -1]

    def gain(arm: str, over: str) -> Statistic:
        return lambda record: last(arm)(record) - last(over)(record)

    return [
        Claim(
            "covers",
            question,
            "Ring, equal rates, beta1 .5: a plain GAN captures more than 7 of 8 modes",
            last("plain"),
            Greater(7.0),
            needs=("plain",),
        ),
        Claim(
            "covers-badly",
            question,
            "Ring, equal rates: less than a quarter of the samples is good",
            last("plain", "good"),
            Less(0.25),
            needs=("plain",),
        ),
        Claim(
            "no-difference",
            "negative control",
            "Ring, equal rates: other draws change the number of modes by less than one",
            gain("again", "plain"),
            Equivalent(1.0),
            needs=("again", "plain"),
        ),
        Claim(
            "wide-loses",
            question,
            "Ring, equal rates: nets that start steeper, with He's weights and points divided by "
            "2 and not 4, lose modes (with less without)",
            gain("wide", "plain"),
            Less(0.0),
            needs=("wide", "plain"),
        ),
        Claim(
            "slow-loses",
            f"{metz}, section 3.1 (an optimal discriminator is out of reach)",
            "Ring: a discriminator ten times slower loses modes (with less without)",
            gain("slow", "plain"),
            Less(0.0),
            needs=("slow", "plain"),
        ),
        Claim(
            "momentum-loses",
            "Radford et al. 2016, section 3",
            "Ring: beta1 .9 in place of .5 loses modes (with less without)",
            gain("momentum", "plain"),
            Less(0.0),
            needs=("momentum", "plain"),
        ),
        Claim(
            "grid-slow-loses",
            f"{metz}, section 3.1 (an optimal discriminator is out of reach)",
            "Grid of 25: a discriminator ten times slower loses modes (with less without)",
            gain("grid_slow", "grid"),
            Less(0.0),
            needs=("grid_slow", "grid"),
        ),
        Claim(
            "r1-slow",
            question,
            "Ring, slow discriminator: R1 of .1 changes the number of modes by less than two",
            gain("slow_r1", "slow"),
            Equivalent(2.0),
            needs=("slow_r1", "slow"),
        ),
        Claim(
            "r1-beta1",
            question,
            "Ring, beta1 .9: R1 of .1 changes the number of modes by less than two",
            gain("momentum_r1", "momentum"),
            Equivalent(2.0),
            needs=("momentum_r1", "momentum"),
        ),
        Claim(
            "strong-r1",
            "Mescheder et al. 2018, abstract",
            "Ring, slow discriminator: R1 of 10 brings back modes (with less without)",
            gain("slow_r1_strong", "slow"),
            Greater(0.0),
            needs=("slow_r1_strong", "slow"),
        ),
        Claim(
            "unrolling",
            f"{metz}, section 3.1",
            "Ring, slow discriminator: a generator that looks five moves ahead captures more "
            "modes (with less without)",
            gain("slow_unrolled", "slow"),
            Greater(0.0),
            needs=("slow_unrolled", "slow"),
        ),
        Claim(
            "eight",
            question,
            "Our ring of 8: in 2,500 real points 8 modes are counted",
            lambda record: record.arrays["plain/real"],
            Within(8.0, 0.1),
            "theory",
            needs=("plain",),
        ),
        Claim(
            "seven",
            "authors' notebook of Metz et al. 2017 (8 angles from 0 to 2 pi, both ends)",
            "Its ring of 8: even in 2,500 real points 7 modes are counted, by the same 8 centers",
            lambda record: record.arrays["closed/real"],
            Within(7.0, 0.1),
            "theory",
            needs=("closed",),
        ),
    ]


def plot(record: Record, config: Config) -> Figure:
    """Draw samples of three arms, modes and good share along training, and modes at the end."""
    figure, axes = plots.new_figure(1, 1, 8.4)
    axes[0, 0].remove()
    rows = figure.add_gridspec(2, 1, height_ratios=(1, 1.15))
    labels = {name: arm.label for name, arm in ARMS.items()}
    steps = config.steps_between * np.arange(1, config.looks + 1)
    with plots.style():
        for place, name in zip(rows[0].subgridspec(1, 3), panels.SHOWN, strict=True):
            panels.draw_samples(figure.add_subplot(place), record, name, labels[name], RING)
        places = rows[1].subgridspec(1, 3)
        panels.draw_modes(figure.add_subplot(places[0]), record, steps)
        panels.draw_good(figure.add_subplot(places[1]), record, steps)
        panels.draw_ends(figure.add_subplot(places[2]), record, labels)
    title = plots.headline(
        record,
        {
            ("slow-loses", "unrolling"): "A slow discriminator loses modes; a generator that "
            "looks ahead gets them back",
            "slow-loses": "A slow discriminator loses modes of a ring",
        },
        "Which GANs lose modes of a ring",
    )
    return plots.finish(
        figure,
        record,
        title,
        net=f"MLPs of {config.hidden_layers} layers of {config.width}, leaky ReLU",
        optimizer=f"Adam, rate {config.learning_rate:g}, batch {config.batch_size}",
        paper="Metz et al. 2017, Srivastava et al. 2017",
        data="Ring of 8 (radius 2, deviation .02; black: where a sample is good; samples of the "
        "seed in the middle)",
    )


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
