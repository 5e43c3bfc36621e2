"""The nets of robustness_in_training: what a kind is, its rate, and its weights along training."""

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from jaxvision import nets
from jaxvision.fields import disjoint_seeds
from jaxvision.nets import Spec, Trained
from jaxvision.training.calls import joined
from jaxvision.types import PyTree

OTHER_DRAWS = 500  # seeds further on: other first weights, another order of images


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of net that is watched while it learns.

    Attributes:
      label: in the figure.
      net: its name in a spec.
      initializer: likewise.
      decayed: by the config's weight decay.
      others: its seeds are other ones, as many: a control.
    """

    label: str
    net: str = "mlp"
    initializer: str = "he_forward"
    decayed: bool = False
    others: bool = False


class Size(NamedTuple):
    """How large a net is."""

    depth: int
    width: int


class Snapshots(NamedTuple):
    """S runs of one spec at T steps.

    Attributes:
      trained: functions and data of the nets.
      variables: weights, leaves [S, T, ...].
      learning_rate: that was chosen.
    """

    trained: Trained
    variables: PyTree
    learning_rate: float


@dataclasses.dataclass(frozen=True)
class Lab:
    """Trains nets of a config; each kind and size at the rate that suits it."""

    config: Any

    @cached_property
    def seeds(self) -> tuple[Sequence[int], Sequence[int]]:
        """Seeds that are judged, and those on which rates are chosen."""
        config = self.config
        return disjoint_seeds(config.first_seed, config.seeds, config.tuning_seeds)

    def along(self, kind: Kind) -> Snapshots:
        """Return nets of the usual size at the config's snapshots."""
        config = self.config
        size = Size(config.depth, config.width)
        return self._trained(kind, self._dense(kind, size, config.steps), config.snapshots)

    def sized(self, kind: Kind, size: Size) -> Snapshots:
        """Return nets of another size along training, at ``steps_of_sizes``."""
        spec = self._dense(kind, size, self.config.size_steps)
        return self._trained(kind, spec, steps_of_sizes(self.config))

    def conv(self, normalized: bool) -> Snapshots:
        """Return conv nets with or without batch norm after ``size_steps`` steps."""
        config = self.config
        sizes = {
            "channels": (config.channels, 2 * config.channels),
            "units": config.width,
            "normalized": normalized,
        }
        spec = self._spec("shallow", sizes, config.size_steps)
        return self._trained(Kind("conv"), spec, (config.size_steps,))

    def _dense(self, kind: Kind, size: Size, steps: int) -> Spec:
        spec = self._spec(kind.net, {"depth": size.depth, "width": size.width}, steps)
        return dataclasses.replace(
            spec,
            initializer=kind.initializer,
            weight_decay=self.config.weight_decay if kind.decayed else 0.0,
        )

    def _spec(self, net: str, sizes: dict, steps: int) -> Spec:
        config = self.config
        return Spec(
            config.dataset,
            net,
            sizes,
            learning_rate=config.learning_rates[0],
            steps=steps,
            optimizer="momentum_sgd",
            batch_size=config.batch_size,
        )

    def _trained(self, kind: Kind, spec: Spec, snapshots: Sequence[int]) -> Snapshots:
        config = self.config
        seeds, tuning_seeds = self.seeds
        short = dataclasses.replace(spec, steps=config.tuning_steps)
        rate, _ = nets.tuned(short, config.learning_rates, tuning_seeds)
        if kind.others:
            first = config.first_seed + OTHER_DRAWS
            seeds, _ = disjoint_seeds(first, config.seeds, config.tuning_seeds)
        spec = dataclasses.replace(spec, learning_rate=rate)
        found = nets.trained(spec, seeds, snapshots=snapshots)
        return Snapshots(found, found.snapshots, rate)


def steps_of_sizes(config: Any) -> tuple[int, ...]:
    """Return the snapshots of nets of other sizes: from the reference to their last step."""
    first, last = config.reference, config.size_steps
    return tuple(step for step in config.snapshots if first <= step <= last)


def together(arms: Sequence[Snapshots]) -> Snapshots:
    """Return the runs of arms of one architecture, one arm after the other."""
    return arms[0]._replace(variables=joined([arm.variables for arm in arms]))


def training_batches(trained: Trained, count: int, size: int) -> np.ndarray:
    """Return ``count`` batches of training images as the net takes them, [N, B, H, W, C].

    For the statistics of batch norm: every image at most once.
    """
    images = trained.data.train.sample(count * size).images
    whole = len(images) // size * size
    inputs = np.asarray(trained.preprocess(images[:whole], None))
    return inputs.reshape(-1, size, *inputs.shape[1:])
