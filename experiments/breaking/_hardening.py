"""Nets trained on images that are turned against them: one program for all ways of a net."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp

from jaxvision.adversarial import train
from jaxvision.adversarial.aims import Logits
from jaxvision.adversarial.nets import logits_of
from jaxvision.adversarial.threat import LEVELS
from jaxvision.data import Splits
from jaxvision.data.augment import standardizer
from jaxvision.initializers import he_forward
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.layers import Apply, apply_function
from jaxvision.models.linear import Linear
from jaxvision.models.mlp import MLP
from jaxvision.models.shallow import ShallowConvNet
from jaxvision.progress import Progress
from jaxvision.training.arms import Arm, fit_arms
from jaxvision.training.calls import joined
from jaxvision.training.fit import History, Trainer
from jaxvision.training.looks import Look
from jaxvision.training.optimizers import adam
from jaxvision.training.schedules import cosine_decay, linear_warm_up, scheduled
from jaxvision.training.step import Task
from jaxvision.types import Array, PyTree

Net = Literal["softmax", "mlp", "conv", "filters"]
WARM_UP = 10  # the rate climbs in one of so many parts of the steps
FILTERS = 4  # of the one-layer net of Andriushchenko & Flammarion 2020
USUAL = train.unopposed()


class Way(NamedTuple):
    """A way to train.

    Attributes:
      label: in the figure.
      net: which one.
      recipe: size of the change -> how a step's images are turned against the net.
      honest: at the smaller of the two sizes.
      replicate: other first weights than those of its seed.
    """

    label: str
    net: Net = "mlp"
    recipe: Callable[[float], train.Recipe] | None = None
    honest: bool = False
    replicate: int = 0


@dataclasses.dataclass(frozen=True)
class Lab:
    """What all nets share: the experiment's ``config``, the data, the seeds, a bar to move on."""

    config: Any
    data: Splits
    seeds: Sequence[int]

    def model(self, net: Net) -> Linear | MLP | ShallowConvNet:
        """Return a net of the experiment's sizes."""
        config, init = self.config, he_forward()
        classes = self.data.num_classes
        channels = (config.channels, 2 * config.channels)
        made = {
            "softmax": Linear(classes, init),
            "mlp": MLP(3, config.width, classes, init),
            "conv": ShallowConvNet(channels, config.width, classes, init),
            "filters": ShallowConvNet((FILTERS,), 0, classes, init, pooled=False),
        }
        return made[net]

    def steps(self, net: Net) -> int:
        """Return how many steps a net takes."""
        return self.config.filter_steps if net == "filters" else self.config.steps

    def logits(self, net: Net, variables: PyTree) -> Logits:
        """Return one net as a function of images in [0, 1]."""
        return logits_of(apply_function(self.model(net)), self.standardize, variables)

    def fit(
        self, ways: Mapping[str, Way], bar: Progress, look: Look | None = None
    ) -> dict[str, History]:
        """Train ways of one net on every seed, by one program."""
        net = next(iter(ways.values())).net
        draw = partial(initialize_runs, self.model(net), image_shape=self._shape)
        rates = {"learning_rate": self._rate(net), "train_biases": 1.0}
        arms = {}
        for name, way in ways.items():
            hyper = rates | self._recipe(way).hyper
            arms[name] = Arm(draw, hyper, way.replicate)
        trainer = self._trainer(net, len(arms))
        return fit_arms(trainer, arms, self.seeds, self.steps(net), bar.advance, look)

    def _rate(self, net: Net) -> float:
        config = self.config
        return config.filter_learning_rate if net == "filters" else config.learning_rate

    def _recipe(self, way: Way) -> train.Recipe:
        if way.recipe is None:
            return USUAL
        config = self.config
        if way.net == "filters":
            return way.recipe(config.filter_epsilon)
        return way.recipe(config.honest_epsilon if way.honest else config.epsilon)

    def _trainer(self, net: Net, ways: int) -> Trainer:
        steps = self.steps(net)
        rules = (linear_warm_up(-(-steps // WARM_UP)), cosine_decay(0, steps))
        task = Task(
            boxed(apply_function(self.model(net)), self.standardize),
            scheduled(partial(adam, 0.0), *rules),
            pixels,
            opponent=train.opponent(),
        )
        return Trainer(
            task,
            self.data.train,
            self.data.test,
            self.config.batch_size,
            steps,
            mapping="map",  # ways take different times
            runs_per_call=2 * ways,
        )

    @cached_property
    def standardize(self) -> Callable[[Array, Array | None], Array]:
        """Mean off, over one scale: the first thing that every net does."""
        return standardizer(self.data.train)

    @property
    def _shape(self) -> tuple[int, ...]:
        return self.data.train.images.shape[1:]


def pixels(images: Array, key: Array | None) -> Array:
    """Return images in [0, 1]: the units of every change."""
    del key
    return images.astype(jnp.float32) / LEVELS


def boxed(apply: Apply, standardize: Callable[[Array, Array | None], Array]) -> Apply:
    """Return ``apply`` of images in [0, 1], normalization inside."""

    def of_pixels(params: PyTree, batch_stats: PyTree, images: Array, **given: Any) -> tuple:
        return apply(params, batch_stats, standardize(LEVELS * images, None), **given)

    return of_pixels


def stacked(histories: Mapping[str, History]) -> PyTree:
    """Return the weights of all ways and seeds, leaves [ways * S, ...]."""
    return joined([history.variables for history in histories.values()])
