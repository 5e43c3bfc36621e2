"""How inverters learn: whose loss moves whom, who pauses, and the loop that trains all."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxvision.data import load
from jaxvision.generative.inverting import (
    DOSOVITSKIY,
    InverterTask,
    Seen,
    Turns,
    Weights,
    next_turns,
)
from jaxvision.generative.pixels import scaled
from jaxvision.parallel.shards import Split
from jaxvision.training.fit import Runs, Trainer
from jaxvision.types import UserError

PIXELS, CODES = 64, 4


def test_the_published_weights_are_means_of_the_sums():
    """Over 227 x 227 x 3 pixels of half a step of 255, and over pool5's 9,216 features."""
    pixels = 227 * 227 * 3
    assert DOSOVITSKIY.image == pytest.approx(2e-6 * pixels * 127.5**2 / 2, rel=1e-3)
    assert DOSOVITSKIY.feature == pytest.approx(0.01 * 9216 / 2, rel=2e-3)
    assert DOSOVITSKIY.adversarial == 100


# (who moves: generator, discriminator), the ratio of losses, who moves next
TURNS = [
    ((True, True), 1.0, (True, True)),
    ((True, True), 0.05, (True, False)),
    ((True, False), 0.3, (True, False)),  # it is back above .5 only
    ((True, False), 0.6, (True, True)),
    ((True, True), 11.0, (False, True)),
    ((False, True), 3.0, (False, True)),
    ((False, True), 0.05, (True, False)),
    ((True, False), 20.0, (False, True)),
]


@pytest.mark.parametrize(("now", "ratio", "after"), TURNS)
def test_who_is_too_good_pauses_and_comes_back(now, ratio, after):
    turns = next_turns(Turns(*map(jnp.bool_, now)), jnp.float32(ratio))
    assert tuple(map(bool, turns)) == after


def paint(variables, codes):
    flat = jnp.tanh(codes @ variables["params"]["kernel"])
    return flat.reshape(-1, 8, 8, 1)


def judge(variables, images, train):
    del train
    return images.reshape(len(images), -1) @ variables["params"]["kernel"], {}


def encode(encoder, images):
    code = images.reshape(len(images), -1) @ encoder
    return Seen(code, code**2, code)


TASK = InverterTask(
    paint,
    judge,
    encode,
    lambda hyper: optax.sgd(hyper["learning_rate"]),
    Weights(0.0, 1.0, 1.0),
)


def variables():
    draws = np.random.default_rng(0)

    def kernel(*shape):
        return np.float32(0.1 * draws.normal(size=(2, *shape)))

    params = {
        "generator": {"kernel": kernel(CODES, PIXELS)},
        "discriminator": {"kernel": kernel(PIXELS)},
    }
    stats = {"generator": {}, "discriminator": {}, "encoder": kernel(PIXELS, CODES)}
    return {"params": params, "batch_stats": stats}


def hyper(adversarial, inverts, rate=0.05):
    values = {"learning_rate": rate, "adversarial": adversarial, "inverts": inverts}
    return {name: np.full(2, value, np.float32) for name, value in values.items()}


@pytest.fixture(scope="module")
def trainer():
    digits = load("digits")
    return Trainer(TASK, digits.train.sample(64), digits.test.sample(50), 16, period=20)


def fitted(trainer, adversarial, inverts):
    rates = hyper(adversarial, inverts, rate=2.0)
    runs = Runs(variables(), np.arange(2, dtype=np.int32), rates)
    return trainer.fit(runs, 40)


def test_it_learns_to_rebuild_and_leaves_the_net_it_inverts(trainer):
    history = fitted(trainer, 0.0, 1.0)
    error = history.test["loss"]
    assert (error[:, -1] < 0.8 * error[:, 0]).all()
    np.testing.assert_array_equal(
        history.variables["batch_stats"]["encoder"], variables()["batch_stats"]["encoder"]
    )


def test_a_net_that_inverts_nothing_has_the_adversarial_loss_alone(trainer):
    """Without that loss too it stays where it is; with it, it moves, away from the images."""
    still = fitted(trainer, 0.0, 0.0).variables["params"]["generator"]["kernel"]
    np.testing.assert_array_equal(still, variables()["params"]["generator"]["kernel"])
    moved = fitted(trainer, 1.0, 0.0).variables["params"]["generator"]["kernel"]
    assert np.abs(moved - still).max() > 1e-3


STEP = jax.jit(lambda state, images, rates: TASK.step(state, images, None, rates, 0))


def first_step(turns=None, rate=0.05):
    one = jax.tree.map(lambda leaf: leaf[0], variables())
    rates = {name: values[0] for name, values in hyper(1.0, 1.0, rate).items()}
    state = TASK.start(one, rates)
    given = state if turns is None else state._replace(turns=turns)
    images = load("digits").train.images[:16]
    return state, *STEP(given, images, rates)


def test_a_step_is_both_gradients_where_both_stand():
    before, after, metrics = first_step()
    real = scaled(load("digits").train.images[:16])
    codes = encode(before.encoder, real).code
    kernels = {name: value["kernel"] for name, value in before.params.items()}

    def inverter_loss(kernel):
        made = paint({"params": {"kernel": kernel}}, codes)
        logits = made.reshape(16, -1) @ kernels["discriminator"]
        return jnp.square(made - real).mean() + jax.nn.softplus(-logits).mean()

    def judge_loss(kernel):
        made = paint({"params": {"kernel": kernels["generator"]}}, codes).reshape(16, -1)
        of_real = jax.nn.softplus(-(real.reshape(16, -1) @ kernel)).mean()
        return of_real + jax.nn.softplus(made @ kernel).mean()

    for name, loss in (("generator", inverter_loss), ("discriminator", judge_loss)):
        wanted = kernels[name] - 0.05 * jax.jit(jax.grad(loss))(kernels[name])
        np.testing.assert_allclose(after.params[name]["kernel"], wanted, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(metrics["loss"], inverter_loss(kernels["generator"]), rtol=1e-5)


def test_who_has_no_turn_does_not_move():
    before, after, _ = first_step(turns=Turns(jnp.bool_(True), jnp.bool_(False)))
    same = jax.tree.map(
        np.array_equal, before.params["discriminator"], after.params["discriminator"]
    )
    assert same == {"kernel": True}
    moved = np.abs(before.params["generator"]["kernel"] - after.params["generator"]["kernel"])
    assert moved.max() > 0


def test_what_breaks_is_marked_with_its_step():
    _, after, _ = first_step(rate=np.inf)
    assert int(after.game.broken_at) == 0


def test_a_batch_in_parts_is_refused():
    with pytest.raises(UserError, match="an inverter's batch is not cut into parts"):
        TASK.step(None, None, None, {}, None, Split(shards=2))
