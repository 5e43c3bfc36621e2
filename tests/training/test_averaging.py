"""Averages of weights: no share of the start, the training untouched, and nets stirred together."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxvision.initializers import he_forward
from jaxvision.models.drawing import initialize
from jaxvision.models.layers import apply_function
from jaxvision.models.residual_mlp import ResidualMLP
from jaxvision.random import stream
from jaxvision.training.averaging import (
    Average,
    averages,
    averaging,
    exponential,
    soup,
    stochastic,
)
from jaxvision.training.schedules import rate_used, scheduled, step_decay

RATES = {"learning_rate": jnp.float32(0.1)}


def descended(rules, start, gradients):
    """Return weights after each step and what was averaged, under given gradients."""
    plain = lambda hyper: optax.sgd(hyper["learning_rate"], momentum=0.9)  # noqa: E731
    optimizer = averaging(plain, rules)(RATES)
    params = {"w": jnp.float32(start)}

    def step(carry, gradient):
        params, state = carry
        updates, state = optimizer.update({"w": gradient}, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params["w"]

    (_, state), along = jax.lax.scan(step, (params, optimizer.init(params)), jnp.float32(gradients))
    return np.asarray(along, np.float64), averages(state)


def test_a_moving_average_keeps_no_share_of_the_start():
    """Met elsewhere: decay .99999 and 25,000 steps leave the start a weight of .7788."""
    decay, steps = 0.99999, 25_000
    assert decay**steps == pytest.approx(0.7788, abs=1e-4)
    along, found = descended({"ema": exponential(decay)}, 1.0, np.r_[10.0, np.zeros(steps - 1)])
    weights = (1 - decay) * decay ** np.arange(steps)[::-1] / (1 - decay**steps)
    assert weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(found["ema"]["w"], weights @ along, rtol=1e-3)
    assert abs(found["ema"]["w"] - (0.7788 + 0.2212 * (weights @ along))) > 1


def test_constant_weights_are_their_own_average_to_the_bit():
    average = Average.empty({"w": jnp.zeros(3)})
    for _ in range(100):
        average = exponential(0.999)(average, {"w": jnp.float32([0.1, -2.3, 7.7])}, 0, RATES)
    np.testing.assert_array_equal(average.mean["w"], np.float32([0.1, -2.3, 7.7]))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_a_soup_is_a_mean_whatever_the_type_of_the_weights(dtype):
    found = soup({"w": jnp.array([[1, 2], [3, 4]], dtype), "count": jnp.array([7, 9])})
    np.testing.assert_array_equal(found["w"], [2, 3])
    assert (found["w"].dtype, found["count"]) == (dtype, 7)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_averages_of_weights_of_16_bits_have_32_and_go_through_a_scan(dtype):
    """In 8 bits the weights' share of a thousandth would move no average."""
    rules = {"ema": exponential(0.999), "swa": stochastic(1, 1)}
    optimizer = averaging(lambda hyper: optax.sgd(0.25), rules)(RATES)
    params = {"w": jnp.array([1.0, -2.0], dtype)}

    def step(carry, gradient):
        params, state = carry
        updates, state = optimizer.update({"w": jnp.full(2, gradient, dtype)}, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params["w"]

    gradients = jnp.array(np.random.default_rng(3).normal(size=300), dtype)
    (_, state), along = jax.lax.scan(step, (params, optimizer.init(params)), gradients)
    along = np.asarray(along, np.float64)
    weights = 0.999 ** np.arange(300)[::-1]
    means = {"ema": weights @ along / weights.sum(), "swa": along.mean(0)}
    for name, mean in averages(state).items():
        assert mean["w"].dtype == jnp.float32
        np.testing.assert_allclose(mean["w"], means[name], rtol=1e-3)


@pytest.mark.parametrize("place", [np.asarray, jnp.asarray])
def test_a_soup_of_bfloat16_is_rounded_once(place):
    nets = (1 + 0.3 * np.random.default_rng(4).normal(size=(64, 50))).astype(jnp.bfloat16)
    mean = nets.astype(np.float64).mean(0)
    np.testing.assert_array_equal(soup(place(nets)), mean.astype(jnp.bfloat16))


def test_swa_is_the_mean_of_every_few_steps():
    gradients = np.random.default_rng(0).normal(size=20)
    along, found = descended({"swa": stochastic(8, 4)}, 0.0, gradients)
    np.testing.assert_allclose(found["swa"]["w"], along[[7, 11, 15, 19]].mean(), rtol=1e-5)


def test_averaging_changes_no_bit_of_the_training():
    gradients = np.random.default_rng(1).normal(size=50)
    bare, _ = descended({}, 0.3, gradients)
    watched, _ = descended({"ema": exponential(0.9), "swa": stochastic(3, 2)}, 0.3, gradients)
    np.testing.assert_array_equal(bare, watched)


def test_a_schedule_and_an_average_go_together_in_either_order():
    def momentum(hyper):
        return optax.sgd(hyper["learning_rate"], momentum=0.9)

    rules = {"swa": stochastic(1, 1)}
    halved = step_decay((1,))
    for optimizer in (
        averaging(scheduled(momentum, halved), rules),
        scheduled(averaging(momentum, rules), halved),
    ):
        made = optimizer(RATES)
        params = {"w": jnp.float32(1.0)}
        state = made.init(params)
        for _ in range(2):
            updates, state = made.update({"w": jnp.float32(1)}, state, params, error=0.5)
            params = optax.apply_updates(params, updates)
        np.testing.assert_allclose(rate_used(state)["learning_rate"], 0.01, rtol=1e-6)
        np.testing.assert_allclose(averages(state)["swa"]["w"], (0.9 + 0.881) / 2, rtol=1e-6)


def test_equal_nets_average_to_their_own_output_with_batch_norm_too():
    model = ResidualMLP(4, 8, 3, he_forward(), normalized=True)
    draw = jax.jit(functools.partial(initialize, model, image_shape=(4, 4, 1)))
    start = draw(stream(0, "init"))
    images = np.random.default_rng(0).normal(size=(5, 4, 4, 1)).astype(np.float32)
    apply = jax.jit(apply_function(model), static_argnames="train")
    _, _, statistics = apply(start["params"], start["batch_stats"], images, train=True)
    net = start | {"batch_stats": statistics}
    net["batch_stats"]["count"] = jnp.int32(7)
    mean = soup(jax.tree.map(lambda leaf: np.stack([leaf] * 3), net))
    assert mean["batch_stats"].pop("count") == 7
    net["batch_stats"].pop("count")
    outputs = [apply(n["params"], n["batch_stats"], images, train=False)[0] for n in (net, mean)]
    np.testing.assert_allclose(*outputs, atol=1e-6)
