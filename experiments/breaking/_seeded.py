"""Functions of a net and its own seed, over many nets."""

from collections.abc import Callable

import numpy as np

from experiments.breaking._nets import Nets
from jaxvision.adversarial.aims import Logits
from jaxvision.adversarial.nets import over_nets
from jaxvision.types import Array, PyTree


def over_seeded(
    function: Callable[[Logits, Array, PyTree], PyTree],
    nets: Nets,
    seeds: range,
    shared: PyTree = None,
) -> PyTree:
    """Return ``function(f, seed, shared)`` of N nets, leaves [N, ...] on the host.

    A net's draws are those of its seed, whatever nets are beside it.
    """

    def one(net: dict, shared: PyTree) -> PyTree:
        return function(nets.of(net), net["seed"], shared)

    numbers = {"seed": np.array(seeds, np.int32)}
    return over_nets(one, nets.variables | numbers, shared)
