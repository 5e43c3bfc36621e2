"""The nets of batchnorm_modes and how they are trained: each at a rate of its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.normalization._answers import (
    Seen,
    Way,
    companies_of,
    errors,
    rows_of_batches,
    tracking,
)
from jaxvision import initializers as init
from jaxvision.data import Dataset, Splits
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.layers import apply_function
from jaxvision.models.residual_mlp import ResidualMLP
from jaxvision.training.arms import Arm, fit_arms, tune
from jaxvision.training.fit import History, Trainer
from jaxvision.training.looks import Look
from jaxvision.training.losses import cross_entropy
from jaxvision.training.step import Task
from jaxvision.types import Array, Hyper, PyTree

DEPTH = 4  # weight layers of every net: three are hidden
BATCH_SIZE = 64  # of a step, where a net says no other
CALIBRATION = 16  # batches behind population statistics
ONE_CLASS_BATCHES = 800  # at least, from as many ways to group the images as that takes
EVALUATIONS = 4


class Net(NamedTuple):
    """A net and how it is trained.

    Attributes:
      label: in the figure.
      nonlinearity: of its hidden layers.
      batch_size: images of a step.
      parts: of a batch, each normalized with statistics of its own.
      one_class: every batch is of one class.
      still: its weights stay as they are drawn.
    """

    label: str
    nonlinearity: Callable[[Array], Array] = jax.nn.relu
    batch_size: int = BATCH_SIZE
    parts: int = 1
    one_class: bool = False
    still: bool = False

    def steps(self, config: Any) -> int:
        """Return how many steps it takes: small batches see as many images as the others."""
        return config.steps * max(BATCH_SIZE // self.batch_size, 1)

    def looked_at(self, config: Any) -> list[int]:
        """Return the steps at which it is looked at; the last is the end."""
        steps = self.steps(config)
        return [*(at for at in config.looked_at if at < steps), steps]


def sgd(hyper: Hyper) -> optax.GradientTransformation:
    """Plain SGD; reads ``learning_rate``."""
    return optax.sgd(hyper["learning_rate"])


def one_class_batches(data: Dataset, size: int) -> Dataset:
    """Return batches as examples: images [N, size, H, W, C] of one class, its label [N]."""
    each = len(rows_of_batches(data, size, 0, one_class=True))
    groupings = range(-(-ONE_CLASS_BATCHES // each))
    rows = np.concatenate([rows_of_batches(data, size, seed, one_class=True) for seed in groupings])
    return Dataset(data.images[rows], data.labels[rows[:, 0]])


@dataclass(frozen=True)
class Lab:
    """What every net of a run shares.

    Attributes:
      config: batchnorm_modes's.
      data: to learn from and to judge by.
      ways: to answer.
      preprocess: see ``Task``.
      seeds: those compared.
      tuning_seeds: those that choose the rates.
    """

    config: Any
    data: Splits
    ways: Mapping[str, Way]
    preprocess: Callable
    seeds: range
    tuning_seeds: range

    def prepare(self, net: Net) -> tuple[Trainer, Look]:
        """Return what trains a net and what looks at it; computes nothing.

        Raises:
          UserError: the images do not fill a batch, or cannot be cut into its parts.
        """
        return self._trainer(net), self._look(net)

    def train(
        self, net: Net, trainer: Trainer, look: Look, advance: Callable[[int], None]
    ) -> tuple[float, History]:
        """Return the rate chosen for a net, and its history with the errors of every way."""
        steps = net.steps(self.config)
        rate = 0.0
        if not net.still:
            grid = {rate: self._arm(net, rate) for rate in self.config.learning_rates}
            rate, _ = tune(trainer, grid, self.tuning_seeds, steps, advance)
        arms = {"net": self._arm(net, rate)}
        return rate, fit_arms(trainer, arms, self.seeds, steps, advance, look)["net"]

    def work(self, net: Net) -> int:
        """Return how many (run, step) pairs a net asks for."""
        tried = 0 if net.still else len(self.config.learning_rates) * len(self.tuning_seeds)
        return net.steps(self.config) * (len(self.seeds) + tried)

    def _model(self, net: Net) -> ResidualMLP:
        sizes = DEPTH, self.config.width, self.data.num_classes
        return ResidualMLP(*sizes, init.he_forward(), net.nonlinearity, normalized=True)

    @property
    def _momenta(self) -> set[float]:
        return {way.momentum for way in self.ways.values()}

    def _arm(self, net: Net, rate: float) -> Arm:
        shape = self.data.train.images.shape[1:]

        def start(keys: Array) -> PyTree:
            drawn = initialize_runs(self._model(net), keys, shape)
            return drawn | {"batch_stats": {m: drawn["batch_stats"] for m in self._momenta}}

        return Arm(start, {"learning_rate": rate})

    def _trainer(self, net: Net) -> Trainer:
        train, size = self.data.train, net.batch_size
        shape = train.images.shape[1:]
        if net.one_class:
            train, size = one_class_batches(train, size), 1

        def preprocess(images: Array, key: Array | None) -> Array:
            return self.preprocess(images.reshape(-1, *shape), key)

        def loss(logits: Array, labels: Array) -> Array:  # one label may stand for a whole batch
            return cross_entropy(logits, jnp.broadcast_to(labels, logits.shape[:1]))

        task = Task(
            tracking(apply_function(self._model(net)), self._momenta), sgd, preprocess, loss
        )
        period = net.steps(self.config) // EVALUATIONS
        options = {"runs_per_call": len(self.seeds)}
        if net.parts > 1:
            options["shards"] = net.parts
        return Trainer(task, train, self.data.test, size, period, **options)

    def _look(self, net: Net) -> Look:
        train, test = self.data.train, self.data.test
        size = net.batch_size // net.parts
        shape = (CALIBRATION, size)
        sets = [rows_of_batches(train, size, seed, one_class=net.one_class) for seed in (0, 1)]
        rows = np.stack([np.resize(batches, shape) for batches in sets])
        companies = companies_of(test, self.config.companies)
        seen = Seen(train.images[rows], test.images, test.labels, companies)
        function = partial(errors, apply_function(self._model(net)), self.ways, self.preprocess)
        return Look(function, net.looked_at(self.config), seen)
