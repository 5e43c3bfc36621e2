"""Named random streams: every draw is a pure function of (seed, stream, counters).

``init order augment dropout`` drive a run. The others look at nets: ``attack`` (starts and draws of
attacks), ``latent`` (codes of generators), ``noise`` (what is added to inputs), and ``probe`` for
every other measurement, whose uses have names of their own.

Nothing is ever split off a running key, so a resumed run, a run under ``vmap`` and a run alone draw
the same numbers, and adding a draw to one stream never shifts another.
"""

import jax

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
