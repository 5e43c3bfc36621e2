"""A game in the loop that trains everything else: the same step, and resumed to the bit."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxvision.data import load
from jaxvision.generative.contest import Contest, Nets
from jaxvision.generative.game import alternating
from jaxvision.generative.losses import NON_SATURATING
from jaxvision.generative.players import Game, Player
from jaxvision.generative.trained import GameTask
from jaxvision.longrun.long import fit_long
from jaxvision.longrun.workdir import Part
from jaxvision.parallel.shards import Split
from jaxvision.random import stream
from jaxvision.training.fit import Runs, Trainer
from jaxvision.types import UserError

PIXELS, CODES = 64, 4


def layer(params, x):
    return x @ params["kernel"] + params["bias"][None]


def generate(variables, codes):
    return jnp.tanh(layer(variables["params"], codes)), {}


def judge(variables, x):
    return layer(variables["params"], x)[:, 0], {}


def preprocess(images, key):
    del key
    return images.reshape(len(images), -1).astype(jnp.float32) / 255


NETS = Nets(
    generate,
    judge,
    lambda key: jax.random.normal(key, (16, CODES)),
)
CONTEST = Contest(NETS, NON_SATURATING)


def players(hyper):
    optimizer = optax.adam(hyper["learning_rate"])
    return Game(Player(CONTEST.generator, optimizer), Player(CONTEST.discriminator, optimizer))


TASK = GameTask(
    players,
    lambda variables, x: judge(variables, x)[0],
    NON_SATURATING,
    preprocess,
)


def start(seed):
    first, second = jax.random.split(stream(seed, "init"))
    kernels = {
        "generator": jax.random.normal(first, (CODES, PIXELS)),
        "discriminator": jax.random.normal(second, (PIXELS, 1)),
    }
    params = {
        name: {"kernel": kernel, "bias": jnp.zeros(kernel.shape[1])}
        for name, kernel in kernels.items()
    }
    return {"params": params, "batch_stats": {"generator": {}, "discriminator": {}}}


@pytest.fixture(scope="module")
def world():
    digits = load("digits")
    train, test = (split.sample(50) for split in (digits.train, digits.test))
    trainer = Trainer(TASK, train, test, 16, period=4)
    starts = [jax.device_get(start(seed)) for seed in range(2)]
    variables = jax.tree.map(lambda *leaves: np.stack(leaves), *starts)
    hyper = {"learning_rate": np.float32([0.01, 0.02])}
    return trainer, Runs(
        variables,
        np.arange(2, dtype=np.int32),
        hyper,
    )


def test_stopped_and_resumed_it_ends_with_the_same_bits(world, tmp_path):
    trainer, runs = world
    fit = partial(fit_long, trainer, runs)
    fit(4, Part(tmp_path / "gan"))
    resumed, whole = fit(12, Part(tmp_path / "gan")), fit(12, None)
    jax.tree.map(np.testing.assert_array_equal, resumed, whole)
    assert np.isfinite(whole.test["loss"]).all()
    moved = whole.variables["params"]["generator"]["kernel"]
    assert np.abs(moved - runs.variables["params"]["generator"]["kernel"]).min() > 0


def test_its_step_is_the_game_s(world):
    trainer, runs = world
    history = trainer.fit(runs, 4)
    one = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), runs.variables)
    hyper = {"learning_rate": jnp.float32(0.01)}
    state = TASK.start(one, hyper)
    rows = next(trainer.calls(runs))._orders.rows(0, 4)[0]
    for step, images in enumerate(trainer.train.images[rows]):
        key = stream(0, "latent", step)
        state, metrics = alternating(
            players(hyper),
            state,
            preprocess(images, None),
            key,
        )
        np.testing.assert_allclose(
            history.train["generator_loss"][0, step], metrics["generator_loss"], rtol=1e-4
        )
    np.testing.assert_allclose(
        history.variables["params"]["generator"]["kernel"][0],
        state.generator.params["kernel"],
        rtol=1e-4,
        atol=1e-6,
    )


def test_evaluation_asks_the_discriminator_about_every_test_image_once(world):
    trainer, runs = world
    found = trainer.fit(runs, 4)
    for run in range(2):
        params = jax.tree.map(lambda leaf, run=run: leaf[run], found.variables["params"])
        logits = layer(params["discriminator"], preprocess(trainer.test.images, None))[:, 0]
        np.testing.assert_allclose(
            found.test["loss"][run, -1], jax.nn.softplus(-logits).mean(), rtol=1e-4
        )
        np.testing.assert_allclose(
            found.test["error"][run, -1],
            (logits < 0).mean(),
            rtol=1e-6,
        )


def test_several_moves_of_one_batch_are_refused(world):
    order = partial(alternating, discriminator_steps=4)
    with pytest.raises(UserError, match="discriminator_steps=4: a step of a trainer has one batch"):
        GameTask(players, judge, NON_SATURATING, preprocess, order)


def test_a_batch_in_parts_is_refused():
    with pytest.raises(UserError, match="not cut into parts"):
        TASK.step(
            None,
            None,
            None,
            {},
            0,
            Split(devices=2),
        )
