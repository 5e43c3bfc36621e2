"""How the nets of plain_vs_residual are trained: each at a rate of its own, resumable."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax

from experiments.depth._protocol import Net, he2016, parts_of
from jaxvision.cli import ShowProgress
from jaxvision.data import Splits
from jaxvision.longrun.long import LongHistory, fit_long
from jaxvision.longrun.workdir import Workdir
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.layers import apply_function
from jaxvision.models.resnet import ResNet
from jaxvision.training.arms import Arm, make_runs, tune
from jaxvision.training.calls import Runs
from jaxvision.training.fit import Trainer
from jaxvision.training.looks import Look
from jaxvision.training.step import Task


@dataclass(frozen=True)
class Lab:
    """A run's set-up.

    Attributes:
      config: plain_vs_residual's.
      data: the images.
      preprocess: see ``Task``.
      seeds: of the comparison.
      tuning_seeds: those that choose the rates.
      progress: shows how far a training is.
      workdir: where trainings are kept, or nothing.
    """

    config: Any
    data: Splits
    preprocess: Callable
    seeds: range
    tuning_seeds: range
    progress: ShowProgress
    workdir: Workdir | None

    def trainer(self, net: Net, model: ResNet, steps: int | None = None) -> Trainer:
        """Return what trains a net; its rate falls by the paper's shares of ``steps``."""
        config = self.config if steps is None else replace(self.config, steps=steps)
        task = Task(apply_function(model), he2016(config, net), self.preprocess)
        sizes = config.batch_size, config.period
        return Trainer(task, self.data.train, self.data.test, *sizes, shards=parts_of(config))

    def choose_rate(self, net: Net, model: ResNet) -> tuple[float, dict[str, float]]:
        """Return the net's best rate by the tuning seeds, and the losses of those tried."""
        rates = self.config.learning_rates
        tried = {rate: self._arm(model, rate) for rate in rates}
        total = len(rates) * len(self.tuning_seeds) * self.config.steps
        trainer = self.trainer(net, model)
        if len(rates) == 1:
            return tune(trainer, tried, self.tuning_seeds, self.config.steps)
        with self.progress(total, f"{net.name}: choosing a rate") as bar:
            return tune(trainer, tried, self.tuning_seeds, self.config.steps, bar.advance)

    def runs(self, model: ResNet, rate: float) -> Runs:
        """Return the runs of a net on the seeds of the comparison."""
        return make_runs({"net": self._arm(model, rate)}, self.seeds)

    def train(
        self, name: str, trainer: Trainer, runs: Runs, steps: int, look: Look | None = None
    ) -> LongHistory:
        """Train the runs, or go on where the work directory has them."""
        part = self.workdir.part(name) if self.workdir else None
        return fit_long(trainer, runs, steps, part, look=look, progress=self.progress)

    def _arm(self, model: ResNet, rate: float) -> Arm:
        images = self.data.train.images[:1]
        shape = jax.eval_shape(lambda x: self.preprocess(x, None), images).shape[1:]
        draw = partial(initialize_runs, model, image_shape=shape)
        return Arm(draw, {"learning_rate": rate})
