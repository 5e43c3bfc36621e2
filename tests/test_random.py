"""Named streams: one key for each (seed, stream, counters), the same wherever it is asked for."""

import ast
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32

from jaxvision import runtime
from jaxvision.random import PROBES, STREAMS, attainable, bernoulli, probe, stream

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


def blocks(key, count):
    """Return the 16-bit pieces [4, count] of a key's blocks, by JAX's own threefry."""
    counters = jnp.arange(2 * count, dtype=jnp.uint32).at[:count].set(0).at[count:].add(-count)
    words = np.asarray(threefry_2x32(jax.random.key_data(key), counters)).reshape(2, count)
    return np.stack([words & 0xFFFF, words >> 16], axis=1).reshape(4, count)


@pytest.mark.parametrize("shape", [(8,), (5, 7, 3), (1,), (0, 4)])
def test_bernoulli_compares_the_quarters_of_threefry_blocks(shape):
    count = int(np.prod(shape))
    found = bernoulli(stream(2, "dropout", 3), 0.3, shape)
    drawn = blocks(stream(2, "dropout", 3), -(-count // 4)).reshape(-1)[:count]
    np.testing.assert_array_equal(found, (drawn < round(0.3 * 65536)).reshape(shape))


@pytest.mark.parametrize("probability", [0.01, 0.5, 0.9])
def test_bernoulli_has_its_mean_and_independent_neighbors(probability):
    """Also the four of a block, which lie a quarter apart."""
    count = 400_000
    drawn = np.asarray(bernoulli(stream(5, "dropout"), probability, (count,)))
    variance = probability * (1 - probability)
    centered = drawn - float(attainable(probability))
    assert abs(centered.mean()) < 4 * np.sqrt(variance / count)
    for apart in (1, 784, count // 4, count // 2):
        correlation = (centered[apart:] * centered[:-apart]).mean() / variance
        assert abs(correlation) < 4 / np.sqrt(count - apart)


def test_bernoulli_is_the_same_under_jit_vmap_and_scan():
    def draw(seed):
        return bernoulli(stream(seed, "dropout"), 0.7, (5, 3))

    alone = np.stack([draw(seed) for seed in range(3)])
    seeds = jnp.arange(3)
    np.testing.assert_array_equal(jax.vmap(draw)(seeds), alone)
    np.testing.assert_array_equal(runtime.jit(jax.vmap(draw))(seeds), alone)
    np.testing.assert_array_equal(jax.lax.map(draw, seeds), alone)


def test_attainable_probabilities_are_sixteen_bits_and_never_zero():
    found = [float(attainable(p)) for p in (1.0, 0.5, 0.8, 1e-9)]
    assert found == [1.0, 0.5, 52429 / 65536, 1 / 65536]
    assert bernoulli(stream(0, "dropout"), 1.0, (10_000,)).all()


@pytest.mark.parametrize(
    ("draw", "line"),
    [
        (lambda key: bernoulli(jax.random.split(key), 0.5, (5,)), "one key and one probability"),
        (lambda key: bernoulli(key, jnp.float32([0.1, 0.9]), (8,)), "one key and one probability"),
        (lambda key: bernoulli(jax.random.key(0, impl="rbg"), 0.5, (5,)), "a threefry key"),
        (lambda key: bernoulli(key, 0.0, (5,)), "above 0, at most 1"),
        (lambda key: bernoulli(key, 1.5, (5,)), "above 0, at most 1"),
        (lambda key: bernoulli(key, float("nan"), (5,)), "above 0, at most 1"),
    ],
)
def test_bernoulli_refuses_what_would_be_silently_wrong(draw, line):
    with pytest.raises(ValueError, match=line):
        draw(stream(0, "dropout"))


def test_a_key_that_bernoulli_has_used_is_spent():
    def twice(key):
        return bernoulli(key, 0.5, (3,)), bernoulli(key, 0.5, (3,))

    with jax.debug_key_reuse(True), pytest.raises(jax.errors.KeyReuseError):
        jax.jit(twice)(stream(0, "dropout"))
