"""How a function of one run is mapped over many: seeds and grid cells on one leading axis R."""

from collections.abc import Callable
from typing import Literal

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from jaxvision import runtime
from jaxvision.models.layers import stacked_axes
from jaxvision.parallel.mesh import fetch, make_mesh, on_mesh
from jaxvision.trees import named_leaves
from jaxvision.types import PyTree

Mapping = Literal["vmap", "map"]


def choose_mapping(params: PyTree) -> Mapping:
    """Return how to map runs of a net, on any backend; the leaves of ``params`` are [R, ...].

    Dense nets ``vmap``: batched matrix products. Conv nets ``map``: ``vmap`` over kernels turns
    every convolution into a grouped one, 4 to 8 times slower on CPU.
    """
    kernels = {n: leaf for n, leaf in named_leaves(params).items() if n.endswith("kernel")}
    one = jax.eval_shape(lambda runs: jax.tree.map(lambda leaf: leaf[0], runs), kernels)
    # One layer's kernel: [I, O] of a dense layer, a convolution's has axes of space before them.
    convolutions = [n for n, leaf in one.items() if leaf.ndim - stacked_axes(n, leaf) > 2]
    return "map" if convolutions else "vmap"


def map_runs(function: Callable, mapping: Mapping, mesh: Mesh) -> Callable:
    """Return ``g(*runs, shared)``: ``function(*run, shared)`` over the leading axis of ``runs``.

    Runs may come in several arguments, so that one of them can be donated. They are spread over the
    mesh's ``run`` axis, whose size must divide R; ``shared`` is whole on every device. ``vmap``
    runs a device's share side by side, ``map`` one after the other; the numbers agree to float32
    rounding. Inside, the mesh's other axes are bound: ``function`` may use their collectives, and
    must return the same on all devices of a run.
    """

    def share(*arguments: PyTree) -> PyTree:
        *runs, shared = arguments
        if mapping == "vmap":
            return jax.vmap(lambda run: function(*run, shared))(runs)
        return lax.map(lambda run: function(*run, shared), runs)

    def mapped(*arguments: PyTree) -> PyTree:
        specs = (P("run"),) * (len(arguments) - 1) + (P(),)
        spread = jax.shard_map(
            share, mesh=mesh, in_specs=specs, out_specs=P("run"), check_vma=False
        )
        return spread(*arguments)

    return mapped


def over_seeds(function: Callable, seeds: int, shared: PyTree = None, first: int = 0) -> PyTree:
    """Return ``function(seed, shared)`` for seeds ``first``, ..., leaves [S, ...] on the host.

    One program, its seeds one after the other on every device; surplus ones fill the last round.
    """
    mesh = make_mesh(data=1)
    filled = np.arange(first, first - (-seeds // mesh.size) * mesh.size, dtype=np.int32)
    program = runtime.jit(map_runs(function, "map", mesh))
    found = program(on_mesh(filled, mesh, P("run")), on_mesh(shared, mesh, P()))
    return jax.tree.map(lambda leaf: leaf[:seeds], fetch(found))
