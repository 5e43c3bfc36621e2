"""Batch normalization against its closed form, ``nn.BatchNorm`` and autodiff."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxvision.models.normalization import EPSILON, BatchNorm, batch_split_over, standardize
from jaxvision.types import UserError

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(3, 2, (4, 5, 6, 7)), jnp.float32)
WEIGHT = jnp.asarray(RNG.normal(size=X.shape), jnp.float32)
VARIABLES = {
    "params": {"scale": jnp.linspace(0.5, 2, 7), "bias": jnp.linspace(-1, 1, 7)},
    "batch_stats": {"mean": jnp.linspace(0, 1, 7), "var": jnp.linspace(1, 3, 7)},
}


def run(module, variables=VARIABLES, x=X, **train):
    apply = jax.jit(partial(module.apply, **train, mutable=["batch_stats"]))
    return apply(variables, x)


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
    step = jax.jit(gradient(BatchNorm(), train=True))
    alone = [step(VARIABLES["params"], x) for x in batches]
    alone = jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone)
    mapped = [
        jax.jit(jax.vmap(step, (None, 0)))(VARIABLES["params"], batches),
        jax.jit(lambda xs: lax.map(lambda x: step(VARIABLES["params"], x), xs))(batches),
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


def in_float64(x, weight, scale, bias):
    """Textbook batch norm: output, mean, variance, and the gradients of sum(weight * output)."""
    x, weight, scale, bias = (np.asarray(a, np.float64) for a in (x, weight, scale, bias))
    axes = tuple(range(x.ndim - 1))
    mean, var = x.mean(axes), x.var(axes)
    std = np.sqrt(var + EPSILON)
    xhat = (x - mean) / std
    d_scale, d_bias = (weight * xhat).sum(axes), weight.sum(axes)
    m = x.size // x.shape[-1]
    dx = scale / std * (weight - d_bias / m - xhat * d_scale / m)
    return xhat * scale + bias, mean, var, (d_scale, d_bias, dx)


def close(found, expected, tolerance):
    """Within a share of the largest number of what is expected."""
    np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("parts", [None, 2])
@pytest.mark.parametrize("shape", [(32, 8, 8, 3), (64, 3)])
@pytest.mark.parametrize(
    "mean, std", [(0, 1), (1000, 1), (-1000, 0.1), (1e4, 1), (1e4, 30), (1, 0)]
)
def test_a_mean_that_is_large_beside_the_deviation_costs_no_digit(mean, std, shape, parts):
    rng = np.random.default_rng(0)
    x = (mean + std * rng.standard_normal(shape)).astype(np.float32)
    weight = rng.standard_normal(shape).astype(np.float32)
    params = {"scale": jnp.linspace(0.5, 2, 3), "bias": jnp.linspace(-1, 1, 3)}
    variables = {"params": params, "batch_stats": {"mean": jnp.zeros(3), "var": jnp.ones(3)}}

    def loss(params, x, weight):
        given = variables | {"params": params}
        y, updated = BatchNorm(momentum=0.0).apply(given, x, train=True, mutable=["batch_stats"])
        return jnp.sum(weight * y), (y, updated["batch_stats"])

    step = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))
    if parts is None:
        (_, (y, stats)), (d_params, dx) = step(params, x, weight)
    else:
        halves = [a.reshape(parts, -1, *shape[1:]) for a in (x, weight)]
        with batch_split_over("data"):
            split = jax.vmap(step, (None, 0, 0), axis_name="data")
            (_, (y, stats)), (d_params, dx) = split(params, *halves)
        y, dx = y.reshape(shape), dx.reshape(shape)
        stats = jax.tree.map(lambda leaf: leaf[0], stats)
        d_params = jax.tree.map(lambda leaf: leaf.sum(0), d_params)
    expected, right_mean, right_var, (d_scale, d_bias, right_dx) = in_float64(x, weight, **params)
    m = x.size // 3
    close(y, expected, 1e-3)
    close(stats["mean"], right_mean, 1e-6)
    close(stats["var"], right_var * m / (m - 1), 1e-3)
    close(dx, right_dx, 1e-3)
    np.testing.assert_allclose(d_params["scale"], d_scale, rtol=1e-3, atol=1e-3 * np.sqrt(m))
    np.testing.assert_allclose(d_params["bias"], d_bias, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("mean, std", [(1000, 1), (1000, 0.1), (1e4, 1), (1e6, 100)])
def test_neither_does_it_with_running_statistics(mean, std):
    rng = np.random.default_rng(1)
    x = (mean + std * rng.standard_normal((256, 3))).astype(np.float32)
    # float32 itself moves a running mean by up to half its last digit.
    statistics = {"mean": np.full(3, mean, np.float32), "var": np.full(3, std**2, np.float32)}
    variables = {"params": VARIABLES["params"], "batch_stats": statistics}
    variables = jax.tree.map(lambda leaf: leaf[:3], variables)
    y = BatchNorm().apply(variables, x, train=False)
    scale, bias = (np.asarray(variables["params"][k], np.float64) for k in ("scale", "bias"))
    wide = {k: np.asarray(v, np.float64) for k, v in statistics.items()}
    expected = (x - wide["mean"]) / np.sqrt(wide["var"] + EPSILON) * scale + bias
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "said"), [((1, 3), "a batch of 1)"), ((1, 1, 1, 3), "a batch of 1 with maps of 1x1)")]
)
def test_one_value_a_channel_is_refused_in_training_alone(shape, said):
    x = jnp.ones(shape)
    variables = BatchNorm().init(jax.random.key(0), x, train=False)
    BatchNorm().apply(variables, x, train=False)
    with pytest.raises(UserError, match="one value a channel") as refused:
        run(BatchNorm(), variables, x, train=True)
    assert said in str(refused.value) and "\n" not in str(refused.value)
    run(BatchNorm(), variables, jnp.ones((2, *shape[1:])), train=True)
    with batch_split_over("data"):  # two parts of one image each are a batch of two
        jax.vmap(lambda x: run(BatchNorm(), variables, x, train=True), axis_name="data")(
            jnp.ones((2, *shape))
        )


def test_the_bare_formula_is_the_layer_without_its_parameters():
    layer = {"params": {"scale": jnp.ones(7), "bias": jnp.zeros(7)}}
    layer["batch_stats"] = VARIABLES["batch_stats"]
    y, _ = run(BatchNorm(), layer, train=True)
    np.testing.assert_allclose(standardize(X, EPSILON), y, rtol=1e-6, atol=1e-6)
    bare = standardize(1000 + X)
    np.testing.assert_allclose(bare.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(bare.std((0, 1, 2)), 1, rtol=1e-5)


def test_held_statistics_are_constants_in_derivatives():
    x, dx = X.reshape(-1, 7), jnp.cos(X).reshape(-1, 7)
    y, dy = jax.jvp(lambda x: standardize(x, held=True), (x,), (dx,))
    np.testing.assert_array_equal(y, standardize(x))
    np.testing.assert_allclose(dy, dx / x.std(0, keepdims=True), rtol=1e-5)
    # Not held, a shift of all inputs changes nothing.
    moved = jax.jvp(standardize, (x,), (jnp.ones_like(x),))[1]
    np.testing.assert_allclose(moved, 0, atol=1e-5)
