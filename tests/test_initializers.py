import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxvision import initializers, random
from jaxvision.types import UserError

DENSE = (320, 64)  # fan_in 320, fan_out 64
CONV = (3, 3, 16, 64)  # fan_in 144, fan_out 576
FANS = {DENSE: (320, 64), CONV: (144, 576)}
TRUNCATED_STD = stats.truncnorm(-2, 2).std()

# name -> (initializer, variance from the fans, unit-variance distribution)
CASES = {
    "xavier_he2015": (initializers.xavier_he2015(), lambda i, o: 1 / i, stats.norm()),
    "glorot2010": (
        initializers.glorot2010(),
        lambda i, o: 2 / (i + o),
        stats.uniform(-math.sqrt(3), 2 * math.sqrt(3)),
    ),
    "he_forward": (initializers.he_forward(), lambda i, o: 2 / i, stats.norm()),
    "he_backward": (initializers.he_backward(), lambda i, o: 2 / o, stats.norm()),
    "small_he": (initializers.small_he(), lambda i, o: 0.02 / i, stats.norm()),
    "flax_default": (
        initializers.flax_default(),
        lambda i, o: 1 / i,
        stats.truncnorm(-2, 2, scale=1 / TRUNCATED_STD),
    ),
    "torch_default": (
        initializers.torch_default(),
        lambda i, o: 1 / (3 * i),
        stats.uniform(-math.sqrt(3), 2 * math.sqrt(3)),
    ),
    "fixed": (initializers.fixed(0.01), lambda i, o: 1e-4, stats.norm()),
}


def draw(init, shape, name="init"):
    return np.asarray(init(random.stream(3, name), shape))


@pytest.mark.parametrize("shape", [DENSE, CONV], ids=["dense", "conv"])
@pytest.mark.parametrize("name", CASES)
def test_variance_and_distribution(name, shape):
    init, variance, distribution = CASES[name]
    weights = draw(init, shape)
    expected = variance(*FANS[shape])
    assert weights.shape == shape
    assert weights.dtype == np.float32
    # 9,216 or 20,480 draws: the variance of a Gaussian sample is known to 1.5 % or better (1 sd).
    assert np.var(weights) == pytest.approx(expected, rel=0.05)
    assert stats.kstest(weights.ravel() / math.sqrt(expected), distribution.cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", CASES)
def test_only_the_default_of_flax_is_truncated_and_uniforms_are_bounded(name):
    init, variance, distribution = CASES[name]
    largest = np.abs(draw(init, DENSE)).max() / math.sqrt(variance(*FANS[DENSE]))
    if name == "flax_default":
        assert largest <= 2 / 0.8796
        assert largest > 2.2
    elif math.isinf(distribution.support()[1]):
        assert largest > 3
    else:
        assert largest <= math.sqrt(3) * (1 + 1e-6)


def test_forward_and_backward_he_agree_only_on_square_layers():
    forward, backward = initializers.he_forward(), initializers.he_backward()
    np.testing.assert_array_equal(draw(forward, (64, 64)), draw(backward, (64, 64)))
    ratio = draw(backward, DENSE) / draw(forward, DENSE)
    np.testing.assert_allclose(ratio, math.sqrt(320 / 64), rtol=1e-5)


@pytest.mark.parametrize("shape", [(64, 64), DENSE, (64, 320), CONV])
def test_orthogonal_keeps_the_smaller_side_orthonormal(shape):
    matrix = draw(initializers.orthogonal(1.5), shape).reshape(-1, shape[-1])
    gram = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    np.testing.assert_allclose(gram, 2.25 * np.eye(len(gram)), atol=1e-5)


def test_orthogonal_is_haar():
    # QR without its sign correction would make the diagonal of one sign.
    keys = jax.random.split(random.stream(0, "init"), 400)
    squares = jax.vmap(lambda key: initializers.orthogonal(1.0)(key, (8, 8)))(keys)
    assert stats.kstest(squares[:, 0, 0], stats.beta(3.5, 3.5, loc=-1, scale=2).cdf).pvalue > 1e-3


@pytest.mark.parametrize("size", [1, 2, 3])
def test_delta_orthogonal_convolution_keeps_every_norm(size):
    kernel = draw(initializers.delta_orthogonal(1.0), (size, size, 8, 16))
    centre = (size - 1) // 2
    outside = kernel.copy()
    outside[centre, centre] = 0
    assert not outside.any()
    np.testing.assert_allclose(
        kernel[centre, centre] @ kernel[centre, centre].T, np.eye(8), atol=1e-5
    )
    images = jax.random.normal(random.stream(1, "probe"), (2, 6, 6, 8))
    layout = ("NHWC", "HWIO", "NHWC")
    out = jax.lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=layout)
    np.testing.assert_allclose(
        jnp.linalg.norm(out, axis=-1), jnp.linalg.norm(images, axis=-1), rtol=1e-5
    )


def test_delta_orthogonal_of_a_dense_kernel_is_orthogonal():
    np.testing.assert_array_equal(
        draw(initializers.delta_orthogonal(2.0), DENSE), draw(initializers.orthogonal(2.0), DENSE)
    )


def test_delta_orthogonal_refuses_a_narrowing_convolution():
    with pytest.raises(UserError, match="16 in and 8 out"):
        draw(initializers.delta_orthogonal(1.0), (3, 3, 16, 8))
