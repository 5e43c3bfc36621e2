"""A game of two players: each lowers a loss of its own that both their weights decide.

A step is a pure function ``(game, state, batch, key) -> (state, metrics)`` over a tuple of arrays:
scan it over steps, ``vmap`` it over seeds and settings, put its state into a checkpoint. What the
players do within a step, and in which order, is the choice of the function, for the dynamics depend
on it: ``simultaneous``, ``alternating`` (with several moves of either), ``extragradient``,
``consensus``, ``unrolled``.

A player that stops being finite is marked with its step. The game goes on, and the mark is a
result for whoever expects it.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.generative.players import (
    Aside,
    Game,
    GameState,
    Gradient,
    Metrics,
    Player,
    PlayerState,
    Variables,
    both_moved,
    gradient,
    gradients,
    moved,
    moves,
    told,
)
from jaxvision.types import Array, PyTree, UserError

Step = Callable[[Game, GameState, PyTree, Array], tuple[GameState, Metrics]]


def simultaneous(
    game: Game, state: GameState, batch: PyTree, key: Array
) -> tuple[GameState, Metrics]:
    """Move both players at once, each by the gradient where both stand.

    Args:
      game: the players.
      state: before the step.
      batch: handed to both losses.
      key: of the step; each loss gets one of its own.

    Returns:
      The next state, and each player's loss and metrics before it moved, by names such as
      ``discriminator_loss``.
    """
    found = gradients(game, state, batch, key)
    return both_moved(game, state, found), told(*found)


def alternating(
    game: Game,
    state: GameState,
    batch: PyTree,
    key: Array,
    discriminator_steps: int = 1,
    generator_steps: int = 1,
) -> tuple[GameState, Metrics]:
    """Move the discriminator, then the generator against the discriminator that has moved.

    Args:
      game: the players.
      state: before the step.
      batch: handed to both losses; where the discriminator makes k > 1 moves its leaves are
        [k, ...], a part for each of them, and the generator sees the last.
      key: of the step; every move gets one of its own.
      discriminator_steps: moves of the discriminator.
      generator_steps: moves of the generator.

    Returns:
      The next state, and each player's loss and metrics before its last move.

    Raises:
      UserError: a number of moves is below one, or the batch has not a part for each.
    """
    first_key, second_key = jax.random.split(key)
    several = batch
    if discriminator_steps > 1:
        batch = _last_part(several, discriminator_steps)
    discriminator, of_discriminator = _turn(
        game.discriminator,
        state.discriminator,
        state.generator,
        several,
        first_key,
        state.step,
        discriminator_steps,
    )
    if generator_steps > 1:
        batch = jax.tree.map(lambda leaf: jnp.stack([leaf] * generator_steps), batch)
    generator, of_generator = _turn(
        game.generator,
        state.generator,
        discriminator,
        batch,
        second_key,
        state.step,
        generator_steps,
    )
    after = GameState(generator, discriminator, state.step + 1)
    return after, told(of_generator, of_discriminator)


def _turn(
    player: Player,
    own: PlayerState,
    other: PlayerState,
    batch: PyTree,
    key: Array,
    step: Array,
    count: int,
) -> tuple[PlayerState, Gradient]:
    """Return a player after ``count`` moves, and its last gradient."""
    _check_moves(count)
    if count > 1:
        return moves(player, own, other, batch, jax.random.split(key, count), step)
    found = gradient(player, own, other, batch, key)
    return moved(player, own, found, step), found


def _last_part(batch: PyTree, count: int) -> PyTree:
    if any(jnp.shape(leaf)[:1] != (count,) for leaf in jax.tree.leaves(batch)):
        raise UserError(f"{count} moves need a batch of as many parts, leaves [{count}, ...]")
    return jax.tree.map(lambda leaf: leaf[-1], batch)


def _check_moves(count: int) -> None:
    if count < 1:
        raise UserError(f"a player makes at least one move in a turn, not {count}")


def extragradient(
    game: Game, state: GameState, batch: PyTree, key: Array
) -> tuple[GameState, Metrics]:
    """Move both at once by the gradients that they would meet one such step ahead.

    Source: Gidel et al. 2019 (arXiv 1802.10551), algorithm 2. The look ahead leaves no trace in the
    optimizers' memory nor in the batch statistics. Arguments and results as in ``simultaneous``.
    """
    ahead_key, key = jax.random.split(key)
    ahead, metrics = simultaneous(game, state, batch, ahead_key)
    there = state.placed(ahead.generator.params, ahead.discriminator.params)
    return both_moved(game, state, gradients(game, there, batch, key)), metrics


def consensus(
    game: Game, state: GameState, batch: PyTree, key: Array, strength: Array | float = 10.0
) -> tuple[GameState, Metrics]:
    """Move both at once, and towards where both gradients are small.

    Source: Mescheder, Nowozin & Geiger 2017 (arXiv 1705.10461), algorithm 2: to each player's
    gradient comes ``strength`` times its gradient of half the squared norm of both. The other
    arguments and the results are as in ``simultaneous``.
    """

    def of_both(params: tuple[PyTree, PyTree]) -> tuple[tuple[PyTree, PyTree], tuple]:
        found = gradients(game, state.placed(*params), batch, key)
        return tuple(each.gradient for each in found), found

    params = state.generator.params, state.discriminator.params
    both, pull, found = jax.vjp(of_both, params, has_aux=True)
    (towards,) = pull(both)

    def mixed(each: Gradient, toward: PyTree) -> Gradient:
        combined = jax.tree.map(lambda g, t: g + strength * t, each.gradient, toward)
        return each._replace(gradient=combined)

    of_generator, of_discriminator = map(mixed, found, towards)
    return both_moved(game, state, (of_generator, of_discriminator)), told(*found)


def unrolled(
    game: Game, state: GameState, batch: PyTree, key: Array, ahead: int = 5
) -> tuple[GameState, Metrics]:
    """Move the discriminator, then the generator against a discriminator ``ahead`` moves on.

    Source: Metz et al. 2017 (arXiv 1611.02163): the generator's gradient goes through the moves
    that the discriminator would make; they are not made. Its optimizer must have a derivative where
    a gradient is zero: Adam with an ``eps_root`` above zero. The other arguments and the results
    are as in ``alternating``.
    """
    _check_moves(ahead)
    first_key, ahead_key, last_key = jax.random.split(key, 3)
    discriminator, of_discriminator = _turn(
        game.discriminator,
        state.discriminator,
        state.generator,
        batch,
        first_key,
        state.step,
        1,
    )
    batches = jax.tree.map(lambda leaf: jnp.stack([leaf] * ahead), batch)
    keys = jax.random.split(ahead_key, ahead)

    def cost(own: Variables, other: Variables, batch: PyTree, key: Array) -> tuple[Array, Aside]:
        del other
        opponent = state.generator._replace(params=own["params"])
        there, _ = moves(game.discriminator, discriminator, opponent, batches, keys, state.step)
        return game.generator.cost(own, there.variables, batch, key)

    foresighted = Player(cost, game.generator.optimizer)
    found = gradient(foresighted, state.generator, discriminator, batch, last_key)
    generator = moved(foresighted, state.generator, found, state.step)
    after = GameState(generator, discriminator, state.step + 1)
    return after, told(found, of_discriminator)


def play(
    step: Step, game: Game, state: GameState, batches: PyTree, keys: Array
) -> tuple[GameState, Metrics]:
    """Take a step for each of T keys: a scan.

    Args:
      step: one of the functions above.
      game: the players.
      state: before the first step.
      batches: leaves [T, ...], or None where the losses draw their own.
      keys: [T].

    Returns:
      The state after T steps, and metrics [T].
    """

    def one(state: GameState, given: tuple[PyTree, Array]) -> tuple[GameState, Metrics]:
        return step(game, state, *given)

    return lax.scan(one, state, (batches, keys))
