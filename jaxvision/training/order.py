"""The order in which a run visits its training images: a pure function of (seed, step).

Drawn on the host, an epoch at a time: a compiled step is handed the rows of its batch. Inside the
program every period would sort its whole epoch anew.
"""

import functools
import math
from collections.abc import Callable, Sequence

import jax
import numpy as np

from jaxvision import runtime
from jaxvision.random import stream
from jaxvision.types import Array


@functools.lru_cache(maxsize=32)  # calls of one sweep share their seeds
def epoch_order(seed: int, epoch: int, size: int) -> np.ndarray:
    """Return the permutation int32 [size] in which an epoch visits the training set; read only.

    It is ``jax.random.permutation``'s, which on CPU takes ten times as long: XLA sorts slowly.
    """
    order = np.arange(size, dtype=np.int32)
    draw = _sort_keys(size)
    rounds = draw(np.int32(seed), np.int32(epoch))
    for keys in jax.device_get(rounds):
        places = _places(keys)
        order = order[places]
    order.setflags(write=False)
    return order


def batch_rows(seed: int, start: int, steps: int, size: int, batch_size: int) -> np.ndarray:
    """Return the training rows int32 [steps, batch_size] of steps ``start``, ``start + 1``, ...

    A pure function of (seed, step). The rows left over at the end of an epoch are skipped.
    """
    return Orders([seed], size, batch_size).rows(start, steps)[0]


class Orders:
    """The rows that R runs visit, as in ``batch_rows``; the epochs last asked for are kept.

    Attributes:
      seeds: of the runs [R]; equal ones share their order.
      size: number of training images.
      batch_size: images of a step.
      pools: what each run draws from instead of all images, rows [R, M], an epoch being M of them;
        ``size`` is then M. None: all.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        size: int,
        batch_size: int,
        pools: np.ndarray | None = None,
    ) -> None:
        self.seeds = [int(seed) for seed in seeds]
        self.size = size if pools is None else pools.shape[1]
        self.batch_size = batch_size
        self.pools = pools
        self._epochs: dict[int, np.ndarray] = {}

    def rows(self, start: int, steps: int) -> np.ndarray:
        """Return the rows int32 [R, steps, batch_size] of steps ``start``, ``start + 1``, ..."""
        per_epoch = self.size // self.batch_size
        first = start // per_epoch
        last = (start + steps - 1) // per_epoch
        self._epochs = {epoch: self._batches(epoch) for epoch in range(first, last + 1)}
        parts = []
        for epoch, batches in self._epochs.items():
            done = start - epoch * per_epoch
            parts.append(batches[:, max(done, 0) : done + steps])
        drawn = np.concatenate(parts, axis=1)
        if self.pools is None:
            return drawn
        of_run = np.arange(len(drawn))[:, None, None]
        return self.pools[of_run, drawn]

    def _batches(self, epoch: int) -> np.ndarray:
        """Return an epoch's rows, or places in the pool, int32 [R, steps of an epoch, B]."""
        if epoch in self._epochs:
            return self._epochs[epoch]
        batches = self.size // self.batch_size
        used = batches * self.batch_size
        orders = {}
        for seed in set(self.seeds):
            orders[seed] = epoch_order(seed, epoch, self.size)[:used]
        of_runs = np.stack([orders[seed] for seed in self.seeds])
        return of_runs.reshape(len(self.seeds), batches, self.batch_size)


@functools.cache
def _sort_keys(size: int) -> Callable[[Array, Array], list[Array]]:
    """Return the program ``(seed, epoch) -> uint32 [size]`` by which a shuffle sorts, each round.

    As many rounds as ``jax.random.permutation`` takes, so that keys which are equal in one of them
    leave no trace.
    """
    bits = math.log(2**32 - 1)
    rounds = math.ceil(3 * math.log(size) / bits)

    def draw(seed: Array, epoch: Array) -> list[Array]:
        key = stream(seed, "order", epoch)
        drawn = []
        for _ in range(rounds):
            key, subkey = jax.random.split(key)
            drawn.append(jax.random.bits(subkey, (size,)))
        return drawn

    return runtime.jit(draw)


def _places(keys: np.ndarray) -> np.ndarray:
    """Return the stable argsort of uint32 [size].

    By their halves, lower ones first: NumPy counts numbers of 16 bits in place of comparing them.
    """
    lower = keys & 0xFFFF
    upper = keys >> 16
    by_lower = _argsort(lower)
    by_both = _argsort(upper[by_lower])
    return by_lower[by_both]


def _argsort(halves: np.ndarray) -> np.ndarray:
    return np.argsort(halves.astype(np.uint16), kind="stable")
