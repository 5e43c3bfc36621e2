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


def slowly(params, x, pooled):
    for name, layer in params.items():
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
        if pooled and kernel.ndim == 4:
            x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


@pytest.mark.parametrize(
    ("channels", "units", "pooled"), [((3, 5), 7, True), ((4,), 0, False)], ids=["pooled", "one"]
)
def test_layers_are_those_of_the_definition(channels, units, pooled):
    model = ShallowConvNet(channels, units, 3, he_forward(), pooled)
    draw = jax.jit(partial(initialize, model, image_shape=IMAGE))
    params = jax.tree.map(lambda leaf: leaf + 0.01 * leaf.ndim, draw(stream(0, "init"))["params"])
    images = jax.random.normal(stream(0, "probe"), (4, *IMAGE))
    logits, activations, _ = apply_function(model)(params, {}, images, train=False)
    # Dense layers follow convolutions in the order of their names.
    np.testing.assert_allclose(logits, slowly(params, images, pooled), rtol=1e-5, atol=1e-6)
    assert list(activations) == [*params]


def test_normalized_convolutions_have_zero_mean_and_unit_variance_before_the_relu():
    """In train mode; the convolution's own bias is gone, which batch norm would take off."""
    model = ShallowConvNet((3,), 0, 4, he_forward(), pooled=False, normalized=True)
    draw = jax.jit(partial(initialize, model, image_shape=IMAGE))
    variables = draw(stream(0, "init"))
    assert variables["params"]["conv1"].keys() == {"kernel"}
    images = 3 + jax.random.normal(stream(0, "probe"), (8, *IMAGE))
    apply = apply_function(model)
    given = variables["params"], variables["batch_stats"], images
    logits, activations, _ = apply(*given, train=True)
    x = activations["conv1"]
    channels = (0, 1, 2)
    standard = (x - x.mean(channels, keepdims=True)) / jnp.sqrt(
        x.var(channels, keepdims=True) + 1e-5
    )
    head = variables["params"]["logits"]["kernel"]
    expected = jax.nn.relu(standard).reshape(8, -1) @ head
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
