"""Small dense nets that play for a mixture in the plane."""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.generative.contest import Contest, Nets
from jaxvision.generative.losses import Objective
from jaxvision.generative.players import Variables
from jaxvision.initializers import he_forward
from jaxvision.types import Array, PyTree

Layers = list[dict[str, Array]]
INPUT_SCALE = 0.5  # the discriminator's input times this has a size of about one


class Shape(NamedTuple):
    """Sizes of both nets."""

    codes: int
    width: int
    hidden: int = 2  # layers


def layers(draws: Array, sizes: Sequence[int]) -> tuple[Layers, Array]:
    """Return the weights of a dense net, He's, biases zero, and the draws that are left over."""
    net = []
    for shape in itertools.pairwise(sizes):
        count = shape[0] * shape[1]
        drawn, draws = draws[:count], draws[count:]
        kernel = he_forward().std(shape) * drawn.reshape(shape)
        net.append({"kernel": kernel, "bias": jnp.zeros(shape[1])})
    return net, draws


def dense(params: Layers, x: Array, nonlinearity: Callable[[Array], Array]) -> Array:
    """Return the last layer's outputs [B, O] of inputs [B, I]."""
    for i, layer in enumerate(params):
        x = x if i == 0 else nonlinearity(x)
        x = x @ layer["kernel"] + layer["bias"][None]
    return x


def variables(key: Array, shape: Shape) -> tuple[Variables, Variables]:
    """Return a generator and a discriminator at their start."""
    hidden = (shape.width,) * shape.hidden
    generator_sizes, discriminator_sizes = (shape.codes, *hidden, 2), (2, *hidden, 1)
    count = _kernels(generator_sizes) + _kernels(discriminator_sizes)
    draws = jax.random.normal(key, (count,))  # all at once: one draw is quick to compile
    generator, draws = layers(draws, generator_sizes)
    discriminator, _ = layers(draws, discriminator_sizes)
    return _of(generator), _of(discriminator)


def orthogonal_variables(seed: int, shape: Shape, gain: float) -> tuple[Variables, Variables]:
    """Return both with orthogonal kernels times ``gain``, biases zero; on the host."""
    draws = np.random.Generator(np.random.Philox(seed))
    hidden = (shape.width,) * shape.hidden

    def layers_of(sizes: Sequence[int]) -> Layers:
        return [
            {
                "kernel": np.float32(gain * _orthogonal(draws, *ends)),
                "bias": np.zeros(ends[1], np.float32),
            }
            for ends in itertools.pairwise(sizes)
        ]

    return _of(layers_of((shape.codes, *hidden, 2))), _of(layers_of((2, *hidden, 1)))


def _orthogonal(draws: np.random.Generator, inputs: int, outputs: int) -> np.ndarray:
    """Return a random matrix [I, O] whose smaller side is orthonormal."""
    tall = draws.normal(size=(max(inputs, outputs), min(inputs, outputs)))
    q, r = np.linalg.qr(tall)
    q = q * np.sign(np.diag(r))  # or not all matrices are equally likely
    return q if inputs > outputs else q.T


def _kernels(sizes: Sequence[int]) -> int:
    return sum(i * o for i, o in itertools.pairwise(sizes))


def _of(params: Layers) -> Variables:
    return {"params": params, "batch_stats": {}}


def contest(
    shape: Shape,
    batch_size: int,
    objective: Objective,
    gamma: Array | float | None = None,
    nonlinearity: Callable[[Array], Array] = jax.nn.leaky_relu,
    input_scale: Array | float = INPUT_SCALE,
) -> Contest:
    """Return the losses of both nets on batches of points.

    ``input_scale``: what the discriminator's points are multiplied by.
    """

    def generate(variables: Variables, codes: Array) -> tuple[Array, PyTree]:
        return dense(variables["params"], codes, nonlinearity), {}

    def judge(variables: Variables, points: Array) -> tuple[Array, PyTree]:
        return dense(variables["params"], input_scale * points, nonlinearity)[:, 0], {}

    def latent(key: Array) -> Array:
        return jax.random.normal(key, (batch_size, shape.codes))

    return Contest(Nets(generate, judge, latent), objective, gamma)
