"""Batch normalization against its closed form, ``nn.BatchNorm`` and autodiff."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxvision.models.normalization import BatchNorm

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(3, 2, (4, 5, 6, 7)), jnp.float32)
WEIGHT = jnp.asarray(RNG.normal(size=X.shape), jnp.float32)
VARIABLES = {
    "params": {"scale": jnp.linspace(0.5, 2, 7), "bias": jnp.linspace(-1, 1, 7)},
    "batch_stats": {"mean": jnp.linspace(0, 1, 7), "var": jnp.linspace(1, 3, 7)},
}


def run(module, variables=VARIABLES, x=X, **train):
    return module.apply(variables, x, **train, mutable=["batch_stats"])


def test_training_is_the_closed_form():
    y, updated = run(BatchNorm(), train=True)
    x = np.asarray(X, np.float64)
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    scale, bias = (np.asarray(VARIABLES["params"][k]) for k in ("scale", "bias"))
    expected = (x - mean) / np.sqrt(var + 1e-5) * scale + bias
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    stats, old = updated["batch_stats"], VARIABLES["batch_stats"]
    m = 4 * 5 * 6
    np.testing.assert_allclose(stats["mean"], 0.9 * old["mean"] + 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(stats["var"], 0.9 * old["var"] + 0.1 * var * m / (m - 1), rtol=1e-5)


def test_equals_flax_but_for_the_unbiased_running_variance():
    (ours, ours_stats), (theirs, theirs_stats) = (
        run(BatchNorm(), train=True),
        run(nn.BatchNorm(momentum=0.9), use_running_average=False),
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    old = 0.9 * VARIABLES["batch_stats"]["var"]
    ours_stats, theirs_stats = ours_stats["batch_stats"], theirs_stats["batch_stats"]
    np.testing.assert_allclose(ours_stats["mean"], theirs_stats["mean"], rtol=1e-6)
    np.testing.assert_allclose(
        (ours_stats["var"] - old) * (119 / 120), theirs_stats["var"] - old, rtol=1e-4
    )
    ours, _ = run(BatchNorm(), train=False)
    theirs, _ = run(nn.BatchNorm(), use_running_average=True)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def gradient(module, **train):
    def loss(params, x):
        variables = VARIABLES | {"params": params}
        return jnp.sum(WEIGHT * jnp.tanh(run(module, variables, x, **train)[0]))

    return jax.grad(loss, argnums=(0, 1))


@pytest.mark.parametrize("transform", ["grad", "jvp of grad"])
def test_derivatives_equal_flax(transform):
    def derivative(module, **train):
        first = gradient(module, **train)
        primals = (VARIABLES["params"], X)
        if transform == "grad":
            return jax.jit(first)(*primals)
        return jax.jit(lambda *p: jax.jvp(first, p, jax.tree.map(jnp.cos, p))[1])(*primals)

    ours = derivative(BatchNorm(), train=True)
    theirs = derivative(nn.BatchNorm(), use_running_average=False)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4), ours, theirs)


def test_gradient_ignores_a_shift_and_a_stretch_of_the_batch():
    """The output ignores x -> a x + b, so the gradient in x is orthogonal to 1 and to x."""
    _, dx = gradient(BatchNorm(epsilon=0.0), train=True)(VARIABLES["params"], X)
    np.testing.assert_allclose(jnp.sum(dx, (0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(jnp.sum(dx * X, (0, 1, 2)), 0, atol=1e-3)


def test_same_under_vmap_map_and_scan():
    batches = jnp.stack([X, 2 * X + 1])
    step = gradient(BatchNorm(), train=True)
    alone = [step(VARIABLES["params"], x) for x in batches]
    alone = jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone)
    mapped = [
        jax.vmap(step, (None, 0))(VARIABLES["params"], batches),
        lax.map(lambda x: step(VARIABLES["params"], x), batches),
    ]
    for found in mapped:
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), found, alone
        )


def test_a_constant_channel_gives_finite_numbers():
    x = jnp.full((4, 2, 2, 7), 1000.1)
    assert np.all(np.isfinite(run(BatchNorm(), x=x, train=True)[0]))


def test_initialization_leaves_the_statistics_alone():
    variables = BatchNorm().init(jax.random.key(0), X, train=True)
    np.testing.assert_array_equal(variables["batch_stats"]["mean"], 0)
    np.testing.assert_array_equal(variables["batch_stats"]["var"], 1)
