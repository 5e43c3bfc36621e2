"""A gradient tap is invisible in values and gradients, and reads the gradient at its place."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.taps import gradient_tap, normalizing_tap

X = jnp.linspace(-1.0, 2.0, 12).reshape(3, 4)


def tapped(x, tap):
    return jnp.sum(jnp.sin(gradient_tap(3 * x, tap)) ** 2)


def bare(x):
    return jnp.sum(jnp.sin(3 * x) ** 2)


def squared_gradient(x):
    """Of ``tapped`` at the tapped place 3x, by hand: d sin(y)^2 = sin(2y)."""
    return np.sum(np.sin(6 * np.asarray(x, np.float64)) ** 2)


@pytest.mark.parametrize("value", [0.0, 5.0, np.nan])
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_value_and_gradient_pass_unchanged_and_the_tap_reads_the_squared_norm(value, wrap):
    evaluated = wrap(jax.value_and_grad(tapped, argnums=(0, 1)))(X, jnp.float32(value))
    (loss, (gradient, read)) = evaluated
    expected_loss, expected = wrap(jax.value_and_grad(bare))(X)
    assert loss == expected_loss
    np.testing.assert_array_equal(gradient, expected)
    assert read.dtype == jnp.float32
    np.testing.assert_allclose(read, squared_gradient(X), rtol=1e-5)


def test_without_differentiation_it_is_the_identity():
    np.testing.assert_array_equal(gradient_tap(X, jnp.float32(0)), X)


def test_under_vmap_each_example_has_its_own_reading():
    pile = jnp.stack([X, 2 * X, X - 1])
    taps = jnp.zeros(3)
    gradients, read = jax.vmap(jax.grad(tapped, argnums=(0, 1)))(pile, taps)
    np.testing.assert_array_equal(gradients, jax.vmap(jax.grad(bare))(pile))
    np.testing.assert_allclose(read, [squared_gradient(x) for x in pile], rtol=1e-5)


def test_a_tap_shared_by_vmapped_examples_reads_their_sum():
    pile = jnp.stack([X, 2 * X, X - 1])
    read = jax.grad(lambda tap: jnp.sum(jax.vmap(lambda x: tapped(x, tap))(pile)))(jnp.float32(0))
    np.testing.assert_allclose(read, sum(squared_gradient(x) for x in pile), rtol=1e-5)


def test_in_a_scan_each_step_has_its_own_reading():
    weights = jnp.array([0.5, -2.0, 1.5, 0.25])

    def loss(x, taps):
        def layer(x, inputs):
            weight, tap = inputs
            return gradient_tap(weight * jnp.tanh(x), tap), None

        return jnp.sum(jax.lax.scan(layer, x, (weights, taps))[0])

    def unrolled(x, zeros):
        for weight, zero in zip(weights, zeros, strict=True):
            x = weight * jnp.tanh(x) + zero
        return jnp.sum(x)

    gradient, read = jax.jit(jax.grad(loss, argnums=(0, 1)))(X, jnp.zeros(4))
    expected, deltas = jax.grad(unrolled, argnums=(0, 1))(X, [jnp.zeros_like(X)] * 4)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)
    np.testing.assert_allclose(read, [np.sum(np.square(delta)) for delta in deltas], rtol=1e-5)


def test_normalizing_taps_read_the_factors_of_what_plain_taps_read():
    weights, scales = (0.5, -2.0, 1.5), (1e-12, 1e-12, 1e-12)  # 1e-24 squared leaves float32

    def loss(tap_of, factors, x, taps):
        for weight, factor, tap in zip(weights, factors, taps, strict=True):
            x = tap_of(factor * weight * jnp.sin(x), tap)
        return jnp.sum(x)

    def read(tap_of, factors):
        return jax.grad(partial(loss, tap_of, factors), argnums=(0, 1))(X, (jnp.float32(0),) * 3)

    plain_gradient, plain = read(gradient_tap, (1, 1, 1))
    gradient, factors = read(normalizing_tap, (1, 1, 1))
    np.testing.assert_allclose(np.cumprod(factors[::-1])[::-1], plain, rtol=1e-5)
    unit = plain_gradient / jnp.sqrt(plain[0])
    np.testing.assert_allclose(gradient, unit, rtol=1e-5, atol=1e-7)
    assert loss(normalizing_tap, scales, X, plain) == loss(gradient_tap, scales, X, plain)
    assert read(gradient_tap, scales)[1][0] == 0
    assert all(factor > 0 for factor in read(normalizing_tap, scales)[1])


def test_a_gradient_of_zero_stays_zero_and_finite():
    def loss(x, tap):
        return jnp.sum(0 * normalizing_tap(x, tap))

    gradient, read = jax.grad(loss, argnums=(0, 1))(X, jnp.float32(0))
    np.testing.assert_array_equal(gradient, np.zeros(X.shape))
    assert read == 0


def test_a_narrow_gradient_is_squared_in_float32():
    def loss(x, tap):
        return jnp.sum(300 * gradient_tap(x, tap))  # 300 squared is beyond float16

    x = jnp.ones(4, jnp.float16)
    gradient, read = jax.grad(loss, argnums=(0, 1))(x, jnp.float32(0))
    assert gradient.dtype == jnp.float16
    assert read == 4 * 300.0**2
