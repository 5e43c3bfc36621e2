"""Devices as one grid: which of them a run is split over, and how arrays come and go.

The axes are ``run`` (seeds and grid cells) and ``data`` (the batch of one run's step). They may
span several processes (``distributed.py``): every process makes the same calls in the same order.
"""

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxvision.types import PyTree, UserError

_data_devices = 1


def configure(data_devices: int) -> None:
    """Set how many devices share the batch of one run where ``make_mesh`` is not told.

    A property of the process, not of what it computes: a resumed run may have another.

    Raises:
      UserError: the number does not divide the devices there are.
    """
    global _data_devices
    if data_devices > 1:
        make_mesh(data=data_devices)
    _data_devices = data_devices


def make_mesh(run: int | None = None, data: int | None = None) -> Mesh:
    """Return the mesh of ``run`` x ``data`` devices; neighbours share a batch.

    Args:
      run: devices that runs are spread over; None takes all there are.
      data: devices that split the batch of one run; None takes what ``configure`` was told, or 1.

    Raises:
      UserError: there are too few devices, or ``data`` does not divide them.
    """
    devices = jax.devices()
    data = data or _data_devices
    if run is None:
        if len(devices) % data:
            raise UserError(f"{len(devices)} devices cannot be shared out in groups of {data}")
        run = len(devices) // data
    wanted = run * data
    if wanted > len(devices):
        raise UserError(f"{run} x {data} devices wanted, there are {len(devices)}")
    # Axes of type Auto; jax.make_mesh makes Explicit ones, under which Linen's dropout fails.
    return Mesh(np.array(devices[:wanted]).reshape(run, data), ("run", "data"))


def data_devices(mesh: Mesh) -> int:
    """Return how many devices share the batch of one run."""
    return mesh.shape.get("data", 1)


def on_mesh(tree: PyTree, mesh: Mesh, spec: P) -> PyTree:
    """Place every leaf on the mesh: ``P('run')`` splits the leading axis, ``P()`` copies.

    Where the mesh spans processes, each holds the whole of ``tree`` and keeps its own part.
    """
    sharding = NamedSharding(mesh, spec)
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def place(leaf: np.ndarray) -> jax.Array:
        leaf = np.asarray(leaf)
        return jax.make_array_from_callback(leaf.shape, sharding, lambda index: leaf[index])

    return jax.tree.map(place, tree)


def fetch(tree: PyTree) -> PyTree:
    """Return the tree on the host, whole in every process."""

    def get(leaf: jax.Array) -> np.ndarray:
        if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable:
            return jax.device_get(leaf)
        if leaf.is_fully_replicated:
            return np.asarray(leaf.addressable_data(0))
        return multihost_utils.process_allgather(leaf, tiled=True)

    if all(getattr(leaf, "is_fully_addressable", True) for leaf in jax.tree.leaves(tree)):
        return jax.device_get(tree)
    return jax.tree.map(get, tree)
