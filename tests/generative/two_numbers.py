"""Games of two numbers, theta the generator's and psi the discriminator's, data at 0."""

import jax
import jax.numpy as jnp
import optax

from jaxvision.generative.game import play
from jaxvision.generative.players import Aside, Game, Player, initial_state
from jaxvision.random import stream


def two_player_game(generator_loss, discriminator_loss, optimizer):
    """Return the game of ``loss(theta, psi)`` for either player."""

    def of_generator(own, other, batch, key):
        del batch, key
        return generator_loss(own["params"], other["params"]), Aside({}, {})

    def of_discriminator(own, other, batch, key):
        del batch, key
        return discriminator_loss(other["params"], own["params"]), Aside({}, {})

    return Game(Player(of_generator, optimizer), Player(of_discriminator, optimizer))


def bilinear(rate, optimizer=optax.sgd):
    """The Wasserstein game: theta' = psi, psi' = -theta."""
    return two_player_game(
        lambda theta, psi: -theta * psi, lambda theta, psi: theta * psi, optimizer(rate)
    )


def at(game, theta, psi):
    """Return the state at two numbers."""
    theta, psi = ({"params": jnp.float32(x), "batch_stats": {}} for x in (theta, psi))
    return initial_state(game, theta, psi)


def place(state):
    """Return theta and psi, [2]."""
    return jnp.stack([state.generator.params, state.discriminator.params])


def played(step, game, steps, theta=1.0, psi=0.5):
    """Return the state after some steps."""
    keys = jax.random.split(stream(0, "latent"), steps)
    return jax.jit(lambda state: play(step, game, state, None, keys)[0])(at(game, theta, psi))
