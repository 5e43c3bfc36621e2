"""Optimizers against their recursions written out; what decays and what does not."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxvision.training.optimizers import (
    adam,
    adamw,
    caffe_sgd,
    decay_kernels,
    max_norm,
    momentum_sgd,
    muon,
    nesterov_sgd,
    sgd,
)

RATES = (0.5, 0.5, 0.05, 0.05)
DECAY = 0.1


def descend(make) -> np.ndarray:
    """Return the weights of four steps with a rate that drops, gradient w**2."""
    w, weights = {"scale": jnp.array([1.0, -0.5])}, []
    state = make(DECAY, {"learning_rate": 1.0, "train_biases": 1.0}).init(w)
    for rate in RATES:
        optimizer = make(DECAY, {"learning_rate": rate, "train_biases": 1.0})
        updates, state = optimizer.update({"scale": w["scale"] ** 2}, state, w)
        w = optax.apply_updates(w, updates)
        weights.append(w["scale"])
    return np.array(weights)


def test_the_rate_stands_inside_the_momentum_and_everything_decays():
    w, v, wanted = np.array([1.0, -0.5]), 0.0, []
    for rate in RATES:
        v = 0.9 * v + rate * (w**2 + DECAY * w)
        w = w - v
        wanted.append(w)
    np.testing.assert_allclose(descend(caffe_sgd), wanted, rtol=1e-5)


def test_the_two_forms_part_at_a_drop_of_the_rate():
    inside, outside = descend(caffe_sgd), descend(sgd)
    np.testing.assert_allclose(inside[:2], outside[:2], rtol=1e-5)
    assert np.all(np.abs(inside[2] - outside[2]) > 0.1)


def projected(radius, update=0.5):
    """Return kernels and biases after one constrained step from (3, 4), (.3, .4) and 5."""
    params = {"kernel": jnp.array([[3.0, 0.3], [4.0, 0.4]]), "bias": jnp.array([5.0, 5.0])}
    step = jax.tree.map(lambda leaf: update * jnp.ones_like(leaf), params)
    updates, _ = max_norm(radius).update(step, max_norm(radius).init(params), params)
    return optax.apply_updates(params, updates), optax.apply_updates(params, step)


@pytest.mark.parametrize("make", [sgd, caffe_sgd, adam, momentum_sgd, nesterov_sgd, adamw, muon])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_weights_of_16_bits_go_through_a_scan(make, dtype):
    """What a scan carries keeps its type, though rates are float32."""
    names = ("learning_rate", "momentum", "train_biases")
    hyper = {name: jnp.float32(0.5) for name in names}
    optimizer = make(1e-4, hyper)
    params = {"layer": {"kernel": jnp.ones((3, 4), dtype), "bias": jnp.ones(4, dtype)}}

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(params, state, params)
        return (optax.apply_updates(params, updates), state), None

    with jax.numpy_dtype_promotion("standard"):
        start = params, optimizer.init(params)
        (ended, _), _ = jax.eval_shape(lambda: jax.lax.scan(step, start, length=2))
    assert {leaf.dtype for leaf in jax.tree.leaves(ended)} == {jnp.dtype(dtype)}


def test_max_norm_projects_the_weights_into_each_unit():
    found, free = projected(2.0)
    norms = np.linalg.norm(found["kernel"], axis=0)
    np.testing.assert_allclose(norms, [2, np.hypot(0.8, 0.9)], rtol=1e-6)
    np.testing.assert_allclose(found["kernel"][:, 0], 2 * free["kernel"][:, 0] / np.hypot(3.5, 4.5))
    np.testing.assert_array_equal(found["kernel"][:, 1], free["kernel"][:, 1])
    np.testing.assert_array_equal(found["bias"], free["bias"])


def test_an_infinite_radius_changes_no_bit():
    found, free = jax.jit(projected)(jnp.float32(jnp.inf))
    jax.tree.map(np.testing.assert_array_equal, found, free)


def test_max_norm_treats_the_layers_of_a_stack_apart():
    kernel = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    rule = max_norm(1.0)

    @jax.jit
    def update(kernel):
        return rule.update({"kernel": kernel * 0}, (), {"kernel": kernel})[0]["kernel"]

    stacked = update(kernel)
    for l in range(3):
        alone = update(kernel[l])
        np.testing.assert_allclose(stacked[l], alone, rtol=1e-6)
    assert np.linalg.norm(kernel + stacked, axis=1).max() < 1 + 1e-6


def net():
    """A convolution, a stack of three dense layers with batch norm, and a dense layer."""
    rng = np.random.default_rng(0)
    normal = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    return {
        "stem": {"kernel": normal(3, 3, 2, 4), "bias": normal(4)},
        "hidden": {"kernel": normal(3, 6, 5), "bias": normal(3, 5)},
        "norm": {"scale": normal(3, 5), "bias": normal(3, 5)},
        "output": {"kernel": normal(6, 4), "bias": normal(4)},
    }


HYPER = {"learning_rate": jnp.float32(0.1), "momentum": jnp.float32(0.9)}


def still(make, steps, params, hyper=HYPER):
    """Return the weights after steps whose loss has no gradient."""
    optimizer = make(hyper)
    zero = jax.tree.map(jnp.zeros_like, params)

    def step(_, carry):
        params, state = carry
        updates, state = optimizer.update(zero, state, params)
        return optax.apply_updates(params, updates), state

    return jax.jit(lambda: jax.lax.fori_loop(0, steps, step, (params, optimizer.init(params))))()[0]


@pytest.mark.parametrize(("momentum", "left"), [(0.0, 0.607), (0.9, 0.0066)])
def test_what_ten_thousand_steps_of_decay_leave_of_a_kernel_and_of_a_scale(momentum, left):
    """A scale of 1 would go the kernel's way if the decay were not masked (optax#25)."""
    params = {"norm": {"scale": jnp.ones(3)}, "output": {"kernel": jnp.ones((3, 2))}}
    hyper = HYPER | {"momentum": jnp.float32(momentum)}
    found = still(lambda hyper: momentum_sgd(5e-4, hyper), 10_000, params, hyper)
    np.testing.assert_allclose(found["output"]["kernel"], left, rtol=0.01)
    np.testing.assert_array_equal(found["norm"]["scale"], 1.0)


@pytest.mark.parametrize(
    ("make", "kept"),
    [(momentum_sgd, 0.99), (nesterov_sgd, 0.981), (adamw, 0.99), (muon, 0.99)],
)
def test_kernels_alone_decay_whatever_their_axes(make, kept):
    """The stacked biases and scales have two axes, as a kernel has."""
    params = net()
    found = still(lambda hyper: make(0.1, hyper), 1, params)
    for name, layer in params.items():
        for leaf, value in layer.items():
            left = kept if leaf == "kernel" else 1.0
            np.testing.assert_allclose(found[name][leaf], left * value, rtol=1e-5)


def test_masking_by_rank_would_decay_stacked_biases():
    params = net()
    by_rank = optax.add_decayed_weights(0.1, mask=lambda p: jax.tree.map(lambda x: x.ndim > 1, p))
    zero = jax.tree.map(jnp.zeros_like, params)
    update = {
        kind: chain.update(zero, chain.init(params), params)[0]["hidden"]["bias"]
        for kind, chain in (("rank", by_rank), ("name", decay_kernels(0.1)))
    }
    assert np.abs(update["rank"]).min() > 0
    assert not update["name"].any()


def test_momentum_is_a_traced_number_and_none_of_it_is_plain_descent():
    w, v, wanted = np.float32([1.0, -0.5]), 0.0, []
    for _ in range(4):
        v = 0.5 * v + w**2
        w = w - 0.1 * v
        wanted.append(w)

    def weights(momentum):
        optimizer = momentum_sgd(0.0, {"learning_rate": 0.1, "momentum": momentum})
        params = {"kernel": jnp.array([1.0, -0.5])}
        state, found = optimizer.init(params), []
        for _ in range(4):
            updates, state = optimizer.update({"kernel": params["kernel"] ** 2}, state, params)
            params = optax.apply_updates(params, updates)
            found.append(params["kernel"])
        return jnp.stack(found)

    both = jax.jit(jax.vmap(weights))(jnp.float32([0.5, 0.0]))
    np.testing.assert_allclose(both[0], wanted, rtol=1e-5)
    plain = np.float32([1.0, -0.5])
    for found in both[1]:
        plain = plain - 0.1 * plain**2
        np.testing.assert_allclose(found, plain, rtol=1e-5)


def test_nesterov_s_momentum_looks_ahead_and_biases_run():
    """Against Sutskever et al. 2013 in PyTorch's form, by hand."""
    w, b, v, u, wanted = np.float32(1.0), np.float32(1.0), 0.0, 0.0, []
    for _ in range(4):
        v, u = 0.5 * v + w**2, 0.5 * u + b
        w, b = w - 0.01 * (w**2 + 0.5 * v), b - 0.64 * (b + 0.5 * u)
        wanted.append((w, b))
    optimizer = nesterov_sgd(0.0, {"learning_rate": 0.01, "momentum": 0.5})
    params = {"kernel": jnp.float32(1), "bias": jnp.float32(1)}
    state, found = optimizer.init(params), []
    for _ in range(4):
        gradients = {"kernel": params["kernel"] ** 2, "bias": params["bias"]}
        updates, state = optimizer.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        found.append((params["kernel"], params["bias"]))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_muon_makes_each_matrix_of_an_update_orthogonal_nearly():
    """Singular values between .6 and 1.3 (Newton-Schulz of five steps), all .3 at rate .3."""
    params = net()
    optimizer = muon(0.0, {"learning_rate": jnp.float32(0.3)})
    gradients = jax.tree.map(lambda x: np.sin(3 * x), params)

    @jax.jit
    def update(gradients, params):
        return optimizer.update(gradients, optimizer.init(params), params)[0]

    updates = jax.device_get(update(gradients, params))
    matrices = [updates["stem"]["kernel"].reshape(18, 4), updates["output"]["kernel"]]
    matrices += list(updates["hidden"]["kernel"])  # each layer of the stack by itself
    for matrix in matrices:
        singular = np.linalg.svd(matrix, compute_uv=False) / 0.3
        assert 0.5 < singular.min() < singular.max() < 1.4
        assert len(singular) > 3
    # What is no kernel moves as under Adam: by the rate, in the gradient's direction.
    bias = updates["hidden"]["bias"]
    np.testing.assert_array_equal(np.sign(bias), -np.sign(gradients["hidden"]["bias"]))
    assert np.abs(bias).max() < 0.7


def test_rates_of_a_sweep_are_traced_in_every_optimizer():
    """Two rates in one program move a net as each does alone."""
    params = net()
    gradients = jax.tree.map(np.cos, params)

    @partial(jax.jit, static_argnums=0)
    def update(make, rate):
        optimizer = make(0.1, {"learning_rate": rate, "momentum": jnp.float32(0.9)})
        return optimizer.update(gradients, optimizer.init(params), params)[0]

    for make in (momentum_sgd, adamw, muon):
        both = jax.jit(jax.vmap(lambda rate, make=make: update(make, rate)))(jnp.float32([0.1, 1]))
        for i, rate in enumerate((0.1, 1.0)):
            alone = update(make, jnp.float32(rate))
            close = lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=1e-4, atol=1e-6)  # noqa: E731
            jax.tree.map(close, both, alone)
