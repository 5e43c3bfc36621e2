"""Growth through random nets against products of whole Jacobians, and theory."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.dynamics import mean_field, random_nets, theory
from jaxvision.models.normalization import standardize
from jaxvision.random import probe


def batch_norm_relu(h):
    return jax.nn.relu(standardize(h))


NETS = {  # what a layer does after its weights, whether that is homogeneous
    "relu": (jax.nn.relu, True),
    "tanh": (jnp.tanh, False),
    "batch_norm_relu": (batch_norm_relu, False),
}


def test_kernels_are_drawn_one_by_one():
    key = jax.random.key(0)
    last, kernels = random_nets.scan_drawn(
        lambda total, kernel: (total + kernel, kernel), jnp.zeros((2, 3)), key, (2, 3), 4
    )
    expected = [jax.random.normal(jax.random.fold_in(key, i), (2, 3)) for i in range(4)]
    np.testing.assert_allclose(kernels, jnp.stack(expected), rtol=1e-6)
    np.testing.assert_allclose(last, sum(expected), rtol=1e-5)
    # A deeper net begins with the same layers.
    longer = random_nets.scan_drawn(lambda c, k: (c, k), 0, key, (2, 3), 9)[1]
    np.testing.assert_array_equal(longer[:4], kernels)


@pytest.mark.parametrize("net", NETS)
def test_growth_is_that_of_the_product_of_jacobians(net):
    activate, homogeneous = NETS[net]
    width, depth, batch, sigma_w = 6, 5, 4, 1.3
    growth = jax.jit(
        lambda key: random_nets.net_growth(
            key, activate, sigma_w, width, depth, batch, homogeneous=homogeneous
        )
    )(probe(3, "nets"))

    @jax.jit
    def draw(key):
        input_key, direction_key, kernel_key = jax.random.split(key, 3)
        ends = [jax.random.normal(key, (batch, width)) for key in (input_key, direction_key)]
        keys = [jax.random.fold_in(kernel_key, layer) for layer in range(depth)]
        return *ends, [jax.random.normal(key, (width, width)) for key in keys]

    def apply(x, kernel):
        h = x @ kernel * sigma_w / math.sqrt(width)
        if net == "tanh":
            return jnp.tanh(h)
        if net == "batch_norm_relu":
            h = (h - h.mean(axis=0, keepdims=True)) / h.std(axis=0, keepdims=True)
        return jnp.maximum(h, 0)

    layer = jax.jit(lambda x, kernel: (apply(x, kernel), jax.jacrev(apply)(x, kernel)))
    x, direction, kernels = draw(probe(3, "nets"))
    product = np.asarray(direction, np.float64).ravel()
    logs = [np.log(np.linalg.norm(product))]
    for kernel in kernels:
        x, jacobian = layer(x, kernel)
        product = np.asarray(jacobian, np.float64).reshape(batch * width, -1) @ product
        logs.append(np.log(np.linalg.norm(product)))
    np.testing.assert_allclose(growth, np.diff(logs), atol=1e-4)


def exponents(net, sigma_w, width, depth, batch=1, seeds=16):
    """Exponents over the second half of the depth, [seeds, gains]."""
    activate, homogeneous = NETS[net]
    keys = jax.vmap(lambda seed: probe(seed, "nets"))(jnp.arange(seeds))

    def measure(key):
        return random_nets.net_exponents(
            key, activate, sigma_w, width, depth, batch, homogeneous=homogeneous
        )

    measured = np.asarray(jax.jit(jax.vmap(measure))(keys))
    assert measured.shape == (seeds, len(sigma_w))
    assert np.isfinite(measured).all()
    return measured


def test_exponents_average_the_growth_of_the_deeper_half():
    gains = [0.9, 1.7]
    measured = jax.jit(lambda key: random_nets.net_exponents(key, jnp.tanh, gains, 8, 7))(
        probe(5, "nets")
    )
    for value, gain in zip(measured, gains, strict=True):
        growth = jax.jit(lambda k, g: random_nets.net_growth(k, jnp.tanh, g, 8, 7))(
            probe(5, "nets"), gain
        )
        assert value == pytest.approx(float(growth[3:].mean()), abs=1e-5)


def test_relu_exponent_follows_theory_over_gains_far_beyond_the_range_of_float32():
    sigma_w = np.array([0.5, math.sqrt(2), 4.0])
    measured = exponents("relu", sigma_w, 32, 400)
    expected = theory.relu_exponent(sigma_w, 32)
    # sd of the mean over 16 seeds of half the sum of 200 terms of variance 5/32.
    error = 4 * 0.5 * math.sqrt(5 / 32 / 200 / 16)
    np.testing.assert_allclose(measured.mean(axis=0), expected, atol=error + 2e-3)
    # One key, one net: gains shift the log norm and nothing else.
    np.testing.assert_allclose(measured[:, 2] - measured[:, 0], math.log(8), atol=1e-4)


def test_tanh_exponent_follows_chi_1_on_both_sides_of_the_edge_of_chaos():
    sigma_w = np.array([0.8, 1.5, 2.5])
    measured = exponents("tanh", sigma_w, 128, 100)
    q = mean_field.variance_fixed_point(sigma_w, 0.0, "tanh")
    expected = theory.exponent(mean_field.chi(sigma_w, q, "tanh"))
    np.testing.assert_allclose(measured.mean(axis=0), expected, atol=0.03)
    assert (np.sign(measured) == np.sign(expected)).all()


def test_batch_norm_makes_every_gain_explode_alike():
    measured = exponents("batch_norm_relu", np.array([0.3, 3.0]), 192, 24, batch=48, seeds=4)
    np.testing.assert_allclose(measured[:, 0], measured[:, 1], atol=1e-3)
    expected = theory.exponent(theory.batch_norm_squared_factor(48, "relu"))
    assert measured.mean() == pytest.approx(float(expected), abs=0.03)
