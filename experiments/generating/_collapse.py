"""Many GANs for mixtures in the plane, seeds and settings in one program."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import PartitionSpec as P

from experiments.generating import _mixtures as mixtures
from experiments.generating import _planes as planes
from jaxvision import runtime
from jaxvision.generative.game import Step, alternating, unrolled
from jaxvision.generative.losses import NON_SATURATING
from jaxvision.generative.players import (
    Game,
    GameState,
    Player,
    Variables,
    initial_state,
)
from jaxvision.parallel.mesh import fetch, make_mesh, on_mesh
from jaxvision.random import stream
from jaxvision.training.mapping import map_runs
from jaxvision.types import Array

EPS_ROOT = 1e-10  # in every arm: unrolled steps go through Adam, which needs it where slopes are 0
GAIN_OF_METZ, SCALE_OF_METZ = 0.8, 0.25  # of their ring: of all kernels, of D's input
JUDGED = 2500  # samples that modes are counted in
DRAWN = 300  # of them, kept for the figure


class Setting(NamedTuple):
    """What tells the runs of one program apart; every field may be [R, ...]."""

    seed: Array
    rate: Array  # of the generator
    slowness: Array  # that over the discriminator's rate
    momentum: Array  # Adam's beta1, of both players
    gamma: Array  # of R1
    wide: Array  # whether it starts from He's weights, see ``_starts``
    centers: Array  # [M, 2], of the data
    deviation: Array


Start = tuple[Variables, Variables]  # generator, discriminator
Run = tuple[Setting, Start]


class Scale(NamedTuple):
    """What all runs share."""

    shape: planes.Shape
    batch_size: int
    steps: int  # between two looks
    looks: int  # the last of them at the end


class Seen(NamedTuple):
    """What was seen of R runs at L looks."""

    modes: np.ndarray  # [R, L]
    good: np.ndarray  # [R, L]
    largest: np.ndarray  # [R, L]
    samples: np.ndarray  # [R, L, DRAWN, 2]
    broken_at: np.ndarray  # [R], the first step of either player that was not finite; -1: none


class Kind(NamedTuple):
    """A kind of step, and whether R1 is in its program."""

    step: Step
    penalized: bool


BY_TURNS = Kind(alternating, penalized=True)  # R1 of strength 0 too: one program to compile less


def foresighted(ahead: int) -> Kind:
    """Return the kind whose generator sees ``ahead`` moves of the discriminator."""
    return Kind(partial(unrolled, ahead=ahead), penalized=False)


def stacked(settings: Iterable[Setting]) -> Setting:
    """Return R settings as one; fewer modes than the most are filled up with one far away."""
    settings = list(settings)
    most = max(len(each.centers) for each in settings)
    even = [each._replace(centers=_filled(each.centers, most)) for each in settings]
    return Setting(*(np.stack(values) for values in zip(*even, strict=True)))


_NOWHERE = np.float32(1e4)


def _filled(centers: np.ndarray, count: int) -> np.ndarray:
    empty = np.full((count - len(centers), 2), _NOWHERE)
    return np.concatenate([centers, empty]).astype(np.float32)


def play(scale: Scale, groups: Sequence[tuple[Kind, Setting]]) -> list[Seen]:
    """Train every group of runs, all in one program, the runs spread over the devices."""
    mesh = make_mesh(data=1)
    kinds = [kind for kind, _ in groups]
    runs = [
        _even((setting, _starts(scale, setting)), len(setting.seed), mesh.size)
        for _, setting in groups
    ]

    def mapped(*runs: Run) -> list[Seen]:
        found = []
        for kind, of_kind in zip(kinds, runs, strict=True):
            one = _one_of(scale, kind)
            found.append(map_runs(one, "vmap", mesh)(of_kind, None))
        return found

    program = runtime.jit(mapped)
    seen = fetch(
        program(
            *(
                on_mesh(
                    of_kind,
                    mesh,
                    P("run"),
                )
                for of_kind in runs
            )
        )
    )
    return [
        jax.tree.map(lambda leaf, setting=setting: leaf[: len(setting.seed)], each)
        for each, (_, setting) in zip(seen, groups, strict=True)
    ]


def counted_real(mixture: mixtures.Mixture, seeds: np.ndarray) -> np.ndarray:
    """Return how many modes are counted in real points, [S]: what a perfect generator gets."""

    def one(seed: Array) -> Array:
        points = mixture.sample(stream(seed, "noise"), JUDGED)
        return mixtures.covered(points, mixture).modes

    return np.float32(runtime.jit(jax.vmap(one))(np.int32(seeds)))


def _even(runs: Run, count: int, devices: int) -> Run:
    """Return the runs, filled up to a multiple of the devices by copies of the last."""
    rows = np.minimum(np.arange(-(-count // devices) * devices), count - 1)
    return jax.tree.map(lambda leaf: leaf[rows], runs)


def _one_of(scale: Scale, kind: Kind) -> Callable[[Run, None], Seen]:
    def one(run: Run, shared: None) -> Seen:
        del shared
        return _played(scale, kind, *run)

    return one


def _game(scale: Scale, kind: Kind, setting: Setting) -> Game:
    gamma = setting.gamma if kind.penalized else None
    input_scale = jnp.where(setting.wide, planes.INPUT_SCALE, SCALE_OF_METZ)
    contest = planes.contest(
        scale.shape, scale.batch_size, NON_SATURATING, gamma, input_scale=input_scale
    )

    def adam(rate: Array) -> optax.GradientTransformation:
        of_all = optax.adam(rate, b1=setting.momentum, eps_root=EPS_ROOT)
        return optax.flatten(of_all)  # one vector: few operations to compile

    return Game(
        Player(contest.generator, adam(setting.rate)),
        Player(contest.discriminator, adam(setting.rate / setting.slowness)),
    )


def _starts(scale: Scale, setting: Setting) -> Start:
    """Return both nets of R runs as Metz et al. 2017 start them, or with He's weights; [R, ...].

    He's are larger, and the discriminator sees the points twice as large with them: it begins as a
    steeper function.
    """

    def steep(seed: Array) -> Start:
        return planes.variables(stream(seed, "init"), scale.shape)

    found = [
        planes.orthogonal_variables(
            int(seed),
            scale.shape,
            GAIN_OF_METZ,
        )
        for seed in setting.seed
    ]
    rows = np.flatnonzero(setting.wide)
    if rows.size:
        drawn = runtime.jit_once(jax.vmap(steep))(setting.seed[rows])
        for place, row in enumerate(rows):
            found[row] = jax.tree.map(lambda leaf, place=place: np.asarray(leaf[place]), drawn)
    return jax.tree.map(lambda *leaves: np.stack(leaves), *found)


def _played(scale: Scale, kind: Kind, setting: Setting, start: Start) -> Seen:
    game = _game(scale, kind, setting)
    data = mixtures.Mixture(setting.centers, setting.deviation)
    count = jnp.sum(setting.centers[:, 0] < _NOWHERE)
    base = stream(setting.seed, "latent")

    def step(state: GameState, _: None) -> tuple[GameState, None]:
        real_key, key = jax.random.split(jax.random.fold_in(base, state.step))
        real = data.sample(real_key, scale.batch_size, count)
        return kind.step(game, state, real, key)[0], None

    codes = jax.random.normal(stream(setting.seed, "noise"), (JUDGED, scale.shape.codes))

    def look(state: GameState) -> tuple[mixtures.Covered, Array]:
        samples = planes.dense(state.generator.params, codes, jax.nn.leaky_relu)
        return mixtures.covered(samples, data), samples[:DRAWN]

    def stretch(state: GameState, _: None) -> tuple[GameState, tuple]:
        state, _ = lax.scan(step, state, None, scale.steps)
        return state, look(state)

    state, (covered, samples) = lax.scan(
        stretch,
        initial_state(game, *start),
        None,
        scale.looks,
    )
    return Seen(covered.modes, covered.good, covered.largest, samples, state.broken_at)
