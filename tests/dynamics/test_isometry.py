import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import initializers as init
from jaxvision import random
from jaxvision.dynamics import isometry, mean_field, spectra
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.layers import apply_function
from jaxvision.models.mlp import MLP

GAUSSIAN, DELTA = init.xavier_he2015(), init.delta_orthogonal(1.0)
SLOPES = {
    "tanh": lambda h: 1 - np.tanh(h) ** 2,
    "relu": lambda h: (h > 0) * 1.0,
    "linear": np.ones_like,
}
FUNCTIONS = {"tanh": np.tanh, "relu": lambda h: np.maximum(h, 0), "linear": lambda h: h}


def fresh_key():
    """A key may be used once; this one is the same each time."""
    return random.stream(0, "init")


def draw(initializer, shape, depth, sigma_w=1.2, sigma_b=0.3):
    layers = jax.jit(lambda key: isometry.draw_layers(key, initializer, shape, depth))(fresh_key())
    return isometry.scale_layers(layers, isometry.Critical(sigma_w, sigma_b, 1.0))


def normal(*shape, draw=0):
    return jax.random.normal(random.stream(1, "probe", draw), shape)


def torus_convolution(x, kernel):
    """Cross-correlation of x [B, H, W, C] on a torus, tap by tap, float64."""
    rows, columns = kernel.shape[:2]
    return sum(
        np.roll(x, ((rows - 1) // 2 - i, (columns - 1) // 2 - j), (1, 2)) @ kernel[i, j]
        for i in range(rows)
        for j in range(columns)
    )


def slow_layers(layers, activation, x):
    """Every layer's pre-activation, float64."""
    kernels, biases = (np.asarray(part, np.float64) for part in layers)
    x, found = np.asarray(x, np.float64), []
    for kernel, bias in zip(kernels, biases, strict=True):
        h = (x @ kernel if kernel.ndim == 2 else torus_convolution(x, kernel)) + bias
        found.append(h)
        x = FUNCTIONS[activation](h)
    return found


@pytest.mark.parametrize(("activation", "shape"), [("relu", (6, 6)), ("tanh", (3, 3, 4, 4))])
def test_layers_compute_what_they_say(activation, shape):
    layers = draw(GAUSSIAN, shape, 5)
    x = normal(2, shape[-1]) if len(shape) == 2 else normal(2, 5, 6, shape[-1])
    found = jax.jit(lambda x: isometry.apply_layers(layers, activation, x))(x)
    expected = FUNCTIONS[activation](slow_layers(layers, activation, x)[-1])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_layers_are_drawn_apart_and_scaled_to_their_variances():
    layers = draw(GAUSSIAN, (50, 50), 40, 1.5, 0.2)
    assert layers.kernels.shape == (40, 50, 50)
    assert layers.biases.shape == (40, 50)
    assert float(layers.kernels.std()) == pytest.approx(1.5 / math.sqrt(50), rel=0.02)
    assert float(layers.biases.std()) == pytest.approx(0.2, rel=0.05)
    both = np.corrcoef(layers.kernels.reshape(40, -1))
    assert np.abs(both[np.triu_indices(40, 1)]).max() < 0.1


@pytest.mark.parametrize("activation", ["tanh", "relu", "linear"])
def test_critical_inputs_stand_at_the_fixed_point_from_the_first_layer_on(activation):
    point = isometry.critical(activation, 0.05)
    variance = point.sigma_w**2 * point.input_std**2 + point.sigma_b**2
    assert variance == pytest.approx(0.05)
    after = mean_field.variance_map(0.05, point.sigma_w, point.sigma_b, activation)
    assert float(after) == pytest.approx(0.05)
    assert float(mean_field.chi(point.sigma_w, 0.05, activation)) == pytest.approx(1)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_singular_values_are_those_of_the_product_of_jacobians(activation):
    layers, x = draw(GAUSSIAN, (7, 7), 4), normal(7)
    found = jax.jit(lambda x: isometry.singular_values(layers, activation, x, (1, 3, 4)))(x)
    product, expected = np.eye(7), []
    hidden = slow_layers(layers, activation, x[None])
    for kernel, h in zip(np.asarray(layers.kernels, np.float64), hidden, strict=True):
        product = np.diag(SLOPES[activation](h[0])) @ kernel.T @ product
        expected.append(np.linalg.svd(product, compute_uv=False))
    np.testing.assert_allclose(found, [expected[0], expected[2], expected[3]], atol=1e-5)


def test_delta_orthogonal_linear_nets_are_rotations():
    layers, x = draw(DELTA, (3, 3, 4, 4), 30, 1.0, 0.1), normal(1, 3, 3, 4)
    net = partial(isometry.apply_layers, layers, "linear")
    values = jax.jit(lambda x: spectra.jacobian_singular_values(net, x))(x)
    np.testing.assert_allclose(values, 1, atol=1e-4)


def test_share_counts_what_is_near_one():
    values = jnp.array([[4.1, 2.0, 1.0, 0.5], [0.4, 0.1, 0.01, 0.0]])
    np.testing.assert_allclose(isometry.isometric_share(values), [0.75, 0])
    weights = jnp.array([[0.7, 0.1, 0.1, 0.1]] * 2)
    np.testing.assert_allclose(isometry.isometric_share(values, weights), [0.3, 0], atol=1e-6)


def test_carry_measures_signal_and_gradient():
    layers, x = draw(GAUSSIAN, (3, 3, 4, 4), 4), normal(5, 3, 3, 4)
    found = jax.jit(lambda x: isometry.carry(layers, "tanh", x, random.stream(2, "probe")))(x)
    hidden = slow_layers(layers, "tanh", x)
    np.testing.assert_allclose(found.std, [h.std() for h in hidden], rtol=1e-4)
    rms = [np.sqrt((h**2).mean(-1)) for h in hidden]
    np.testing.assert_allclose(found.pixel_rms, rms, rtol=1e-4)
    pairs = []
    for h in hidden:
        unit = h.reshape(5, -1) / np.linalg.norm(h.reshape(5, -1), axis=1, keepdims=True)
        pairs.append((unit @ unit.T)[np.triu_indices(5, 1)])
    np.testing.assert_allclose(found.likeness, np.corrcoef(pairs)[0], atol=1e-3)
    # Backpropagation by hand: through W^T, then the slope of tanh.
    gradient = np.asarray(
        jax.random.normal(random.stream(2, "probe"), hidden[-1].shape), np.float64
    )
    gradient /= np.linalg.norm(gradient)
    norms = [1.0]
    for kernel, h in zip(
        np.asarray(layers.kernels, np.float64)[:0:-1], hidden[-2::-1], strict=True
    ):
        # The transpose of a cross-correlation: taps mirrored, channels swapped.
        gradient = torus_convolution(gradient, kernel[::-1, ::-1].swapaxes(2, 3))
        gradient = gradient * SLOPES["tanh"](h)
        norms.append(np.linalg.norm(gradient))
    np.testing.assert_allclose(found.delta_octaves, np.log2(norms[::-1]), atol=2e-4)


def test_carry_measures_gradients_that_float32_cannot_hold():
    layers = draw(DELTA, (3, 3, 2, 2), 400, 0.5)  # linear: each layer halves the gradient
    found = jax.jit(lambda x: isometry.carry(layers, "linear", x, fresh_key()))(normal(2, 2, 2, 2))
    np.testing.assert_allclose(found.delta_octaves, np.arange(-399, 1), atol=1e-2)


def test_nets_are_mapped_in_their_order():
    nets = [isometry.Layers(normal(2, 3, 3, draw=i), normal(2, 3)) for i in range(2)]
    found = isometry.map_nets(lambda layers: layers.kernels.sum(), nets)
    np.testing.assert_allclose(found, [net.kernels.sum() for net in nets], rtol=1e-5)


def test_unit_variance_is_each_inputs_and_pixels_own():
    x = isometry.unit_variance(5 * normal(3, 2, 2, 7))
    np.testing.assert_allclose(jnp.mean(x**2, axis=-1), 1, rtol=1e-5)


def test_trained_share_of_rotations():
    net = MLP(5, 16, 3, init.orthogonal(1.0), lambda x: x)
    variables = initialize_runs(net, jax.random.split(fresh_key(), 2), (4, 4, 1))
    gains = jnp.array([1.0, 1.5])  # 1.5^4 is far from 1
    hidden = variables["params"]["hidden"]
    hidden["kernel"] = hidden["kernel"] * gains.reshape(2, 1, 1, 1)
    share = jax.vmap(isometry.trained_share, in_axes=(None, 0, None))
    found = share(apply_function(net), variables, normal(3, 4, 4, 1))
    np.testing.assert_array_equal(found, [1, 0])
