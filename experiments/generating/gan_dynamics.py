"""Dynamics of GANs: which games circle, which fall in, and how fast.

Sources: Mescheder, Geiger & Nowozin 2018, "Which training methods for GANs do actually converge?"
(arXiv 1801.04406); Gidel et al. 2018 (arXiv 1807.04740); Berard et al. 2020 (arXiv 1906.04848).
Source: Huang et al. 2024 (R3GAN, arXiv 2501.05441), equation 12. Claim in one sentence: a GAN is a
rotation, so its circles, spirals and their damping by R1 follow from eigenvalues; where these are
imaginary they decide nothing, and the non-saturating flow converges anyway.

Command: make exp-gan-dynamics (under 2 minutes on two cores, no data).

The Dirac-GAN has one number a player: theta of the generator, psi of the discriminator, data at 0.
Everything about it is held to closed forms: flows by Runge and Kutta's method, steps by the very
functions that train nets. The penalty R1 is gamma / 2 times the squared slope, as in the paper; its
authors' code leaves out the half. A small GAN for a ring of 8 shows what of this is left in nets:
the whole Jacobian of its game, looked at along training by Adam on full batches.

Pitfalls: Berard et al. look at the field of the gradients, here it has the sign of the descent; the
Jacobian needs the mixed derivatives, which a ``stop_gradient`` around generated examples would
remove.
"""

import dataclasses
import sys
from collections.abc import Mapping

import numpy as np

from experiments.generating import _dirac as dirac
from experiments.generating import _dynamics as dynamics
from experiments.generating import _dynamics_panels as panels
from experiments.generating import _planes as planes
from experiments.generating import _small_gan as small_gan
from experiments.generating._dynamics_claims import claims_of
from jaxvision import cli
from jaxvision.fields import flagged
from jaxvision.generative.game import Step, alternating, simultaneous
from jaxvision.report import plots
from jaxvision.report.claims import Claim
from jaxvision.report.record import Record
from jaxvision.types import Figure


@dataclasses.dataclass(frozen=True)
class Row:
    """A game of the Dirac-GAN.

    Attributes:
      label: in the figure.
      rules: what it is.
      drag: of its discriminator at rest, what its eigenvalues are computed from.
    """

    label: str
    rules: dirac.Rules
    drag: float = 0.0


GAMES = {
    "saturating": Row("saturating", dirac.rules(0)),
    "non_saturating": Row("non-saturating", dirac.rules(1)),
    "wasserstein": Row("Wasserstein", dirac.rules(2)),
    "r1": Row("R1", dirac.rules(0, gamma=0.3), drag=0.3),
    "noise": Row("instance noise", dirac.rules(0, sigma=0.7), drag=0.7**2 / 2),
    "clipped": Row("Wasserstein, clipped", dirac.rules(2, clip=1.0)),
    "penalty": Row("WGAN-GP", dirac.rules(2, penalty=1.0)),
}
# What is measured of GAMES, all of them side by side, and of small GANs.
PARTS = ("portraits", "eigenvalues", "flows", "steps", "small_gans")
ORDERS: dict[str, Step] = {"simultaneous": simultaneous, "alternating": alternating}


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    seeds: int = flagged(12, "Starts of each Dirac-GAN, and small GANs.", low=2, high=1000)
    first_seed: int = flagged(900, "First of them.", low=0, high=10**9)
    seconds: int = flagged(200, "Time that each flow runs.", low=20, high=10_000)
    width: int = flagged(8, "Units of the small GAN's hidden layers.", low=2, high=32)
    hidden_layers: int = flagged(2, "How many each of its nets has.", low=1, high=8)
    points: int = flagged(256, "Its data, all of them in every step.", low=1, high=65_536)
    learning_rate: float = flagged(0.002, "Adam's, of both players.", low=0)
    looks: int = flagged(4, "Looks at it after the one at the start.", low=1, high=100)
    steps_between: int = flagged(600, "Steps between two looks.", low=1, high=10**6)


PRESETS = {
    "tiny": Config(
        seeds=2,
        first_seed=0,
        seconds=40,
        width=4,
        hidden_layers=1,
        looks=1,
        steps_between=5,
    ),
    "cpu": Config(),
    "gpu": Config(seeds=20, width=16, points=512, looks=8, steps_between=2500),
    "paper": Config(
        seeds=20,
        width=16,
        hidden_layers=4,
        points=512,
        learning_rate=1e-4,
        steps_between=12_500,
    ),
}


def measure(
    config: Config,
    progress: cli.ShowProgress,
    games: Mapping[str, Row] = GAMES,
    orders: Mapping[str, Step] = ORDERS,
    slope_of_r1: float = 1.0,
    parts: tuple[str, ...] = PARTS,
) -> tuple[dict, dict]:
    """Return rates of the Dirac-GANs, their paths, and spectra of the small GAN.

    ``slope_of_r1``: what gamma is multiplied by wherever it is swept.
    """
    rules = {name: row.rules for name, row in games.items()}
    starts = dynamics.starts_of(config.first_seed, config.seeds)
    arrays = {}
    with progress(4, "games") as bar:
        if "portraits" in parts:
            arrays |= dynamics.portraits(rules, orders)
        if "eigenvalues" in parts:
            arrays |= dynamics.eigenvalues_of(rules, slope_of_r1)
        bar.advance(1)
        if "flows" in parts:
            arrays |= dynamics.flowing(rules, starts, config.seconds, slope_of_r1)
        bar.advance(1)
        if "steps" in parts:
            arrays |= dynamics.stepping(rules, orders, starts, config.seconds)
        bar.advance(1)
        if "small_gans" in parts:
            arrays |= _of_small_gans(config, slope_of_r1)
        bar.advance(1)
    return {}, {name: np.float32(array) for name, array in arrays.items()}


def _of_small_gans(config: Config, slope_of_r1: float) -> dict[str, np.ndarray]:
    """Return the spectra of the small GANs, with R1 and without."""
    gammas = tuple(slope_of_r1 * gamma for gamma in dynamics.SMALL_GAMMAS)
    setting = small_gan.Setting(
        planes.Shape(4, config.width, config.hidden_layers),
        config.points,
        config.learning_rate,
        config.steps_between,
        config.looks,
    )
    return dynamics.told(small_gan.seen(setting, gammas, config.seeds, config.first_seed))


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims; the rules are fixed in ``_dynamics_claims``."""
    del config
    return claims_of({name: row.drag for name, row in GAMES.items()})


def plot(record: Record, config: Config) -> Figure:
    """Draw three portraits, the damping by R1, momentum, and the small GAN's spectrum."""
    figure, axes = plots.new_figure(2, 3, 8.2)
    labels = {name: row.label for name, row in GAMES.items()}
    with plots.style():
        panels.draw_portraits(axes[0], record, labels)
        panels.draw_damping(axes[1, 0], record)
        panels.draw_momentum(axes[1, 1], record)
        panels.draw_spectrum(axes[1, 2], record)
    title = plots.headline(
        record,
        {
            ("circle", "falls-in", "r1-rates"): "A GAN is a rotation: one loss circles, one falls "
            "in, and R1 damps it at the rate that theory says"
        },
        "Where three games of a generator and a discriminator go",
    )
    return plots.finish(
        figure,
        record,
        title,
        net=f"Top: Dirac-GAN. Bottom right: tanh nets of {config.width} units",
        optimizer="Gradient steps of .2; small GAN: Adam, by turns",
        paper="Mescheder et al. 2018, Gidel et al. 2018, Berard et al. 2020",
        data="Data at 0; a ring of 8 modes",
    )


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
