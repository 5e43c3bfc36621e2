"""Random nets on the edge of chaos, and the spectrum that theory gives their Jacobian.

Pennington et al. 2017 (arXiv 1711.04735).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision import initializers as init
from jaxvision.dynamics import isometry, mean_field
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.mlp import MLP
from jaxvision.random import probe, stream
from jaxvision.types import Array, PyTree

# Of gain 1; a point on the edge of chaos scales them.
WEIGHTS = {"orthogonal": init.orthogonal(1.0), "gaussian": init.xavier_he2015()}

# (activation, variance of the pre-activations) -> the net's scales.
Critical = Callable[[str, float], isometry.Critical]


class Net(NamedTuple):
    """A kind of net: its weights, of ``WEIGHTS``, and whether it is trained as well as drawn."""

    label: str
    weights: str
    activation: str
    trained: bool = False

    @property
    def orthogonal(self) -> bool:
        """Whether the law for orthogonal weights is its law."""
        return self.weights == "orthogonal"


def random_spectra(
    nets: Mapping[str, Net],
    critical: Critical,
    width: int,
    q: float,
    depths: Sequence[int],
    seed: Array,
    _: None = None,
) -> dict[str, dict[str, Array]]:
    """Return what is asked of the Jacobian of a seed's nets at one random input.

    Args:
      nets: those of the same weights share their draws.
      critical: scales weights, biases and input.
      width: units of every layer.
      q: variance of the pre-activations.
      depths: D of them, the last the largest.
      seed: of the nets and the input.

    Returns:
      By net: ``share`` [D], of singular values within a factor 2 of 1; ``silent`` [D], of those
      that are 0; ``spread`` [D], the variance of their squares over the squared mean; ``values``
      [width], those of the deepest net, falling.
    """
    start = isometry.unit_variance(jax.random.normal(probe(seed, "inputs"), (width,)))
    drawn = {
        weights: isometry.draw_layers(stream(seed, "init"), draw, (width, width), depths[-1])
        for weights, draw in WEIGHTS.items()
        if weights in {net.weights for net in nets.values()}
    }
    found = {}
    for activation in dict.fromkeys(net.activation for net in nets.values()):
        point = critical(activation, q)
        alike = {name: net for name, net in nets.items() if net.activation == activation}
        layers = [isometry.scale_layers(drawn[net.weights], point) for net in alike.values()]
        x = point.input_std * start
        spectrum = partial(isometry.singular_values, activation=activation, x=x, depths=depths)
        values = isometry.map_nets(spectrum, layers)
        found |= {name: _describe(values[i]) for i, name in enumerate(alike)}
    return found


def _describe(values: Array) -> dict[str, Array]:
    """Describe singular values [D, width]."""
    squares = jnp.square(values)
    silent = values < isometry.RESOLUTION * values[:, :1]
    return {
        "share": isometry.isometric_share(values),
        "silent": jnp.mean(silent, axis=-1),
        "spread": jnp.var(squares, axis=-1) / jnp.square(jnp.mean(squares, axis=-1)),
        "values": values[-1],
    }


def expected_spread(net: Net, depths: np.ndarray, q: float, width: int) -> np.ndarray:
    """Return the variance of the squared singular values, of mean 1, by depth.

    ``mean_field.jacobian_spread``, and for orthogonal tanh what finite width n adds to it at small
    variance q. The units of a layer have a common norm, so their squares vary by (n - 1) / (n + 2)
    of what they would; and one direction, the signal's own, shrinks in every layer alike: its
    squared singular value is exp(-4 q L), which adds (1 - exp(-4 q L))^2 / n less the law's own
    part of it. The law, of order q^2, is so small that this counts.
    """
    law = mean_field.jacobian_spread(depths, q, net.activation, net.orthogonal)
    if (net.weights, net.activation) != ("orthogonal", "tanh"):
        return law
    shrunk = 1 - np.exp(-4 * q * depths)
    return law * (width - 1) / (width + 2) + shrunk**2 * (1 - 1 / depths) / width


def initialize_with_gain(
    net: MLP, image_shape: tuple[int, ...], gain: float, keys: Array
) -> PyTree:
    """Return the variables of a net by key, its kernels times ``gain``."""
    return init.with_gain(initialize_runs(net, keys, image_shape), gain)


def scaled_inputs(std: float, standardize: Callable, images: Array, key: Array | None) -> Array:
    """Return images standardized, then scaled to ``std``: a preprocessing of ``Task``."""
    return std * standardize(images, key)
