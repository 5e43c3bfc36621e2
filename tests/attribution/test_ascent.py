"""Gradient ascent on pictures: closed forms of linear nets, and what is reported of units."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from jaxvision.attribution.ascent import maximize
from jaxvision.attribution.objectives import (
    direction,
    log_probability,
    logit,
    probability,
    unit,
)
from jaxvision.attribution.parametrizations import fourier, pixels, prior
from jaxvision.attribution.regularizers import YOSINSKI, decayed
from jaxvision.types import UserError

SHAPE = (4, 4, 2)
RNG = np.random.default_rng(0)
WEIGHTS = np.float32(RNG.normal(size=(32, 5)))
SQUARED = np.square(WEIGHTS).sum(0)
PICTURES = WEIGHTS.T.reshape(5, *SHAPE)
FREE = prior(lambda codes: codes)
START = np.zeros((5, *SHAPE), np.float32)


def linear(pictures):
    """A net of five linear scores; as a unit's pre-activation it is shut until -3 is overcome."""
    scores = pictures.reshape(len(pictures), -1) @ WEIGHTS
    return scores, {"unit": scores - 3, "dead": 0 * scores - 1}


def strong(pictures):
    scores, _ = linear(pictures)
    return 10 * scores, {}


def curved(pictures):
    flat = pictures.reshape(len(pictures), -1)
    return jnp.tanh(flat @ WEIGHTS) @ WEIGHTS[:5].T, {}


def climb(
    objective,
    parametrization=FREE,
    start=START,
    optimizer=None,
    layers=linear,
    **options,
):
    optimizer = optimizer or optax.sgd(0.5)
    ascent = jax.jit(
        lambda codes: maximize(layers, objective, parametrization, codes, optimizer, **options)
    )
    return jax.device_get(ascent(start))


def test_a_linear_score_with_an_l2_penalty_ends_at_its_closed_form():
    """The picture w / l, its score |w|^2 / l."""
    found = climb(logit(range(5)), steps=60, l2=0.8)
    assert_allclose(found.last, PICTURES / 0.8, rtol=1e-5, atol=1e-6)
    assert_allclose(found.trace[-1], SQUARED / 0.8, rtol=1e-5)
    assert_allclose(found.best, found.last, rtol=1e-5)


def test_decay_after_a_step_is_another_l2_penalty():
    """The rule x <- (1 - d)(x + r w) ends at (1 - d) r w / d."""
    found = climb(logit(range(5)), steps=200, touches=[decayed(0.2)])
    assert_allclose(found.last, 0.8 * 0.5 / 0.2 * PICTURES, rtol=1e-5, atol=1e-5)


def test_a_unit_is_maximized_before_its_relu_and_one_that_never_fires_is_reported():
    """From a start where the ReLU is shut, its own gradient would be 0 for ever."""
    found = climb(unit("unit", range(5)), steps=1)
    assert (found.trace[0] == -3).all()
    assert_allclose(found.trace[1], SQUARED / 2 - 3, rtol=1e-5)
    assert found.fired.all()
    dead = climb(unit("dead", range(5)), steps=3)
    assert not dead.fired.any()
    assert_array_equal(dead.last, START)


def test_a_direction_that_is_a_unit_gives_the_unit_s_picture():
    eye = np.eye(5, dtype=np.float32)
    one = climb(unit("unit", range(5)), steps=3)
    other = climb(direction("unit", eye), steps=3)
    assert_allclose(one.last, other.last, rtol=1e-6)


def test_the_unit_of_a_map_is_the_one_in_its_middle():
    def layers(pictures):
        return pictures.sum((1, 2)), {"map": pictures}

    found = climb(unit("map", [1] * 5), steps=1, layers=layers)
    row, column, channel = np.nonzero(found.last[0])
    assert (row, column, channel) == (2, 2, 1)


def test_the_best_picture_is_kept_where_the_last_one_is_worse():
    """Steps too long for the parabola w.x - l/2 |x|^2 swing over its top ever farther."""

    def parabola(pictures):
        flat = pictures.reshape(len(pictures), -1)
        squared = jnp.square(flat).sum(1, keepdims=True)
        return flat @ WEIGHTS - 2.2 * squared, {}

    found = climb(logit(range(5)), steps=6, layers=parabola)
    assert (found.trace[-1] < 0).all()
    values, _ = parabola(found.best)
    assert_allclose(np.diagonal(values), found.trace.max(0), rtol=1e-5)


def test_gradients_of_softmax_follow_from_those_of_the_logits_at_every_step():
    """Namely grad log p_c = grad S_c - sum_k p_k grad S_k, and grad p_c = p_c grad log p_c."""
    classes = [0, 1, 2, 3, 4]
    x, rng = START + 0.1, np.random.default_rng(1)
    x = np.float32(x + 0.1 * rng.normal(size=x.shape))

    @jax.jit
    def gradients(x):
        def of(objective):
            return jax.grad(lambda x: objective(*curved(x)).sum())(x)

        each = [of(logit([k] * 5)) for k in range(5)]
        scores = jnp.stack(each)  # [K, B, H, W, C]
        p = jax.nn.softmax(curved(x)[0])
        return of(log_probability(classes)), of(probability(classes)), scores, p

    seen = []
    for _ in range(12):
        log_p, of_p, scores, p = gradients(x)
        own = scores[np.arange(5), np.arange(5)]
        others = jnp.einsum("bk,kbhwc->bhwc", p, scores)
        assert_allclose(log_p, own - others, atol=2e-5)
        own_p = p[np.arange(5), np.arange(5)]
        assert_allclose(of_p, own_p[:, None, None, None] * log_p, atol=1e-5)
        seen.append(own_p)
        x = x + 0.02 * own
    assert np.min(seen) < 0.1
    assert np.max(seen) > 0.9


def test_a_picture_depends_neither_on_the_batch_nor_on_who_compiles_it():
    objective = [3, 1, 0, 2, 4]
    key = jax.random.key(0)
    options = {"steps": 5, "jitter": 1, "layers": curved, "optimizer": optax.adam(0.1)}
    found = climb(logit(objective), key=key, **options)
    alone = climb(logit(objective[:1]), start=START[:1], key=key, **options)
    assert_allclose(alone.last, found.last[:1], rtol=1e-5, atol=1e-6)


def test_jitter_shifts_what_the_net_sees():
    """Climbing one pixel's score with jitter 1 lights its neighbors, and nothing beyond."""

    def layers(pictures):
        return pictures[:, 1, 1], {}

    options = {"key": jax.random.key(1), "layers": layers}
    found = climb(logit([0] * 5), steps=60, jitter=1, **options)
    lit = found.last[0, ..., 0] > 0
    assert lit[:3, :3].all()
    assert lit.sum() == 9
    still = climb(logit([0] * 5), steps=5, jitter=0, **options)
    assert (still.last[0] > 0).sum() == 1


def test_no_picture_goes_beyond_its_reach():
    reach = np.float32([0.5, 1.0, np.inf, 0.0, 8.0])
    found = climb(logit(range(5)), steps=40, optimizer=optax.sgd(0.01), reach=reach)
    step = 0.01 * np.sqrt(SQUARED)
    assert found.distance[-1, 3] == 0
    assert (found.distance <= reach + 1e-5).all()
    assert_allclose(found.distance[-1, :2], reach[:2], rtol=1e-5)  # neither do they stop before
    free = [2, 4]
    assert_allclose(found.distance[-1, free], 40 * step[free], rtol=1e-4)


def test_the_last_step_ends_at_the_reach_whatever_the_pictures_are_made_of():
    """Waves are bent by a sigmoid: their distance is no straight line in the codes."""
    waves = fourier(*SHAPE[:2], np.eye(SHAPE[2], dtype=np.float32))
    start = 0.01 * np.random.default_rng(3).normal(size=START.shape).astype(np.float32)
    options = {"steps": 30, "optimizer": optax.adam(0.05), "reach": 0.7}
    found = climb(logit(range(5)), waves, start, **options)
    assert_allclose(found.distance[-1], 0.7, rtol=1e-3)
    free = climb(logit(range(5)), waves, start, **(options | {"reach": None}))
    assert (free.distance[-1] > 1.4).all()


@pytest.mark.parametrize("rate", [0.5, 30.0])
def test_large_steps_in_waves_end_at_the_reach(rate):
    """Of a step that bends much, one cut led up to twice as far as it should."""
    waves = fourier(*SHAPE[:2], np.eye(SHAPE[2], dtype=np.float32))
    start = 0.01 * np.random.default_rng(3).normal(size=START.shape).astype(np.float32)
    reach = np.float32([0.7, 0.1, 0.0, np.inf, 0.7])
    options = {"steps": 10, "optimizer": optax.adam(rate)}
    found = climb(logit(range(5)), waves, start, reach=reach, **options)
    assert (found.distance <= 1.001 * reach + 1e-6).all()
    assert_allclose(found.distance[-1, :3], reach[:3], rtol=2e-3, atol=1e-6)
    free = climb(logit(range(5)), waves, start, **options)
    assert_allclose(found.last[3], free.last[3], rtol=1e-5)


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_yosinski_s_sets_climb_within_the_pixels_range(number):
    recipe = YOSINSKI[number]
    center = np.full(SHAPE, 0.4, np.float32)
    rng = np.random.default_rng(2)
    start = np.float32(0.04 * rng.normal(size=START.shape))
    found = climb(
        logit(range(5)),
        pixels(center),
        start,
        recipe.optimizer(),
        layers=strong,
        steps=40,
        touches=recipe.touches(size=227),
    )
    assert (found.trace[-1] > found.trace[0]).all()
    assert found.last.min() >= 0
    assert found.last.max() <= 1


@pytest.mark.parametrize(
    ("objective", "options", "line"),
    [
        (logit([0, 1, 2, 3, 5]), {}, "there are 5 classes, counted from 0, and no 5"),
        (logit([0, 1]), {}, "2 classes for 5 pictures: one for each"),
        (unit("conv9", [0] * 5), {}, "no layer 'conv9': use unit, dead"),
        (unit("unit", [0, 0, 0, 0, -1]), {}, "there are 5 units of unit"),
        (logit(range(5)), {"steps": 0}, "steps=0: an ascent takes at least 1"),
        (logit(range(5)), {"steps": 2.0}, "steps=2.0: .* a whole number"),
        (logit(range(5)), {"steps": True}, "steps=True: .* a whole number"),
        (logit([0, 1, 2, 3, 0.5]), {}, r"classes \[.*0.5\] are no whole numbers"),
        (unit("unit", [True] * 5), {}, "units of unit .* are no whole numbers"),
        (logit(3), {}, "1 classes for 5 pictures"),
        (logit(range(5)), {"jitter": 1.5, "key": jax.random.key(0)}, "jitter=1.5: a whole number"),
        (
            logit(range(5)),
            {"jitter": True, "key": jax.random.key(0)},
            "jitter=True: a whole number",
        ),
        (logit(range(5)), {"jitter": -1, "key": jax.random.key(0)}, "jitter=-1: at least 0"),
        (logit(range(5)), {"jitter": 1}, "jitter is drawn at random: give a key"),
    ],
)
def test_mistakes_are_refused_in_one_line(objective, options, line):
    with pytest.raises(UserError, match=line):
        climb(objective, **{"steps": 1, **options})


def test_a_stack_of_layers_is_no_unit():
    def layers(pictures):
        return pictures.sum((1, 2)), {"rest": pictures[None]}

    with pytest.raises(UserError, match="holds several layers"):
        climb(unit("rest", [0] * 5), steps=1, layers=layers)
