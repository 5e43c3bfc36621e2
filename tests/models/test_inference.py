"""The four ways to answer with batch norm, against algorithm 2 of the paper, Flax and PyTorch."""

import functools
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxvision.initializers import he_forward
from jaxvision.models.drawing import initialize
from jaxvision.models.inference import (
    INFERENCES,
    answering,
    batch_statistics,
    debiased_statistics,
    population_statistics,
)
from jaxvision.models.layers import apply_function
from jaxvision.models.normalization import EPSILON, BatchNorm, standardize
from jaxvision.models.residual_mlp import ResidualMLP
from jaxvision.models.resnet import cifar_resnet
from jaxvision.training.step import Task, initial_state, train_step
from jaxvision.types import UserError

MODEL = ResidualMLP(4, 6, 3, he_forward(), normalized=True)
APPLY = apply_function(MODEL)
RNG = np.random.default_rng(0)
BATCHES = np.float32(RNG.normal(1, 2, (5, 8, 2, 2, 1)))
IMAGES = np.float32(RNG.normal(1, 2, (7, 2, 2, 1)))


@pytest.fixture(scope="module")
def variables():
    """A net whose scales, biases and running statistics are no longer those of the start."""
    rng = np.random.default_rng(1)
    return jax.tree.map(
        lambda leaf: leaf + np.float32(np.abs(0.3 * rng.normal(size=leaf.shape))), drawn()
    )


@functools.cache
def drawn():
    draw = jax.jit(partial(initialize, MODEL, image_shape=(2, 2, 1)))
    return jax.device_get(draw(jax.random.key(0)))


@jax.jit
def train_mode(params, batch_stats, images):
    """The running statistics after a step from ``batch_stats``."""
    return APPLY(params, batch_stats, images, train=True)[2]


def forward(params, images, statistics):
    """The net in float64 with ``statistics(layer, x) -> (mean, var)``; the paper's formulas."""
    x = np.asarray(images, np.float64).reshape(len(images), -1) @ params["input"]["kernel"]
    blocks = [
        *[jax.tree.map(lambda leaf, i=i: leaf[i], params["hidden"]) for i in range(2)],
        params["output"],
    ]
    for layer, block in enumerate(blocks):
        mean, var = statistics(layer, x)
        normalized = (x - mean) / np.sqrt(var + EPSILON)
        x = np.maximum(normalized * block["norm"]["scale"] + block["norm"]["bias"], 0)
        x = x @ block["dense"]["kernel"]
    return x


def float64(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def own(layer, x):
    return x.mean(0), x.var(0)


def algorithm_2(params):
    """Means over batches of their means, and of their variances times m / (m - 1)."""
    seen = [[], [], []]

    def noted(layer, x):
        seen[layer].append((x.mean(0), x.var(0)))
        return own(layer, x)

    for batch in BATCHES:
        forward(params, batch, noted)
    means = [np.mean([mean for mean, _ in layer], 0) for layer in seen]
    variances = [8 / 7 * np.mean([var for _, var in layer], 0) for layer in seen]
    return lambda layer, x: (means[layer], variances[layer])


def test_population_is_algorithm_2_of_the_paper(variables):
    params = float64(variables["params"])
    expected = forward(params, IMAGES, algorithm_2(params))
    found = jax.jit(
        lambda images: answering(APPLY, variables, "population", batches=BATCHES)(images)
    )(IMAGES)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_batch_answers_by_the_company_that_an_image_keeps(variables):
    answer = jax.jit(answering(APPLY, variables, "batch"))
    expected = forward(float64(variables["params"]), IMAGES, own)
    np.testing.assert_allclose(answer(IMAGES), expected, rtol=1e-4, atol=1e-4)
    assert np.abs(np.asarray(answer(IMAGES))[:3] - answer(IMAGES[:3])).max() > 0.01
    for choice in ("ema", "population"):
        alone = jax.jit(
            lambda images, choice=choice: answering(APPLY, variables, choice, batches=BATCHES)(
                images
            )
        )
        whole = np.asarray(alone(IMAGES))
        np.testing.assert_allclose(whole[:3], alone(IMAGES[:3]), rtol=1e-5, atol=1e-5)


def test_ema_is_eval_mode(variables):
    found = answering(APPLY, variables, "ema")(IMAGES)
    params, batch_stats = variables["params"], variables["batch_stats"]
    np.testing.assert_array_equal(found, APPLY(params, batch_stats, IMAGES, train=False)[0])


def after(steps, batches):
    """The running statistics of frozen weights after some steps from 0 and 1."""
    params, batch_stats = drawn()["params"], drawn()["batch_stats"]
    for i in range(steps):
        batch_stats = train_mode(params, batch_stats, batches[i % len(batches)])
    return params, batch_stats


@pytest.mark.parametrize("steps", [1, 2, 20])
def test_what_is_left_of_the_start_is_taken_out(steps):
    """Of statistics that stay, exactly; .9^k of the start is in the average as it is."""
    params, running = after(steps, BATCHES[:1])
    settled = jax.jit(partial(batch_statistics, APPLY))(params, running, BATCHES[0])
    debiased = debiased_statistics(running, steps)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), debiased, settled
    )
    start = drawn()["batch_stats"]
    held = jax.tree.map(lambda s, b: 0.9**steps * s + (1 - 0.9**steps) * b, start, settled)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), running, held)


def test_a_start_of_weight_point_seven_seven_eight_eight():
    """Decay .99999 and 25,000 steps: a constant 3 is 3 again, from either start."""
    left = np.exp(25_000 * np.log(0.99999))
    assert left == pytest.approx(0.7788, abs=1e-4)
    running = {"mean": jnp.float32((1 - left) * 3), "var": jnp.float32(left + (1 - left) * 3)}
    found = debiased_statistics(running, 25_000, 0.99999)
    assert found["mean"] == pytest.approx(3, rel=1e-5)
    assert found["var"] == pytest.approx(3, rel=1e-5)
    none_left = debiased_statistics(running, 1, 0.0)
    assert none_left == running


def test_a_whitening_kernel_among_the_statistics_stays():
    statistics = {"norm1": {"mean": jnp.zeros(2), "var": jnp.ones(2)}, "whitening": jnp.ones(3)}
    found = debiased_statistics(statistics, 5)
    np.testing.assert_array_equal(found["whitening"], statistics["whitening"])


def test_debiased_answers_through_the_steps_that_are_traced(variables):
    params, running = after(3, BATCHES)
    net = {"params": params, "batch_stats": running}

    @jax.jit
    def answer(steps):
        return answering(APPLY, net, "ema_debiased", steps=steps)(IMAGES)

    expected = APPLY(params, debiased_statistics(running, 3), IMAGES, train=False)[0]
    np.testing.assert_allclose(answer(jnp.int32(3)), expected, rtol=1e-5, atol=1e-5)
    assert np.isnan(answer(jnp.int32(0))).all()


def test_no_choice_touches_what_training_keeps():
    """One step from 0 and 1 leaves .1 of the batch's mean, not .19, however often it is asked."""
    variables = drawn()
    task = Task(APPLY, lambda hyper: optax.sgd(0.1), lambda images, key: images)
    state = initial_state(task, variables, {})
    labels = jnp.arange(8, dtype=jnp.int32) % 3

    def one_step():  # traced anew
        return jax.jit(lambda: train_step(task, state, BATCHES[0], labels, {}, 0)[0])()

    plain = one_step()
    net = {"params": plain.params, "batch_stats": plain.batch_stats}
    for choice in INFERENCES:
        answering(APPLY, net, choice, batches=BATCHES, steps=1)(IMAGES)
    again = one_step()
    jax.tree.map(np.testing.assert_array_equal, plain, again)
    first = np.asarray(BATCHES[0]).reshape(8, -1) @ variables["params"]["input"]["kernel"]
    mean = plain.batch_stats["hidden"]["norm"]["mean"][0]
    np.testing.assert_allclose(mean, 0.1 * first.mean(0), rtol=1e-4, atol=1e-6)


def test_conventions_of_two_two_and_minus_four():
    """Variance 8 normalizes, 12 is averaged; Flax averages 8; momentum .9 is PyTorch's .1."""
    x = jnp.array([[2.0], [2.0], [-4.0]])
    drawn = BatchNorm().init(jax.random.key(0), x, train=False)
    y, ours = BatchNorm().apply(drawn, x, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(y[:, 0], [0.7071, 0.7071, -1.4142], atol=1e-4)
    assert ours["batch_stats"]["var"][0] == pytest.approx(0.9 * 1 + 0.1 * 12)
    flax = nn.BatchNorm(momentum=0.9)
    _, theirs = flax.apply(drawn, x, use_running_average=False, mutable=["batch_stats"])
    assert theirs["batch_stats"]["var"][0] == pytest.approx(0.9 * 1 + 0.1 * 8)
    apply = apply_function(_Alone())
    params, batch_stats = ({"norm": drawn[name]} for name in ("params", "batch_stats"))
    found = batch_statistics(apply, params, batch_stats, x)["norm"]
    assert (found["mean"][0], found["var"][0]) == (pytest.approx(0, abs=1e-6), pytest.approx(12))


class _Alone(nn.Module):
    """Batch norm and nothing else, as a model."""

    @nn.compact
    def __call__(self, images, *, train, taps=None):
        return BatchNorm(name="norm")(images, train=train), {}


def test_a_mean_of_40960_deviations_leaves_a_deviation_of_point_9995():
    x = (4096 + 0.1 * RNG.normal(size=(4096, 4))).astype(np.float32)
    exact = x.astype(np.float64)
    expected = exact.std(0) / np.sqrt(exact.var(0) + 1e-5)
    np.testing.assert_allclose(expected, 0.9995, atol=1e-4)
    drawn = BatchNorm().init(jax.random.key(0), x, train=False)
    y, _ = BatchNorm().apply(drawn, x, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(np.std(y, 0), expected, atol=2e-4)
    np.testing.assert_allclose(np.std(standardize(x, 1e-5), 0), expected, atol=2e-4)
    apply = apply_function(_Alone())
    net = {name: {"norm": drawn[name]} for name in ("params", "batch_stats")}
    y = answering(apply, net, "population", batches=jnp.asarray(x).reshape(4, 1024, 4))(x)
    np.testing.assert_allclose(np.std(y, 0), 0.9995, atol=1e-3)


def test_a_conv_net_has_population_statistics_too():
    model = cifar_resnet(8, 3, "A", he_forward(), 4)
    apply = apply_function(model)
    images = np.float32(RNG.normal(size=(2, 4, 8, 8, 3)))
    variables = jax.jit(partial(initialize, model, image_shape=(8, 8, 3)))(jax.random.key(0))
    params, batch_stats = variables["params"], variables["batch_stats"]
    found = jax.jit(partial(population_statistics, apply))(params, batch_stats, images)
    of_batch = jax.jit(partial(batch_statistics, apply))
    each = [of_batch(params, batch_stats, batch) for batch in images]
    jax.tree.map(
        lambda found, *parts: np.testing.assert_allclose(found, np.mean(parts, 0), rtol=1e-4),
        found,
        *each,
    )
    # Momentum .9 from 0 and 1: what one step leaves in the running ones.
    _, _, running = jax.jit(partial(apply, train=True))(params, batch_stats, images[0])
    expected = jax.tree.map(lambda start, new: 0.9 * start + 0.1 * new, batch_stats, each[0])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), running, expected
    )


@pytest.mark.parametrize(
    ("choice", "given", "message"),
    [
        ("running", {}, "^inference is one of batch, ema, ema_debiased, population, not 'running'"),
        ("population", {}, "needs batches of training images"),
        ("population", {"batches": BATCHES[:0]}, "at least one batch"),
        ("population", {"batches": BATCHES[:, :1]}, "one value a channel"),
        ("ema_debiased", {}, "needs the number of steps"),
        ("ema_debiased", {"steps": 0}, "nothing but their start"),
        ("ema_debiased", {"steps": 3, "momentum": 1.0}, "0 to below 1"),
    ],
)
def test_a_choice_that_lacks_what_it_needs(variables, choice, given, message):
    with pytest.raises(UserError, match=message) as refused:
        answering(APPLY, variables, choice, **given)
    assert "\n" not in str(refused.value)


def test_one_image_alone_has_no_batch_statistics(variables):
    answer = answering(APPLY, variables, "batch")
    with pytest.raises(UserError, match="one value a channel"):
        answer(IMAGES[:1])
