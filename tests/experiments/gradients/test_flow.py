"""Single images through deep nets, against an unrolled net in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.gradients import _flow as flow
from jaxvision.dynamics import theory
from jaxvision.initializers import xavier_he2015
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.layers import apply_function
from jaxvision.models.residual_mlp import ResidualMLP


def test_log_norms_are_those_of_an_unrolled_net():
    net = ResidualMLP(5, 6, 3, xavier_he2015(), jnp.tanh)
    nets = initialize_runs(net, jax.random.split(jax.random.key(0), 2), (2, 2, 1))
    images = np.random.default_rng(0).normal(size=(3, 2, 2, 1)).astype(np.float32)
    found = flow.image_log_norms(apply_function(net), nets, images, {"gain": 1.5})
    for run in range(2):
        params = jax.tree.map(lambda leaf, r=run: 1.5 * leaf[r].astype(float), nets["params"])
        kernels = [params["input"]["kernel"], *params["hidden"]["dense"]["kernel"]]
        kernels.append(params["output"]["dense"]["kernel"])
        signal, delta = np.zeros((3, 5)), np.zeros((3, 5))
        for i, image in enumerate(images.reshape(3, -1)):
            hs = [image @ kernels[0]]
            for kernel in kernels[1:]:
                hs.append(np.tanh(hs[-1]) @ kernel)
            signal[i] = [0.5 * np.log(np.mean(h**2)) for h in hs]
            gradient = np.eye(3)[0]
            for layer in reversed(range(5)):
                delta[i, layer] = np.log(np.linalg.norm(gradient))
                if layer:
                    gradient = kernels[layer] @ gradient * (1 - np.tanh(hs[layer - 1]) ** 2)
        np.testing.assert_allclose(found["gain/signal"][run], signal.mean(0), atol=1e-5)
        np.testing.assert_allclose(found["gain/delta"][run], delta.mean(0), atol=1e-5)


@pytest.mark.parametrize(("activation", "sigma_w"), [("relu", 1.6), ("tanh", 1.5), ("linear", 0.8)])
def test_theory_is_the_mean_over_random_nets(activation, sigma_w):
    rng, width, depth, count = np.random.default_rng(1), 48, 6, 600
    phi = {"relu": lambda h: np.maximum(h, 0), "tanh": np.tanh, "linear": lambda h: h}[activation]
    slope = {
        "relu": lambda h: (h > 0) * 1.0,
        "tanh": lambda h: 1 - np.tanh(h) ** 2,
        "linear": np.ones_like,
    }[activation]
    kernels = rng.normal(size=(depth, count, width, width)) * sigma_w / np.sqrt(width)
    x, hs = np.ones((count, width)), []
    for kernel in kernels:
        hs.append(np.einsum("ni,nio->no", x, kernel))
        x = phi(hs[-1])
    gradient, delta = rng.normal(size=(count, width)), [None] * depth
    for layer in reversed(range(depth)):
        delta[layer] = np.mean(np.log(np.linalg.norm(gradient, axis=1)))
        gradient = np.einsum("no,nio->ni", gradient, kernels[layer]) * slope(hs[layer - 1])
    signal = [np.mean(np.log(np.mean(h**2, axis=1))) / 2 for h in hs]
    expected = theory.log_norms(activation, sigma_w, width, depth)
    np.testing.assert_allclose(
        np.subtract(signal, signal[0]), expected[0] - expected[0][0], atol=0.04
    )
    np.testing.assert_allclose(np.subtract(delta, delta[-1]), expected[1], atol=0.04)
