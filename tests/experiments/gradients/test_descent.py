"""Gradient descent with looks against its closed form on a quadratic, and the wide net's kernel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.gradients import _descent as curvature
from jaxvision.dynamics import spectra

EIGENVALUES = jnp.array([0.5, 1.0, 4.0])


def quadratic(params, batch_stats):
    """A loss of known Hessian, and statistics that count the steps."""
    return 0.5 * jnp.sum(EIGENVALUES * params**2), batch_stats + 1


def test_descent_on_a_quadratic_is_the_closed_form():
    start = {"params": jnp.ones(3), "batch_stats": jnp.float32(0)}
    run = jax.jit(
        jax.vmap(
            lambda rate: curvature.gradient_descent(
                quadratic, start, rate, lambda params, count: (params, count), steps=6, period=2
            )
        )
    )(jnp.array([0.1, 0.3]))
    for i, rate in enumerate((0.1, 0.3)):
        path = (1 - rate * np.asarray(EIGENVALUES)[None]) ** np.arange(7)[:, None]
        np.testing.assert_allclose(run.loss[i], 0.5 * path[:-1] ** 2 @ EIGENVALUES, rtol=1e-5)
        np.testing.assert_allclose(run.measured[0][i], path[:-1:2], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(run.measured[1][i], [0, 2, 4])
        np.testing.assert_allclose(run.variables["params"][i], path[-1], rtol=1e-4, atol=1e-6)


def test_two_over_the_rate_is_where_descent_turns_unstable():
    start = {"params": jnp.ones(3), "batch_stats": jnp.float32(0)}

    def final(rate):
        run = curvature.gradient_descent(
            quadratic, start, rate, lambda *_: (), steps=100, period=100
        )
        return run.loss[-1]

    assert jax.jit(final)(0.99 * 2 / 4) < 1 < jax.jit(final)(1.01 * 2 / 4)


def test_squared_error():
    outputs = np.array([[1.0, 0.5, 0.0], [0.0, 0.0, 0.0]])
    found = curvature.squared_error(jnp.asarray(outputs), jnp.array([0, 2]))
    assert float(found) == pytest.approx((0.25 + 1) / 4)


def test_wide_net_at_gamma_one_has_outputs_and_kernel_of_order_one():
    x = jax.random.normal(jax.random.key(0), (4, 5))

    def outputs_of(kernels):
        return curvature.wide_net(kernels, x, 1.0)

    for width in (100, 400):

        def described(key, width=width):
            net = curvature.draw_wide_net(key, 5, width)
            return outputs_of(net), spectra.neural_tangent_kernel(outputs_of, net)

        keys = jax.random.split(jax.random.key(1), 20)
        outputs, kernels = jax.jit(lambda keys: jax.lax.map(described, keys))(keys)
        assert 0.3 < outputs.std() < 1
        assert 0.5 < float(jnp.trace(kernels[0])) / 4 < 3


def test_gamma_divides_the_outputs():
    x, kernels = jnp.ones((1, 5)), [jnp.ones((5, 3)), jnp.ones((3, 3)), jnp.ones(3)]
    whole, half = (curvature.wide_net(kernels, x, gamma) for gamma in (1.0, 2.0))
    np.testing.assert_allclose(half, whole / 2, rtol=1e-6)


def test_first_steps_do_not_depend_on_gamma_once_the_rate_follows_it():
    x = jax.random.normal(jax.random.key(0), (4, 5))
    start = curvature.draw_wide_net(jax.random.key(1), 5, 1000)

    def change(gamma):
        outputs = lambda kernels: curvature.wide_net(kernels, x, gamma)  # noqa: E731
        first = outputs(start)
        run = curvature.gradient_descent(
            lambda k, _: (jnp.mean(jnp.square(outputs(k) - first - 1)) / 2, {}),
            {"params": start, "batch_stats": {}},
            0.01 * gamma**2,
            lambda *_: (),
            steps=1,
            period=1,
        )
        return outputs(run.variables["params"]) - first

    np.testing.assert_allclose(*map(jax.jit(change), (1.0, 2.0)), rtol=0.1)
