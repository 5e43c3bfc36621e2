"""Random dense nets, drawn layer by layer while they are looked at: depth costs no memory.

Nets whose weights are kept are elsewhere: ``isometry.Layers`` (random ones, looked at repeatedly),
``models.mlp`` and ``models.residual_mlp`` (to be trained), ``training.depth_sweep`` (many depths).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from jaxvision.types import Array, PyTree

Step = Callable[[PyTree, Array], tuple[PyTree, PyTree]]


def scan_drawn(
    step: Step, start: PyTree, key: Array, shape: tuple[int, ...], depth: int
) -> tuple[PyTree, PyTree]:
    """Carry ``start`` through ``depth`` layers whose kernels are drawn on the spot.

    Args:
      step: ``(carry, kernel) -> (next carry, what to stack)``, as in ``jax.lax.scan``.
      start: the first carry.
      key: of all kernels.
      shape: of each kernel; its entries are N(0, 1).
      depth: number of layers.

    Returns:
      The last carry, and what was stacked, leaves [depth, ...].
    """

    def layer(carry: PyTree, index: Array) -> tuple[PyTree, PyTree]:
        return step(carry, jax.random.normal(jax.random.fold_in(key, index), shape))

    return jax.lax.scan(layer, start, jnp.arange(depth))


def push(layer: Callable[[Array], Array], x: Array, direction: Array) -> tuple[Array, Array, Array]:
    """Push an input and a direction through ``layer``.

    Returns:
      ``layer(x)``; the direction J u, rescaled to norm 1, and the log of the norm that it had.
    """
    x, direction = jax.jvp(layer, (x,), (direction,))
    growth = jnp.linalg.norm(direction)
    return x, direction / growth, jnp.log(growth)


def unit_square(x: Array) -> Array:
    """Return x over its root mean square.

    The Jacobian of a homogeneous layer, f(s x) = s f(x), does not see the scale of x, which over
    many layers would leave float32.
    """
    return x / jnp.sqrt(jnp.mean(jnp.square(x)))


def net_growth(
    key: Array,
    activate: Callable[[Array], Array],
    sigma_w: float | Array,
    width: int,
    depth: int,
    batch: int = 1,
    *,
    homogeneous: bool = False,
) -> Array:
    """Return log ||J_l u|| - log ||J_{l-1} u|| of each layer of one random net, [depth].

    J_l is the Jacobian of layer l's output by the input, u a random direction; the mean over layers
    is the net's Lyapunov exponent, with depth for time. No biases, Gaussian kernels of variance
    sigma_w^2 / width, input N(0, 1). ``vmap`` over keys (seeds) and ``sigma_w`` (gains) at will.

    Args:
      key: of the net, its input and u.
      activate: what a layer does after its weights, [batch, width] -> [batch, width].
      sigma_w: the gain; may be traced.
      width: units of each layer and of the input.
      depth: number of layers.
      batch: inputs of the net; J is that of all of them at once.
      homogeneous: ``activate`` is (ReLU is), and x is rescaled after each layer.
    """
    input_key, direction_key, kernel_key = jax.random.split(key, 3)

    def step(carry: tuple[Array, Array], kernel: Array) -> tuple[tuple[Array, Array], Array]:
        # The gain scales the product, not the kernel, which all gains of a vmap then share.
        scale = sigma_w / jnp.sqrt(width)
        x, direction, growth = push(lambda x: activate(scale * (x @ kernel)), *carry)
        return (unit_square(x) if homogeneous else x, direction), growth

    x = jax.random.normal(input_key, (batch, width))
    direction = jax.random.normal(direction_key, (batch, width))
    start = (x, direction / jnp.linalg.norm(direction))
    return scan_drawn(step, start, kernel_key, (width, width), depth)[1]


def net_exponents(
    key: Array,
    activate: Callable[[Array], Array],
    gains: ArrayLike,
    width: int,
    depth: int,
    batch: int = 1,
    *,
    homogeneous: bool = False,
) -> Array:
    """Return the exponent of one random net at every gain, [G]; arguments as in ``net_growth``.

    The growth is averaged over the deeper half of the layers: the upper one forgets the input.
    """

    def growth(gain: Array) -> Array:
        return net_growth(key, activate, gain, width, depth, batch, homogeneous=homogeneous)

    return jax.vmap(growth)(jnp.asarray(gains, jnp.float32))[:, depth // 2 :].mean(-1)
