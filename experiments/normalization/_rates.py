"""Arms of optimizers_and_rates, and the laboratory that trains them: rates, weights, seeds at once.

Every training of one optimizer at one batch size is a run of one program: its learning rate, its
warm-up, its momentum are traced. The runs of a call are the seeds of one arm at one rate.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import optax

from experiments.normalization._sensitivity import quickest, steps_to_target
from jaxvision.data import Splits
from jaxvision.initializers import Initializer
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.layers import apply_function
from jaxvision.models.mlp import MLP
from jaxvision.progress import ShowProgress
from jaxvision.training import arms as training
from jaxvision.training.fit import History, Trainer
from jaxvision.training.schedules import Optimizer, linear_warm_up, scheduled
from jaxvision.training.step import Task
from jaxvision.types import Hyper, UserError

TARGETS = ("early", "late")
CHOSEN = ("best", *(f"quickest_{target}" for target in TARGETS))
LOOKS = 20  # evaluations within the budget of a batch size


class Arm(NamedTuple):
    """A way to start a net and to drive it."""

    label: str  # of its optimizer, in the figure
    optimizer: Callable[[float, Hyper], optax.GradientTransformation]
    weights: str  # of INITS
    rates: str  # the flag of its learning rates
    momentum: float = 0.0  # where the optimizer reads one
    warm: bool = False  # whether the rate climbs over a share of the steps first
    replicate: int = 0  # which draw of the weights


class Swept(NamedTuple):
    """What G rates of an arm came to on S seeds.

    Attributes:
      best: which rate is the best, chosen on the tuning seeds.
      tuning_loss: by rate.
      error: of the test images at the end, [S, G]; NaN where a run has diverged.
      loss: of the last tenth of the steps, [S, G].
    """

    best: int
    tuning_loss: dict[str, float]
    error: np.ndarray
    loss: np.ndarray


class Budget(NamedTuple):
    """How long runs of one batch size train.

    Attributes:
      steps: that take as many images as those of any other size.
      all_steps: to which they train on, in search of a target.
      period: steps between two evaluations; divides both.
    """

    steps: int
    all_steps: int
    period: int


def budget_of(batch_size: int, images: int, most_steps: int) -> Budget:
    """Return the budget of a batch size: ``images``, then on to ``most_steps``."""
    period = max(1, images // batch_size // LOOKS)
    steps = images // batch_size // period * period
    all_steps = max(steps, -(-most_steps // period) * period)
    return Budget(steps, all_steps, period)


def longest_run(config: Any) -> int:
    """Return the most steps that a batch size trains for."""
    images, most = config.n_images, config.most_steps
    return max(budget_of(size, images, most).all_steps for size in config.batch_sizes)


def grid_of(config: Any, arm: Arm) -> list[float]:
    """Return the learning rates of an arm, ascending."""
    return sorted(getattr(config, arm.rates))


def sizes_of(config: Any) -> list[int]:
    """Return the batch sizes, ascending."""
    return sorted(config.batch_sizes)


def batch_grid(config: Any, size: int) -> np.ndarray:
    """Return the learning rates of a batch size, ascending: in proportion to it."""
    times = size / sizes_of(config)[0]
    return np.sort(config.learning_rates_batch) * times


def warmed(optimizer: Callable) -> Optimizer:
    """Return the optimizer, without weight decay, after ``warm_up_steps`` of a climbing rate."""

    def of(hyper: Hyper) -> optax.GradientTransformation:
        rule = linear_warm_up(hyper["warm_up_steps"])
        return scheduled(partial(optimizer, 0.0), rule)(hyper)

    return of


@dataclasses.dataclass(frozen=True)
class Lab:
    """What all trainings of a run share.

    Attributes:
      config: of the experiment.
      data: to learn from and to judge by.
      inits: initializers by the name that arms give.
      preprocess: see ``Task``.
      progress: shows a bar for each part of the work.
      seeds: those compared.
      tuning_seeds: those that choose rates.
    """

    config: Any
    data: Splits
    inits: Mapping[str, Initializer]
    preprocess: Callable
    progress: ShowProgress
    seeds: range
    tuning_seeds: range

    @property
    def all_seeds(self) -> list[int]:
        """Those that choose rates, then those compared."""
        return [*self.tuning_seeds, *self.seeds]

    def trainer(self, optimizer: Callable, batch_size: int, period: int) -> Trainer:
        """Return what trains runs of one optimizer and batch size."""
        task = Task(apply_function(self._model("he")), warmed(optimizer), self.preprocess)
        data = self.data.train, self.data.test
        per_call = len(self.all_seeds)
        return Trainer(task, *data, batch_size, period, runs_per_call=per_call)

    def sweep(self, trainer: Trainer, arm: Arm, rates: Sequence[float], bar: Any) -> Swept:
        """Train an arm at all rates; the tuning seeds choose, the others are told."""
        steps = self.config.steps
        found = self._fit(trainer, arm, rates, steps, self._warm_up(arm, steps), bar)
        chosen, losses = training.best_rate(self._tuning(found))
        judged = self._judged(found)
        tail = max(1, steps // 10)
        error = [final_error(history, steps) for history in judged]
        loss = [history.train["loss"][:, -tail:].mean(1) for history in judged]
        return Swept(list(rates).index(chosen), losses, np.stack(error, 1), np.stack(loss, 1))

    def sweep_batch(
        self, trainer: Trainer, arm: Arm, rates: Sequence[float], budget: Budget, bar: Any
    ) -> dict[str, np.ndarray | int]:
        """Train an arm at all rates with one batch size.

        Returns:
          ``error`` [S, G] after the budget's images, ``steps_early`` and ``steps_late`` [S, G] to
          the two targets, and what the tuning seeds chose: ``best``, by the loss, and
          ``quickest_early`` and ``quickest_late``, by the steps.
        """
        found = self._fit(trainer, arm, rates, budget.all_steps, 0, bar)
        judged = self._judged(found)
        error = [final_error(history, budget.steps) for history in judged]
        tuning = self._tuning(found)
        within = {rate: up_to(history, budget.steps) for rate, history in tuning.items()}
        chosen, _ = training.best_rate(within)
        best = list(rates).index(chosen)
        result = {"error": np.stack(error, 1), "best": best}
        for target in TARGETS:
            result[f"steps_{target}"] = self._steps(judged, target)
            result[f"quickest_{target}"] = quickest(self._steps(tuning.values(), target))
        return result

    def warm_error(
        self, trainer: Trainer, arm: Arm, rate: float, budget: Budget, bar: Any
    ) -> np.ndarray:
        """Return the error [S] of a rate after the budget's images, with a warm-up."""
        warm_up = round(self.config.warm_up_share * budget.steps)
        found = self._fit(trainer, arm, [rate], budget.steps, warm_up, bar)
        return final_error(self._judged(found)[0], budget.steps)

    def _fit(
        self,
        trainer: Trainer,
        arm: Arm,
        rates: Sequence[float],
        steps: int,
        warm_up: int,
        bar: Any,
    ) -> dict[float, History]:
        model = self._model(arm.weights)
        draw = partial(initialize_runs, model, image_shape=self.data.train.images.shape[1:])
        hyper = {"momentum": arm.momentum, "warm_up_steps": float(warm_up)}
        of_arm = training.Arm(draw, hyper, arm.replicate)
        return training.fit_rates(trainer, of_arm, rates, self.all_seeds, steps, bar.advance)

    def _model(self, weights: str) -> MLP:
        config = self.config
        return MLP(config.depth, config.width, self.data.num_classes, self.inits[weights])

    def _warm_up(self, arm: Arm, steps: int) -> int:
        return round(self.config.warm_up_share * steps) if arm.warm else 0

    def _tuning(self, found: Mapping[float, History]) -> dict[float, History]:
        count = len(self.tuning_seeds)
        return {rate: training.rows(history, 0, count) for rate, history in found.items()}

    def _judged(self, found: Mapping[float, History]) -> list[History]:
        first, count = len(self.tuning_seeds), len(self.seeds)
        return [training.rows(history, first, count) for history in found.values()]

    def _steps(self, histories: Iterable[History], target: str) -> np.ndarray:
        level = getattr(self.config, f"target_error_{target}")
        steps = [steps_to_target(h.test_steps, errors(h), level) for h in histories]
        return np.stack(steps, 1)


def check_sizes(config: Any, data: Splits) -> None:
    """Raise UserError unless every batch size can be trained."""
    sizes, images = sizes_of(config), len(data.train.labels)
    if sizes[-1] > config.n_images:
        raise UserError(f"--n_images={config.n_images} is less than one batch of {sizes[-1]}")
    largest = max(sizes[-1], config.batch_size)
    if largest > images:
        raise UserError(f"batch size {largest} exceeds the {images} training images")


def sweep_arms(lab: Lab, arms: Mapping[str, Arm]) -> tuple[dict, dict]:
    """Train every arm at every rate, with one program an optimizer."""
    config = lab.config
    optimizers = {arm.optimizer for arm in arms.values()}
    trainers = {rule: lab.trainer(rule, config.batch_size, config.steps) for rule in optimizers}
    best, losses, arrays = {}, {}, {}
    runs = len(lab.all_seeds) * sum(len(grid_of(config, arm)) for arm in arms.values())
    with lab.progress(runs * config.steps, "optimizers") as bar:
        for name, arm in arms.items():
            swept = lab.sweep(trainers[arm.optimizer], arm, grid_of(config, arm), bar)
            best[name] = swept.best
            losses[name] = swept.tuning_loss
            arrays[f"{name}/error"] = swept.error
            arrays[f"{name}/loss"] = swept.loss
    return {"best": best, "tuning_loss": losses}, arrays


def sweep_batches(lab: Lab, arm: Arm) -> tuple[dict, dict]:
    """Train an arm with every batch size, with one program each.

    Every size takes the best rate of the smallest one in proportion too, after a warm-up.
    """
    config, sizes = lab.config, sizes_of(lab.config)
    budgets = {size: budget_of(size, config.n_images, config.most_steps) for size in sizes}
    rounds = len(config.learning_rates_batch)
    steps = sum(rounds * budget.all_steps + budget.steps for budget in budgets.values())
    total = len(lab.all_seeds) * steps
    numbers, arrays = {}, {}
    with lab.progress(total, "batch sizes") as bar:
        for size, budget in budgets.items():
            rates = list(batch_grid(config, size))
            trainer = lab.trainer(arm.optimizer, size, budget.period)
            found = lab.sweep_batch(trainer, arm, rates, budget, bar)
            numbers[str(size)] = {name: found.pop(name) for name in CHOSEN}
            scaled = rates[numbers[str(sizes[0])]["best"]]
            found["warm_error"] = lab.warm_error(trainer, arm, scaled, budget, bar)
            arrays |= {f"batch_{size}/{name}": values for name, values in found.items()}
    return numbers, arrays


def errors(history: History) -> np.ndarray:
    """Return the test errors [S, E]; NaN where a run has diverged."""
    return np.where(np.isfinite(history.test["loss"]), history.test["error"], np.nan)


def final_error(history: History, steps: int) -> np.ndarray:
    """Return the test error [S] after so many steps, which are a whole number of periods."""
    at = int(np.searchsorted(history.test_steps, steps))
    return errors(history)[:, at]


def up_to(history: History, steps: int) -> History:
    """Return the history's training losses of the first steps alone."""
    loss = {"loss": history.train["loss"][:, :steps]}
    return history._replace(train=loss, plateau=history.plateau[:, :steps])
