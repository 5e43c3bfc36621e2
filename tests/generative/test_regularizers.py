"""Penalties by closed forms, the spectral norm against the singular values."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.generative import regularizers
from jaxvision.random import stream

WEIGHTS = np.float32([[3.0], [4.0]])
POINTS = np.float32([[0.1, 0.2], [0.5, -1.0], [2.0, 2.0]])


def linear(examples):
    return (examples @ WEIGHTS)[:, 0]


def squares(examples):
    return 0.5 * jnp.square(examples).sum(-1)


def test_r1_of_a_plane_is_half_gamma_times_its_slope_squared():
    np.testing.assert_allclose(regularizers.r1(linear, POINTS, 0.3), 0.15 * 25, rtol=1e-6)


def test_r1_is_the_mean_over_examples():
    found = regularizers.r1(squares, POINTS, 2.0)
    np.testing.assert_allclose(found, np.square(POINTS).sum(-1).mean(), rtol=1e-6)


def test_the_gradient_penalty_wants_a_slope():
    found = [regularizers.gradient_penalty(linear, POINTS, 2.0, target) for target in (1.0, 5.0)]
    np.testing.assert_allclose(found, [16, 0], atol=1e-5)


def test_noise_has_its_deviation():
    noisy = regularizers.with_noise(jnp.ones((200, 100)), stream(0, "noise"), 0.5)
    np.testing.assert_allclose([noisy.mean(), noisy.std()], [1, 0.5], atol=0.01)


def test_kernels_are_divided_by_their_largest_singular_value():
    first, second = jax.random.split(stream(0, "init"))
    params = {
        "dense": {"kernel": jax.random.normal(first, (6, 4)), "bias": jnp.full(4, 3.0)},
        "conv": {"kernel": jax.random.normal(second, (3, 3, 2, 5))},
    }
    vectors = regularizers.start_vectors(params, stream(0, "latent"))
    normal, _ = jax.jit(regularizers.spectrally_normalized, static_argnums=2)(params, vectors, 20)
    for name, layer in params.items():
        matrix = np.reshape(layer["kernel"], (-1, layer["kernel"].shape[-1]))
        largest = np.linalg.norm(matrix, 2)
        np.testing.assert_allclose(normal[name]["kernel"] * largest, layer["kernel"], rtol=5e-3)
    np.testing.assert_array_equal(normal["dense"]["bias"], params["dense"]["bias"])


def test_one_round_a_step_gets_there_too():
    """And the gradient sees the norm: the product with the kernel's own direction is zero."""
    params = {"kernel": jax.random.normal(stream(0, "init"), (6, 4))}
    vectors = regularizers.start_vectors(params, stream(0, "latent"))
    step = jax.jit(regularizers.spectrally_normalized)
    for _ in range(40):
        normal, vectors = step(params, vectors)
    np.testing.assert_allclose(np.linalg.norm(normal["kernel"], 2), 1, rtol=1e-3)

    def total(params):
        return regularizers.spectrally_normalized(params, vectors)[0]["kernel"].sum()

    along = jnp.vdot(jax.grad(total)(params)["kernel"], params["kernel"])
    np.testing.assert_allclose(along, 0, atol=1e-4)
