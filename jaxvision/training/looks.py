"""Looks: what an experiment reads from every run while it trains, at steps that it chooses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import numpy as np

from jaxvision.parallel.shards import Split
from jaxvision.training.step import Probe, Task, TrainState, train_step
from jaxvision.types import Array, Hyper, PyTree, UserError


class Moment(NamedTuple):
    """One run between two steps, as a look sees it.

    Attributes:
      state: what the run carries; ``state.step`` steps are done.
      seed: of the run.
      hyper: the run's hyper-parameters.
      images: of the step that comes next, uint8 [B, H, W, C].
      labels: theirs, int32 [B].
    """

    state: TrainState
    seed: Array
    hyper: Hyper
    images: Array
    labels: Array

    @property
    def variables(self) -> dict[str, PyTree]:
        """The net's weights, ``{'params', 'batch_stats'}``."""
        return {"params": self.state.params, "batch_stats": self.state.batch_stats}


@dataclass(frozen=True, eq=False)
class Look:
    """A function of a run, and when it is called.

    Training is the same to the bit with a look, without it, and whatever its steps are.

    Attributes:
      function: ``(Moment, data) -> tree of numbers``, traced, of one run; it is mapped over runs as
        training is. A program is compiled for each function object: make it once.
      at: steps; 0 is before the first update, the last may be the number of steps. They need not be
        multiples of the period.
      data: what the function reads beside the run, such as images; whole on every device.
    """

    function: Callable[[Moment, PyTree], PyTree]
    at: Sequence[int]
    data: PyTree = None

    def check(self, steps: int) -> None:
        """Raise UserError unless every step is one of a run of ``steps`` steps."""
        outside = [step for step in self.at if not 0 <= step <= steps]
        if outside:
            raise UserError(f"there is no step {outside[0]} to look at: the run has {steps} steps")

    def cuts(self, period: int) -> bool:
        """Whether one of the steps lies inside a period."""
        return any(step % period for step in self.at)

    def stacked(self, seen: dict[int, PyTree]) -> PyTree:
        """Return trees [R, ...] by step as one tree [R, len(at), ...]."""
        trees = [seen[step] for step in self.at]
        return jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *trees)


def snapshot(moment: Moment, data: PyTree) -> PyTree:
    """Return the net's weights: the function of a look that keeps them."""
    del data
    return moment.variables


def watch_step(
    task: Task, probe: Probe, split: Split
) -> Callable[[Moment, PyTree], dict[str, Array]]:
    """Return the function of a look at the step that comes next, through ``probe``.

    It takes the step for its metrics (those of ``train_step``) and forgets the rest: the gradients
    are those that the run's next update is made of. See ``Trainer.watch_step``.
    """
    watched = replace(task, probe=probe)

    def metrics(moment: Moment, data: PyTree) -> dict[str, Array]:
        del data
        state, seed, hyper, images, labels = moment
        return train_step(watched, state, images, labels, hyper, seed, split)[1]

    return metrics
