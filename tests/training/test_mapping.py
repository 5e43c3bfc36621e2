"""Mapping a function of one run over many: order, sharing, placement."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from jaxvision.parallel.mesh import make_mesh, on_mesh
from jaxvision.training.mapping import choose_mapping, map_runs, over_seeds


def mesh_of(devices):
    return Mesh(np.array(jax.devices()[:devices]), ("run",))


def function(run, shared):
    weights, rate = run
    return {"scores": shared["x"] @ weights * rate, "rate": rate}


@pytest.mark.parametrize("mapping", ["vmap", "map"])
@pytest.mark.parametrize("devices", [1, 2])
def test_runs_keep_their_order_and_share_the_rest(mapping, devices):
    weights = jax.random.normal(jax.random.key(0), (6, 4, 3))
    rates = jnp.arange(6.0)
    shared = {"x": jax.random.normal(jax.random.key(1), (5, 4))}
    found = jax.jit(map_runs(function, mapping, mesh_of(devices)))((weights, rates), shared)
    np.testing.assert_array_equal(found["rate"], rates)
    expected = np.einsum("bi,rio,r->rbo", shared["x"], weights, rates)
    np.testing.assert_allclose(found["scores"], expected, rtol=1e-5, atol=1e-5)


def test_each_device_owns_its_share():
    found = jax.jit(map_runs(lambda run, _: run * 2, "map", mesh_of(2)))(jnp.arange(6.0), None)
    shares = {shard.device: np.asarray(shard.data).tolist() for shard in found.addressable_shards}
    first, second = jax.devices()[:2]
    assert shares == {first: [0, 2, 4], second: [6, 8, 10]}


def test_every_device_trains_runs_of_its_own_unless_told_otherwise():
    mesh = make_mesh()
    assert dict(mesh.shape) == {"run": len(jax.devices()), "data": 1}
    assert list(mesh.devices[:, 0]) == jax.devices()


def test_on_mesh_splits_or_copies():
    mesh = mesh_of(2)
    split, copied = (on_mesh({"a": np.arange(4.0)}, mesh, spec)["a"] for spec in (P("run"), P()))
    assert [shard.data.shape for shard in split.addressable_shards] == [(2,), (2,)]
    assert [shard.data.shape for shard in copied.addressable_shards] == [(4,), (4,)]


@pytest.mark.parametrize(("kind", "mapping"), [("mlp", "vmap"), ("conv", "map")])
def test_dense_nets_vmap_and_conv_nets_map(lab, kind, mapping):
    assert choose_mapping(lab.starts[kind]["params"]) == mapping


@pytest.mark.parametrize("first", [0, 5])
def test_seeds_count_from_the_first(first):
    found = over_seeds(lambda seed, shared: seed + shared, 3, np.int32(10), first)
    np.testing.assert_array_equal(found, 10 + first + np.arange(3))
