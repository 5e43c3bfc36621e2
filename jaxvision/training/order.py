"""The order in which a run visits its training images: a pure function of (seed, step).

Drawn on the host, an epoch at a time: a compiled step is handed the rows of its batch. Inside the
program every period would sort its whole epoch anew.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import numpy as np

from jaxvision import runtime
from jaxvision.random import stream
from jaxvision.types import Array


def epoch_order(seed: int, epoch: int, size: int) -> np.ndarray:
    """Return the permutation int32 [size] in which an epoch visits the training set."""
    return jax.device_get(_permutation(size)(np.int32(seed), np.int32(epoch)))


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
        self, seeds: Sequence[int], size: int, batch_size: int, pools: np.ndarray | None = None
    ) -> None:
        self.seeds = [int(seed) for seed in seeds]
        self.size = size if pools is None else pools.shape[1]
        self.batch_size = batch_size
        self.pools = pools
        self._epochs: dict[int, np.ndarray] = {}

    def rows(self, start: int, steps: int) -> np.ndarray:
        """Return the rows int32 [R, steps, batch_size] of steps ``start``, ``start + 1``, ..."""
        per_epoch = self.size // self.batch_size
        first, last = start // per_epoch, (start + steps - 1) // per_epoch
        self._epochs = {epoch: self._batches(epoch) for epoch in range(first, last + 1)}
        batches = np.concatenate(list(self._epochs.values()), axis=1)
        skipped = start - first * per_epoch
        drawn = batches[:, skipped : skipped + steps]
        if self.pools is None:
            return drawn
        of_run = np.arange(len(drawn))[:, None, None]
        return self.pools[of_run, drawn]

    def _batches(self, epoch: int) -> np.ndarray:
        """Return an epoch's rows, or places in the pool, int32 [R, steps of an epoch, B]."""
        if epoch in self._epochs:
            return self._epochs[epoch]
        used = self.size // self.batch_size * self.batch_size
        orders = {seed: epoch_order(seed, epoch, self.size)[:used] for seed in set(self.seeds)}
        of_runs = np.stack([orders[seed] for seed in self.seeds])
        return of_runs.reshape(len(self.seeds), -1, self.batch_size)


@functools.cache
def _permutation(size: int) -> Callable[[Array, Array], Array]:
    def draw(seed: Array, epoch: Array) -> Array:
        return jax.random.permutation(stream(seed, "order", epoch), size)

    return runtime.jit(draw)
