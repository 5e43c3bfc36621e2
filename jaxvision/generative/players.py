"""The players of a game: what each lowers, what it carries, and one move of its optimizer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxvision.types import Array, PyTree

Variables = dict[str, PyTree]  # {'params', 'batch_stats'}
Metrics = dict[str, Array]


class Aside(NamedTuple):
    """What a loss hands back beside its value.

    Attributes:
      batch_stats: of the player whose loss it is, after the step; {} where its net has none.
      metrics: numbers [] by name.
    """

    batch_stats: PyTree
    metrics: Metrics


# (own variables, the other player's variables, batch, key) -> (loss [], Aside)
Cost = Callable[[Variables, Variables, PyTree, Array], tuple[Array, Aside]]


@dataclass(frozen=True)
class Player:
    """What a player lowers, and how.

    Attributes:
      cost: its loss; only its own parameters follow the gradient.
      optimizer: an optax transformation, its hyper-parameters traced or not.
    """

    cost: Cost
    optimizer: optax.GradientTransformation


@dataclass(frozen=True)
class Game:
    """Two players."""

    generator: Player
    discriminator: Player


class PlayerState(NamedTuple):
    """What a player carries from step to step: arrays only."""

    params: PyTree
    batch_stats: PyTree
    opt_state: PyTree
    broken_at: Array  # int32 [], the step that left a weight that is not finite; -1: none did

    @property
    def variables(self) -> Variables:
        """The player's net, as its own loss and the other's take it."""
        return {"params": self.params, "batch_stats": self.batch_stats}


class GameState(NamedTuple):
    """Everything a game carries from step to step: arrays only."""

    generator: PlayerState
    discriminator: PlayerState
    step: Array  # int32 [], steps done so far

    @property
    def params(self) -> dict[str, PyTree]:
        """The weights of both, by player."""
        return {"generator": self.generator.params, "discriminator": self.discriminator.params}

    @property
    def batch_stats(self) -> dict[str, PyTree]:
        """The batch statistics of both, by player."""
        generator, discriminator = self.generator.batch_stats, self.discriminator.batch_stats
        return {"generator": generator, "discriminator": discriminator}

    @property
    def broken_at(self) -> Array:
        """The first step that left a weight of either that is not finite, int32 []; -1: none."""
        of_both = jnp.stack([self.generator.broken_at, self.discriminator.broken_at])
        later = jnp.iinfo(jnp.int32).max
        first = jnp.where(of_both < 0, later, of_both).min()
        return jnp.where(first == later, -1, first)

    def placed(self, generator: PyTree, discriminator: PyTree) -> "GameState":
        """Return the state with other weights."""
        return self._replace(
            generator=self.generator._replace(params=generator),
            discriminator=self.discriminator._replace(params=discriminator),
        )


def initial_state(game: Game, generator: Variables, discriminator: Variables) -> GameState:
    """Return the state of a game whose players start from these variables."""

    def at_start(player: Player, variables: Variables) -> PlayerState:
        opt_state = player.optimizer.init(variables["params"])
        return PlayerState(variables["params"], variables["batch_stats"], opt_state, jnp.int32(-1))

    return GameState(
        at_start(game.generator, generator),
        at_start(game.discriminator, discriminator),
        jnp.int32(0),
    )


class Gradient(NamedTuple):
    """A player's loss, its gradient by the player's own parameters, and what came beside it."""

    loss: Array
    gradient: PyTree
    aside: Aside


def gradient(
    player: Player, own: PlayerState, other: PlayerState, batch: PyTree, key: Array
) -> Gradient:
    """Return a player's gradient where both stand."""

    def loss(params: PyTree) -> tuple[Array, Aside]:
        variables = own._replace(params=params).variables
        return player.cost(variables, other.variables, batch, key)

    (value, aside), found = jax.value_and_grad(loss, has_aux=True)(own.params)
    return Gradient(value, found, aside)


def gradients(game: Game, state: GameState, batch: PyTree, key: Array) -> tuple[Gradient, Gradient]:
    """Return the generator's and the discriminator's, both where both stand.

    With the key of a simultaneous step they are the gradients of that step.
    """
    first_key, second_key = jax.random.split(key)
    generator, discriminator = state.generator, state.discriminator
    return (
        gradient(game.generator, generator, discriminator, batch, second_key),
        gradient(game.discriminator, discriminator, generator, batch, first_key),
    )


def moved(player: Player, own: PlayerState, found: Gradient, step: Array) -> PlayerState:
    """Return the player after one move of its optimizer, marked if that broke it."""
    updates, opt_state = player.optimizer.update(found.gradient, own.opt_state, own.params)
    params = optax.apply_updates(own.params, updates)
    finite = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)]
    breaks = (own.broken_at < 0) & ~jnp.stack(finite).all()
    broken_at = jnp.where(breaks, step, own.broken_at)
    return PlayerState(params, found.aside.batch_stats, opt_state, broken_at)


def both_moved(game: Game, state: GameState, found: tuple[Gradient, Gradient]) -> GameState:
    """Return the state after one move of each, the generator's gradient first."""
    of_generator, of_discriminator = found
    return GameState(
        moved(game.generator, state.generator, of_generator, state.step),
        moved(game.discriminator, state.discriminator, of_discriminator, state.step),
        state.step + 1,
    )


def moves(
    player: Player,
    own: PlayerState,
    other: PlayerState,
    batches: PyTree,
    keys: Array,
    step: Array,
) -> tuple[PlayerState, Gradient]:
    """Return a player after a move for each of k keys, and its gradient at the last of them.

    ``batches``: leaves [k, ...].
    """
    kind = jax.random.key_impl(keys)

    def move(own: PlayerState, given: tuple[PyTree, Array]) -> tuple[PlayerState, Gradient]:
        batch, held = given
        key = jax.random.wrap_key_data(held, impl=kind)
        found = gradient(player, own, other, batch, key)
        return moved(player, own, found, step), found

    # As plain numbers: a loop that is differentiated reads its keys once more on the way back.
    own, found = lax.scan(move, own, (batches, jax.random.key_data(keys)))
    return own, jax.tree.map(lambda leaf: leaf[-1], found)


def told(of_generator: Gradient, of_discriminator: Gradient) -> Metrics:
    """Return the losses and metrics of both by name, as in ``discriminator_loss``."""
    return _named("generator", of_generator) | _named("discriminator", of_discriminator)


def _named(player: str, found: Gradient) -> Metrics:
    metrics = {"loss": found.loss} | found.aside.metrics
    return {f"{player}_{name}": value for name, value in metrics.items()}
