"""A small GAN for a ring in the plane, and the spectrum of its game along training."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.generating import _mixtures as mixtures
from experiments.generating import _planes as planes
from jaxvision.generative import spectrum
from jaxvision.generative.game import alternating
from jaxvision.generative.losses import NON_SATURATING
from jaxvision.generative.players import Game, GameState, Player, initial_state
from jaxvision.random import stream
from jaxvision.training.mapping import over_seeds
from jaxvision.types import Array

RING = mixtures.ring(8, radius=1.0, deviation=0.1)


class Setting(NamedTuple):
    """What all runs share."""

    shape: planes.Shape
    points: int  # real ones, and codes: the same at every step, as in Berard et al. 2020
    rate: float
    steps: int  # between two looks
    looks: int  # after the one at the start


class Seen(NamedTuple):
    """Spectra of the games of S seeds with A strengths of R1, at L looks."""

    eigenvalues: np.ndarray  # complex [S, A, L, n]
    lowest: np.ndarray  # [S, A, L], of the Hessian of the generator's loss over its largest


def seen(setting: Setting, gammas: tuple[float, ...], seeds: int, first_seed: int) -> Seen:
    """Train and look."""
    strengths = np.float32(gammas)
    one = partial(_one_seed, setting)
    jacobians = over_seeds(one, seeds, strengths, first_seed)
    size = sum(leaf.size for leaf in jax.tree.leaves(_generator_of(setting)))
    hessians = -np.asarray(jacobians[..., :size, :size], np.float64)
    ends = np.linalg.eigvalsh((hessians + np.swapaxes(hessians, -1, -2)) / 2)
    return Seen(spectrum.eigenvalues(jacobians), ends[..., 0] / ends[..., -1])


def turning(eigenvalues: np.ndarray) -> np.ndarray:
    """Return the share of a spectrum [..., n] that turns: sum of |Im| over sum of |.|."""
    return np.abs(eigenvalues.imag).sum(-1) / np.abs(eigenvalues).sum(-1)


def _generator_of(setting: Setting) -> planes.Layers:
    return jax.eval_shape(lambda: planes.variables(stream(0, "init"), setting.shape))[0]["params"]


def _game(setting: Setting, gamma: Array) -> Game:
    contest = planes.contest(setting.shape, setting.points, NON_SATURATING, gamma, jnp.tanh)
    optimizer = optax.adam(setting.rate, b1=0.5)
    return Game(Player(contest.generator, optimizer), Player(contest.discriminator, optimizer))


def _one_seed(setting: Setting, seed: Array, gammas: Array) -> Array:
    """Return the Jacobians [A, L, n, n] of one seed's games, which have full batches."""
    real = RING.sample(stream(seed, "noise"), setting.points)

    def codes() -> Array:
        return stream(seed, "latent")  # the same at every step: so are the codes

    def of_gamma(gamma: Array) -> Array:
        game = _game(setting, gamma)
        start = initial_state(game, *planes.variables(stream(seed, "init"), setting.shape))

        def step(state: GameState, _: None) -> tuple[GameState, None]:
            return alternating(game, state, real, codes())[0], None

        def stretch(state: GameState, _: None) -> tuple[GameState, Array]:
            field = spectrum.field(game, state, real, codes())
            found = spectrum.jacobian(field.velocity, field.point)
            state, _ = jax.lax.scan(step, state, None, setting.steps)
            return state, found

        return jax.lax.scan(stretch, start, None, setting.looks + 1)[1]

    return jax.lax.map(of_gamma, gammas)
