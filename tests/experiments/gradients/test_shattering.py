"""Gradients on a line against backpropagation through an unrolled net, and their closed form."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.gradients import _shattering as shattering

pytestmark = pytest.mark.usefixtures("optimized")

POSITIONS = np.linspace(-2, 2, 12)


def kind(residual=False, normalized=False, weight_variance=2.0):
    return shattering.Kind(residual, normalized, weight_variance)


def draw(key, width, depth):
    """The draws of ``gradients_on_a_line``."""
    start_key, kernel_key = jax.random.split(key)
    slope, offset, direction = jax.random.normal(start_key, (3, width))
    kernels = [
        jax.random.normal(jax.random.fold_in(kernel_key, i), (width, width)) for i in range(depth)
    ]
    return slope, offset, direction, kernels


@pytest.mark.parametrize(("residual", "normalized"), [(False, True), (True, False)])
def test_gradients_are_those_of_one_input_by_the_first_pre_activations(residual, normalized):
    width, depth = 16, 3
    slope, offset, direction, kernels = draw(jax.random.key(0), width, depth)
    points = jnp.asarray(POSITIONS, jnp.float32)

    def layer(x, kernel, mean, std):
        y = jax.nn.relu((x - mean) / std) @ kernel * (2 / width) ** 0.5
        return x + y if residual else y

    h = points[:, None] * slope[None] + offset[None]
    statistics = []  # of the whole line, held constant below
    for kernel in kernels:
        mean, std = (h.mean(0), h.std(0)) if normalized else (jnp.zeros(width), jnp.ones(width))
        statistics.append((mean[None], std[None]))
        h = layer(h, kernel, *statistics[-1])

    def output(first):
        x = first[None]
        for kernel, (mean, std) in zip(kernels, statistics, strict=True):
            x = layer(x, kernel, mean, std)
        return x[0]

    starts = points[:, None] * slope[None] + offset[None]
    expected = jax.jit(jax.vmap(lambda first: jax.jacrev(output)(first) @ direction))(starts)
    expected /= jnp.linalg.norm(expected, axis=1, keepdims=True)
    net = kind(residual, normalized)
    found = shattering.gradients_on_a_line(jax.random.key(0), points, width, depth, net)
    assert found.shape == (depth, len(points), width)
    np.testing.assert_allclose(found[-1], expected, atol=2e-5)


def test_autocorrelation_is_the_mean_over_pairs():
    gradients = jax.random.normal(jax.random.key(0), (2, 6, 5))
    slow = [np.mean([g[i] @ g[i + 2] for i in range(4)]) for g in np.asarray(gradients)]
    np.testing.assert_allclose(shattering.autocorrelation(gradients, 2), slow, rtol=1e-5)


@pytest.fixture(scope="module")
def of_wide_nets():
    """``(keys, residual) -> correlations [keys, 6]``, one program."""
    points = jnp.asarray(POSITIONS, jnp.float32)

    def correlation(residual, key):
        gradients = shattering.gradients_on_a_line(key, points, 400, 6, kind(residual))
        return shattering.autocorrelation(gradients, 2)

    return jax.jit(lambda keys, residual: jax.lax.map(partial(correlation, residual), keys))


@pytest.mark.parametrize("residual", [False, True])
def test_wide_nets_follow_the_closed_form(of_wide_nets, residual):
    found = of_wide_nets(jax.random.split(jax.random.key(0), 12), residual).mean(0)
    expected = shattering.wide_autocorrelation(POSITIONS, 2, 6, residual=residual)
    np.testing.assert_allclose(found, expected, atol=0.03)
    # A product of layers' factors: shorter nets are its beginning.
    shorter = shattering.wide_autocorrelation(POSITIONS, 2, 3, residual=residual)
    np.testing.assert_allclose(shorter, expected[:3], rtol=1e-12)


def test_gradients_of_independent_units_lose_half_a_layer_in_a_plain_net_and_a_quarter_with_skips():
    """Two inputs that are not alike at all: a ReLU halves the covariance, not the variance."""
    far = np.array([-1.0, 1.0])
    assert shattering.wide_autocorrelation(far, 1, 1, residual=False) == pytest.approx(0.5)
    assert shattering.wide_autocorrelation(far, 1, 1, residual=True) == pytest.approx(0.75)


def test_the_law_of_centered_branches_tends_to_its_power():
    law = shattering.centered_branch_correlation(4000)
    assert law[0] == pytest.approx(0.75)
    power = shattering.decay_power(law[None], 2000, 4000)
    assert power == pytest.approx(np.pi / (2 * (np.pi - 1)), abs=1e-3)


def test_rates_and_powers_of_known_decays():
    depths = np.arange(1, 65.0)
    exponential, power = np.exp(-0.1 * depths)[None], depths[None] ** -0.5
    for depth in (4, 64):
        assert shattering.decay_rate(exponential, depth) == pytest.approx(0.1)
    assert shattering.decay_power(power, 16, 64) == pytest.approx(0.5)
    assert np.isfinite(shattering.decay_rate(-exponential, 4)).all()  # noise below zero
