"""Random ReLU nets with batch norm, before any training: gradients that grow with depth."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.breaking._along_start import DEPTHS, INPUTS
from jaxvision.adversarial.threat import norms
from jaxvision.models.normalization import standardize
from jaxvision.random import probe
from jaxvision.training.mapping import over_seeds
from jaxvision.types import Array

# The theory is one of wide nets and many images; both err by a few percent at these sizes.
WIDTH = 256
IMAGES = 128

Normalize = Callable[[Array], Array]
# An attack changes one image alone, so the statistics do not move with it.
HELD: Normalize = partial(standardize, held=True)


class Normalized(NamedTuple):
    """N nets of every depth, means over their images.

    Attributes:
      distance: [N, depths], abs(f) / norm(grad f) of inputs of norm sqrt(d).
      square: [N, depths], squared L2 norm of the gradient.
    """

    distance: np.ndarray
    square: np.ndarray


def normalized_at_start(
    first_seed: int, nets: int, width: int = WIDTH, normalize: Normalize = HELD
) -> Normalized:
    """Draw random nets without biases whose layers are normalized before their ReLU.

    The images of a net are the batch that its statistics come from. A net of fewer layers is a part
    of the deepest one, so all depths are one program.
    """

    def one(seed: Array, depths: Array) -> Normalized:
        draws = _drawn(probe(seed, "signals"), width)
        return lax.map(partial(_of_depth, draws, normalize), depths)

    return over_seeds(one, nets, np.int32(DEPTHS), first_seed)


def octaves_a_layer(values: np.ndarray, depths: Sequence[int] = DEPTHS) -> np.ndarray:
    """Return by how many octaves a layer values [N, depths] grow, by least squares: [N]."""
    slope, _ = np.polyfit(depths, np.log2(values).T, 1)
    return slope


class _Draws(NamedTuple):
    """The numbers of the deepest net, and its images."""

    images: Array  # [images, pixels]
    first: Array  # [pixels, width]
    hidden: Array  # [layers between, width, width]
    last: Array  # [width]


def _drawn(key: Array, width: int) -> _Draws:
    keys = jax.random.split(key, 4)
    images = jax.random.normal(keys[0], (IMAGES, INPUTS))
    lengths = norms(images).l2[:, None]
    return _Draws(
        images * jnp.sqrt(INPUTS) / lengths,
        jax.random.normal(keys[1], (INPUTS, width)),
        jax.random.normal(keys[2], (max(DEPTHS) - 2, width, width)),
        jax.random.normal(keys[3], (width,)),
    )


def _of_depth(draws: _Draws, normalize: Normalize, depth: Array) -> Normalized:
    """Return what the net of this many layers of weights shows."""
    between, width, _ = draws.hidden.shape
    gain = jnp.sqrt(2 / width)

    def layer(h: Array, numbered: tuple[Array, Array]) -> tuple[Array, None]:
        number, kernel = numbered
        active = jax.nn.relu(normalize(h))
        deeper = gain * active @ kernel
        return jnp.where(number < depth - 2, deeper, h), None

    def outputs(images: Array) -> tuple[Array, Array]:
        h = jnp.sqrt(2 / INPUTS) * images @ draws.first
        h, _ = lax.scan(layer, h, (jnp.arange(between), draws.hidden))
        active = jax.nn.relu(normalize(h))
        values = gain * active @ draws.last
        return values.sum(), values

    gradient, values = jax.grad(outputs, has_aux=True)(draws.images)
    steepness = norms(gradient).l2
    distance = jnp.abs(values) / steepness
    return Normalized(distance.mean(), jnp.square(steepness).mean())
