"""The GAN objective: what the best discriminator answers, what it is worth, which gradient lives.

Sources: Goodfellow et al. 2014, "Generative adversarial nets" (arXiv 1406.2661), propositions and
theorems of section 4; Arjovsky & Bottou 2017 (arXiv 1701.04862), theorems 2.4 to 2.6. Source:
Wilks 1938, for what a fitted discriminator gains by chance. Claim in one sentence: the best
discriminator is p / (p + q), worth -log 4 + 2 JSD, and before it the saturating loss's gradient
dies as exp(-d^2 / 8) with the distance d, the non-saturating one's does not.

Command: make exp-gan-objective (under a minute on two cores, no data).

Data are N(0, 1), the generator's examples N(d, 1): everything is then an integral over a line.
Discriminators are trained by the very steps that train GANs, on fresh points; their worth is the
integral too, so nothing is left to a sample. Against them stands a discriminator that sees the same
500 points a side, of 16 dimensions, again and again while p = q: the value that it reports of its
own points is no distance at all.

Pitfalls: a value above -log 4 is no sign of a distance until it exceeds what k free directions gain
by chance, k / 2n. Losses are computed from logits: by log(1 - D) the last rows would be infinite.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping

import numpy as np

from experiments.generating import _line as line
from experiments.generating import _line_panels as panels
from jaxvision import cli
from jaxvision.fields import flagged, seeds_of
from jaxvision.generative.losses import NON_SATURATING, SATURATING, Objective
from jaxvision.report import plots
from jaxvision.report.claims import Claim, Greater, Less, Within
from jaxvision.report.record import Record
from jaxvision.types import Figure


@dataclasses.dataclass(frozen=True)
class Known:
    """What is known of N(0, 1) and N(d, 1), by quadrature to six digits.

    Attributes:
      jsd: Jensen-Shannon divergence in nats.
      saturating: that loss's slope by d before the best discriminator.
      non_saturating: likewise.
      trained: whether discriminators are trained at this distance.
    """

    jsd: float
    saturating: float
    non_saturating: float
    trained: bool = False


DISTANCES = {
    0.0: Known(0.0, 0.0, 0.0, trained=True),
    0.5: Known(0.030311, 0.235264, 0.264736),
    1.0: Known(0.111421, 0.397973, 0.602027, trained=True),
    2.0: Known(0.336831, 0.449600, 1.550400, trained=True),
    3.0: Known(0.526777, 0.295864, 2.704136),
    4.0: Known(0.632720, 0.137195, 3.862805, trained=True),
    6.0: Known(0.689298, 0.012453, 5.987547),
    8.0: Known(0.693054, 0.000393, 7.999607),
}
LOSSES = {"saturating": SATURATING, "non_saturating": NON_SATURATING}
# What is measured beside the gradients of LOSSES; "overfitted" is one discriminator of few points.
PARTS = ("divergence", "trained", "overfitted", "chance")
TRAINED = tuple(distance for distance, known in DISTANCES.items() if known.trained)
NOTHING = -np.log(4)  # the value where nobody can tell


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    seeds: int = flagged(6, "Discriminators at each distance.", low=2, high=1000)
    first_seed: int = flagged(900, "First of them.", low=0, high=10**9)
    width: int = flagged(32, "Units of their two hidden layers.", low=2, high=1024)
    steps: int = flagged(1500, "Steps, of Adam.", low=30, high=10**6)
    batch_size: int = flagged(512, "Points a side in a step.", low=2, high=65_536)
    points: int = flagged(500, "Points a side that the overfitted one has.", low=10, high=10_000)
    chances: int = flagged(100, "Fits by chance of each seed.", low=2, high=10_000)


PRESETS = {
    "tiny": Config(seeds=2, first_seed=0, width=8, steps=30, batch_size=64, points=50, chances=10),
    "cpu": Config(),
    "gpu": Config(seeds=20, width=128, steps=10_000, batch_size=2048, chances=1000),
    "paper": Config(seeds=20, width=128, steps=20_000, batch_size=4096, chances=1000),
}


def measure(
    config: Config,
    progress: cli.ShowProgress,
    losses: Mapping[str, Objective] = LOSSES,
    labels: int = 1,
    parts: tuple[str, ...] = PARTS,
) -> tuple[dict, dict]:
    """Return gradients by distance, discriminators and what they are worth.

    ``labels``: -1 tells the discriminators that real is generated and generated real.
    """
    arrays = {}
    distances = np.array(list(DISTANCES))
    with progress(3, "discriminators") as bar:
        for name, objective in losses.items():
            arrays[f"gradient/{name}"] = line.gradients(objective, distances)
        if "divergence" in parts:
            arrays["jsd"] = np.array([line.jensen_shannon(distance) for distance in distances])
        setting = line.Setting(config.width, config.steps, config.batch_size, labels)
        if "trained" in parts:
            fresh = line.trained(setting, TRAINED, config.seeds, config.first_seed)
            arrays |= {"fresh/logits": fresh.logits, "fresh/value": fresh.value}
        bar.advance(1)
        if "overfitted" in parts:
            setting = setting._replace(batch_size=config.points)
            again = line.overfitted(setting, config.seeds, config.first_seed)
            arrays |= {"again/own": again.own, "again/true": again.true}
        bar.advance(1)
        if "chance" in parts:
            gained = [
                line.gained_by_chance(seed, config.chances, config.points)
                for seed in seeds_of(config)
            ]
            arrays["chance"] = np.array(gained)
        bar.advance(1)
    return {}, {name: np.float32(array) for name, array in arrays.items()}


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims; the rules are fixed here."""
    goodfellow, arjovsky = "Goodfellow et al. 2014", "Arjovsky & Bottou 2017"
    known = list(DISTANCES.values())
    distances = np.array(list(DISTANCES))

    def gap(name: str) -> Callable[[Record], float]:
        """Return the largest difference of a gradient from what is known, over distances."""

        def largest(record: Record) -> float:
            wanted = np.array([getattr(each, name) for each in known])
            return float(np.abs(record.arrays[f"gradient/{name}"] - wanted).max())

        return largest

    def both(record: Record) -> float:
        total = sum(record.arrays[f"gradient/{name}"] for name in LOSSES)
        return float(np.abs(total - distances).max())

    def last(name: str) -> Callable[[Record], float]:
        return lambda record: float(record.arrays[f"gradient/{name}"][-1])

    def value_gap(record: Record) -> np.ndarray:
        """Return the largest difference of the value from -log 4 + 2 JSD over distances, [S]."""
        wanted = np.array([NOTHING + 2 * DISTANCES[distance].jsd for distance in TRAINED])
        return np.abs(record.arrays["fresh/value"] - wanted).max(1)

    def wrong_by(record: Record) -> np.ndarray:
        """Return the mean distance from p / (p + q) over all points, the worst distance's, [S]."""
        return line.mean_gap(record.arrays["fresh/logits"], TRAINED).max(1)

    asymptote = np.sqrt(np.pi / 2) * np.exp(-(distances[-1] ** 2) / 8)
    return [
        Claim(
            "optimal",
            f"{goodfellow}, proposition 1",
            "A trained discriminator answers p / (p + q) (mean difference over all points, the "
            "worst of four distances)",
            wrong_by,
            Within(0.0, 0.02),
            "theory",
            needs=("trained",),
        ),
        Claim(
            "value",
            f"{goodfellow}, theorem 1",
            "A trained discriminator is worth -log 4 + 2 JSD (largest difference over four "
            "distances, nats)",
            value_gap,
            Within(0.0, 0.01),
            "theory",
            needs=("trained",),
        ),
        Claim(
            "divergence",
            f"{goodfellow}, theorem 1",
            "The Jensen-Shannon divergence by its definition is what six digits say (largest "
            "difference over eight distances, nats)",
            lambda r: float(np.abs(r.arrays["jsd"] - [each.jsd for each in known]).max()),
            Within(0.0, 2e-6),
            "theory",
            needs=("divergence",),
        ),
        Claim(
            "saturating",
            f"{arjovsky}, theorem 2.4",
            "Saturating: before the best discriminator the gradient by d is d E_q[D] (largest "
            "difference over eight distances)",
            gap("saturating"),
            Within(0.0, 1e-4),
            "theory",
            needs=("saturating",),
        ),
        Claim(
            "non-saturating",
            f"{arjovsky}, theorem 2.5",
            "Non-saturating: before the best discriminator the gradient by d is d E_q[1 - D] "
            "(largest difference over eight distances)",
            gap("non_saturating"),
            Within(0.0, 1e-4),
            "theory",
            needs=("non_saturating",),
        ),
        Claim(
            "sum",
            f"{arjovsky}, theorem 2.5",
            "Both gradients add up to d, that of KL(q | p) (largest difference)",
            both,
            Within(0.0, 1e-4),
            "theory",
            needs=("saturating", "non_saturating"),
        ),
        Claim(
            "dies",
            f"{arjovsky}, theorem 2.4",
            "Saturating: at d = 8 the gradient has died as sqrt(pi / 2) exp(-d^2 / 8) (over that)",
            lambda r: last("saturating")(r) / asymptote,
            Within(1.0, 0.1),
            "theory",
            needs=("saturating",),
        ),
        Claim(
            "lives",
            f"{arjovsky}, theorem 2.5",
            "Non-saturating: at d = 8 the gradient is d (over that)",
            lambda r: last("non_saturating")(r) / distances[-1],
            Within(1.0, 1e-3),
            "theory",
            needs=("non_saturating",),
        ),
        Claim(
            "chance",
            "Wilks 1938",
            f"p = q, {config.points} points a side: n (V + log 4) of a fit with two free "
            "directions is 1 on average, so V exceeds -log 4 by chance",
            lambda r: r.arrays["chance"],
            Within(1.0, 0.15),
            "theory",
            needs=("chance",),
        ),
        Claim(
            "overfitted",
            "question beside Goodfellow et al. 2014",
            f"p = q: of the {config.points} points a side that it sees again and again, a "
            "discriminator reports a divergence above .1 nats",
            lambda r: (r.arrays["again/own"][:, -1] - NOTHING) / 2,
            Greater(0.1),
            needs=("overfitted",),
        ),
        Claim(
            "overfitted-fresh",
            "question beside Goodfellow et al. 2014",
            f"p = q: on {line.FRESH:,} other points a side the same discriminator is worth less "
            "than one that knows nothing (value plus log 4)",
            lambda r: r.arrays["again/true"][:, -1] - NOTHING,
            Less(0.0),
            needs=("overfitted",),
        ),
    ]


def plot(record: Record, config: Config) -> Figure:
    """Draw the answers, the value, both gradients by distance, and the overfitted value."""
    figure, axes = plots.new_figure(2, 2, 8.6)
    with plots.style():
        panels.draw_answers(axes[0, 0], record, TRAINED)
        panels.draw_values(axes[0, 1], record, TRAINED)
        panels.draw_gradients(axes[1, 0], record, np.array(list(DISTANCES)))
        panels.draw_overfitted(axes[1, 1], record, config.steps, config.points)
    title = plots.headline(
        record,
        {
            ("value", "dies", "lives"): "The best discriminator measures a distance; far apart, "
            "one loss has no gradient left and the other has all of it"
        },
        "What a discriminator answers, what it is worth, and the gradients behind it",
    )
    return plots.finish(
        figure,
        record,
        title,
        net=f"MLPs 1-{config.width}-{config.width}-1",
        optimizer="Adam, rate .002",
        paper="Goodfellow et al. 2014, Arjovsky & Bottou 2017",
        data="N(0, 1) against N(d, 1)",
    )


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
