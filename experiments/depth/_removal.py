"""The nets of alexnet_removal: tuned and trained without layers, and lesioned when trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.cli import ShowProgress
from jaxvision.data import Splits
from jaxvision.data.augment import standardizer
from jaxvision.fields import disjoint_seeds
from jaxvision.initializers import he_forward
from jaxvision.models.alexnet import REMOVABLE, AlexNet, alexnet
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.layers import apply_function
from jaxvision.progress import each
from jaxvision.training.arms import Arm, fit_arms, record_arrays, tune
from jaxvision.training.fit import History, Trainer
from jaxvision.training.mapping import over_seeds
from jaxvision.training.optimizers import caffe_sgd
from jaxvision.training.schedules import scheduled, step_decay
from jaxvision.training.step import Task, TrainState, evaluate
from jaxvision.types import Array, PyTree

LESIONED = 10_000  # images at most that judge a lesion
Layers = tuple[int, ...]


class Start(NamedTuple):
    """A net of the comparison: the layers it lacks, and which draw of weights it starts from."""

    removed: Layers
    replicate: int


@dataclass(frozen=True)
class Lab:
    """What all nets share.

    Attributes:
      config: alexnet_removal's.
      data: to learn from and to judge by.
      progress: shows how far a training is.
    """

    config: Any
    data: Splits
    progress: ShowProgress

    def compare(self, nets: Mapping[str, Start]) -> tuple[dict, dict[str, History]]:
        """Train every net on all seeds, each kind of net at its own best rate.

        Returns:
          Numbers by net (``parameters``, ``rates``, ``tuning_loss``), and histories by net.
        """
        config = self.config
        seeds, _ = seeds_of(config)
        numbers = {"parameters": {}, "rates": {}, "tuning_loss": {}}
        histories = {}
        choices = dict.fromkeys(net.removed for net in nets.values())
        for removed in each(choices, "nets"):
            trainer = self.trainer(removed)
            rate, losses = self.choose_rate(trainer, removed)
            arms = {
                name: self.arm(removed, rate, net.replicate)
                for name, net in nets.items()
                if net.removed == removed
            }
            total = len(arms) * len(seeds) * config.steps
            with self.progress(total, f"layers removed: {words_of(removed)}: training") as bar:
                found = fit_arms(trainer, arms, seeds, config.steps, bar.advance)
            for name, history in found.items():
                numbers["parameters"][name] = parameters(history)
                numbers["rates"][name] = rate
                numbers["tuning_loss"][name] = losses
            histories |= found
        return numbers, histories

    def choose_rate(self, trainer: Trainer, removed: Layers) -> tuple[float, dict[str, float]]:
        """Return the best rate by the tuning seeds, and the losses of those tried."""
        config = self.config
        _, seeds = seeds_of(config)
        tried = {rate: self.arm(removed, rate) for rate in config.learning_rates}
        if len(tried) == 1:
            return tune(trainer, tried, seeds, config.steps)
        total = len(tried) * len(seeds) * config.steps
        with self.progress(total, f"layers removed: {words_of(removed)}: choosing a rate") as bar:
            return tune(trainer, tried, seeds, config.steps, bar.advance)

    def trainer(self, removed: Layers) -> Trainer:
        """Return what trains the nets without these layers."""
        config = self.config
        sizes = config.batch_size, config.period
        return Trainer(self.task(removed), self.data.train, self.data.test, *sizes)

    def task(self, removed: Layers) -> Task:
        """Return SGD as Krizhevsky et al. 2012 have it, its rate a tenth in the last quarter."""
        config = self.config
        drops = step_decay((-(-3 * config.steps // 4),))
        optimizer = scheduled(partial(caffe_sgd, config.weight_decay), drops)
        preprocess = standardizer(self.data.train)
        return Task(apply_function(self.model(removed)), optimizer, preprocess)

    def model(self, removed: Layers) -> AlexNet:
        """Return AlexNet without these layers."""
        size = self.data.train.images.shape[1]
        return model_of(self.config, self.data.num_classes, size, removed)

    def arm(self, removed: Layers, rate: float, replicate: int = 0) -> Arm:
        """Return how such a net starts and at which rate it is driven."""
        shape = self.data.train.images.shape[1:]
        draw = partial(initialize_runs, self.model(removed), image_shape=shape)
        return Arm(draw, {"learning_rate": rate}, replicate)

    def lesions(self, variables: PyTree, lesions: Mapping[str, Layers]) -> dict[str, np.ndarray]:
        """Return the test error [S] of trained whole nets, layers left out at test time, by name.

        What a layer that is left out would have put out is its input, padded with zeros.
        """
        if not lesions:
            return {}
        keeps = [[number not in out for number in REMOVABLE] for out in lesions.values()]
        judges = self.data.test.sample(LESIONED)
        one = partial(_errors, self.task(()))
        count = len(jax.tree.leaves(variables)[0])
        shared = variables, np.array(keeps), (judges.images, judges.labels)
        found = over_seeds(one, count, shared)
        return {name: found[:, i] for i, name in enumerate(lesions)}

    def check_lesions(self) -> None:
        """Raise UserError where a layer's input does not fit in its place."""
        images = jnp.zeros((1, *self.data.train.images.shape[1:]))
        model = self.model(())

        def lesioned(key: Array) -> PyTree:
            keep = jnp.zeros(len(REMOVABLE), bool)
            return model.init_with_output(key, images, train=False, keep=keep)

        jax.eval_shape(lesioned, jax.random.key(0))


def _errors(task: Task, run: Array, shared: PyTree) -> Array:
    """Return the error of one net for every row of ``keeps``, [n]."""
    variables, keeps, judges = shared
    net = jax.tree.map(lambda leaf: leaf[run], variables)
    state = TrainState(net["params"], net["batch_stats"], opt_state=(), step=jnp.int32(0))

    def error(keep: Array) -> Array:
        lesioned = replace(task, apply=partial(task.apply, keep=keep))
        return evaluate(lesioned, state, *judges, 250)["error"]

    return jax.lax.map(error, keeps)


def model_of(config: Any, classes: int, image_size: int, removed: Layers) -> AlexNet:
    """Return the net that the config's sizes make.

    Raises:
      UserError: there is none: see ``alexnet``.
    """
    return alexnet(
        config.width,
        config.dense,
        classes,
        he_forward(),
        image_size,
        removed,
        dropout=config.dropout,
        large_images=config.large_images,
    )


def seeds_of(config: Any) -> tuple[range, range]:
    """Return the seeds of the comparison and those that choose the rates."""
    return disjoint_seeds(config.first_seed, config.seeds, config.tuning_seeds)


def words_of(removed: Sequence[int]) -> str:
    """Return layers in words, for people."""
    return ", ".join(map(str, removed)) or "none"


def parameters(history: History) -> int:
    """Return how many parameters one of the nets has."""
    return sum(leaf[0].size for leaf in jax.tree.leaves(history.variables["params"]))


def curves(name: str, history: History, period: int) -> dict[str, np.ndarray]:
    """Return the test error [S, P + 1] at ``test_steps``, and the training error [S, P].

    The training error is that of the batches of each period, before their updates.
    """
    kept = record_arrays(name, history)
    errors = kept[f"{name}/error"]
    means = errors.reshape(len(errors), -1, period).mean(2)
    return {
        f"{name}/train_error": means,
        f"{name}/test_error": kept[f"{name}/test_error"],
        f"{name}/test_steps": kept[f"{name}/test_steps"],
    }
