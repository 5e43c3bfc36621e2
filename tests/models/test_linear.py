"""Softmax regression is a matrix and a bias."""

import jax
import numpy as np

from jaxvision.initializers import he_forward
from jaxvision.models.drawing import initialize
from jaxvision.models.layers import apply_function
from jaxvision.models.linear import Linear
from jaxvision.random import stream


def test_logits_are_an_affine_map():
    model = Linear(3, he_forward())
    variables = initialize(model, stream(0, "init"), (2, 2, 1))
    inputs = np.random.default_rng(0).normal(size=(5, 2, 2, 1)).astype(np.float32)
    logits, activations, _ = apply_function(model)(variables["params"], {}, inputs, train=False)
    kernel = variables["params"]["output"]["kernel"]
    assert jax.tree.map(np.shape, variables["params"]) == {
        "output": {"bias": (3,), "kernel": (4, 3)}
    }
    np.testing.assert_allclose(logits, inputs.reshape(5, 4) @ kernel, rtol=1e-5, atol=1e-6)
    assert list(activations) == ["output"]
