import numpy as np
import pytest
from scipy import integrate, stats

from jaxvision.dynamics import mean_field
from jaxvision.dynamics.activations import ACTIVATIONS

TANH = (np.tanh, lambda u: 1 / np.cosh(u) ** 2)
FUNCTIONS = {
    "tanh": TANH,
    "sigmoid": (lambda u: 1 / (1 + np.exp(-u)), lambda u: np.exp(-u) / (1 + np.exp(-u)) ** 2),
    "relu": (lambda u: np.maximum(u, 0), lambda u: np.heaviside(u, 0.5)),
    "linear": (lambda u: u, np.ones_like),
}


def integral(function, q):
    density = stats.norm(scale=np.sqrt(q)).pdf
    return integrate.quad(
        lambda u: function(u) * density(u), -12 * q**0.5, 12 * q**0.5, points=[0]
    )[0]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("q", [0.05, 1.0, 9.0])
def test_moments_of_one_input_are_the_integrals(activation, q):
    value, slope = FUNCTIONS[activation]
    assert mean_field.second_moment(activation, q) == pytest.approx(
        integral(lambda u: value(u) ** 2, q), rel=1e-7
    )
    assert mean_field.slope_moment(activation, q) == pytest.approx(
        integral(lambda u: slope(u) ** 2, q), rel=1e-7
    )


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("c", [-0.6, 0.3, 0.95])
def test_moments_of_two_inputs_are_those_of_correlated_samples(activation, c):
    value, slope = FUNCTIONS[activation]
    u, w = np.random.default_rng(0).normal(size=(2, 1_000_000)) * np.sqrt(1.7)
    v = c * u + np.sqrt(1 - c**2) * w
    for moment, function in ((mean_field.second_moment, value), (mean_field.slope_moment, slope)):
        products = function(u) * function(v)
        error = 4 * products.std() / 1000 + 1e-12
        assert moment(activation, 1.7, c) == pytest.approx(products.mean(), abs=error)


def test_moments_broadcast():
    grid = mean_field.second_moment("tanh", np.array([[0.5], [2.0]]), np.array([0.1, 0.9, 1.0]))
    assert grid.shape == (2, 3)
    assert grid[1, 0] == pytest.approx(float(mean_field.second_moment("tanh", 2.0, 0.1)))
    assert grid[1, 2] == pytest.approx(float(mean_field.second_moment("tanh", 2.0)))


def wide_net(activation, sigma_w, sigma_b, inputs, depth, keep=1.0, width=1000, seed=0):
    """Run a random net on ``inputs`` [B, I]; return h h^T over units, [depth, B, B]."""
    rng = np.random.default_rng(seed)
    x, covariances = inputs, []
    for _ in range(depth):
        h = x @ rng.normal(size=(x.shape[1], width)) * sigma_w / np.sqrt(x.shape[1])
        h += sigma_b * rng.normal(size=width)
        covariances.append(h @ h.T / width)
        x = FUNCTIONS[activation][0](h)
        x = x * (rng.random(x.shape) < keep) / keep
    return np.array(covariances)


def two_inputs(correlation, q, sigma_w, sigma_b, size=400):
    """Two inputs that give the first layer variance ``q`` and the correlation asked for."""
    variance = (q - sigma_b**2) / sigma_w**2
    covariance = (correlation * q - sigma_b**2) / sigma_w**2
    basis = np.linalg.qr(np.random.default_rng(1).normal(size=(size, 2)))[0].T * np.sqrt(size)
    return np.linalg.cholesky([[variance, covariance], [covariance, variance]]) @ basis


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu"])
@pytest.mark.parametrize("keep", [1.0, 0.7])
def test_maps_follow_a_wide_net(activation, keep):
    sigma_w, sigma_b = (1.2, 0.4) if keep == 1 else (1.0, 0.4)
    q = float(mean_field.variance_fixed_point(sigma_w, sigma_b, activation, keep))
    inputs = two_inputs(0.5, q, sigma_w, sigma_b)
    measured = np.mean(
        [wide_net(activation, sigma_w, sigma_b, inputs, 5, keep, seed=s) for s in range(4)], axis=0
    )
    correlation, correlations = 0.5, []
    for _ in range(5):
        correlations.append(correlation)
        correlation = float(
            mean_field.correlation_map(correlation, q, sigma_w, sigma_b, activation)
        )
    # Four nets of 1,000 units: covariances known to about 2.2 % (1 sd), accumulating over layers.
    np.testing.assert_allclose(measured[:, 0, 0] / q, 1, atol=0.08)
    np.testing.assert_allclose(
        measured[:, 0, 1] / np.sqrt(measured[:, 0, 0] * measured[:, 1, 1]), correlations, atol=0.06
    )


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
@pytest.mark.parametrize("keep", [1.0, 0.8])
def test_fixed_points_are_where_iterating_ends(activation, keep):
    sigma_w, sigma_b = np.array([0.8, 2.0, 3.0]), 0.3
    q = mean_field.variance_fixed_point(sigma_w, sigma_b, activation, keep)
    iterated = np.ones(3)
    for _ in range(500):
        iterated = mean_field.variance_map(iterated, sigma_w, sigma_b, activation, keep)
    np.testing.assert_allclose(q, iterated, rtol=1e-9)
    c = mean_field.correlation_fixed_point(sigma_w, sigma_b, activation, keep)
    iterated = np.full(3, 0.2)
    for _ in range(60):
        iterated = mean_field.correlation_map(iterated, q, sigma_w, sigma_b, activation)
    np.testing.assert_allclose(c, iterated, atol=1e-4)


def test_closed_fixed_points():
    np.testing.assert_allclose(
        mean_field.variance_fixed_point([1.0, np.sqrt(3.0)], 0.5, "relu"), [0.5, np.inf]
    )
    np.testing.assert_allclose(
        mean_field.variance_fixed_point([0.5, 1.5], 0.3, "linear"), [0.12, np.inf]
    )
    # Without bias a tanh net below sigma_w = 1 forgets its input.
    assert mean_field.variance_fixed_point(0.9, 0.0, "tanh") < 1e-12
    np.testing.assert_allclose(mean_field.chi([1.0, np.sqrt(2), 2.0], 3.0, "relu"), [0.5, 1, 2])


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu"])
def test_chi_is_the_slope_of_the_correlation_map(activation):
    sigma_w, sigma_b, q = 1.1, 0.5, 1.3
    for c in (0.2, 0.8, 0.99):
        ends = mean_field.correlation_map(
            np.array([c - 1e-4, c + 1e-4]), q, sigma_w, sigma_b, activation
        )
        slope = (ends[1] - ends[0]) / 2e-4
        assert mean_field.chi(sigma_w, q, activation, c) == pytest.approx(slope, rel=1e-5)


def test_chi_1_is_the_squared_gradient_factor_of_a_wide_net():
    sigma_w, sigma_b, width = 1.5, 0.3, 1000
    q = float(mean_field.variance_fixed_point(sigma_w, sigma_b, "tanh"))
    rng = np.random.default_rng(0)
    h = np.sqrt(q) * rng.normal(size=width)
    u, logs = rng.normal(size=width), []
    for _ in range(20):
        kernel = rng.normal(size=(width, width)) * sigma_w / np.sqrt(width)
        new = kernel @ (TANH[1](h) * u)
        logs.append(np.log(new @ new / (u @ u)))
        h, u = kernel @ np.tanh(h) + sigma_b * rng.normal(size=width), new
    # log chi of a layer has an sd of about sqrt(5 / width).
    assert np.mean(logs) == pytest.approx(np.log(mean_field.chi(sigma_w, q, "tanh")), abs=0.06)


@pytest.mark.parametrize(("sigma_w", "keep"), [(0.9, 1.0), (2.0, 1.0), (1.3, 0.9)])
def test_depth_scale_is_the_rate_at_which_correlations_settle(sigma_w, keep):
    q = mean_field.variance_fixed_point(sigma_w, 0.4, "tanh", keep)
    c_star = mean_field.correlation_fixed_point(sigma_w, 0.4, "tanh", keep)
    c, distances = c_star - 0.01, []
    for _ in range(12):
        distances.append(abs(c - c_star))
        c = mean_field.correlation_map(c, q, sigma_w, 0.4, "tanh")
    layers = -1 / np.log(distances[-1] / distances[-2])
    expected = mean_field.correlation_depth_scale(sigma_w, 0.4, "tanh", keep)
    assert layers == pytest.approx(float(expected), rel=0.01)


def test_ordered_depth_scale_is_that_of_chi_1():
    q = mean_field.variance_fixed_point(1.1, 0.4, "tanh")
    xi = -1 / np.log(mean_field.chi(1.1, q, "tanh"))
    assert mean_field.correlation_depth_scale(1.1, 0.4, "tanh") == pytest.approx(
        float(xi), rel=1e-6
    )
    assert mean_field.depth_scale(1.0) == np.inf


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_edge_of_chaos_is_critical(activation):
    q = np.array([0.1, 0.7, 2.5])
    sigma_w, sigma_b = mean_field.edge_of_chaos(q, activation)
    valid = sigma_b > 0
    np.testing.assert_allclose(mean_field.chi(sigma_w, q, activation), 1)
    np.testing.assert_allclose(
        mean_field.variance_fixed_point(sigma_w, sigma_b, activation)[valid], q[valid], rtol=1e-6
    )


def test_edge_of_chaos_of_tanh_starts_at_one_without_bias_and_bends_right():
    sigma_w, sigma_b = mean_field.edge_of_chaos(np.linspace(0, 3, 20), "tanh")
    assert (sigma_w[0], sigma_b[0]) == (1, 0)
    assert (np.diff(sigma_w) > 0).all()
    assert (np.diff(sigma_b) > 0).all()


def test_dropout_destroys_criticality():
    sigma_w = np.linspace(0.8, 3.0, 45)
    without = mean_field.correlation_depth_scale(sigma_w, 0.2, "tanh")
    dropped = mean_field.correlation_depth_scale(sigma_w, 0.2, "tanh", keep=0.95)
    assert without.max() > 40
    assert dropped.max() < 8
    assert (mean_field.correlation_fixed_point(sigma_w, 0.2, "tanh", keep=0.95) < 1).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("q", [0.2, 3.0])
def test_slope_kurtosis_is_the_quotient_of_the_integrals(activation, q):
    slope = FUNCTIONS[activation][1]
    wanted = integral(lambda u: slope(u) ** 4, q) / integral(lambda u: slope(u) ** 2, q) ** 2
    np.testing.assert_allclose(mean_field.slope_kurtosis(activation, q), wanted, rtol=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_at_the_critical_gain_a_gradient_keeps_its_norm(activation):
    phi, slope = FUNCTIONS[activation]
    gain, q = mean_field.critical_gain(activation), 1e-6 if activation == "tanh" else 1.0
    if activation == "sigmoid":
        for _ in range(60):  # the variance that this gain settles at
            q = gain**2 * integral(lambda u: phi(u) ** 2, q)
    assert gain**2 * integral(lambda u: slope(u) ** 2, q) == pytest.approx(1, abs=1e-4)
