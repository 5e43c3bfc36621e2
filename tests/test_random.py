"""Named streams: one key for each (seed, stream, counters), the same wherever it is asked for."""

import ast
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.random import PROBES, STREAMS, probe, stream

ROOT = Path(__file__).resolve().parents[1]


def bits(key):
    return tuple(np.asarray(jax.random.key_data(key)).ravel().tolist())


def test_every_seed_stream_and_counter_has_its_own_key():
    asked = [
        (seed, name, *counters)
        for seed in (0, 1, 2)
        for name in STREAMS
        for counters in [(), (0,), (1,), (2,), (0, 1), (1, 0)]
    ]
    assert len({bits(stream(*arguments)) for arguments in asked}) == len(asked)


def test_the_order_of_counters_matters():
    assert bits(stream(0, "order", 3, 5)) != bits(stream(0, "order", 5, 3))


def test_traced_arguments_under_jit_vmap_scan_and_map_give_the_same_key():
    seeds = jnp.arange(4)
    expected = [bits(stream(seed, "augment", 7)) for seed in range(4)]

    def data(seed):
        return jax.random.key_data(stream(seed, "augment", jnp.int32(7)))

    ways = {
        "jit": jnp.stack([jax.jit(data)(seed) for seed in seeds]),
        "vmap": jax.vmap(data)(seeds),
        "map": jax.lax.map(data, seeds),
        "scan": jax.lax.scan(lambda _, seed: (None, data(seed)), None, seeds)[1],
    }
    for way, found in ways.items():
        assert [tuple(row) for row in np.asarray(found).tolist()] == expected, way


def test_draws_under_vmap_equal_draws_alone():
    """The reason for pinning threefry: keys of other generators draw otherwise under vmap."""
    together = jax.vmap(lambda seed: jax.random.normal(stream(seed, "init"), (5,)))(jnp.arange(3))
    alone = [jax.random.normal(stream(seed, "init"), (5,)) for seed in range(3)]
    np.testing.assert_array_equal(together, jnp.stack(alone))


def test_the_generator_does_not_follow_the_default_of_jax():
    expected = bits(stream(0, "init"))
    with jax.default_prng_impl("rbg"):
        assert bits(stream(0, "init")) == expected


def test_streams_keep_their_numbers():
    """A new number would silently change every run ever made from that stream."""
    names = ["init", "order", "augment", "dropout", "probe", "attack", "latent", "noise"]
    assert {name: number for number, name in enumerate(names)} == STREAMS
    assert len(set(STREAMS.values())) == len(STREAMS)
    assert bits(stream(0, "order", 1)) == (3968330031, 3923691647)


def test_an_unknown_stream_is_an_error():
    with pytest.raises(KeyError, match="shuffle"):
        stream(0, "shuffle")
    with pytest.raises(KeyError, match="weather"):
        probe(0, "weather")


def test_no_two_uses_share_a_key():
    """Nor is the key of a use also the parent of another's."""
    streams = [(name,) for name in STREAMS]
    counted = [("init", 0), ("init", 1), ("order", 0), ("augment", 0), ("dropout", 0)]
    keys = [bits(stream(seed, *use)) for seed in (0, 1) for use in streams + counted]
    keys += [bits(probe(seed, use)) for seed in (0, 1) for use in PROBES]
    assert len(set(keys)) == len(keys)
    assert len(set(PROBES.values())) == len(PROBES)


def calls(tree, name):
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == name
    ]


def test_every_measurement_draws_under_a_name_of_its_own():
    """In a module each use is asked for once, and nothing takes the bare stream of all of them."""
    used = set()
    for path in sorted([*ROOT.glob("experiments/*/*.py"), *ROOT.glob("jaxvision/**/*.py")]):
        tree = ast.parse(path.read_text())
        if path.name != "random.py":
            names = [getattr(call.args[1], "value", "?") for call in calls(tree, "stream")]
            assert "probe" not in names and "?" not in names, path
        uses = [call.args[1].value for call in calls(tree, "probe")]
        assert len(set(uses)) == len(uses), path
        used |= set(uses)
    assert used == set(PROBES)
