"""Full-batch gradient descent, stopped at even intervals to look at its curvature or its kernel.

Cohen et al. 2021 (arXiv 2103.00065): sharpness, the largest eigenvalue of the loss's Hessian, rises
to 2 / (learning rate), where descent on a quadratic turns unstable, and stays there. Lee et al.
2019 (arXiv 1902.06720): the wider a net, the less its tangent kernel moves.

This is a loop of its own beside ``Trainer``'s: every step takes all images in one order, the loss
is handed in as a function of the weights alone, so that what looks at its Hessian differentiates
the very function that descends, and seeds and rates are mapped around the whole descent.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxvision.types import Array, PyTree

Loss = Callable[[PyTree, PyTree], tuple[Array, PyTree]]


class Descent(NamedTuple):
    """What a run of gradient descent leaves behind."""

    loss: Array  # [T], before every step
    measured: PyTree  # what ``measure`` returned, leaves [T / period, ...], at steps 0, period, ...
    variables: PyTree  # at the end


def gradient_descent(
    loss: Loss,
    variables: PyTree,
    rate: Array | float,
    measure: Callable[[PyTree, PyTree], PyTree],
    *,
    steps: int,
    period: int,
) -> Descent:
    """Take ``steps`` steps of plain gradient descent, measuring before every ``period``-th one.

    One compiled loop; ``vmap`` it over variables (seeds) and rates.

    Args:
      loss: (params, batch_stats) -> (loss of the whole data set, next batch_stats).
      variables: params and batch_stats at the start.
      rate: the learning rate; may be traced.
      measure: (params, batch_stats) -> numbers.
      steps: a multiple of ``period``.
      period: steps between two measurements.
    """

    def step(state: tuple[PyTree, PyTree], _: None) -> tuple[tuple[PyTree, PyTree], Array]:
        params, batch_stats = state
        (value, batch_stats), gradient = jax.value_and_grad(loss, has_aux=True)(params, batch_stats)
        params = jax.tree.map(lambda p, g: p - rate * g, params, gradient)
        return (params, batch_stats), value

    def stretch(state: tuple[PyTree, PyTree], _: None) -> tuple[tuple[PyTree, PyTree], tuple]:
        measured = measure(*state)
        state, values = lax.scan(step, state, length=period)
        return state, (values, measured)

    start = (variables["params"], variables["batch_stats"])
    state, (values, measured) = lax.scan(stretch, start, length=steps // period)
    return Descent(
        values.reshape(-1), measured, dict(zip(("params", "batch_stats"), state, strict=True))
    )


def late_mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over the second half of the last axis."""
    return values[..., values.shape[-1] // 2 :].mean(-1)


def squared_error(outputs: Array, labels: Array) -> Array:
    """Return half the squared distance of outputs [N, K] to one-hot labels [N], mean over N."""
    targets = jax.nn.one_hot(labels, outputs.shape[-1])
    return jnp.mean(jnp.sum(jnp.square(outputs - targets), axis=-1)) / 2


def draw_wide_net(key: Array, inputs: int, width: int) -> list[Array]:
    """Return the three kernels of ``wide_net``, every entry N(0, 1)."""
    keys = jax.random.split(key, 3)
    shapes = (inputs, width), (width, width), (width,)
    return [jax.random.normal(k, shape) for k, shape in zip(keys, shapes, strict=True)]


def wide_net(kernels: list[Array], x: Array, gamma: Array | float) -> Array:
    """Return the outputs [N] of a tanh net with two hidden layers on inputs x [N, I].

    In the neural tangent parametrization (Jacot et al. 2018), each layer's sum over the square root
    of its terms, the output over ``gamma``. At rates in proportion to gamma^2 the net learns
    equally fast whatever gamma: at gamma = 1 lazily (its kernel moves less the wider it is), at
    gamma in proportion to sqrt(width) by features (by the same amount at every width; Yang & Hu
    2021).
    """
    first, second, last = kernels
    width = last.size
    h = jnp.tanh(x @ first / jnp.sqrt(x.shape[1]))
    h = jnp.tanh(h @ second / jnp.sqrt(width))
    return h @ last / (jnp.sqrt(width) * gamma)
