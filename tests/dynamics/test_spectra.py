import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import convolution, random
from jaxvision.dynamics import spectra
from jaxvision.models.layers import Conv
from jaxvision.types import UserError


def fresh_key():
    """A key may be used once; this one is the same each time."""
    return random.stream(0, "probe")


def normal(*shape, draw=0):
    """Draw with NumPy: jax.random compiles for every shape."""
    return jnp.asarray(np.random.default_rng(draw).normal(size=shape), jnp.float32)


def mlp(params, x):
    for kernel in params[:-1]:
        x = jnp.tanh(x @ kernel)
    return x @ params[-1]


def make_mlp(*widths):
    sizes = itertools.pairwise(widths)
    return [normal(*size, draw=i) / jnp.sqrt(size[0]) for i, size in enumerate(sizes)]


@pytest.mark.parametrize("widths", [(6, 20, 9), (9, 20, 6)])
def test_jacobian_is_that_of_finite_differences(widths):
    params = make_mlp(*widths)
    x = normal(widths[0], draw=9)
    measured = spectra.jacobian(lambda x: mlp(params, x), x)
    kernels = [np.asarray(kernel, np.float64) for kernel in params]

    def reference(x):
        return np.tanh(x @ kernels[0]) @ kernels[1]

    steps = 1e-5 * np.eye(widths[0])
    x = np.asarray(x, np.float64)
    columns = [(reference(x + step) - reference(x - step)) / 2e-5 for step in steps]
    np.testing.assert_allclose(measured, np.transpose(columns), atol=1e-5)


@pytest.mark.parametrize("shape", [(12, 7), (7, 12), (8, 8)])
def test_singular_values_of_a_matrix(shape):
    matrix = normal(*shape)
    expected = np.linalg.svd(np.asarray(matrix, np.float64), compute_uv=False)
    x = normal(shape[1], draw=1)

    def function(v):
        return matrix @ v

    exact = spectra.jacobian_singular_values(function, x)
    quadrature = jax.jit(
        lambda x: spectra.jacobian_quadrature(function, x, fresh_key(), len(expected))
    )(x)
    np.testing.assert_allclose(exact, expected, rtol=1e-5)
    np.testing.assert_allclose(quadrature.nodes, expected[::-1], rtol=1e-4)
    assert float(quadrature.weights.sum()) == pytest.approx(1.0, abs=1e-5)


def test_small_singular_values_are_not_squared_away():
    # A condition number of 1e5, where J^T J in float32 knows nothing of the small end.
    left, right = jnp.linalg.qr(normal(10, 10))[0], jnp.linalg.qr(normal(10, 10, draw=1))[0]
    values = jnp.logspace(-5, 0, 10)
    quadrature = spectra.jacobian_quadrature(
        lambda v: left @ (values * (right @ v)), jnp.zeros(10), fresh_key(), 10
    )
    np.testing.assert_allclose(quadrature.nodes[1:], values[1:], rtol=0.05)


def test_quadrature_of_a_convolutional_net_finds_the_extremes():
    kernels = [normal(3, 3, 3, 8) / 5, normal(3, 3, 8, 3, draw=1) / 8]

    def net(image):
        x = jnp.tanh(convolution.conv2d(image[None], kernels[0]))
        return convolution.conv2d(x, kernels[1], stride=2)[0]

    image = normal(8, 8, 3, draw=2)
    exact = jax.jit(lambda x: spectra.jacobian_singular_values(net, x))(image)
    few = jax.jit(lambda x: spectra.jacobian_quadrature(net, x, fresh_key(), 25))(image)
    assert float(few.nodes[-1]) == pytest.approx(float(exact[0]), rel=1e-3)
    assert float(few.nodes[0]) >= float(exact[-1]) * (1 - 1e-3)
    # Moments: a 25-node rule is exact for its own probe; many probes estimate the mean of the
    # squares.
    keys = jax.random.split(fresh_key(), 60)
    probes = jax.jit(jax.vmap(lambda key: spectra.jacobian_quadrature(net, image, key, 8)))(keys)
    second = jnp.mean(jnp.sum(probes.weights * probes.nodes**2, axis=-1))
    assert float(second) == pytest.approx(float(jnp.mean(exact**2)), rel=0.05)


def test_an_isometry_ends_the_krylov_space_at_once():
    rotation = 1.3 * jnp.linalg.qr(normal(30, 30))[0]
    quadrature = spectra.jacobian_quadrature(lambda v: rotation @ v, jnp.ones(30), fresh_key(), 10)
    np.testing.assert_allclose(quadrature.nodes, 1.3, rtol=1e-4)


def test_a_singular_jacobian_has_a_singular_value_zero():
    matrix = jnp.diag(jnp.array([0.0, 1.0, 2.0, 3.0]))
    quadrature = spectra.jacobian_quadrature(lambda v: matrix @ v, jnp.ones(4), fresh_key(), 4)
    np.testing.assert_allclose(quadrature.nodes, [0, 1, 2, 3], atol=1e-5)


def symmetric(size, draw=0):
    matrix = normal(size, size, draw=draw)
    return (matrix + matrix.T) / 2


def test_hessian_vector_product_of_a_tree():
    params = make_mlp(3, 5, 2)
    x, y = normal(20, 3, draw=3), normal(20, 2, draw=4)

    def loss(params):
        return jnp.mean(jnp.square(mlp(params, x) - y))

    direction = jax.tree.map(lambda leaf: jnp.cos(7 * leaf), params)
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    dense = jax.jit(jax.hessian(lambda flat: loss(unravel(flat))))(flat)
    product = jax.jit(spectra.hessian_vector_product(loss, params))(direction)
    np.testing.assert_allclose(
        jax.flatten_util.ravel_pytree(product)[0],
        dense @ jax.flatten_util.ravel_pytree(direction)[0],
        atol=1e-5,
    )
    values = np.linalg.eigvalsh(np.asarray(dense, np.float64))
    sharpness = jax.jit(lambda p: spectra.sharpness(loss, p, fresh_key()))(params)
    assert float(sharpness) == pytest.approx(values[-1], rel=1e-4)
    nodes = jax.jit(lambda p: spectra.hessian_quadrature(loss, p, fresh_key(), 25).nodes)(params)
    np.testing.assert_allclose(nodes[0], values[0], atol=1e-3 * values[-1])


@pytest.mark.parametrize("steps", [20, 35])
def test_lanczos_to_the_end_finds_every_eigenvalue(steps):
    # 35 steps of a 20-dimensional matrix: the surplus must stay inside the spectrum, without
    # weight.
    matrix = symmetric(20)
    expected = np.linalg.eigvalsh(np.asarray(matrix, np.float64))
    quadrature = spectra.hessian_quadrature(
        lambda v: 0.5 * v @ matrix @ v, jnp.zeros(20), fresh_key(), steps
    )
    kept = quadrature.nodes[quadrature.weights > 1e-9] if steps > 20 else quadrature.nodes
    np.testing.assert_allclose(kept, expected, atol=2e-5)
    assert quadrature.nodes[-1] <= expected[-1] + 2e-5
    assert quadrature.nodes[0] >= expected[0] - 2e-5


def test_lanczos_keeps_its_basis_orthogonal_where_plain_lanczos_breeds_ghosts():
    # Isolated top eigenvalues converge early; without reorthogonalization copies of them appear.
    diagonal = jnp.concatenate([jnp.linspace(0, 1, 297), jnp.array([5.0, 10.0, 20.0])])
    nodes = spectra.hessian_quadrature(
        lambda v: 0.5 * jnp.sum(diagonal * v**2), jnp.zeros(300), fresh_key(), 60
    ).nodes
    np.testing.assert_allclose(nodes[-3:], [5, 10, 20], rtol=1e-5)
    assert nodes[-4] < 1 + 1e-4


def test_sharpness_of_a_negative_definite_loss_is_negative():
    diagonal = -jnp.arange(1.0, 6.0)
    sharpness = spectra.sharpness(
        lambda v: 0.5 * jnp.sum(diagonal * v**2), jnp.zeros(5), fresh_key()
    )
    assert float(sharpness) == pytest.approx(-1.0, abs=1e-4)


def test_neural_tangent_kernel_is_the_gram_matrix_of_the_parameter_gradients():
    params = make_mlp(4, 7, 3)
    x = normal(13, 4, draw=5)
    kernel = jax.jit(lambda p: spectra.neural_tangent_kernel(lambda p: mlp(p, x), p))(params)
    gradient = jax.jit(jax.grad(lambda p, b, k: mlp(p, x)[b, k]))
    gradients = [
        jax.flatten_util.ravel_pytree(gradient(params, b, k))[0]
        for b in range(13)
        for k in range(3)
    ]
    gradients = np.array(gradients, np.float64)
    np.testing.assert_allclose(kernel, gradients @ gradients.T, rtol=1e-3, atol=1e-4)


def test_kernel_of_a_linear_model_does_not_drift():
    x = normal(6, 4)
    kernels = [spectra.neural_tangent_kernel(lambda w: x @ w, normal(4, 1, draw=i)) for i in (1, 2)]
    np.testing.assert_allclose(kernels[0], x @ x.T, rtol=1e-4, atol=1e-5)
    assert float(spectra.relative_drift(*kernels)) < 1e-6
    assert float(spectra.relative_drift(3 * kernels[0], kernels[0])) == pytest.approx(2, rel=1e-5)


def sharpness_of(matrix):
    return spectra.sharpness(lambda x: jnp.sum(jnp.sin(matrix @ x)), matrix[0], fresh_key(), 6)


def largest_of(matrix):
    return spectra.jacobian_quadrature(
        lambda x: jnp.sin(matrix @ x), matrix[0], fresh_key(), 6
    ).nodes


@pytest.mark.parametrize("many", [spectra.singular_values, sharpness_of, largest_of])
def test_lapack_never_sees_a_batch(many):
    """A batch is split over XLA's thread pool from inside it, and two devices wait forever."""
    text = jax.jit(jax.vmap(many)).lower(normal(5, 40, 40)).as_text()
    calls = [line for line in text.splitlines() if "lapack_" in line]
    assert calls
    assert not [line for line in calls if "tensor<5x" in line]


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("channels", [(2, 3), (3, 2)])
def test_a_wrapped_convolution_stretches_as_the_waves_of_its_kernel_do(size, channels):
    """In float64 against the convolution as one matrix; its norm is the largest over waves."""
    kernel = np.random.default_rng(size).normal(size=(size, size, *channels))
    shape = (4, 5)
    one_hot = np.eye(shape[0] * shape[1] * channels[0]).reshape(-1, *shape, channels[0])
    matrix = sum(
        np.roll(one_hot, (-i, -j), (1, 2)) @ kernel[i, j] for i in range(size) for j in range(size)
    )
    expected = np.linalg.svd(matrix.reshape(len(one_hot), -1), compute_uv=False)
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        found = spectra.wrapped_conv_singular_values(jnp.asarray(kernel), *shape)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found[0], np.linalg.norm(matrix.reshape(len(one_hot), -1), 2))


def test_the_norm_is_that_of_the_net_s_own_wrapped_convolution():
    conv = Conv(4, 3, padding="WRAP")
    image = normal(5, 6, 3)
    variables = jax.jit(conv.init)(fresh_key(), image[None])
    found = spectra.wrapped_conv_singular_values(variables["params"]["kernel"], 5, 6)
    own = spectra.jacobian_singular_values(lambda x: conv.apply(variables, x[None])[0], image)
    np.testing.assert_allclose(found, own, rtol=1e-5, atol=1e-5)


def test_a_kernel_larger_than_the_maps_is_refused():
    with pytest.raises(UserError, match="a kernel of 3 x 3 is larger than maps of 2 x 5"):
        spectra.wrapped_conv_singular_values(jnp.ones((3, 3, 1, 1)), 2, 5)
