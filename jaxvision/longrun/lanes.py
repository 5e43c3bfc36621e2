"""The device side of long runs: R runs cut into calls, trained, evaluated, brought to the host."""

from collections.abc import Callable
from functools import cached_property

import jax
import numpy as np
from jax.sharding import PartitionSpec as P

from jaxvision.parallel.feed import Held, Streamed
from jaxvision.parallel.mesh import fetch, on_mesh
from jaxvision.training.fit import Runs, Trainer
from jaxvision.types import PyTree

Hypers = dict[str, np.ndarray]  # [R] each


class Lanes:
    """All R runs on the devices, in as many calls as the trainer cuts them into."""

    def __init__(self, trainer: Trainer, runs: Runs) -> None:
        self.trainer, self.runs, self.total = trainer, runs, len(runs.seeds)
        self._calls = list(trainer._calls(runs))
        self._rows, first = [], 0
        for call, real in self._calls:  # a call holds the next ``real`` runs and copies that fill
            rows = np.minimum(np.arange(len(call.seeds)), real - 1) + first
            self._rows.append(rows)
            first += real

    @cached_property
    def _feed(self) -> Held | Streamed:
        return self.trainer.feed()

    def template(self) -> PyTree:
        """Return shapes and dtypes of the state of all runs; computes nothing."""
        call = self._calls[0][0]
        state = self._program("start").eval_shape(call.variables, call.hyper, None)
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((self.total, *leaf.shape[1:]), leaf.dtype), state
        )

    def start(self, hyper: Hypers) -> list[PyTree]:
        """Return the states at step 0, one for each call."""
        return [
            self._program("start")(self._place(call.variables), self._share(hyper, rows), None)
            for (call, _), rows in zip(self._calls, self._rows, strict=True)
        ]

    def advance(self, states: list[PyTree], hyper: Hypers) -> tuple[list[PyTree], dict]:
        """Train all runs for a period: the next states and the metrics [R, period, ...]."""
        advanced = []
        for index, (call, _) in enumerate(self._calls):
            placed = self._place(call.seeds), self._share(hyper, self._rows[index])
            advanced.append(self._feed.advance(self._program, states[index], *placed))
        states, metrics = zip(*advanced, strict=True)
        return list(states), self.to_host(list(metrics))

    def evaluate(self, states: list[PyTree], stop: Callable[[], bool]) -> dict | None:
        """Return the test metrics [R]; None if ``stop`` says so before one of the calls."""
        found = []
        for state in states:
            if stop():
                return None
            found.append(fetch(self._feed.evaluate(self._program, state)))
        return self.to_host(found)

    def to_host(self, trees: list[PyTree]) -> PyTree:
        """Return one tree of the R real runs, numpy leaves [R, ...], from one tree a call."""
        reals = [real for _, real in self._calls]
        kept = [
            jax.tree.map(lambda leaf, real=real: leaf[:real], fetch(tree))
            for tree, real in zip(trees, reals, strict=True)
        ]
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *kept)

    def to_devices(self, tree: PyTree) -> list[PyTree]:
        """Return one tree a call from one tree of the R runs."""
        return [self._share(tree, rows) for rows in self._rows]

    def _share(self, tree: PyTree, rows: np.ndarray) -> PyTree:
        return self._place(jax.tree.map(lambda leaf: leaf[rows], tree))

    def _place(self, tree: PyTree) -> PyTree:
        return on_mesh(tree, self.trainer.mesh, P("run"))

    def _program(self, name: str) -> Callable:
        return self.trainer._program(name, self.runs.variables["params"])
