"""JAX's side of ``benchmarks.gan``: calls of ``STEPS`` steps."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import gan
from benchmarks.worker import Case, serve
from jaxvision import runtime
from jaxvision.generative.contest import Contest, Nets
from jaxvision.generative.game import alternating, play
from jaxvision.generative.losses import NON_SATURATING
from jaxvision.generative.players import Game, Player, initial_state
from jaxvision.models import dcgan
from jaxvision.models.drawing import initialize
from jaxvision.random import stream

STEPS = 5  # of a call
LAYERS = 3


def prepare(case: str) -> Case:
    """Draw the weights and compile a call."""
    image = (gan.SIDE, gan.SIDE, 3)
    width = gan.CASES[case].width
    generator = dcgan.Generator(image, width, LAYERS)
    discriminator = dcgan.Discriminator(width, LAYERS)
    paint, judge = dcgan.painting(generator), dcgan.judging(discriminator)
    nets = Nets(
        lambda variables, codes: paint(variables, codes, True),
        lambda variables, images: judge(variables, images, True),
        lambda key: jax.random.normal(key, (gan.BATCH, gan.CODES)),
    )
    contest = Contest(nets, NON_SATURATING)
    optimizer = optax.adam(gan.RATE, gan.BETA1)
    game = Game(Player(contest.generator, optimizer), Player(contest.discriminator, optimizer))
    starts = (
        initialize(generator, stream(0, "init"), (gan.CODES,)),
        initialize(discriminator, stream(1, "init"), image),
    )
    state = runtime.jit(lambda *starts: initial_state(game, *starts))(*starts)
    pixels = np.random.default_rng(0).uniform(-1, 1, (STEPS, gan.BATCH, *image))
    batches = jnp.asarray(pixels, jnp.float32)
    keys = jax.random.split(stream(0, "latent"), STEPS)

    call = runtime.jit(partial(play, alternating, game), donate_argnums=0)
    state, metrics = jax.block_until_ready(call(state, batches, keys))
    state, _ = jax.block_until_ready(call(state, batches[:1], keys[:1]))

    def run(n: int) -> None:
        nonlocal state
        calls, rest = divmod(n, STEPS)
        for _ in range(calls):
            state, _ = call(state, batches, keys)
        for _ in range(rest):
            state, _ = call(state, batches[:1], keys[:1])
        jax.block_until_ready(state)

    return run, {"loss": float(metrics["discriminator_loss"][0])}


if __name__ == "__main__":
    runtime.configure()
    serve(prepare)
