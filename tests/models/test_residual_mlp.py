"""Deep MLPs against an unrolled version, and against ``MLP``."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.initializers import he_forward
from jaxvision.models.drawing import initialize
from jaxvision.models.layers import apply_function
from jaxvision.models.mlp import MLP
from jaxvision.models.residual_mlp import ResidualMLP
from jaxvision.training.step import zero_taps
from jaxvision.trees import named_leaves

KINDS = [{"residual": True, "normalized": False}, {"residual": False, "normalized": True}]
IMAGES = jax.random.normal(jax.random.key(1), (6, 2, 2, 1))
LAYERS = ["input", "hidden/dense", "output/dense"]


def start(net):
    return jax.jit(lambda key: initialize(net, key, (2, 2, 1)))(jax.random.key(0))


def unrolled(params, x, shifts, *, residual, normalized):
    """Slow version in plain JAX: logits of the net whose pre-activation l is moved by shifts[l]."""

    def branch(x, kernel):
        if normalized:
            x = (x - jnp.mean(x, 0, keepdims=True)) / jnp.sqrt(jnp.var(x, 0, keepdims=True) + 1e-5)
        return jax.nn.relu(x) @ kernel

    x = x.reshape(len(x), -1) @ params["input"]["kernel"] + shifts[0]
    found = [x]
    for kernel, shift in zip(params["hidden"]["dense"]["kernel"], shifts[1:], strict=True):
        x = (x if residual else 0) + branch(x, kernel) + shift
        found.append(x)
    return branch(x, params["output"]["dense"]["kernel"]), found


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_values_and_taps_are_those_of_the_unrolled_net(kind):
    net = ResidualMLP(4, 8, 3, he_forward(), **kind)
    variables = start(net)
    apply, params = apply_function(net), variables["params"]

    def loss(params, taps):
        logits, activations, _ = apply(
            params, variables["batch_stats"], IMAGES, train=True, taps=taps
        )
        return jnp.sum(jnp.square(logits)), (logits, activations)

    step = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))
    (_, (logits, activations)), (gradients, taps) = step(params, zero_taps(params))
    assert (
        list(activations) == LAYERS == [n for n in LAYERS if f"{n}/kernel" in named_leaves(params)]
    )
    shifts = jnp.zeros((3, 6, 8))
    expected, layers = unrolled(params, IMAGES, shifts, **kind)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(activations["input"], layers[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        activations["hidden/dense"], jnp.stack(layers[1:]), rtol=1e-4, atol=1e-4
    )

    def slow_loss(params, shifts):
        return jnp.sum(jnp.square(unrolled(params, IMAGES, shifts, **kind)[0]))

    slow, delta = jax.jit(jax.grad(slow_loss, argnums=(0, 1)))(params, shifts)
    hidden = (g["hidden"]["dense"]["kernel"] for g in (gradients, slow))
    np.testing.assert_allclose(*hidden, rtol=1e-3, atol=1e-4)
    squared = jnp.sum(jnp.square(delta), (1, 2))
    np.testing.assert_allclose(taps["hidden/dense"], squared[1:], rtol=1e-3)
    np.testing.assert_allclose(taps["input"], squared[0], rtol=1e-3)


def test_the_plain_net_is_the_mlp():
    net, mlp = ResidualMLP(5, 8, 3, he_forward()), MLP(5, 8, 3, he_forward())
    params = start(net)["params"]
    same = start(mlp)["params"]
    for name in ("hidden", "output"):
        same[name]["kernel"] = params[name]["dense"]["kernel"]
    same["input"]["kernel"] = params["input"]["kernel"]
    found = net.apply({"params": params}, IMAGES)[0]
    np.testing.assert_allclose(found, mlp.apply({"params": same}, IMAGES)[0], rtol=1e-5, atol=1e-6)


def test_eval_mode_uses_the_running_statistics():
    net = ResidualMLP(4, 8, 3, he_forward(), normalized=True)
    variables = start(net)
    apply = jax.jit(apply_function(net), static_argnames="train")
    _, _, updated = apply(variables["params"], variables["batch_stats"], IMAGES, train=True)
    assert named_leaves(updated)["hidden/norm/mean"].shape == (2, 8)
    before, _, same = apply(variables["params"], variables["batch_stats"], IMAGES, train=False)
    after, _, _ = apply(variables["params"], updated, IMAGES, train=False)
    jax.tree.map(np.testing.assert_array_equal, same, variables["batch_stats"])
    assert not np.allclose(before, after, rtol=1e-3)
