"""The perceptron: counts by hand, names, and the scanned net against an unrolled one."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.initializers import he_backward
from jaxvision.models.drawing import initialize
from jaxvision.models.layers import apply_function
from jaxvision.models.mlp import MLP
from jaxvision.random import stream
from jaxvision.trees import named_leaves

IMAGE = (4, 3, 2)  # 24 inputs


def net(depth, width=7, **options):
    return MLP(depth, width, 5, he_backward(), **options)


def start(model):
    return jax.jit(lambda key: initialize(model, key, IMAGE)["params"])


def shapes(model):
    return jax.eval_shape(start(model), stream(0, "init"))


@pytest.mark.parametrize("depth", [3, 4, 22, 30, 1000])
def test_depth_is_the_number_of_weight_layers(depth):
    params = shapes(net(depth))
    kernels = [leaf for name, leaf in named_leaves(params).items() if name.endswith("kernel")]
    # A stacked kernel [l, I, O] is l layers.
    assert sum(kernel.shape[0] if kernel.ndim == 3 else 1 for kernel in kernels) == depth
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert count == (24 * 7 + 7) + (depth - 2) * (7 * 7 + 7) + (7 * 5 + 5)


def test_activations_are_named_after_their_kernels_in_depth_order():
    model = net(6)
    params = shapes(model)
    images = jax.ShapeDtypeStruct((2, *IMAGE), jnp.float32)

    order = []

    def outputs(params, images):
        logits, activations, _ = apply_function(model)(params, {}, images, train=True)
        order.extend(activations)
        return logits, activations

    logits, activations = jax.eval_shape(outputs, params, images)
    assert order == ["input", "hidden", "output"]
    assert all(f"{name}/kernel" in named_leaves(params) for name in activations)
    assert {name: x.shape for name, x in activations.items()} == {
        "input": (2, 7),
        "hidden": (4, 2, 7),
        "output": (2, 5),
    }
    assert logits.shape == (2, 5)


@pytest.mark.parametrize("nonlinearity", [jax.nn.relu, jnp.tanh], ids=["relu", "tanh"])
def test_scanned_equals_unrolled(nonlinearity):
    model = net(6, nonlinearity=nonlinearity)
    params = start(model)(stream(0, "init"))
    # Biases begin at zero: give them values, or leaving one out would not show.
    params = jax.tree.map(lambda leaf: leaf + 0.01 * leaf.ndim, params)
    images = jax.random.normal(stream(0, "probe"), (3, *IMAGE))
    logits, activations, _ = apply_function(model)(params, {}, images, train=True)

    leaves = {name: np.asarray(leaf, np.float64) for name, leaf in named_leaves(params).items()}
    x = np.asarray(images, np.float64).reshape(3, -1) @ leaves["input/kernel"]
    x += leaves["input/bias"]
    np.testing.assert_allclose(activations["input"], x, rtol=1e-5, atol=1e-6)
    for kernel, bias, found in zip(
        leaves["hidden/kernel"], leaves["hidden/bias"], activations["hidden"], strict=True
    ):
        x = np.asarray(nonlinearity(x)) @ kernel + bias
        np.testing.assert_allclose(found, x, rtol=1e-4, atol=1e-5)
    x = np.asarray(nonlinearity(x)) @ leaves["output/kernel"] + leaves["output/bias"]
    np.testing.assert_allclose(logits, x, rtol=1e-4, atol=1e-5)


def test_every_layer_is_drawn_by_the_initializer_with_its_own_fan():
    params = start(net(40, width=64))(stream(0, "init"))
    for name, fan_out in (("input", 64), ("hidden", 64), ("output", 5)):
        kernel = params[name]["kernel"]
        error = 6 * math.sqrt(2 / kernel.size)  # six standard errors of a variance, relative
        assert np.var(kernel) == pytest.approx(2 / fan_out, rel=error)
        assert not np.any(params[name]["bias"])


def program(depth):
    """What XLA is given: the gradient of a net, as text without its numbers."""
    model = net(depth)

    def loss(params, images):
        return jnp.sum(apply_function(model)(params, {}, images, train=True)[0])

    images = jax.ShapeDtypeStruct((2, *IMAGE), jnp.float32)
    return jax.jit(jax.grad(loss)).lower(shapes(model), images).as_text()


def test_program_does_not_grow_with_depth():
    assert len(program(30).splitlines()) == len(program(1000).splitlines())
