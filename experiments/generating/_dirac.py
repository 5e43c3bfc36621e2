"""The Dirac-GAN: one number against one number, and all its games in one program.

Mescheder, Geiger & Nowozin 2018 (arXiv 1801.04406): all data lie at 0, the generator puts all its
mass at theta, the discriminator is D(x) = psi x, positive for real. So a place is (theta, psi).
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.flatten_util import ravel_pytree

from jaxvision import runtime
from jaxvision.generative import spectrum
from jaxvision.generative.game import Step
from jaxvision.generative.losses import NON_SATURATING, SATURATING, WASSERSTEIN
from jaxvision.generative.players import (
    Aside,
    Cost,
    Game,
    GameState,
    Player,
    Variables,
    initial_state,
)
from jaxvision.generative.regularizers import gradient_penalty, r1
from jaxvision.random import stream
from jaxvision.types import Array, PyTree

OBJECTIVES = (SATURATING, NON_SATURATING, WASSERSTEIN)
NODES = 24  # of the quadrature over instance noise
# Of Runge and Kutta's step: how far ahead each slope is taken, and its weight.
STAGES = np.float32([(0, 1 / 6), (1 / 2, 1 / 3), (1 / 2, 1 / 3), (1, 1 / 6)])


class Rules(NamedTuple):
    """What a game is; the fields may be traced, so that all games share a program."""

    objective: Array  # [3], one of them 1: which of ``OBJECTIVES``
    gamma: Array  # of R1
    sigma: Array  # of instance noise
    penalty: Array  # on slopes that are not 1
    clip: Array  # largest |psi|, infinite where there is none
    rate: Array  # of a step
    momentum: Array  # of either player


def rules(
    objective: int,
    gamma: float = 0.0,
    sigma: float = 0.0,
    penalty: float = 0.0,
    clip: float = np.inf,
    rate: float = 0.2,
    momentum: float = 0.0,
) -> Rules:
    """Return one game's rules; ``objective``: its place in ``OBJECTIVES``."""
    chosen = np.eye(len(OBJECTIVES), dtype=np.float32)[objective]
    others = gamma, sigma, penalty, clip, rate, momentum
    return Rules(chosen, *map(np.float32, others))


def stacked(games: Sequence[Rules]) -> Rules:
    """Return N games as one, fields [N, ...]."""
    return Rules(*(np.stack(values) for values in zip(*games, strict=True)))


def game_of(rules: Rules) -> Game:
    """Return the players. The mean over instance noise is taken by quadrature, not by draws."""
    generator = optax.sgd(rules.rate, rules.momentum)
    discriminator = optax.chain(optax.sgd(rules.rate, rules.momentum), _within(rules.clip))
    return Game(
        Player(_generator_cost(rules), generator),
        Player(_discriminator_cost(rules), discriminator),
    )


def _generator_cost(rules: Rules) -> Cost:
    noise, weights = _noise(rules)

    def cost(own: Variables, other: Variables, batch: PyTree, key: Array) -> tuple[Array, Aside]:
        del batch, key
        logits = other["params"] * (own["params"] + noise)
        losses = [objective.generator(logits) for objective in OBJECTIVES]
        return weights @ (rules.objective @ jnp.stack(losses)), Aside({}, {})

    return cost


def _discriminator_cost(rules: Rules) -> Cost:
    noise, weights = _noise(rules)

    def cost(own: Variables, other: Variables, batch: PyTree, key: Array) -> tuple[Array, Aside]:
        del batch, key
        psi = own["params"]
        fake = psi * (other["params"] + noise)
        losses = [each.real(psi * noise) + each.fake(fake) for each in OBJECTIVES]
        loss = weights @ (rules.objective @ jnp.stack(losses))
        at_data = jnp.zeros((1, 1))
        loss += r1(
            partial(_judge, psi),
            at_data,
            rules.gamma,
        )
        loss += gradient_penalty(
            partial(_judge, psi),
            at_data,
            rules.penalty,
        )
        return loss, Aside({}, {})

    return cost


def _judge(psi: Array, points: Array) -> Array:
    return psi * points[:, 0]


def _noise(rules: Rules) -> tuple[Array, Array]:
    """Return where instance noise may fall, and how much of it does, both [NODES]."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    return rules.sigma * np.float32(nodes), np.float32(weights / weights.sum())


def _within(limit: Array) -> optax.GradientTransformation:
    """Keep a number within +-``limit`` by projection after the step."""

    def update(updates: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
        return jnp.clip(
            params + updates,
            -limit,
            limit,
        ) - params, state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def state_at(game: Game, place: Array) -> GameState:
    """Return the state at a place [2]."""
    theta, psi = (
        {
            "params": number,
            "batch_stats": {},
        }
        for number in place
    )
    return initial_state(game, theta, psi)


def place_of(state: GameState) -> Array:
    """Return the place [2] of a state."""
    return jnp.stack([state.generator.params, state.discriminator.params])


def walks(step: Step, games: Rules, starts: np.ndarray, kept: int, thinned: int = 1) -> np.ndarray:
    """Return where N games are after every ``thinned`` steps, [N, kept + 1, 2].

    Args:
      step: the order of moves.
      games: fields [N, ...].
      starts: [N, 2].
      kept: places of each walk after the first.
      thinned: steps between two of them.
    """
    found = _walks(step, kept)(
        games,
        np.float32(starts),
        np.int32(thinned),
    )
    return np.concatenate([starts[:, None], found], 1)


def _walks(step: Step, kept: int) -> jax.stages.Wrapped:
    def walk(rules: Rules, start: Array, thinned: Array) -> Array:
        game = game_of(rules)

        def one(_: Array, state: GameState) -> GameState:
            return step(
                game,
                state,
                None,
                stream(0, "latent"),
            )[0]

        def stretch(state: GameState, _: None) -> tuple[GameState, Array]:
            state = lax.fori_loop(0, thinned, one, state)
            return state, place_of(state)

        return lax.scan(
            stretch,
            state_at(game, start),
            None,
            kept,
        )[1]

    return runtime.jit(jax.vmap(walk, (0, 0, None)))


def flows(games: Rules, starts: np.ndarray, seconds: float, kept: int) -> np.ndarray:
    """Return where the flow of N games is at times evenly up to ``seconds``, [N, kept + 1, 2].

    Runge and Kutta's method of fourth order, steps of at most a twentieth.
    """
    inner = int(np.ceil(20 * seconds / kept))
    length = np.float32(seconds / kept / inner)

    def flow(rules: Rules, start: Array) -> Array:
        velocity = _velocity(rules, start)

        def one(_: Array, place: Array) -> Array:
            def stage(slope: Array, ahead_and_weight: Array) -> tuple[Array, Array]:
                ahead, weight = ahead_and_weight
                slope = velocity(place + length * ahead * slope)
                return slope, weight * slope

            slopes = lax.scan(
                stage,
                jnp.zeros(2),
                STAGES,
            )[1]  # a loop: compiled once, not 4 times
            return place + length * slopes.sum(0)

        def stretch(place: Array, _: None) -> tuple[Array, Array]:
            place = lax.fori_loop(0, inner, one, place)
            return place, place

        return lax.scan(
            stretch,
            start,
            None,
            kept,
        )[1]

    found = runtime.jit(jax.vmap(flow))(games, np.float32(starts))
    return np.concatenate([starts[:, None], found], 1)


def _velocity(rules: Rules, place: Array) -> spectrum.VectorField:
    game = game_of(rules)
    return spectrum.field(
        game,
        state_at(game, place),
        None,
        stream(0, "latent"),
    ).velocity


def eigenvalues(games: Rules) -> np.ndarray:
    """Return the eigenvalues complex [N, 2] of the flow of N games at rest."""

    def at_rest(rules: Rules) -> Array:
        place = jnp.zeros(2)
        return spectrum.jacobian(_velocity(rules, place), place)

    return spectrum.eigenvalues(runtime.jit(jax.vmap(at_rest))(games))


def step_radii(step: Step, games: Rules) -> np.ndarray:
    """Return the spectral radius [N] of one step of N games at rest, their momentum included."""

    def of_step(rules: Rules) -> Array:
        game = game_of(rules)
        rest = state_at(game, jnp.zeros(2))

        def moving(state: GameState) -> PyTree:
            generator, discriminator = state.generator, state.discriminator
            places = generator.params, discriminator.params
            return *places, generator.opt_state, discriminator.opt_state

        flat, unravel = ravel_pytree(moving(rest))

        def after(numbers: Array) -> Array:
            theta, psi, *memories = unravel(numbers)
            generator = rest.generator._replace(params=theta, opt_state=memories[0])
            discriminator = rest.discriminator._replace(params=psi, opt_state=memories[1])
            there = rest._replace(generator=generator, discriminator=discriminator)
            moved, _ = step(
                game,
                there,
                None,
                stream(0, "latent"),
            )
            return ravel_pytree(moving(moved))[0]

        return jax.jacfwd(after)(flat)

    found = spectrum.eigenvalues(runtime.jit(jax.vmap(of_step))(games))
    return np.abs(found).max(-1)


# Closed forms.

SLOPE = 0.5  # f'(0) of f(t) = -log(1 + exp(-t))


def damped(drag: np.ndarray) -> np.ndarray:
    """Return the eigenvalues complex [..., 2] of x' = y/2, y' = -x/2 - drag y.

    R1 has the drag gamma, instance noise sigma^2 / 2. Mescheder et al. 2018, lemmas 3.3 and 3.2.
    """
    drag = np.asarray(drag, np.float64)
    root = np.sqrt(drag**2 / 4 - SLOPE**2 + 0j)
    return np.stack([-drag / 2 + root, -drag / 2 - root], -1)


def misprinted(gamma: np.ndarray) -> np.ndarray:
    """Return ``damped`` as equation 12 of Huang et al. 2024 prints it: without one square."""
    gamma = np.asarray(gamma, np.float64)
    root = np.sqrt(gamma**2 / 4 - SLOPE + 0j)
    return np.stack([-gamma / 2 + root, -gamma / 2 - root], -1)


def radius_at_once(rate: float, momentum: float) -> float:
    """Return the spectral radius of simultaneous heavy-ball steps on the rotation i / 2."""
    roots = np.roots([1, -(1 + momentum + 1j * SLOPE * rate), momentum])
    return float(np.abs(roots).max())


def radius_by_turns(rate: float, momentum: float) -> float:
    """Return that of alternating ones: ((z - 1)(z - momentum))^2 + (rate / 2)^2 z^3 = 0."""
    squared = np.polymul([1, -(1 + momentum), momentum], [1, -(1 + momentum), momentum])
    roots = np.roots(np.polyadd(squared, [(SLOPE * rate) ** 2, 0, 0, 0]))
    return float(np.abs(roots).max())
