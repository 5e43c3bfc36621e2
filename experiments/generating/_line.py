"""GANs on a line: data N(0, 1), generated points N(d, 1), every mean an integral."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy
from jax import lax

from experiments.generating import _planes as planes
from jaxvision.generative import losses
from jaxvision.generative.contest import Contest, Nets
from jaxvision.generative.losses import SATURATING, Objective
from jaxvision.generative.players import Player, PlayerState, Variables, gradient, moved
from jaxvision.random import stream
from jaxvision.training.mapping import over_seeds
from jaxvision.types import Array, PyTree

GRID = np.linspace(-8.0, 12.0, 801)  # holds all of N(0, 1) and of N(4, 1)
STEP = GRID[1] - GRID[0]
RATE = 0.002
LOOKS = 30  # at a discriminator along its training
DIMENSIONS = 16  # of the points of overfitted ones
FRESH = 4096  # points a side that they are held to


class Setting(NamedTuple):
    """How a discriminator is trained.

    Attributes:
      width: units of its two hidden layers.
      steps: of Adam.
      batch_size: points a side.
      labels: 1, or -1 where real and generated are taken for one another.
    """

    width: int
    steps: int
    batch_size: int
    labels: int = 1


class Fresh(NamedTuple):
    """Discriminators of S seeds at D distances, trained on fresh points."""

    logits: np.ndarray  # [S, D, GRID]
    value: np.ndarray  # [S, D] nats


class Again(NamedTuple):
    """Discriminators of S seeds that see the same points again, p = q; nats, [S, LOOKS + 1]."""

    own: np.ndarray  # the value of the points it has
    true: np.ndarray  # of as good as all points there are


def best_logit(x: np.ndarray, distance: float) -> np.ndarray:
    """Return the logit of p / (p + q), like x: d^2 / 2 - d x."""
    return distance**2 / 2 - distance * x


def jensen_shannon(distance: float) -> float:
    """Return JSD(N(0, 1), N(d, 1)) in nats by its definition, on a grid."""
    x = np.linspace(
        -12.0,
        12.0 + distance,
        8001,
    )
    logs = scipy.stats.norm.logpdf(x), scipy.stats.norm.logpdf(x, distance)
    middle = np.logaddexp(*logs) - np.log(2)
    terms = [np.exp(one) * (one - middle) for one in logs]
    return float(sum(terms).sum() * (x[1] - x[0]) / 2)


def gradients(objective: Objective, distances: np.ndarray) -> np.ndarray:
    """Return the slope of the generator's loss by d before the best discriminator, [D].

    Above zero: the generator, which goes down, comes nearer.
    """
    noise = np.linspace(-10.0, 10.0, 4001)
    weights = scipy.stats.norm.pdf(noise) / scipy.stats.norm.pdf(noise).sum()

    def loss(shift: Array, distance: Array) -> Array:
        logits = distance**2 / 2 - distance * (np.float32(noise) + shift)
        return objective.generator(logits) @ np.float32(weights)

    found = jax.jit(jax.vmap(jax.grad(loss)))(np.float32(distances), np.float32(distances))
    return np.asarray(found)


def value_of(logits: np.ndarray, distance: np.ndarray | float) -> np.ndarray:
    """Return the value in nats of ``logits`` [..., GRID], an integral, [...]."""
    real = scipy.special.log_expit(logits) @ scipy.stats.norm.pdf(GRID)
    fake = np.sum(scipy.special.log_expit(-logits) * scipy.stats.norm.pdf(GRID, distance), -1)
    return (real + fake) * STEP


def mean_gap(logits: np.ndarray, distances: tuple[float, ...]) -> np.ndarray:
    """Return the mean of |D - p / (p + q)| over points of both kinds, [S, D]."""
    gaps = []
    for i, distance in enumerate(distances):
        weights = (scipy.stats.norm.pdf(GRID) + scipy.stats.norm.pdf(GRID, distance)) / 2 * STEP
        best = scipy.special.expit(best_logit(GRID, distance))
        gaps.append(np.abs(scipy.special.expit(np.float64(logits[:, i])) - best) @ weights)
    return np.stack(gaps, 1)


def trained(setting: Setting, distances: tuple[float, ...], seeds: int, first_seed: int) -> Fresh:
    """Train a discriminator for each seed and distance on fresh points."""
    one = partial(_trained, setting)
    logits = np.float64(
        over_seeds(
            one,
            seeds,
            np.float32(distances),
            first_seed,
        )
    )
    by_distance = [value_of(logits[:, i], distance) for i, distance in enumerate(distances)]
    return Fresh(logits, np.stack(by_distance, 1))


def _trained(setting: Setting, seed: Array, distances: Array) -> Array:
    def at(distance: Array) -> Array:
        contest = _contest(setting, lambda key: jax.random.normal(key, (setting.batch_size, 1)))

        def points(key: Array) -> Array:
            return jax.random.normal(key, (setting.batch_size, 1))

        state = _start(seed, setting, 1)
        base = stream(seed, "latent")
        state = _played(
            contest,
            state,
            distance,
            points,
            base,
            setting.steps,
        )
        return _judged(state.params, np.float32(GRID)[:, None])

    return lax.map(at, distances)


def overfitted(setting: Setting, seeds: int, first_seed: int) -> Again:
    """Train a discriminator for each seed on the same points all the time, p = q.

    The points are in ``DIMENSIONS`` dimensions: on a line 500 of them leave no room to overfit.
    """
    return Again(
        *over_seeds(
            partial(_overfitted, setting),
            seeds,
            None,
            first_seed,
        )
    )


def _overfitted(setting: Setting, seed: Array, shared: None) -> tuple[Array, Array]:
    """Return the value of its own points and of fresh ones, [LOOKS + 1]."""
    del shared
    own_key, fresh_key = jax.random.split(stream(seed, "noise"))
    own = jax.random.normal(own_key, (2, setting.batch_size, DIMENSIONS))
    fresh = jax.random.normal(fresh_key, (2, FRESH, DIMENSIONS))
    contest = _contest(setting, lambda key: own[1])

    def value(state: PlayerState, points: Array) -> Array:
        real, fake = (_judged(state.params, half) for half in points)
        return losses.value(real, fake)

    def stretch(state: PlayerState, look: Array) -> tuple[PlayerState, tuple[Array, Array]]:
        now = value(state, own), value(state, fresh)
        steps = setting.steps // LOOKS
        base = stream(seed, "latent", look)
        return _played(
            contest,
            state,
            jnp.float32(0),
            lambda key: own[0],
            base,
            steps,
        ), now

    start = _start(seed, setting, DIMENSIONS)
    return lax.scan(
        stretch,
        start,
        jnp.arange(LOOKS + 1),
    )[1]


def _judged(params: PyTree, points: Array) -> Array:
    return planes.dense(
        params,
        points,
        jax.nn.leaky_relu,
    )[:, 0]


def _contest(setting: Setting, latent: Callable[[Array], Array]) -> Contest:
    def generate(variables: Variables, codes: Array) -> tuple[Array, PyTree]:
        return codes + variables["params"], {}

    def judge(variables: Variables, points: Array) -> tuple[Array, PyTree]:
        return setting.labels * _judged(variables["params"], points), {}

    return Contest(Nets(generate, judge, latent), SATURATING)


OPTIMIZER = optax.adam(RATE)


def _start(seed: Array, setting: Setting, dimensions: int) -> PlayerState:
    sizes = (dimensions, setting.width, setting.width, 1)
    count = (dimensions + setting.width + 1) * setting.width
    draws = jax.random.normal(stream(seed, "init"), (count,))
    params, _ = planes.layers(draws, sizes)
    return PlayerState(
        params,
        {},
        OPTIMIZER.init(params),
        jnp.int32(-1),
    )


def _played(
    contest: Contest,
    state: PlayerState,
    distance: Array,
    points: Callable[[Array], Array],
    base: Array,
    steps: int,
) -> PlayerState:
    """Return the discriminator after some moves; the generator stays where it is."""
    player = Player(contest.discriminator, OPTIMIZER)
    stays = PlayerState(
        distance,
        {},
        (),
        jnp.int32(-1),
    )

    def move(state: PlayerState, step: Array) -> tuple[PlayerState, None]:
        points_key, key = jax.random.split(jax.random.fold_in(base, step))
        found = gradient(
            player,
            state,
            stays,
            points(points_key),
            key,
        )
        return moved(player, state, found, step), None

    return lax.scan(
        move,
        state,
        jnp.arange(steps),
    )[0]


def gained_by_chance(seed: int, fits: int, points: int) -> float:
    """Return the mean of n (V + log 4) over logistic fits on (1, x, x^2) where p = q.

    The intercept is free too, but gains nothing, for both sides have n points: the other two
    directions gain half a chi-squared variable of two degrees.
    """
    draws = np.random.default_rng(seed).normal(size=(fits, 2 * points))
    features = np.stack([np.ones_like(draws), draws, draws**2 - 1], -1)
    labels = np.repeat([1.0, 0.0], points)
    weights = np.zeros((fits, 3))
    for _ in range(8):  # Newton's method
        answers = scipy.special.expit(
            np.einsum(
                "fnk,fk->fn",
                features,
                weights,
            )
        )
        slope = np.einsum("fnk,fn->fk", features, labels - answers)
        spread = answers * (1 - answers)
        curvature = np.einsum(
            "fnk,fn,fnl->fkl",
            features,
            spread,
            features,
            optimize=True,
        )
        weights += np.linalg.solve(curvature, slope[..., None])[..., 0]
    logits = np.einsum("fnk,fk->fn", features, weights)
    value = (
        scipy.special.log_expit(logits[:, :points]) + scipy.special.log_expit(-logits[:, points:])
    ).mean(1)
    return float(points * np.mean(value + np.log(4)))
