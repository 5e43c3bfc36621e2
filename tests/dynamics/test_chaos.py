import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import random
from jaxvision.dynamics import chaos, mean_field, theory


def test_iterates_are_those_of_the_map():
    orbit = chaos.logistic_iterates(3.5, 4, start=0.2)
    expected = [0.2]
    for _ in range(3):
        expected.append(3.5 * expected[-1] * (1 - expected[-1]))
    np.testing.assert_allclose(orbit, expected)
    np.testing.assert_array_equal(chaos.logistic_iterates(3.5, 2, start=0.2, skip=2), orbit[2:])


def test_bifurcation_diagram_settles_on_the_known_cycles():
    orbit = chaos.logistic_iterates(np.array([0.8, 2.5, 3.2]), 10, skip=2000)
    assert orbit.shape == (10, 3)
    np.testing.assert_allclose(orbit[:, 0], 0, atol=1e-12)
    np.testing.assert_allclose(orbit[:, 1], 1 - 1 / 2.5)
    # The 2-cycle: (r + 1 +- sqrt((r - 3)(r + 1))) / 2r.
    pair = (4.2 + np.array([-1, 1]) * math.sqrt(0.2 * 4.2)) / 6.4
    np.testing.assert_allclose(np.sort(orbit[:2, 2]), pair)


def test_exponent_at_four_is_ln_2():
    assert float(chaos.logistic_exponent(4.0)) == pytest.approx(math.log(2), abs=1e-3)


def test_exponent_is_the_log_of_the_multiplier_on_a_cycle():
    # Fixed point: f' = 2 - r; 2-cycle: f' f' = 4 + 2 r - r^2.
    rates = np.array([1.7, 2.9, 3.1, 3.4])
    expected = [
        math.log(0.3),
        math.log(0.9),
        0.5 * math.log(abs(4 + 6.2 - 3.1**2)),
        0.5 * math.log(abs(4 + 6.8 - 3.4**2)),
    ]
    np.testing.assert_allclose(chaos.logistic_exponent(rates), expected, atol=1e-6)
    np.testing.assert_allclose(chaos.logistic_cycle_exponent(rates), expected)
    assert np.isnan(chaos.logistic_cycle_exponent([-0.5, 3.5])).all()
    assert chaos.logistic_cycle_exponent(2.0) == -np.inf


def test_exponent_at_four_does_not_depend_on_the_start():
    starts = [0.123, 0.777]
    found = [chaos.logistic_exponent(4.0, start=start) for start in starts]
    assert found[0] != found[1]
    np.testing.assert_allclose(found, math.log(2), atol=1e-3)


def test_bifurcation_density_counts_the_visits_of_the_orbit():
    rates = np.array([2.5, 3.2, 4.0])
    counts = chaos.bifurcation_density(rates, 50, 3000, skip=500)
    assert counts.shape == (50, 3)
    np.testing.assert_array_equal(counts.sum(0), 3000)
    np.testing.assert_array_equal((counts > 0).sum(0), [1, 2, 50])
    assert counts[:, 1].max() == 1500
    orbit = chaos.logistic_iterates(rates, 3000, skip=500)
    for column in range(3):
        expected, _ = np.histogram(orbit[:, column], 50, (0, 1))
        np.testing.assert_array_equal(counts[:, column], expected)
    # At r = 4 the invariant density is 1 / (pi sqrt(x (1 - x))).
    edges = np.linspace(0, 1, 51)
    expected = np.diff(2 / np.pi * np.arcsin(np.sqrt(edges)))
    np.testing.assert_allclose(counts[:, 2] / 3000, expected, atol=0.01)


def test_superstable_rates_give_feigenbaums_ratio():
    rates = chaos.superstable_rates(9)
    gaps = np.diff(rates)
    assert gaps[-2] / gaps[-1] == pytest.approx(4.669202, abs=1e-3)
    for n, rate in enumerate(rates[:5]):
        orbit = chaos.logistic_iterates(rate, 2**n + 1, start=0.5)
        assert orbit[-1] == pytest.approx(0.5, abs=1e-9)
        assert not np.any(np.abs(orbit[1:-1] - 0.5) < 1e-6)
    assert chaos.logistic_exponent(rates[2]) < -3


@pytest.mark.parametrize("net", ["relu", "tanh", "batch_norm_relu"])
def test_growth_is_that_of_the_product_of_jacobians(net):
    width, depth, batch, sigma_w = 6, 5, 4, 1.3
    key = random.stream(3, "probe")
    growth = chaos.net_growth(key, net, sigma_w, width, depth, batch)
    input_key, direction_key, kernel_key = jax.random.split(key, 3)
    x = jax.random.normal(input_key, (batch, width))
    product = np.asarray(jax.random.normal(direction_key, (batch, width)), np.float64).ravel()
    logs = [np.log(np.linalg.norm(product))]
    for layer in range(depth):
        kernel = jax.random.normal(jax.random.fold_in(kernel_key, layer), (width, width))

        def apply(x, kernel=kernel):
            h = x @ kernel * sigma_w / math.sqrt(width)
            if net == "tanh":
                return jnp.tanh(h)
            if net == "batch_norm_relu":
                h = (h - h.mean(axis=0, keepdims=True)) / h.std(axis=0, keepdims=True)
            return jnp.maximum(h, 0)

        jacobian = jax.jacrev(apply)(x).reshape(batch * width, batch * width)
        product = np.asarray(jacobian, np.float64) @ product
        logs.append(np.log(np.linalg.norm(product)))
        x = apply(x)
    np.testing.assert_allclose(growth, np.diff(logs), atol=1e-4)


def exponents(net, sigma_w, width, depth, batch=1, seeds=16):
    """Exponents over the second half of the depth, [seeds, gains]."""
    keys = jax.vmap(lambda seed: random.stream(seed, "probe"))(jnp.arange(seeds))
    measure = jax.vmap(lambda key: chaos.net_exponents(key, net, sigma_w, width, depth, batch))
    measured = np.asarray(jax.jit(measure)(keys))
    assert measured.shape == (seeds, len(sigma_w))
    assert np.isfinite(measured).all()
    return measured


def test_exponents_average_the_growth_of_the_deeper_half():
    key = random.stream(5, "probe")
    measured = jax.jit(lambda key: chaos.net_exponents(key, "tanh", [0.9, 1.7], 8, 7))(key)
    for value, gain in zip(measured, [0.9, 1.7], strict=True):
        growth = jax.jit(lambda k, g: chaos.net_growth(k, "tanh", g, 8, 7))(key, gain)
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
