"""Rates inside the compiled step: what they are, and that the period changes none of them."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxvision.training.optimizers import caffe_sgd, sgd
from jaxvision.training.schedules import (
    cosine_decay,
    linear_decay,
    linear_warm_up,
    scheduled,
    step_decay,
    warm_up,
)

RATE = 0.1


def rates(errors, *rules):
    """Return the rate of every step, of which the batches had these training errors."""
    optimizer = scheduled(lambda hyper: optax.sgd(hyper["learning_rate"]), *rules)
    transformation = optimizer({"learning_rate": jnp.float32(RATE)})
    params = {"w": jnp.float32(0)}
    state, found = transformation.init(params), []
    for error in errors:
        updates, state = transformation.update(
            {"w": jnp.float32(1)}, state, params, error=jnp.float32(error)
        )
        assert updates["w"] == -state.learning_rate  # it is the rate that is used
        found.append(float(state.learning_rate))
    return found


def test_the_rate_drops_at_its_steps_by_one_tenth_each():
    found = rates(np.full(8, 0.5), step_decay((4, 6)))
    np.testing.assert_allclose(found, [0.1] * 4 + [0.01] * 2 + [0.001] * 2, rtol=1e-6)


def test_a_linear_decay_reaches_zero_at_its_last_step():
    found = rates(np.full(6, 0.5), linear_decay(4))
    np.testing.assert_allclose(found, [0.1, 0.075, 0.05, 0.025, 0, 0], rtol=1e-6)


def test_he_et_al_s_rates_of_every_step_whatever_the_period():
    """``--steps=320``: 160 at .03, 80 at .003, 80 at .0003, as ``--learning_rate`` promises."""
    rule = step_decay((160, 240))
    found = jax.vmap(lambda step: rule.rate(jnp.float32(0.03), step, ()))(jnp.arange(320))
    wanted = np.repeat(np.float32([0.03, 0.003, 0.0003]), [160, 80, 80])
    np.testing.assert_array_equal(found, wanted)


def test_a_warm_up_wastes_no_step_and_the_decay_ends_where_the_run_does():
    """optax: 0, .1, ..., 1 at step 10 of 100, .5 at 55, 0 at 100; its step 0 moves nothing."""
    curve = optax.warmup_cosine_decay_schedule(0.0, 1.0, 10, 100)
    optaxs = np.array([curve(step) for step in range(101)])
    np.testing.assert_allclose(optaxs[:11], np.arange(11) / 10, atol=1e-6)
    rules = linear_warm_up(10), cosine_decay(10, 100)
    ours = np.array(rates(np.full(100, 0.5), *rules)) / RATE
    np.testing.assert_allclose(ours[:10], optaxs[1:11], rtol=1e-6)  # .1 at the very first step
    np.testing.assert_allclose(ours[10:], optaxs[10:100], atol=1e-6)
    np.testing.assert_allclose([ours[9], ours[10], ours[55]], [1, 1, 0.5], rtol=1e-5)
    assert ours.min() > 0  # no step is wasted at the end either
    ended = rules[1].rate(jnp.float32(1), jnp.int32(100), ())
    np.testing.assert_allclose(ended, 0, atol=1e-7)
    # The length that forgets the warm-up ends ten steps early.
    early = optax.warmup_cosine_decay_schedule(0.0, 1.0, 10, 90)
    assert early(90) == early(99) == 0 < optaxs[99]


def test_the_length_of_a_warm_up_is_traced_and_may_be_none():
    def climb(steps):
        rule = linear_warm_up(steps)
        return jax.vmap(lambda step: rule.rate(jnp.float32(1), step, ()))(jnp.arange(6))

    found = jax.jit(jax.vmap(climb))(jnp.float32([0, 1, 4]))
    np.testing.assert_array_equal(found, [[1] * 6, [1] * 6, [0.25, 0.5, 0.75, 1, 1, 1]])


def test_a_warm_up_ends_with_the_first_window_that_errs_less():
    errors = [0.9, 0.6, 0.9, 0.8, 0.7, 0.7, 0.9, 0.9]  # by two: .75, .85, .7, .9
    np.testing.assert_allclose(
        rates(errors, warm_up(below=0.74, window=2)), [0.01] * 6 + [0.1] * 2, rtol=1e-6
    )
    np.testing.assert_allclose(
        rates(errors, warm_up(below=0.8, window=2)), [0.01] * 2 + [0.1] * 6, rtol=1e-6
    )
    # Once is enough, and "below" is below: windows of one.
    found = rates([0.8, 0.79, 0.9, 0.9], warm_up(below=0.8, window=1))
    np.testing.assert_allclose(found, [0.01, 0.01, 0.1, 0.1], rtol=1e-6)


def test_rules_act_one_after_the_other():
    found = rates([0.9, 0.1, 0.1, 0.1], step_decay((3,)), warm_up(below=0.5, window=1))
    np.testing.assert_allclose(found, [0.01, 0.01, 0.1, 0.01], rtol=1e-6)
    found = rates([0.9, 0.9, 0.1, 0.1], step_decay((1,)), warm_up(below=0.5, window=1))
    np.testing.assert_allclose(found, [0.01, 0.001, 0.001, 0.01], rtol=1e-6)


def test_the_optimizer_keeps_its_own_state_and_other_hyper_parameters(lab):
    """A schedule without a rule is no schedule: the same bits."""
    runs = lab.runs("mlp")
    bare = lab.trainer("mlp").fit(runs, 4)
    found = lab.trainer("mlp", optimizer=lambda w, hyper: scheduled(partial(sgd, w))(hyper))
    history = found.fit(runs, 4)
    jax.tree.map(np.testing.assert_array_equal, history.variables, bare.variables)
    rate = np.broadcast_to(runs.hyper["learning_rate"][:, None], (3, 4))
    np.testing.assert_array_equal(history.train["learning_rate"], rate)
    assert "learning_rate" not in bare.train


def he2016(weight_decay, hyper):
    """The rate falls inside a period of 16 and of 40; the warm-up ends where a run has learned."""
    rules = step_decay((50, 70)), warm_up(below=0.8, window=5)
    return scheduled(partial(caffe_sgd, weight_decay), *rules)(hyper)


@pytest.fixture(scope="module")
def by_period(lab):
    """Return the histories of 80 steps looked at every 8, 16 and 40."""
    trainer = lab.trainer("mlp", optimizer=he2016)
    runs = lab.runs("mlp", rates=(0.1, 0.2, 0.3, 0.4, 0.5))
    return {p: dataclasses.replace(trainer, period=p).fit(runs, 80) for p in (8, 16, 40)}


@pytest.mark.parametrize("period", [16, 40])
def test_the_period_changes_no_bit_of_what_is_computed(by_period, period):
    found, wanted = by_period[period], by_period[8]
    jax.tree.map(np.testing.assert_array_equal, found.variables, wanted.variables)
    jax.tree.map(np.testing.assert_array_equal, found.train, wanted.train)


def test_the_rates_of_a_training_are_those_of_its_own_errors(by_period):
    history = by_period[40]
    for run, rate in enumerate((0.1, 0.2, 0.3)):
        errors = history.train["error"][run].reshape(-1, 5).mean(1)
        assert (errors < 0.8).any()  # or there would be nothing to see
        begins = 5 * (np.argmax(errors < 0.8) + 1)
        steps = np.arange(80)
        drops = np.select([steps < 50, steps < 70], [1.0, 0.1], 0.01)
        wanted = rate * np.where(steps < begins, 0.1, 1.0) * drops
        np.testing.assert_allclose(history.train["learning_rate"][run], wanted, rtol=1e-5)
    ends = (history.train["learning_rate"] >= np.float32([[0.1], [0.2], [0.3]])).argmax(1)
    assert len(set(ends)) > 1  # by run
