"""Steps, bounds and order of DGN-AM's search in codes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.attribution.ascent import maximize
from jaxvision.attribution.parametrizations import prior
from jaxvision.attribution.regularizers import decayed
from jaxvision.generative import preferred
from jaxvision.types import UserError

MIXING = np.random.default_rng(0).normal(size=(3, 12)).astype(np.float32)
WEIGHTS = np.random.default_rng(1).normal(size=12).astype(np.float32)


def paint(codes):
    return jnp.tanh(codes @ MIXING)


def unit(images):
    return jnp.sin(images) @ WEIGHTS


def test_the_authors_two_normalized_steps_are_one():
    """Through the image by g / mean |g|, then through the code by g' / mean |g'|."""
    code = jnp.array([0.3, -0.2, 0.5])
    step = 8.0
    image = paint(code)
    of_image = jax.grad(unit)(image)
    moved = image + step * of_image / jnp.abs(of_image).mean()
    _, back = jax.vjp(paint, code)
    (asked,) = back(moved - image)
    by_two = step * asked / jnp.abs(asked).mean()
    steps = preferred.falling_steps(10, step)
    gradient = -jax.grad(lambda code: unit(paint(code)))(code)[None]
    by_one, _ = steps.update(gradient, steps.init(None))
    np.testing.assert_allclose(by_one[0], by_two, rtol=1e-5)


def test_steps_fall_in_a_line_and_stop_where_there_is_no_gradient():
    steps = preferred.falling_steps(5, 8.0, 0.0)
    state = steps.init(None)
    gradient = jnp.array([[1.0, -3.0], [0.0, 0.0]])
    lengths = []
    for _ in range(5):
        move, state = steps.update(gradient, state)
        lengths.append(jnp.abs(move).mean(1))
    np.testing.assert_allclose(lengths, [[8, 0], [6, 0], [4, 0], [2, 0], [0, 0]], atol=1e-6)
    np.testing.assert_allclose(steps.update(gradient, steps.init(None))[0][0], [-4, 12])


def test_codes_are_clipped_before_they_decay():
    """At a bound of 2 a code that is pushed out ends at .99 x 2, not at 2."""

    def layers(pictures):
        return pictures.sum((1, 2, 3))[:, None], {}

    def decode(codes):
        return codes[:, None, None, :]

    found = maximize(
        layers,
        lambda logits, activations: logits[:, 0],
        prior(decode, 0.0, 2.0),
        jnp.zeros((1, 4)),
        preferred.falling_steps(1),
        steps=1,
        touches=(preferred.clipped(0.0, 2.0), decayed(preferred.DECAY)),
    )
    np.testing.assert_allclose(found.last, 1.98, rtol=1e-6)


def test_bounds_are_mean_and_three_deviations():
    codes = np.array([[0.0, 1.0], [2.0, 1.0]])
    bounds = preferred.bounds_of(codes)
    np.testing.assert_allclose(bounds.low, [0, 0])
    np.testing.assert_allclose(bounds.high, [1 + 3 * 1, 1])
    preferred.check_codes(codes, bounds)


@pytest.mark.parametrize(("value", "told"), [(4.5, "4.5 at 0"), (-1.0, "-1 at 0"), (np.nan, "nan")])
def test_a_code_outside_of_its_bounds_is_one_clear_line(value, told):
    bounds = preferred.bounds_of(np.array([[0.0, 1.0], [2.0, 1.0]]))
    with pytest.raises(UserError, match=f"code 1 has {told}.*outside of its bounds 0 to 4: clip"):
        preferred.check_codes(np.array([[0.0, 1.0], [value, 1.0]]), bounds)


def test_one_image_has_no_spread():
    with pytest.raises(UserError, match="at least 2 images, got 1"):
        preferred.bounds_of(np.ones((1, 3)))
