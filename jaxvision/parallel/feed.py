"""How images come to the devices: held there whole, or streamed while the devices work.

A set that does not fit stays on the host, usually as a map of its decoded file. The rows of a step
are the same function of (seed, step); threads gather the images of the next steps, a chunk at a
time, and the compiled program runs through a chunk. The numbers are those of a set that is held.
"""

import contextlib
import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxvision import runtime
from jaxvision.data.cache import read_ahead
from jaxvision.data.dataset import Dataset
from jaxvision.parallel import distributed
from jaxvision.parallel.mesh import data_devices, fetch, on_mesh
from jaxvision.types import PyTree

# Bytes of a chunk, over all devices of a process. Up to _MOST_THREADS + 3 chunks exist at a time:
# being gathered or waiting, being trained on, and one that the program has not let go of.
CHUNK_BYTES = 256 << 20
_MOST_THREADS = 4  # that make chunks; as many as there are cores where there are fewer

_T, _U = TypeVar("_T"), TypeVar("_U")


class Programs(Protocol):
    """The compiled functions that a feed calls: see ``training.programs``."""

    train: Dataset
    test: Dataset
    mesh: Mesh
    batch_size: int
    eval_batch_size: int
    period: int
    advance: Callable
    advance_some: Callable
    evaluate: Callable
    advance_on: Callable
    sums: Callable
    total: Callable


def room_for_data() -> int:
    """Return how many bytes of images every device may hold: half of its memory.

    A CPU's devices share the machine's.
    """
    device = jax.local_devices()[0]
    limit = None if device.platform == "cpu" else (device.memory_stats() or {}).get("bytes_limit")
    return (limit or runtime.usable_memory() // jax.local_device_count()) // 2


def fits(*sets: Dataset) -> bool:
    """Whether every device can hold these sets whole; where processes differ, process 0 says."""
    fit = sum(data.images.nbytes for data in sets) <= room_for_data()
    return bool(distributed.from_main(np.array(fit)))


class Held:
    """Training and test set whole on every device, from the first use on.

    The programs outlive a feed: they belong to the trainer, and are compiled once.
    """

    def __init__(self, programs: Programs) -> None:
        self._programs = programs

    @functools.cached_property
    def _train(self) -> Dataset:
        return self._placed(self._programs.train)

    @functools.cached_property
    def _test(self) -> Dataset:
        return self._placed(self._programs.test)

    def _placed(self, data: Dataset) -> Dataset:
        return Dataset(*on_mesh((data.images, data.labels), self._programs.mesh, P()))

    def to_compile(self, state: PyTree, seeds: PyTree, hyper: PyTree, cut: bool) -> list[tuple]:
        """Return the programs that ``advance`` and ``evaluate`` call, each with its arguments.

        ``cut`` says whether ``advance`` is told how many steps to take.
        """
        period = len(seeds), self._programs.period, self._programs.batch_size
        rows = shape_on(self._programs.mesh, P("run"), period, np.int32)
        if cut:
            advance = self._programs.advance_some, (state, seeds, hyper, rows, self._some(0))
        else:
            advance = self._programs.advance, (state, seeds, hyper, rows, self._train)
        return [advance, (self._programs.evaluate, (state, self._test))]

    def advance(
        self,
        state: PyTree,
        seeds: PyTree,
        hyper: PyTree,
        rows: np.ndarray,
        count: int | None = None,
    ) -> tuple[PyTree, dict]:
        """Train R runs for a period, or ``count`` steps of one, which gives up ``state``.

        Args:
          state: of the runs.
          seeds: theirs.
          hyper: their hyper-parameters.
          rows: of the training set, for each step of the period, int32 [R, period, B].
          count: steps, where they are not the whole period.

        Returns:
          The state, and the metrics [R, steps, ...].
        """
        placed = on_mesh(rows, self._programs.mesh, P("run"))
        if count is None:
            return self._programs.advance(state, seeds, hyper, placed, self._train)
        some = self._some(count)
        state, metrics = self._programs.advance_some(state, seeds, hyper, placed, some)
        return state, jax.tree.map(lambda leaf: leaf[:, :count], fetch(metrics))

    def _some(self, count: int) -> tuple[Dataset, jax.Array]:
        return self._train, on_mesh(np.int32(count), self._programs.mesh, P())

    def evaluate(self, state: PyTree) -> dict:
        """Return the test metrics [R]."""
        return self._programs.evaluate(state, self._test)


class Streamed:
    """Training and test set on the host; the same calls as ``Held``, the same numbers.

    Where several processes train together, each gathers what its own devices need.
    """

    def __init__(self, programs: Programs) -> None:
        self._programs, self._mesh = programs, programs.mesh
        self._train, self._test = programs.train, programs.test

    def to_compile(self, state: PyTree, seeds: PyTree, hyper: PyTree, cut: bool) -> list[tuple]:
        """Return the programs that ``advance`` and ``evaluate`` call, each with its arguments."""
        del cut  # a chunk is always told
        steps = self._chunk_steps(len(seeds), self._programs.period)
        rows = len(seeds), steps, self._programs.batch_size
        count = self._placed(np.int32(0))
        batches = shapes_taken(self._train, rows, self._mesh, P("run"))
        images = shapes_taken(self._test, (self._chunk_images(),), self._mesh, P())
        return [
            (self._programs.advance_on, (state, seeds, hyper, batches, count)),
            (self._programs.sums, (state, (*images, count))),
        ]

    def advance(
        self,
        state: PyTree,
        seeds: PyTree,
        hyper: PyTree,
        rows: np.ndarray,
        count: int | None = None,
    ) -> tuple[PyTree, dict]:
        """Train R runs as ``Held.advance`` does, chunk by chunk."""
        steps, found = rows.shape[1] if count is None else count, []
        length = self._chunk_steps(len(rows), rows.shape[1])

        def chunk(first: int) -> tuple[PyTree, jax.Array]:
            within = np.minimum(np.arange(first, first + length), steps - 1)
            count = np.int32(min(length, steps - first))
            return taken(self._train, rows[:, within], self._mesh, P("run")), self._placed(count)

        with contextlib.closing(_ahead(chunk, range(0, steps, length))) as chunks:
            for batches, count in chunks:
                state, metrics = self._programs.advance_on(state, seeds, hyper, batches, count)
                found.append(metrics)
                _await_all_but_last(found)
        return state, _joined(found, steps)

    def evaluate(self, state: PyTree) -> dict:
        """Return the test metrics [R]."""
        total, length, found = len(self._test.labels), self._chunk_images(), []

        def chunk(first: int) -> tuple[jax.Array, ...]:
            rows = np.minimum(np.arange(first, first + length), total - 1)
            count = np.int32(min(length, total - first))
            return *taken(self._test, rows, self._mesh, P()), self._placed(count)

        with contextlib.closing(_ahead(chunk, range(0, total, length))) as chunks:
            for images in chunks:
                found.append(self._programs.sums(state, images))
                _await_all_but_last(found)
        sums = _joined(found, -(-total // self._programs.eval_batch_size))
        return self._programs.total(on_mesh(sums, self._mesh, P("run")), None)

    def _chunk_steps(self, runs: int, period: int) -> int:
        """Return how many steps of R runs a chunk has: as equal shares of the period."""
        copies = runs * data_devices(self._mesh)
        most = self._room() // (copies * self._programs.batch_size * self._train.images[0].nbytes)
        return -(-period // -(-period // max(most, 1)))

    def _chunk_images(self) -> int:
        """Return how many test images a chunk has: whole batches for every device that shares."""
        devices, size = data_devices(self._mesh), self._programs.eval_batch_size
        most = self._room() // (self._mesh.size * size * self._test.images[0].nbytes)
        # Two batches a device at least: a loop of one would be taken apart and round otherwise.
        rounds = min(max(most // devices, 2), -(-len(self._test.labels) // (size * devices)))
        return rounds * devices * size

    def _room(self) -> int:
        return CHUNK_BYTES * len({device.process_index for device in self._mesh.devices.flat})

    def _placed(self, value: np.int32) -> jax.Array:
        return on_mesh(value, self._mesh, P())


def taken(data: Dataset, rows: np.ndarray, mesh: Mesh, spec: P) -> tuple[jax.Array, jax.Array]:
    """Return images and labels of these rows [..., H, W, C] and [...], placed on the mesh."""

    def placed(array: np.ndarray) -> jax.Array:
        @functools.cache  # devices that share a batch ask for the same
        def part(*bounds: int | None) -> np.ndarray:
            wanted = rows[slice(*bounds)]
            read_ahead(array, wanted)
            # New memory for every chunk: a CPU device works in it, not in a copy.
            out = np.empty(wanted.shape + array.shape[1:], array.dtype)
            return np.take(array, wanted, 0, out, mode="clip")  # other modes take a copy more

        shape, sharding = rows.shape + array.shape[1:], NamedSharding(mesh, spec)
        return jax.make_array_from_callback(
            shape, sharding, lambda index: part(index[0].start, index[0].stop)
        )

    return placed(data.images), placed(data.labels)


def shapes_taken(data: Dataset, rows: tuple[int, ...], mesh: Mesh, spec: P) -> tuple[Any, Any]:
    """Return shapes and dtypes of what ``taken`` returns for so many ``rows``."""
    images, labels = data.images, data.labels
    return (
        shape_on(mesh, spec, rows + images.shape[1:], images.dtype),
        shape_on(mesh, spec, rows, labels.dtype),
    )


def shape_on(mesh: Mesh, spec: P, shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
    """Return the shape of an array that lies on the mesh."""
    return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, spec))


def _ahead(make: Callable[[_T], _U], jobs: Iterable[_T]) -> Iterator[_U]:
    """Yield ``make(job)`` of each job in order; threads make the next ones meanwhile.

    What ``make`` raises is raised here. Closing it ends the threads.
    """
    threads = min(_MOST_THREADS, runtime.usable_cores())
    pool, pending = ThreadPoolExecutor(threads), deque[Future]()
    try:
        for job in jobs:
            pending.append(pool.submit(make, job))
            if len(pending) > threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _await_all_but_last(found: list[PyTree]) -> None:
    """Bound how many chunks wait on the devices, which go on with the last one meanwhile."""
    jax.block_until_ready(found[-2:-1])


def _joined(parts: list[PyTree], length: int) -> PyTree:
    """Return the chunks' results one after the other, [R, length, ...], on the host."""
    return jax.tree.map(lambda *leaves: np.concatenate(leaves, 1)[:, :length], *fetch(parts))
