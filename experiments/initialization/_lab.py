"""Nets and arms of he_init, and the laboratory that tunes and trains them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from jaxvision.data import Splits
from jaxvision.dynamics import probes
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.layers import apply_function
from jaxvision.models.mlp import MLP
from jaxvision.models.plain import PlainConvNet, he2015_net
from jaxvision.progress import ShowProgress
from jaxvision.training.arms import Arm, fit_arms, summarize, tune
from jaxvision.training.fit import Trainer
from jaxvision.training.optimizers import sgd
from jaxvision.training.step import Task


class Start(NamedTuple):
    """An arm: how its nets start, what drives them, and which nets it is run on."""

    label: str
    weights: str  # of INITS
    optimizer: Callable = sgd
    tuned_as: str = ""  # the arm whose learning rate it takes; "" for its own
    depth: str = "all"  # or the 'middle' or 'deepest' of the depths
    kinds: tuple[str, ...] = ("conv", "mlp")
    replicate: int = 0  # which draw of the weights


class Net(NamedTuple):
    """A kind of net at one depth."""

    kind: str
    depth: int

    @property
    def name(self) -> str:
        """The net's name in the record."""
        return f"{self.kind}{self.depth}"

    @property
    def words(self) -> str:
        """The net's name as people say it."""
        return f"{self.depth}-layer {'MLP' if self.kind == 'mlp' else 'conv net'}"


def depths_of(config: Any, net: Net) -> tuple[int, ...]:
    """Return the depths at which a net of this kind is run."""
    return config.mlp_depths if net.kind == "mlp" else config.depths


def runs_on(arm: Start, net: Net, depths: Sequence[int]) -> bool:
    """Return whether an arm is run on a net, one of those with these ``depths``."""
    depths = sorted(depths)
    chosen = {"all": depths, "middle": depths[-2:-1] or depths, "deepest": depths[-1:]}
    return net.kind in arm.kinds and net.depth in chosen[arm.depth]


@dataclasses.dataclass(frozen=True)
class Lab:
    """What every net of a run shares: its config, its data, its seeds.

    Attributes:
      config: he_init's, whose flags say sizes, steps and rates.
      data: to learn from and to judge by.
      inits: initializers by the name that arms give.
      preprocess: see ``Task``.
      progress: shows a bar for each part of the work.
      seeds: those compared.
      tuning_seeds: those that choose the rates.
    """

    config: Any
    data: Splits
    inits: Mapping[str, Callable]
    preprocess: Callable
    progress: ShowProgress
    seeds: range
    tuning_seeds: range

    def compare(self, net: Net, arms: Mapping[str, Start]) -> tuple[dict, dict]:
        """Return the numbers and histories of one net's arms, each at its own best rate."""
        ours = {
            name: arm
            for name, arm in arms.items()
            if runs_on(arm, net, depths_of(self.config, net))
        }
        models = {arm.weights: self.model(net, arm.weights) for arm in ours.values()}
        trainers = {arm.optimizer: self.trainer(net, arm.optimizer) for arm in ours.values()}
        rates, losses = self.choose_rates(net, ours, models, trainers)
        steps = self.steps(net)
        histories = {}
        with self.progress(len(self.seeds) * steps * len(ours), f"{net.name}: training") as bar:
            for optimizer, trainer in trainers.items():
                group = {
                    name: self.arm(models[arm.weights], rates[arm.tuned_as or name], arm.replicate)
                    for name, arm in ours.items()
                    if arm.optimizer is optimizer
                }
                histories |= fit_arms(trainer, group, self.seeds, steps, bar.advance)
        numbers = {"rates": rates, "tuning_loss": losses, "steps": steps}
        return numbers | summarize(histories), histories

    def choose_rates(
        self, net: Net, arms: Mapping[str, Start], models: dict, trainers: dict
    ) -> tuple[dict[str, float], dict[str, dict]]:
        """Return each arm's learning rate, chosen on the tuning seeds, and the losses tried."""
        config = self.config
        grids = {
            "xavier": config.learning_rates_xavier,
            "he": config.learning_rates_he,
            "adam": config.learning_rates_adam,
        }
        steps = max(config.period, self.steps(net) // 2 // config.period * config.period)
        tuned = {name: arm for name, arm in arms.items() if not arm.tuned_as}
        total = len(self.tuning_seeds) * steps * sum(len(grids[name]) for name in tuned)
        rates, losses = {}, {}
        with self.progress(total, f"{net.name}: choosing rates") as bar:
            for name, arm in tuned.items():
                tried = {rate: self.arm(models[arm.weights], rate) for rate in grids[name]}
                rates[name], losses[name] = tune(
                    trainers[arm.optimizer], tried, self.tuning_seeds, steps, bar.advance
                )
        return rates, losses

    def model(self, net: Net, weights: str) -> MLP | PlainConvNet:
        """Return a net that starts from ``INITS[weights]``."""
        config, classes, draw = self.config, self.data.num_classes, self.inits[weights]
        if net.kind == "mlp":
            return MLP(net.depth, config.mlp_width, classes, draw)
        return he2015_net(net.depth, config.width, classes, draw, self.data.train.images.shape[1])

    def arm(self, model: MLP | PlainConvNet, rate: float, replicate: int = 0) -> Arm:
        """Return the arm of a model at a learning rate."""
        draw = partial(initialize_runs, model, image_shape=self.data.train.images.shape[1:])
        return Arm(draw, {"learning_rate": rate, "train_biases": 1.0}, replicate)

    def trainer(self, net: Net, optimizer: Callable) -> Trainer:
        """Return what trains a net's runs, with a probe in every layer."""
        config = self.config
        task = Task(
            apply=apply_function(self.model(net, "he")),
            optimizer=partial(optimizer, config.weight_decay),
            preprocess=self.preprocess,
            probe=probes.per_layer,
        )
        # One size of call for tuning and training, whatever the number of runs: one compilation.
        per_call = 2 * config.seeds if net.kind == "mlp" else None
        sizes = config.batch_size, config.period
        return Trainer(task, self.data.train, self.data.test, *sizes, runs_per_call=per_call)

    def steps(self, net: Net) -> int:
        """Return how many steps a net is trained for."""
        return self.config.mlp_steps if net.kind == "mlp" else self.config.steps
