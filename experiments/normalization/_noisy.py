"""Arms of dropout, and the laboratory that chooses their rates and trains them."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import optax

from jaxvision.data import Dataset, Splits
from jaxvision.data.augment import standardizer
from jaxvision.data.dataset import balanced
from jaxvision.initializers import he_forward
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.dropout import DropoutMLP, Noise
from jaxvision.models.layers import apply_function
from jaxvision.progress import ShowProgress
from jaxvision.training.arms import Arm, fit_arms
from jaxvision.training.averaging import Rule, averaging
from jaxvision.training.fit import History, Trainer
from jaxvision.training.looks import Look
from jaxvision.training.optimizers import max_norm
from jaxvision.training.schedules import linear_decay, scheduled
from jaxvision.training.step import Task
from jaxvision.types import Hyper, UserError

MOMENTUM = 0.95
MOST_TOGETHER = 24  # runs
LONGEST_PERIOD = 1000  # steps of one compiled call


@dataclasses.dataclass(frozen=True)
class Way:
    """A way to train a net.

    Attributes:
      label: in the figure.
      keep_input, keep, keep_last: probability of keeping a pixel, a hidden unit, a unit of the last
        hidden layer.
      bounded: max-norm.
      noise: what multiplies the units.
      normalized: batch norm before every ReLU.
      width: units of a hidden layer; None takes the config's.
      images: that a run learns from; None takes all.
      longer: times the config's steps.
      constant: the rate does not fall, and the optimizer's ``averages`` are kept.
      rate_of: the way whose learning rate it takes; "" for its own.
      replicate: which draw of the weights.
    """

    label: str
    keep_input: float = 1.0
    keep: float = 1.0
    keep_last: float = 1.0
    bounded: bool = False
    noise: Noise = "bernoulli"
    normalized: bool = False
    width: int | None = None
    images: int | None = None
    longer: int = 1
    constant: bool = False
    rate_of: str = ""
    replicate: int = 0


class Kind(NamedTuple):
    """What ways must share to be trained by one program."""

    noise: Noise
    normalized: bool
    width: int
    constant: bool


@dataclasses.dataclass(frozen=True)
class Lab:
    """What every run shares.

    Attributes:
      config: the experiment's, whose flags say sizes, steps and rates.
      data: to learn from and to judge by.
      seeds: those compared.
      tuning_seeds: those that choose the rates.
      progress: shows a bar for each part of the work.
      averages: of the weights of a run at constant rate, by name.
      trainers: made so far; a lab that was replaced for other seeds has the same.
    """

    config: Any
    data: Splits
    seeds: range
    tuning_seeds: range
    progress: ShowProgress
    averages: Mapping[str, Rule] = dataclasses.field(default_factory=dict)
    trainers: dict[Kind, Trainer] = dataclasses.field(default_factory=dict)

    def check(self, ways: Mapping[str, Way]) -> None:
        """Raise UserError where a way wants more images than there are to tune it on."""
        most = len(self._fitted)
        for way in ways.values():
            if way.images is not None and way.images > most:
                raise UserError(
                    f"a subset of {way.images} images is larger than the {most} training images"
                    " that are left when rates are chosen: lower --sizes"
                )

    def prepare(self, ways: Mapping[str, Way]) -> None:
        """Make what trains all these ways, of which a run may leave some out.

        How many runs train side by side moves their last bits: few ways are trained as among all.
        """
        for group in self._groups(ways):
            one = next(iter(group.values()))
            self.trainer(self.kind_of(one), len(group) * len(self.seeds))

    def compare(
        self,
        ways: Mapping[str, Way],
        known: Mapping[str, float] | None = None,
        look: Look | None = None,
    ) -> tuple[dict[str, float], dict[str, History]]:
        """Return the rate that each way was trained at, and its history.

        ``known`` are rates chosen before; ``look`` is at every run that is compared.
        """
        rates, histories = dict(known or {}), {}
        with self.progress(self._total_steps(ways), "training") as bar:
            for group in self._groups(ways):
                one = next(iter(group.values()))
                trainer = self.trainer(self.kind_of(one), len(group) * len(self.seeds))
                rates |= self._choose(trainer, group, bar.advance)
                rates |= {name: rates[way.rate_of] for name, way in group.items() if way.rate_of}
                rows = np.arange(len(self.data.train.labels))
                arms = {name: self.arm(way, rates[name], rows) for name, way in group.items()}
                steps = self.steps(one)
                histories |= fit_arms(trainer, arms, self.seeds, steps, bar.advance, look=look)
        return rates, histories

    def steps(self, way: Way) -> int:
        """Return how many steps a way takes."""
        return way.longer * self.config.steps

    def _total_steps(self, ways: Mapping[str, Way]) -> int:
        rates = len(self.config.learning_rates)
        tried = rates * len(self.tuning_seeds) if rates > 1 else 0
        total = 0
        for way in ways.values():
            runs = len(self.seeds) + (0 if way.rate_of else tried)
            total += runs * self.steps(way)
        return total

    def net(self, kind: Kind) -> DropoutMLP:
        """Return the net of a kind."""
        sizes = self.config.depth, kind.width, self.data.num_classes
        return DropoutMLP(*sizes, he_forward(), kind.noise, kind.normalized)

    def kind_of(self, way: Way) -> Kind:
        """Return the kind of program that trains a way."""
        width = way.width or self.config.width
        return Kind(way.noise, way.normalized, width, way.constant)

    @cached_property
    def preprocess(self) -> Callable:
        """Mean off, over one scale."""
        return standardizer(self.data.train)

    @cached_property
    def _held_out(self) -> np.ndarray:
        """The rows [V] of the training set that choose the rates: as many as the test set has."""
        train = self.data.train
        wanted = min(len(self.data.test.labels), len(train.labels) // 3)
        return nested_rows(train.labels, 0)[:wanted]

    @cached_property
    def _fitted(self) -> np.ndarray:
        """The other rows."""
        return np.setdiff1d(np.arange(len(self.data.train.labels)), self._held_out)

    def _groups(self, ways: Mapping[str, Way]) -> list[dict[str, Way]]:
        """Return the ways that one program trains, for equally many steps."""
        groups: dict[tuple[Kind, int], dict[str, Way]] = {}
        for name, way in ways.items():
            shared = self.kind_of(way), self.steps(way)
            groups.setdefault(shared, {})[name] = way
        return list(groups.values())

    def trainer(self, kind: Kind, runs: int) -> Trainer:
        """Return what trains ways of a kind, so many runs at least; always the same."""
        if kind not in self.trainers:
            self.trainers[kind] = self._make_trainer(kind, runs)
        return self.trainers[kind]

    def _make_trainer(self, kind: Kind, runs: int) -> Trainer:
        config = self.config
        optimizer = averaging(_momentum, self.averages) if kind.constant else _falling_momentum
        task = Task(
            apply_function(self.net(kind)),
            optimizer,
            self.preprocess,
            told=("keep_input", "keep", "keep_last"),
        )
        # Few enough runs side by side that their weights stay in the cache.
        per_call = min(MOST_TOGETHER, runs)
        data, period = (self.data.train, self.data.test), math.gcd(config.steps, LONGEST_PERIOD)
        return Trainer(task, *data, config.batch_size, period, runs_per_call=per_call)

    def arm(self, way: Way, rate: float, rows: np.ndarray) -> Arm:
        """Return the arm of a way at a learning rate; it draws from ``rows``."""
        hyper = {
            "learning_rate": rate,
            "decay_steps": self.steps(way),
            "keep_input": way.keep_input,
            "keep": way.keep,
            "keep_last": way.keep_last,
            "max_norm": self.config.max_norm if way.bounded else math.inf,
        }
        net, shape = self.net(self.kind_of(way)), self.data.train.images.shape[1:]
        start = partial(initialize_runs, net, image_shape=shape)
        return Arm(start, hyper, way.replicate, partial(self._pool, way, rows))

    def _choose(self, trainer: Trainer, group: Mapping[str, Way], advance: Callable) -> dict:
        """Return each way's rate: the one of least error on images held out, on other seeds."""
        rates = self.config.learning_rates
        tuned = {name: way for name, way in group.items() if not way.rate_of}
        if len(rates) == 1 or not tuned:
            return dict.fromkeys(tuned, rates[0])
        held_out = _rows(self.data.train, self._held_out)
        judge = dataclasses.replace(trainer, test=held_out)
        arms = {
            (name, rate): self.arm(way, rate, self._fitted)
            for name, way in tuned.items()
            for rate in rates
        }
        steps = self.steps(next(iter(tuned.values())))
        found = fit_arms(judge, arms, self.tuning_seeds, steps, advance)
        errors = {arm: _final_error(history) for arm, history in found.items()}
        return {name: min(rates, key=lambda rate: errors[name, rate]) for name in tuned}

    def _pool(self, way: Way, rows: np.ndarray, seed: int) -> np.ndarray:
        """Return what a run draws from, as often as the set has rows: few of ``rows``, or all."""
        order = nested_rows(self.data.train.labels[rows], seed)
        chosen = rows if way.images is None else rows[order[: way.images]]
        return np.resize(chosen, len(self.data.train.labels)).astype(np.int32)


def nested_rows(labels: np.ndarray, seed: int) -> np.ndarray:
    """Return all rows in an order whose first n, whatever n, hold every class alike.

    That is in numbers that differ by one, as long as the classes last.
    """
    order = np.argsort(np.random.PCG64(seed).random_raw(len(labels)), kind="stable")
    return balanced(labels, order)


def _momentum(hyper: Hyper) -> optax.GradientTransformation:
    descent = optax.sgd(hyper["learning_rate"], momentum=MOMENTUM)
    return optax.chain(descent, max_norm(hyper["max_norm"]))


def _falling_momentum(hyper: Hyper) -> optax.GradientTransformation:
    # The steps are traced: one program serves longer runs too.
    return scheduled(_momentum, linear_decay(hyper["decay_steps"]))(hyper)


def _rows(data: Dataset, rows: np.ndarray) -> Dataset:
    return Dataset(data.images[rows], data.labels[rows])


def _final_error(history: History) -> tuple[float, float]:
    """Return mean error and loss over seeds at the end; a run that diverged is the worst."""
    error, loss = history.test["error"][:, -1], history.test["loss"][:, -1]
    loss = np.where(np.isfinite(loss), loss, np.inf)
    error = np.where(np.isfinite(loss), error, 1.0)
    return float(error.mean()), float(loss.mean())
