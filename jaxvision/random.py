"""Named random streams: every draw is a pure function of (seed, stream, counters).

Nothing is ever split off a running key, so a resumed run, a run under ``vmap`` and a run alone draw
the same numbers, and adding a draw to one stream never shifts another.
"""

import jax

from jaxvision.types import Array

STREAMS = {"init": 0, "order": 1, "augment": 2, "dropout": 3, "probe": 4}


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
