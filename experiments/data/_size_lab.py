"""Where data_size trains: one program for every subset, width, augmentation and label noise."""

import dataclasses
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from experiments.data import _power_law as power_law
from experiments.data import _subsets as subsets
from jaxvision.data import Splits
from jaxvision.data.augment import normalize
from jaxvision.data.dataset import hold_out
from jaxvision.initializers import he_forward
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.layers import apply_function
from jaxvision.models.mlp import MLP
from jaxvision.training.arms import Arm, fit_arms
from jaxvision.training.fit import History, Trainer
from jaxvision.training.looks import Look, Moment
from jaxvision.training.optimizers import sgd
from jaxvision.training.step import Task, evaluate
from jaxvision.types import Array, PyTree

HELD_OUT = 14  # every so many-th training image, class by class, is kept to choose rates by
RUNS_AT_ONCE = 28
EVALUATED_AT_ONCE = 128  # images


class Recipe(NamedTuple):
    """An arm: what its runs get and how they are trained.

    Attributes:
      label: in the figure.
      narrower: the width is divided by this.
      random_share: of its labels, drawn anew from all classes.
      moved: it also gets its images moved by a pixel, four ways; their labels are the right ones.
      equal_epochs: its runs stop when they have seen each image as often as the largest subset's
        have; else all take the same number of steps.
      tuned_as: the arm whose learning rate it takes; "" for its own.
      replicate: which draw of the weights.
    """

    label: str
    narrower: int = 1
    random_share: float = 0.0
    moved: bool = False
    equal_epochs: bool = False
    tuned_as: str = ""
    replicate: int = 0


class Cell(NamedTuple):
    """What a run is, beside its seed."""

    recipe: Recipe
    size: int
    rate: float


@dataclasses.dataclass(frozen=True)
class Lab:
    """The trainer of a run of the experiment, and what it reads.

    Attributes:
      config: data_size's.
      labels: of the images that subsets are drawn from [n].
      classes: K.
      model: the net at its full width.
      trainer: of all runs.
      look: the errors on held-out and on test images, at ``look.at``.
      held_out: number of images that choose rates.
    """

    config: Any
    labels: np.ndarray
    classes: int
    model: MLP
    trainer: Trainer
    look: Look
    held_out: int

    def train(
        self,
        cells: Mapping[Hashable, Cell],
        seeds: Sequence[int],
        advance: Callable[[int], None],
    ) -> dict[Hashable, dict[str, np.ndarray]]:
        """Return the errors [S] of each cell when its training ends, ``validation`` and ``test``.

        NaN for a run whose loss has stopped being finite by then: it has learned nothing.
        """
        arms = {key: self._arm(cell) for key, cell in cells.items()}
        steps = self.config.steps
        histories = fit_arms(self.trainer, arms, seeds, steps, advance, self.look)
        return {key: self._errors(cell, histories[key]) for key, cell in cells.items()}

    def train_all_sizes(
        self,
        recipe: Recipe,
        rate: float,
        seeds: Sequence[int],
        advance: Callable[[int], None],
    ) -> dict[str, np.ndarray]:
        """Return the errors [S, N] of a recipe on all subsets, ``validation`` and ``test``."""
        sizes = self.config.sizes
        found = self.train({size: Cell(recipe, size, rate) for size in sizes}, seeds, advance)
        return {
            name: np.stack([found[size][name] for size in sizes], axis=1)
            for name in ("validation", "test")
        }

    def choose_rate(
        self, recipe: Recipe, seeds: Sequence[int], advance: Callable[[int], None]
    ) -> tuple[float, dict[str, float]]:
        """Return the rate of lowest held-out error over all sizes, and ``{str(rate): error}``.

        The geometric mean over sizes and seeds: a halved error counts alike at every size.
        """
        config = self.config
        cells = {
            (size, rate): Cell(recipe, size, rate)
            for size in config.sizes
            for rate in config.learning_rates
        }
        found = self.train(cells, seeds, advance)
        scores = {}
        for rate in config.learning_rates:
            errors = np.stack([found[size, rate]["validation"] for size in config.sizes])
            logs = np.log(power_law.smoothed(errors, self.held_out))
            scores[rate] = float(np.nan_to_num(np.exp(logs.mean()), nan=np.inf))
        best = min(scores, key=scores.__getitem__)
        return best, {str(rate): score for rate, score in scores.items()}

    def _errors(self, cell: Cell, history: History) -> dict[str, np.ndarray]:
        steps = last_step(self.config, cell.size) if cell.recipe.equal_epochs else self.config.steps
        at = list(self.look.at).index(steps)
        finite = np.isfinite(history.train["loss"][:, :steps]).all(1)
        return {
            name: np.where(finite & np.isfinite(seen["loss"][:, at]), seen["error"][:, at], np.nan)
            for name, seen in history.looks.items()
        }

    def _arm(self, cell: Cell) -> Arm:
        hyper = {"learning_rate": cell.rate, "train_biases": 1.0}
        draw = partial(self._draw, self.config.width // cell.recipe.narrower)
        return Arm(draw, hyper, cell.recipe.replicate, partial(self._pool, cell))

    def _draw(self, width: int, keys: Array) -> PyTree:
        shape = self.trainer.train.images.shape[1:]
        whole = initialize_runs(self.model, keys, image_shape=shape)
        return subsets.narrowed(whole, self.config.width, width)

    def _pool(self, cell: Cell, seed: int) -> np.ndarray:
        """Return the rows that a run draws from, as many for all: an image comes several times."""
        recipe, images = cell.recipe, len(self.labels)
        rows = subsets.subset(self.labels, seed)[: cell.size]
        if recipe.moved:
            first = len(subsets.label_shifts(self.classes))
            copies = [rows + (first + i) * images for i in range(len(subsets.MOVES))]
            rows = np.concatenate([rows, *copies])
        elif recipe.random_share:
            block = subsets.noisy_blocks(seed, images, self.classes, recipe.random_share)
            rows = rows + block[rows] * images
        return np.resize(rows, (1 + len(subsets.MOVES)) * self.config.sizes[-1])


def make_lab(config: Any, data: Splits) -> Lab:
    """Return the lab of a run.

    Raises:
      UserError: there are no subsets of the config's sizes.
    """
    train, held_out = hold_out(data.train, HELD_OUT)
    subsets.check_sizes(config.sizes, train.labels, data.name, data.num_classes)
    model = MLP(3, config.width, data.num_classes, he_forward())
    task = Task(apply_function(model), partial(sgd, 0.0), scaler(train.images))
    trainer = Trainer(
        task,
        subsets.blocks(train, data.num_classes),
        held_out,
        config.batch_size,
        period=config.steps,
        runs_per_call=RUNS_AT_ONCE,
    )

    def errors(moment: Moment, sets: PyTree) -> PyTree:
        return {
            name: evaluate(task, moment.state, images, labels, EVALUATED_AT_ONCE)
            for name, (images, labels) in sets.items()
        }

    ends = {last_step(config, size) for size in config.sizes}
    judges = {"validation": tuple(held_out[:2]), "test": tuple(data.test[:2])}
    look = Look(errors, sorted(ends), judges)
    return Lab(config, train.labels, data.num_classes, model, trainer, look, len(held_out.labels))


def last_step(config: Any, size: int) -> int:
    """Return the steps in which ``size`` images are seen as often as the largest subset's."""
    return max(1, round(config.steps * size / config.sizes[-1]))


def scaler(images: np.ndarray) -> Callable[[Array, Array | None], Array]:
    """Return a preprocessing by two numbers, the mean and the deviation of all pixels.

    A mean image would tell a run of twenty images what a thousand look like.
    """
    mean = np.float32(images.mean(dtype=np.float64))
    deviation = np.float32(images.std(dtype=np.float64))

    def preprocess(images: Array, key: Array | None) -> Array:
        del key
        return normalize(images, mean, deviation)

    return preprocess
