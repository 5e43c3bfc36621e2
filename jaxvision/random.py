"""Named random streams: every draw is a pure function of (seed, stream, counters).

``init order augment dropout`` drive a run. The others look at nets: ``attack`` (starts and draws of
attacks), ``latent`` (codes of generators), ``noise`` (what is added to inputs), and ``probe`` for
every other measurement, whose uses have names of their own.

Nothing is ever split off a running key, so a resumed run, a run under ``vmap`` and a run alone draw
the same numbers, and adding a draw to one stream never shifts another.
"""

import functools
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
