"""Steps of a game of two numbers, against what they are by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxvision.generative import game
from jaxvision.generative.players import Aside, Game, Player
from jaxvision.random import stream
from jaxvision.types import UserError
from tests.generative.two_numbers import at, bilinear, place, played

RATE = 0.2


def key():
    return stream(0, "latent")


def moved(step, theta=1.0, psi=0.5, rate=RATE):
    state, metrics = step(
        bilinear(rate),
        at(bilinear(rate), theta, psi),
        None,
        key(),
    )
    return place(state), metrics


def test_both_at_once_move_from_where_both_stand():
    found, metrics = moved(game.simultaneous)
    np.testing.assert_allclose(
        found,
        [1 + RATE * 0.5, 0.5 - RATE * 1],
        rtol=1e-6,
    )
    assert float(metrics["generator_loss"]) == -0.5
    assert float(metrics["discriminator_loss"]) == 0.5


def test_by_turns_the_generator_meets_the_discriminator_that_has_moved():
    found, metrics = moved(game.alternating)
    psi = 0.5 - RATE
    np.testing.assert_allclose(
        found,
        [1 + RATE * psi, psi],
        rtol=1e-6,
    )
    np.testing.assert_allclose(metrics["generator_loss"], -psi, rtol=1e-6)


def test_several_moves_of_either():
    step = partial(game.alternating, discriminator_steps=3, generator_steps=2)
    psi = 0.5 - 3 * RATE
    np.testing.assert_allclose(
        moved(step)[0],
        [1 + 2 * RATE * psi, psi],
        rtol=1e-6,
    )


def test_each_of_several_moves_has_its_part_of_the_batch_and_its_own_key():
    def draw(own, other, batch, key):
        del other
        return own["params"] * batch + 0 * jax.random.normal(key), Aside({}, {"seen": batch})

    players = Game(Player(draw, optax.sgd(1.0)), Player(draw, optax.sgd(1.0)))
    step = partial(game.alternating, discriminator_steps=3)
    state, metrics = step(
        players,
        at(players, 0.0, 0.0),
        jnp.float32([1, 10, 100]),
        key(),
    )
    np.testing.assert_array_equal(place(state), [-100, -111])
    assert float(metrics["generator_seen"]) == float(metrics["discriminator_seen"]) == 100


def test_a_batch_of_other_parts_is_one_line():
    with pytest.raises(
        UserError, match=r"3 moves need a batch of as many parts, leaves \[3, ...\]"
    ):
        game.alternating(None, None, jnp.zeros((6, 2)), key(), discriminator_steps=3)


@pytest.mark.parametrize(
    "step",
    [
        partial(game.alternating, discriminator_steps=0),
        partial(game.alternating, generator_steps=0),
        partial(game.unrolled, ahead=0),
    ],
)
def test_no_move_at_all_is_refused(step):
    with pytest.raises(UserError, match="at least one move in a turn, not 0"):
        moved(step)


def radius(step, rate=RATE, steps=50):
    start = np.hypot(1.0, 0.5)
    return float(
        np.linalg.norm(
            place(
                played(
                    step,
                    bilinear(rate),
                    steps,
                )
            )
        )
        / start
    ) ** (1 / steps)


@pytest.mark.parametrize(
    ("step", "factor"),
    [
        (game.simultaneous, np.sqrt(1 + RATE**2)),
        (game.extragradient, np.sqrt((1 - RATE**2) ** 2 + RATE**2)),
        # The eigenvalues +-i become +-i - strength.
        (partial(game.consensus, strength=0.5), np.hypot(1 - 0.5 * RATE, RATE)),
    ],
)
def test_a_step_stretches_a_rotation_by_its_closed_form(step, factor):
    np.testing.assert_allclose(radius(step), factor, rtol=1e-6)


def test_by_turns_a_rotation_stays_bounded_up_to_a_rate_of_two():
    assert radius(game.alternating, rate=1.9) < 1.05
    assert radius(game.alternating, rate=2.1) > 1.5


def test_the_generator_sees_through_the_moves_that_are_not_made():
    """psi_k = psi - k h theta, so its loss -theta psi_k has the gradient -psi + 2 k h theta."""
    step = partial(game.unrolled, ahead=3)
    psi = 0.5 - RATE
    theta = 1 - RATE * (-psi + 2 * 3 * RATE)
    np.testing.assert_allclose(
        moved(step)[0],
        [theta, psi],
        rtol=1e-6,
    )


@pytest.mark.parametrize("step", [game.simultaneous, game.alternating, game.extragradient])
def test_a_step_counts_once_in_the_batch_statistics(step):
    """Of losses that count how often they were taken, the look ahead is not one."""

    def counting(player):
        def cost(own, other, batch, key):
            loss, _ = player.cost(own, other, batch, key)
            return loss, Aside(own["batch_stats"] + 1, {})

        return Player(cost, player.optimizer)

    both = bilinear(RATE)
    counted = Game(counting(both.generator), counting(both.discriminator))
    start = at(both, 1.0, 0.5)
    state = start._replace(
        generator=start.generator._replace(batch_stats=jnp.int32(0)),
        discriminator=start.discriminator._replace(batch_stats=jnp.int32(0)),
    )
    after, _ = step(counted, state, None, key())
    assert int(after.generator.batch_stats) == int(after.discriminator.batch_stats) == 1


def test_a_player_that_stops_being_finite_is_marked_with_its_step():
    found = played(game.simultaneous, bilinear(1e10), 20)
    assert not np.isfinite(place(found)).any()
    steps = int(found.generator.broken_at), int(found.discriminator.broken_at)
    before = played(game.simultaneous, bilinear(1e10), min(steps))
    assert np.isfinite(place(before)).all()
    assert int(before.generator.broken_at) == int(before.discriminator.broken_at) == -1
    assert 0 < min(steps) < 20
    assert int(found.step) == 20
    assert int(found.broken_at) == min(steps)


@pytest.mark.parametrize(
    ("generator", "discriminator", "first"), [(-1, -1, -1), (7, 3, 3), (-1, 5, 5), (0, -1, 0)]
)
def test_a_game_breaks_where_the_first_player_does(generator, discriminator, first):
    state = at(bilinear(RATE), 1.0, 0.5)
    broken = state._replace(
        generator=state.generator._replace(broken_at=jnp.int32(generator)),
        discriminator=state.discriminator._replace(broken_at=jnp.int32(discriminator)),
    )
    assert int(broken.broken_at) == first


def test_many_settings_in_one_program_are_each_alone():
    rates = np.float32([0.05, 0.1, 0.2])
    found = jax.vmap(
        lambda rate: place(
            played(
                game.alternating,
                bilinear(rate),
                30,
            )
        )
    )(rates)
    for rate, seen in zip(rates, found, strict=True):
        alone = place(played(game.alternating, bilinear(rate), 30))
        np.testing.assert_allclose(seen, alone, rtol=1e-5)


def test_momentum_is_the_optimizers_own():
    heavy = partial(optax.sgd, momentum=0.9)
    players = bilinear(RATE, heavy)
    state = at(players, 1.0, 0.5)
    for _ in range(2):
        state, _ = game.simultaneous(players, state, None, key())
    theta, psi, v, u = 1.0, 0.5, 0.0, 0.0
    for _ in range(2):
        v, u = 0.9 * v + psi, 0.9 * u - theta
        theta, psi = theta + RATE * v, psi + RATE * u
    np.testing.assert_allclose(place(state), [theta, psi], rtol=1e-6)
