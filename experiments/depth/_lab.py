"""How the nets of plain_vs_residual are trained: each at a rate of its own, resumable."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax

from experiments.depth._protocol import Net, he2016, parts_of
from jaxvision.cli import ShowProgress
from jaxvision.data import Splits
from jaxvision.fields import disjoint_seeds
from jaxvision.longrun.long import LongHistory, fit_long
from jaxvision.longrun.workdir import Workdir
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.resnet import ResNet
from jaxvision.training.arms import Arm, make_runs, tune
from jaxvision.training.calls import Runs
from jaxvision.training.fit import Trainer
from jaxvision.training.looks import Look
from jaxvision.training.step import Task


@dataclass(frozen=True)
class Lab:
    """One net's set-up.

    Attributes:
      config: plain_vs_residual's.
      net: which net.
      model: as Flax has it.
      task: how it is trained.
      data: the images.
      progress: shows how far a training is.
      workdir: where trainings are kept, or nothing.
    """

    config: Any
    net: Net
    model: ResNet
    task: Task
    data: Splits
    progress: ShowProgress
    workdir: Workdir | None

    def choose_rate(self) -> tuple[float, dict[str, float]]:
        """Return the net's best rate by the tuning seeds, and the losses of those tried."""
        rates, steps = self.config.learning_rates, self.config.steps
        seeds = seeds_of(self.config)[1]
        tried = {rate: self._arm(rate) for rate in rates}
        if len(rates) == 1:
            return tune(self.trainer(), tried, seeds, steps)
        total = len(rates) * len(seeds) * steps
        with self.progress(total, f"{self.net.name}: choosing a rate") as bar:
            return tune(self.trainer(), tried, seeds, steps, bar.advance)

    def trainer(self) -> Trainer:
        """Return what trains the net."""
        return self._trainer(self.task)

    def runs(self, rate: float) -> Runs:
        """Return the runs on the seeds of the comparison."""
        return make_runs({"net": self._arm(rate)}, seeds_of(self.config)[0])

    def train(self, trainer: Trainer, runs: Runs, look: Look | None) -> LongHistory:
        """Train the runs, or go on where the work directory has them."""
        return self._train(self.net.name, trainer, runs, self.config.steps, look)

    def train_longer(self, runs: Runs) -> LongHistory:
        """Train them anew ``config.longer`` times as long; the rate falls later accordingly."""
        steps = self.config.longer * self.config.steps
        slower = he2016(replace(self.config, steps=steps), self.net)
        trainer = self._trainer(replace(self.task, optimizer=slower))
        return self._train(f"{self.net.name}-longer", trainer, runs, steps)

    def _train(
        self, name: str, trainer: Trainer, runs: Runs, steps: int, look: Look | None = None
    ) -> LongHistory:
        part = self.workdir.part(name) if self.workdir else None
        return fit_long(trainer, runs, steps, part, look=look, progress=self.progress)

    def _trainer(self, task: Task) -> Trainer:
        sizes = self.config.batch_size, self.config.period
        shards = parts_of(self.config)
        return Trainer(task, self.data.train, self.data.test, *sizes, shards=shards)

    def _arm(self, rate: float) -> Arm:
        images = self.data.train.images[:1]
        shape = jax.eval_shape(lambda x: self.task.preprocess(x, None), images).shape[1:]
        draw = partial(initialize_runs, self.model, image_shape=shape)
        return Arm(draw, {"learning_rate": rate})


def seeds_of(config: Any) -> tuple[range, range]:
    """Return the seeds of the comparison and those that choose the rates."""
    return disjoint_seeds(config.first_seed, config.seeds, config.tuning_seeds)
