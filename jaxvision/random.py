"""Named random streams: every draw is a pure function of (seed, stream, counters).

``init order augment dropout`` drive a run. The others look at nets: ``attack`` (starts and draws of
attacks), ``latent`` (codes of generators), ``noise`` (what is added to inputs), and ``probe`` for
every other measurement, whose uses have names of their own.

Nothing is ever split off a running key, so a resumed run, a run under ``vmap`` and a run alone draw
the same numbers, and adding a draw to one stream never shifts another.
"""

import functools
import math
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxvision import runtime
from jaxvision.types import Array

# Numbers never change: each stands for the draws of every run made so far.
STREAMS = {
    "init": 0,
    "order": 1,
    "augment": 2,
    "dropout": 3,
    "probe": 4,
    "attack": 5,
    "latent": 6,
    "noise": 7,
}
PROBES = {
    "nets": 0,  # random nets, drawn whole with their inputs
    "inputs": 1,
    "channels": 2,  # weights with which images are copied into several channels
    "directions": 3,  # along which a gradient is followed
    "lanczos": 4,  # starting vectors
    "signals": 5,  # nets whose signal is looked at before training
    "kernels": 6,  # kernels that are drawn alone
    "subsets": 7,  # which training images a run gets
    "labels": 8,  # labels that are drawn anew, or in another order
    "classes": 9,  # which classes a run learns
    "axes": 10,  # random directions among units
}


def stream(seed: int | Array, name: str, *counters: int | Array) -> Array:
    """Return the typed key of stream ``name`` at ``counters`` (for example an epoch or a step).

    Args:
      seed: the run's seed; may be traced.
      name: one of ``STREAMS``.
      *counters: integers folded in one after the other; may be traced.

    Raises:
      KeyError: the stream has no such name.
    """
    # The implementation is pinned: rbg keys give other numbers under vmap than alone.
    key = jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), STREAMS[name])
    for counter in counters:
        key = jax.random.fold_in(key, counter)
    return key


def probe(seed: int | Array, use: str, *counters: int | Array) -> Array:
    """Return the key of one use of the stream ``probe``, of ``PROBES``; the rest as in ``stream``.

    Raises:
      KeyError: no use has such a name.
    """
    return stream(seed, "probe", PROBES[use], *counters)


# Of mean 0 and variance 1.

Distribution = Literal["normal", "truncated normal", "uniform"]
_TRUNCATED_STD = 0.87962566103423978  # of N(0, 1) cut off at 2
_BLOCK = 1 << 14  # numbers that are drawn at a time


def _uniform(key: Array, shape: tuple[int, ...]) -> Array:
    return jax.random.uniform(key, shape, minval=-(3**0.5), maxval=3**0.5)


def _truncated_normal(key: Array, shape: tuple[int, ...]) -> Array:
    return jax.random.truncated_normal(key, -2.0, 2.0, shape) / _TRUNCATED_STD


DISTRIBUTIONS: dict[Distribution, Callable[[Array, tuple[int, ...]], Array]] = {
    "normal": jax.random.normal,
    "truncated normal": _truncated_normal,
    "uniform": _uniform,
}


def vector(key: Array, distribution: Distribution, count: int) -> Array:
    """Return float32 [count], drawn block by block: the first ones do not depend on ``count``.

    To be traced; ``vector_on_host`` serves any count by one compiled program.
    """
    blocks = jnp.arange(-(-count // _BLOCK))
    drawn = lax.map(lambda block: _draw_block(key, block, distribution), blocks)
    return drawn.reshape(-1)[:count]


def vector_on_host(key: Array, distribution: Distribution, count: int) -> np.ndarray:
    """Return ``vector`` as a NumPy array, but for the last bit."""
    draw = _block_program(distribution)
    blocks = [draw(key, np.int32(block)) for block in range(-(-count // _BLOCK))]
    return np.concatenate([np.empty(0, np.float32), *jax.device_get(blocks)])[:count]


def _draw_block(key: Array, block: Array, distribution: Distribution) -> Array:
    return DISTRIBUTIONS[distribution](jax.random.fold_in(key, block), (_BLOCK,))


@functools.cache
def _block_program(distribution: Distribution) -> Callable[[Array, Array], Array]:
    return runtime.jit(functools.partial(_draw_block, distribution=distribution))


# Yes or no, for dropout.

_LEVELS = 1 << 16  # a draw is one of as many, hence a probability too
_ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)
_PARITY = 0x1BD11BDA


def attainable(probability: Array | float) -> Array:
    """Return the probability of ``bernoulli`` nearest to one in (0, 1]: at most 2^-17 from it.

    But never 0. It is rounded, so that its derivative is 0.

    Raises:
      ValueError: a number that is not in (0, 1]. What is traced is not looked at.
    """
    if isinstance(probability, int | float) and not 0 < probability <= 1:
        raise ValueError(f"a probability of {probability:g}: it must be above 0, at most 1")
    return jnp.maximum(jnp.round(jnp.float32(probability) * _LEVELS), 1) / _LEVELS


def bernoulli(key: Array, probability: Array | float, shape: tuple[int, ...]) -> Array:
    """Return booleans of a shape, each True with the ``attainable`` probability.

    Ten times as fast on CPU as JAX's, which computes a block of 64 bits, in rounds that go through
    memory, for each: here a block serves four, the rounds are one pass, and what it leaves in
    memory is a byte for four.

    Args:
      key: a typed threefry key.
      probability: [], in (0, 1]; may be traced. At 1 all are True.
      shape: of the result, fewer than 2^34 in all.

    Raises:
      ValueError: several keys or probabilities, a key of another generator, or a probability that
        is not in (0, 1].
    """
    if jnp.ndim(key) or jnp.ndim(probability):
        raise ValueError("one key and one probability serve all draws: map over several")
    if jax.random.key_impl(key) != "threefry2x32":
        raise ValueError(f"a key of {jax.random.key_impl(key)}: a threefry key is asked for")
    bound = attainable(probability) * _LEVELS
    bound = bound.astype(jnp.uint32)
    count = math.prod(shape)
    blocks = lax.iota(jnp.uint32, -(-count // 4))
    pieces = []
    for word in _threefry(key, blocks):
        pieces.append(word & 0xFFFF)
        pieces.append(word >> 16)
    packed = jnp.zeros_like(blocks)
    for place, piece in enumerate(pieces):
        below = piece < bound
        packed |= below.astype(jnp.uint32) << place
    # Without it the blocks would be computed again for each of the four.
    packed = lax.optimization_barrier(packed.astype(jnp.uint8))
    place = lax.iota(jnp.uint8, 4)[:, None]
    kept = packed[None] >> place & 1
    kept = kept.astype(bool)
    kept = kept.reshape(-1)[:count]
    return kept.reshape(shape)


def _threefry(key: Array, counter: Array) -> tuple[Array, Array]:
    """Return the blocks of the counters (0, i), as two words: threefry2x32, all 20 rounds.

    Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (SC11), section 3.3.
    """
    first, second = jax.random.key_data(key)
    # Reading a key does not spend it; this tells JAX's check that it is, and is compiled away.
    jax.random.bits(key, (), jnp.uint32)
    third = first ^ second ^ jnp.uint32(_PARITY)
    keys = first, second, third
    left = jnp.full_like(counter, first)
    right = counter + second
    for group in range(1, 6):
        for by in _ROTATIONS[1 - group % 2]:
            left += right
            turned = right << by | right >> 32 - by
            right = left ^ turned
        after = (group + 1) % 3
        left += keys[group % 3]
        right += keys[after] + jnp.uint32(group)
    return left, right
