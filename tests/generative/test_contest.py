"""Losses of two nets: real and generated examples apart, each player's statistics its own."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxvision.generative.contest import Contest, Nets
from jaxvision.generative.game import unrolled
from jaxvision.generative.losses import NON_SATURATING, SATURATING
from jaxvision.generative.players import Game, Player, initial_state
from jaxvision.random import stream


def key():
    return stream(0, "latent")


DISTANCE = 1.0


def normalized(x):
    return (x - x.mean()) / jnp.sqrt(x.var() + 1e-5)


def judge(variables, x):
    """A discriminator of batch norm alone; it counts its batches and keeps the last one's mean."""
    stats = variables["batch_stats"]
    batch_stats = {"seen": stats["seen"] + 1, "last": x.mean()}
    return variables["params"] * normalized(x), batch_stats


def generate(variables, codes):
    stats = variables["batch_stats"]
    return codes + variables["params"], {
        "seen": stats["seen"] + 1,
        "last": codes.mean(),
    }


NETS = Nets(
    generate,
    judge,
    lambda key: 0.1 * jax.random.normal(key, (64,)),
)
CONTEST = Contest(NETS, SATURATING)


def variables(weight):
    return {
        "params": jnp.float32(weight),
        "batch_stats": {"seen": 0, "last": jnp.float32(0)},
    }


def real(mean):
    return mean + 0.1 * jax.random.normal(stream(1, "noise"), (64,))


def test_batch_norm_over_both_halves_gives_them_away_and_apart_it_does_not():
    """Of means +-1 and deviation .1: outputs average +-.9955 together, 0 apart."""
    together = normalized(jnp.concatenate([real(1.0), real(-1.0)]))
    np.testing.assert_allclose(
        [together[:64].mean(), -together[64:].mean()],
        0.9955,
        atol=2e-3,
    )
    loss, aside = CONTEST.discriminator(
        variables(1.0),
        variables(-1.0),
        real(1.0),
        key(),
    )
    apart = jax.nn.softplus(normalized(real(1.0))).mean()
    np.testing.assert_allclose(loss, 2 * apart, atol=0.1)
    assert float(loss) > 1.38629  # it cannot tell
    np.testing.assert_allclose(aside.metrics["real"], 0.5, atol=0.15)


SOFTPLUS_OF_LOGIT = float(jax.nn.softplus(0.9955))


@pytest.mark.parametrize("mixed", ["discriminator", "both"])
def test_in_one_batch_the_discriminator_sees_which_half_is_which(mixed):
    """Logits are +-.9955 then, on either side right; apart they average 0: see above."""
    contest = dataclasses.replace(CONTEST, mixed=mixed)
    loss, aside = contest.discriminator(variables(1.0), variables(-1.0), real(1.0), key())
    np.testing.assert_allclose(loss, 2 * (SOFTPLUS_OF_LOGIT - 0.9955), atol=5e-3)
    assert float(aside.metrics["real"]) == float(aside.metrics["fake"]) == 1
    assert aside.batch_stats["seen"] == 1
    np.testing.assert_allclose(aside.batch_stats["last"], 0, atol=0.05)


def test_the_generator_meets_the_same_batch_only_where_both_losses_are_mixed():
    """Its examples are told from real ones in one batch, and alone they are centered."""

    def logit(mixed):
        contest = dataclasses.replace(CONTEST, mixed=mixed)
        loss, aside = contest.generator(variables(-1.0), variables(1.0), real(1.0), key())
        assert aside.batch_stats["seen"] == 1
        return -float(loss)  # softplus of its examples' logits, on average

    assert logit("both") == pytest.approx(SOFTPLUS_OF_LOGIT - 0.9955, abs=5e-3)
    assert logit("never") == logit("discriminator") > np.log(2)


def test_each_loss_gives_its_own_player_new_statistics():
    _, of_discriminator = CONTEST.discriminator(
        variables(1.0),
        variables(-1.0),
        real(1.0),
        key(),
    )
    assert of_discriminator.batch_stats["seen"] == 2
    np.testing.assert_allclose(of_discriminator.batch_stats["last"], -1, atol=0.05)
    _, of_generator = CONTEST.generator(
        variables(-1.0),
        variables(1.0),
        None,
        key(),
    )
    assert of_generator.batch_stats["seen"] == 1
    np.testing.assert_allclose(of_generator.batch_stats["last"], 0, atol=0.05)


def test_a_generator_looks_through_moves_that_draw(one_step):
    """By finite differences: its gradient goes through the discriminator's next moves."""
    slope, difference = one_step
    np.testing.assert_allclose(slope, difference, rtol=0.02)


@pytest.fixture
def one_step():
    """What an unrolled step moves the generator by, and the slope of the loss it then has."""
    contest = plain()
    rate = 0.5
    optimizer = optax.sgd(rate)
    players = Game(
        Player(contest.generator, optax.sgd(1.0)), Player(contest.discriminator, optimizer)
    )
    state = initial_state(players, variables(-1.0), variables(0.5))
    batch = real(1.0)
    after, _ = unrolled(players, state, batch, key(), ahead=2)

    def loss(params):
        """The same by hand: one real move of the discriminator, two foreseen, then the loss."""
        first, ahead, last = jax.random.split(key(), 3)
        here = {"params": jnp.float32(-1), "batch_stats": state.generator.batch_stats}
        own = {"params": params, "batch_stats": state.generator.batch_stats}
        judge = jnp.float32(0.5)
        for draws, opponent in [(first, here), *((k, own) for k in jax.random.split(ahead, 2))]:

            def of_judge(weight, draws=draws, opponent=opponent):
                return contest.discriminator(
                    {"params": weight, "batch_stats": {}}, opponent, batch, draws
                )[0]

            judge = judge - rate * jax.grad(of_judge)(judge)
        return contest.generator(
            own,
            {"params": judge, "batch_stats": {}},
            batch,
            last,
        )[0]

    at = jnp.float32(-1)
    return -1 - after.generator.params, (loss(at + 0.01) - loss(at - 0.01)) / 0.02


def plain_judge(variables, x):
    return variables["params"] * x, {}


def plain(**options):
    nets = Nets(generate, plain_judge, NETS.latent)
    return Contest(nets, NON_SATURATING, **options)


def test_the_penalty_is_added_at_real_examples():
    bare, penalized = (
        contest.discriminator(
            variables(3.0),
            variables(-1.0),
            real(1.0),
            key(),
        )[0]
        for contest in (plain(), plain(gamma=0.5))
    )
    np.testing.assert_allclose(penalized - bare, 0.25 * 9, rtol=1e-5)


def test_noise_is_on_real_and_on_generated_examples():
    seen = []

    def watching(variables, x):
        seen.append(x)
        return plain_judge(variables, x)

    contest = Contest(Nets(generate, watching, NETS.latent), SATURATING, sigma=0.5)
    contest.discriminator(
        variables(1.0),
        variables(-1.0),
        real(1.0),
        key(),
    )
    contest.generator(variables(-1.0), variables(1.0), None, key())
    deviation = [float(x.std()) for x in seen]
    np.testing.assert_allclose(deviation, np.hypot(0.1, 0.5), atol=0.15)


def test_the_discriminator_s_gradient_knows_how_it_changes_with_the_generator():
    """D(x) = w x: its loss has the mixed derivative sigmoid(u) + u sigmoid'(u) at u = w x."""

    def slope(weight, moved):
        own, other = variables(weight), variables(moved)
        return plain().discriminator(
            own,
            other,
            real(1.0),
            key(),
        )[0]

    mixed = jax.grad(jax.grad(slope), argnums=1)(jnp.float32(1), jnp.float32(-1))
    u = NETS.latent(jax.random.split(key(), 3)[0]) - 1
    sigmoid = jax.nn.sigmoid(u)
    expected = (sigmoid + u * sigmoid * (1 - sigmoid)).mean()
    np.testing.assert_allclose(mixed, expected, rtol=1e-4)
