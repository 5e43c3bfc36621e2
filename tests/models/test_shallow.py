"""Shallow conv nets against the same net by ``lax``."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxvision.initializers import he_forward
from jaxvision.models.drawing import initialize
from jaxvision.models.layers import apply_function
from jaxvision.models.shallow import ShallowConvNet
from jaxvision.random import stream

IMAGE = (5, 6, 2)


def slowly(params, x, pools):
    for i, (name, layer) in enumerate(params.items()):
        kernel, bias = layer["kernel"], layer["bias"]
        if kernel.ndim == 4:
            layout = ("NHWC", "HWIO", "NHWC")
            x = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout)
        else:
            x = x.reshape(len(x), -1) @ kernel
        x = x + bias.reshape((1,) * (x.ndim - 1) + (-1,))
        if name == "logits":
            return x
        x = jax.nn.relu(x)
        if i < len(pools) and pools[i]:
            x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


@pytest.mark.parametrize(
    ("channels", "units", "pooled", "pools"),
    [((3, 5), 7, True, (1, 1)), ((4,), 0, False, ()), ((3, 2), 0, (False, True), (0, 1))],
    ids=["pooled", "one", "pooled_once"],
)
def test_layers_are_those_of_the_definition(channels, units, pooled, pools):
    model = ShallowConvNet(channels, units, 3, he_forward(), pooled)
    draw = jax.jit(partial(initialize, model, image_shape=IMAGE))
    drawn = jax.device_get(draw(stream(0, "init"))["params"])
    params = jax.tree.map(lambda leaf: leaf + np.float32(0.01 * leaf.ndim), drawn)
    images = np.random.default_rng(0).normal(size=(4, *IMAGE)).astype(np.float32)
    logits, activations, _ = jax.jit(partial(apply_function(model), train=False))(
        params, {}, images
    )
    # Dense layers follow convolutions in the order of their names.
    expected = jax.jit(partial(slowly, pools=pools))(params, images)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)
    assert list(activations) == [*params]


def test_batch_norm_takes_the_place_of_biases_and_standardizes_a_batch():
    model = ShallowConvNet((3, 4), 0, 3, he_forward(), normalized=True)
    variables = jax.jit(partial(initialize, model, image_shape=IMAGE))(stream(0, "init"))
    assert list(variables["params"]["conv1"]) == ["kernel"]
    images = np.random.default_rng(0).normal(5, 1, (20, *IMAGE)).astype(np.float32)
    apply = jax.jit(partial(apply_function(model), train=True))
    _, found, stats = apply(variables["params"], variables["batch_stats"], images)
    for name in ("conv1", "conv2"):
        values = np.asarray(found[name])
        np.testing.assert_allclose(values.mean((0, 1, 2)), 0.0, atol=1e-4)
        np.testing.assert_allclose(values.std((0, 1, 2)), 1.0, rtol=1e-2)
    kept = jax.tree.map(np.array_equal, stats, variables["batch_stats"])
    assert not any(jax.tree.leaves(kept))
