"""JAX's side of ``benchmarks.ring``: all GANs in one program, a call for all steps of a sample."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import PartitionSpec as P

from benchmarks import ring
from benchmarks.worker import Case, serve
from experiments.generating import _mixtures as mixtures
from experiments.generating import _planes as planes
from jaxvision import runtime
from jaxvision.generative.game import alternating
from jaxvision.generative.losses import NON_SATURATING
from jaxvision.generative.players import Game, GameState, Player, initial_state
from jaxvision.parallel.mesh import make_mesh, on_mesh
from jaxvision.random import stream
from jaxvision.training.mapping import map_runs
from jaxvision.types import Array

SHAPE = planes.Shape(ring.CODES, ring.WIDTH)
DATA = mixtures.ring(ring.MODES, ring.RADIUS, ring.DEVIATION)
Setting = tuple[Array, Array, Array]  # seed, the discriminator's rate, beta1


def game_of(setting: Setting) -> Game:
    """Return the players of one run."""
    _, rate, momentum = setting
    contest = planes.contest(SHAPE, ring.BATCH, NON_SATURATING)
    return Game(
        Player(contest.generator, optax.flatten(optax.adam(ring.RATE, momentum))),
        Player(contest.discriminator, optax.flatten(optax.adam(rate, momentum))),
    )


def start(setting: Setting, shared: None) -> GameState:
    """Return the start of one run."""
    del shared
    nets = planes.variables(stream(setting[0], "init"), SHAPE)
    return initial_state(game_of(setting), *nets)


def advance(state: GameState, setting: Setting, count: Array) -> tuple[GameState, Array]:
    """Take ``count`` steps of one run; the discriminator's last loss too."""
    base = stream(setting[0], "latent")

    def step(_: Array, carry: tuple[GameState, Array]) -> tuple[GameState, Array]:
        state, _ = carry
        real_key, key = jax.random.split(jax.random.fold_in(base, state.step))
        real = DATA.sample(real_key, ring.BATCH)
        state, metrics = alternating(game_of(setting), state, real, key)
        return state, metrics["discriminator_loss"]

    return lax.fori_loop(0, count, step, (state, jnp.float32(0)))


def prepare(case: str) -> Case:
    """Draw the weights and compile a call."""
    del case
    rows = list(itertools.product(ring.SEEDS, ring.SETTINGS))
    seeds = np.array([seed for seed, _ in rows], np.int32)
    rates, momenta = np.float32([setting for _, setting in rows]).T
    mesh = make_mesh(data=1)
    settings = on_mesh((seeds, rates, momenta), mesh, P("run"))
    state = runtime.jit(map_runs(start, "vmap", mesh))(settings, None)
    call = runtime.jit(map_runs(advance, "vmap", mesh), donate_argnums=0)
    state, losses = jax.block_until_ready(call(state, settings, np.int32(1)))

    def run(n: int) -> None:
        nonlocal state
        state, _ = jax.block_until_ready(call(state, settings, np.int32(n)))

    return run, {"loss": float(jnp.mean(losses))}


if __name__ == "__main__":
    runtime.configure(cpu_devices=runtime.usable_cores())
    serve(prepare)
