import itertools
import math

import numpy as np
import pytest

from jaxvision.dynamics import theory


def relu_net(rng, widths, fan_in_variance, x, directions):
    """Push x [N, n_0] and tangent vectors [N, n_0] through N independent ReLU nets."""
    stds = []
    for fan_in, fan_out in itertools.pairwise(widths):
        kernel = rng.normal(size=(len(x), fan_in, fan_out)) * math.sqrt(fan_in_variance / fan_in)
        h = np.einsum("ni,nio->no", x, kernel)
        tangent = np.einsum("ni,nio->no", directions, kernel)
        stds.append(math.sqrt(np.mean(h**2)))
        x, directions = np.maximum(h, 0), tangent * (h > 0)
    return np.array(stds), directions


@pytest.mark.parametrize("widths", [(30,) * 8, (20, 60, 20, 60)])
def test_log_norm_moments_are_those_of_random_nets(widths):
    rng = np.random.default_rng(0)
    nets = 3000
    x = rng.normal(size=(nets, 25))
    u = rng.normal(size=(nets, 25))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    _, v = relu_net(rng, (25, *widths), 2.0, x, u)
    # Per unit: 1/25 before, 1/widths[-1] after.
    logs = np.log(np.sum(v**2, axis=1) * 25 / widths[-1])
    mean, variance = theory.relu_log_norm_moments(widths)
    assert logs.mean() == pytest.approx(mean, abs=4 * math.sqrt(variance / nets))
    assert logs.var() == pytest.approx(variance, rel=4 * math.sqrt(2.5 / nets))


def test_hanin_nica_is_the_first_order_of_the_exact_moments():
    assert theory.hanin_nica([50] * 10) == pytest.approx((-0.5, 1.0))
    assert theory.hanin_nica([20, 60]) == pytest.approx((-1 / 6, 1 / 3))
    errors = []
    for width in (100, 200):
        exact = np.array(theory.relu_log_norm_moments([width]))
        errors.append(width * np.abs(exact - theory.hanin_nica([width])))
    # A second-order remainder: halved against the first order when the width doubles.
    np.testing.assert_allclose(errors[0] / errors[1], 2, rtol=0.05)


def batch_norm_squared_factors(batch, activation, width, depth, seed):
    """Squared-norm ratios, layer by layer, of the gradient in a random plain BN net (float64)."""
    rng = np.random.default_rng(seed)
    x, layers = rng.normal(size=(batch, width)), []
    for _ in range(depth):
        kernel = rng.normal(size=(width, width)) * 3.0 / math.sqrt(width)
        h = x @ kernel
        centered = h - h.mean(axis=0)
        std = centered.std(axis=0)
        y = centered / std
        mask = (y > 0) if activation == "relu" else np.ones_like(y)
        layers.append((kernel, y, std, mask))
        x = y * mask
    gradient, norms = rng.normal(size=x.shape), []
    for kernel, y, std, mask in reversed(layers):
        g = gradient * mask
        g = (g - g.mean(axis=0) - y * np.mean(g * y, axis=0)) / std
        gradient = g @ kernel.T
        norms.append(np.sum(gradient**2))
    # The ends have not settled: at the top the gradient is white, at the bottom x is the input.
    settled = np.array(norms[2:-2])
    return settled[1:] / settled[:-1]


@pytest.mark.parametrize("activation", ["relu", "linear"])
@pytest.mark.parametrize("batch", [6, 16])
def test_batch_norm_factor_is_that_of_wide_nets(batch, activation):
    factors = [batch_norm_squared_factors(batch, activation, 800, 12, seed) for seed in range(2)]
    expected = theory.batch_norm_squared_factor(batch, activation)
    assert np.exp(np.mean(np.log(factors))) == pytest.approx(expected, rel=0.03)


def test_batch_norm_factor_in_the_limits_of_yang():
    infinite = theory.batch_norm_squared_factor(np.inf, "relu")
    assert infinite == pytest.approx(math.pi / (math.pi - 1))
    assert infinite == pytest.approx(1.467, abs=5e-4)
    batches = np.array([4, 16, 64, np.inf])
    np.testing.assert_allclose(
        theory.batch_norm_squared_factor(batches, "linear"), [2, 14 / 13, 62 / 61, 1]
    )
    assert (np.diff(theory.batch_norm_squared_factor(batches, "relu")) < 0).all()


@pytest.mark.parametrize("normalized", [False, True])
def test_residual_variance_is_that_of_residual_nets(normalized):
    rng = np.random.default_rng(0)
    width, blocks, nets = 200, 8, 20
    variances = np.zeros(blocks)
    for _ in range(nets):
        x = rng.normal(size=(100, width))
        for block in range(blocks):
            branch = (x - x.mean(axis=0)) / x.std(axis=0) if normalized else x
            x = x + np.maximum(branch, 0) @ rng.normal(size=(width, width)) * math.sqrt(2 / width)
            variances[block] += np.mean(x**2) / nets
    expected = theory.residual_variance(np.arange(1, blocks + 1), normalized)
    np.testing.assert_allclose(variances, expected, rtol=0.08)


def residual_logs(activation, sigma_w, depth, normalized, seed, batch=16, width=400):
    """Log rms of the stream and log norm of its gradient in one random residual net, [depth]."""
    rng = np.random.default_rng(seed)
    value, slope = {
        "relu": (lambda u: np.maximum(u, 0), lambda u: u > 0),
        "tanh": (np.tanh, lambda u: 1 - np.tanh(u) ** 2),
    }[activation]
    x = sigma_w * rng.normal(size=(batch, width))
    signal, layers = [np.log(np.mean(x**2)) / 2], []
    for _ in range(depth - 1):
        kernel = rng.normal(size=(width, width)) * sigma_w / math.sqrt(width)
        mean, std = (x.mean(axis=0), x.std(axis=0)) if normalized else (0.0, 1.0)
        y = (x - mean) / std
        layers.append((kernel, y, std))
        x = x + value(y) @ kernel
        signal.append(np.log(np.mean(x**2)) / 2)
    g = rng.normal(size=x.shape)
    gradient = [np.log(np.sum(g**2)) / 2]
    for kernel, y, std in reversed(layers):
        branch = g @ kernel.T * slope(y)
        if normalized:
            branch = branch - branch.mean(axis=0) - y * np.mean(branch * y, axis=0)
        g = g + branch / std
        gradient.insert(0, np.log(np.sum(g**2)) / 2)
    return signal, np.array(gradient) - gradient[-1]


@pytest.mark.parametrize(
    ("activation", "sigma_w", "normalized"),
    [("relu", 1.2, False), ("tanh", 1.5, False), ("relu", 1.2, True)],
)
def test_residual_log_norms_are_those_of_residual_nets(activation, sigma_w, normalized):
    depth = 10
    nets = [residual_logs(activation, sigma_w, depth, normalized, seed) for seed in range(6)]
    measured = np.mean(nets, axis=0)
    batch = 16 if normalized else None
    expected = theory.residual_log_norms(activation, sigma_w, depth, batch)
    np.testing.assert_allclose(measured, expected, atol=0.08)


def test_residual_log_norms_at_the_critical_gain():
    signal, gradient = theory.residual_log_norms("relu", math.sqrt(2), 5)
    law = theory.residual_variance(np.arange(5), normalized=False)
    np.testing.assert_allclose(np.exp(2 * signal), 2 * law)  # from inputs of mean square 1
    np.testing.assert_allclose(np.exp(2 * gradient), law[::-1])
    signal, _ = theory.residual_log_norms("relu", math.sqrt(2), 5, batch=8, input_square=0.5)
    law = theory.residual_variance(np.arange(5), normalized=True)
    np.testing.assert_allclose(np.exp(2 * signal), law)


def test_exponents():
    assert theory.relu_exponent(math.sqrt(2)) == pytest.approx(0.0, abs=1e-15)
    assert theory.relu_exponent(1.0) == pytest.approx(-0.5 * math.log(2))
    assert theory.relu_exponent(math.sqrt(2), 50) == pytest.approx(-5 / 200)
    assert theory.relu_exponent(math.sqrt(2), 50) == pytest.approx(theory.hanin_nica([50])[0] / 2)
    infinite = theory.batch_norm_squared_factor(np.inf, "relu")
    assert theory.exponent(infinite) == pytest.approx(0.1916, abs=5e-5)
