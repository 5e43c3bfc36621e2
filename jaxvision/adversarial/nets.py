"""Many nets at once: one attack, mapped over the leading axis of their weights.

The nets may be snapshots of runs, ``nets.trained(..., snapshots=...)``: ``over_snapshots`` attacks
those of all runs in one program.
"""

from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import PartitionSpec as P

from jaxvision import runtime
from jaxvision.adversarial.aims import Logits
from jaxvision.adversarial.threat import LEVELS
from jaxvision.models.layers import Apply
from jaxvision.parallel.mesh import fetch, make_mesh, on_mesh
from jaxvision.training.mapping import Mapping, choose_mapping, map_runs
from jaxvision.types import Array, PyTree

Layers = Callable[[Array], tuple[Array, dict[str, Array]]]  # images -> logits, pre-activations


def logits_of(
    apply: Apply, preprocess: Callable[[Array, Array | None], Array], variables: PyTree
) -> Logits:
    """Return a trained net as a function of images in [0, 1], its normalization inside.

    Args:
      apply: see ``models.layers.apply_function``; asked in eval mode.
      preprocess: of pixels 0 to 255, as ``nets.trained`` has it.
      variables: of one net, ``{'params', 'batch_stats'}``.
    """
    layers = layers_of(apply, preprocess, variables)

    def logits(images: Array) -> Array:
        return layers(images)[0]

    return logits


def layers_of(
    apply: Apply, preprocess: Callable[[Array, Array | None], Array], variables: PyTree
) -> Layers:
    """Return a net as ``logits_of`` does, with its pre-activations by layer beside the logits."""

    def layers(images: Array) -> tuple[Array, dict[str, Array]]:
        inputs = preprocess(LEVELS * images, None)
        found = apply(variables["params"], variables["batch_stats"], inputs, train=False)
        return found[:2]

    return layers


def over_nets(
    function: Callable[[PyTree, PyTree], PyTree],
    variables: PyTree,
    shared: PyTree,
    mapping: Mapping | None = None,
) -> PyTree:
    """Return ``function(variables of one net, shared)`` for N nets, leaves [N, ...] on the host.

    One program, the nets spread over the devices. Dense nets run side by side, conv nets one after
    the other; surplus nets fill the last round.

    Args:
      function: traced.
      variables: ``{'params', 'batch_stats'}``, leaves [N, ...].
      shared: arrays that are the same for every net.
      mapping: how nets share a device; None chooses as above. One after the other takes the memory
        of one, and a loop that one of them ends early costs the others nothing.
    """
    mesh = make_mesh(data=1)
    count = len(jax.tree.leaves(variables)[0])
    rounds = -(-count // mesh.size)
    rows = np.arange(rounds * mesh.size) % count
    filled = jax.tree.map(lambda leaf: np.asarray(leaf)[rows], variables)
    mapped = map_runs(function, mapping or choose_mapping(variables["params"]), mesh)
    program = runtime.jit(mapped)
    nets = on_mesh(filled, mesh, P("run"))
    found = program(nets, on_mesh(shared, mesh, P()))
    return jax.tree.map(lambda leaf: leaf[:count], fetch(found))


def over_snapshots(
    function: Callable[[PyTree, PyTree], PyTree],
    snapshots: PyTree,
    shared: PyTree,
    mapping: Mapping | None = None,
) -> PyTree:
    """Return ``function(variables of one net, shared)`` along training, leaves [R, T, ...].

    All snapshots of all runs are nets of one program, compiled once: see ``over_nets``.

    Args:
      function: traced.
      snapshots: of R runs at T steps, leaves [R, T, ...].
      shared: arrays that are the same for all.
      mapping: as in ``over_nets``.
    """
    runs, steps = jax.tree.leaves(snapshots)[0].shape[:2]

    def in_a_row(leaf: np.ndarray) -> np.ndarray:
        return np.asarray(leaf).reshape(runs * steps, *leaf.shape[2:])

    found = over_nets(function, jax.tree.map(in_a_row, snapshots), shared, mapping)
    return jax.tree.map(lambda leaf: leaf.reshape(runs, steps, *leaf.shape[1:]), found)
