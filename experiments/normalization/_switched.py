"""The nets of batchnorm: one program trains every mixture of batch norm, noise, rate and the rest.

What a net has travels beside its running statistics, as numbers that training leaves alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.normalization._shift import look_inside
from jaxvision import initializers as init
from jaxvision.data import Splits
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.layers import Apply, apply_function
from jaxvision.models.switched_mlp import SwitchedMLP, Switches
from jaxvision.training.arms import Arm, fit_arms, tune
from jaxvision.training.fit import History, Trainer
from jaxvision.training.looks import Look
from jaxvision.training.step import Task
from jaxvision.types import Array, Hyper, PyTree

STD = 0.1  # of the Gaussian that kernels start from; the paper says "small"


class Rest(NamedTuple):
    """What Ioffe & Szegedy changed beside batch norm and the rate (section 4.2.1).

    Attributes:
      dropout: share of hidden units.
      weight_decay: of every weight.
      decay: the learning rate falls to exp(-decay) of its start.
    """

    dropout: float = 0.0
    weight_decay: float = 0.0
    decay: float = 0.0


class Net(NamedTuple):
    """A mixture.

    Attributes:
      normalized: batch norm.
      rate: learning rate.
      noise: after batch norm.
      rest: what else there is.
      scale: of the starting weights, times ``STD``.
      replicate: which draw of them.
    """

    normalized: bool
    rate: float = 0.0
    noise: float = 0.0
    rest: Rest = Rest()
    scale: float = 1.0
    replicate: int = 0


def switched(apply: Apply) -> Apply:
    """Return ``apply`` whose ``batch_stats`` are {'running': statistics, 'switches': Switches}."""

    def switched_apply(
        params: PyTree, batch_stats: PyTree, images: Array, *, train: bool, **given: Any
    ) -> tuple[Array, dict[str, Array], PyTree]:
        switches = batch_stats["switches"]
        logits, activations, running = apply(
            params, batch_stats["running"], images, train=train, switches=switches, **given
        )
        return logits, activations, {"running": running, "switches": switches}

    return switched_apply


def falling_sgd(steps: int, hyper: Hyper) -> optax.GradientTransformation:
    """SGD whose rate falls exponentially; reads ``learning_rate``, ``decay``, ``weight_decay``."""

    def rate(step: Array) -> Array:
        gone = jnp.asarray(step, jnp.float32) / steps
        return hyper["learning_rate"] * jnp.exp(-hyper["decay"] * gone)

    return optax.chain(optax.add_decayed_weights(hyper["weight_decay"]), optax.sgd(rate))


@dataclass(frozen=True)
class Lab:
    """What all nets of one depth share.

    Attributes:
      config: batchnorm's.
      depth: weight layers.
      data: to learn from and to judge by.
      preprocess: see ``Task``.
      seeds: those compared.
      tuning_seeds: those that choose the rates.
    """

    config: Any
    depth: int
    data: Splits
    preprocess: Callable
    seeds: Sequence[int]
    tuning_seeds: Sequence[int]

    @property
    def model(self) -> SwitchedMLP:
        """The net of this depth."""
        sizes = self.depth, self.config.width, self.data.num_classes
        return SwitchedMLP(*sizes, init.fixed(STD))

    def trainer(self) -> Trainer:
        """Return what trains every mixture."""
        config = self.config
        task = Task(
            switched(apply_function(self.model)),
            partial(falling_sgd, config.steps),
            self.preprocess,
        )
        sizes = config.batch_size, config.period
        per_call = config.runs_per_call
        return Trainer(task, self.data.train, self.data.test, *sizes, runs_per_call=per_call)

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Return a batch of training images as a net takes them, and its labels."""
        some = self.data.train.sample(self.config.batch_size)
        return np.asarray(self.preprocess(some.images, None)), some.labels

    def arm(self, net: Net) -> Arm:
        """Return the arm that starts and drives a mixture."""
        shape = self.data.train.images.shape[1:]
        switches = Switches(float(net.normalized), net.noise, net.rest.dropout)

        def start(keys: Array) -> PyTree:
            drawn = initialize_runs(self.model, keys, shape)
            told = jax.tree.map(lambda x: np.full(len(keys), x, np.float32), switches)
            params = init.with_gain(drawn["params"], np.float32(net.scale))
            return {
                "params": params,
                "batch_stats": {"running": drawn["batch_stats"], "switches": told},
            }

        hyper = {
            "learning_rate": net.rate,
            "decay": net.rest.decay,
            "weight_decay": net.rest.weight_decay,
        }
        return Arm(start, hyper, net.replicate)

    @property
    def work(self) -> int:
        """How many (run, step) pairs a mixture asks for."""
        return len(self.seeds) * self.config.steps

    @property
    def tuning_work(self) -> int:
        """The same of choosing its rate; a grid of one rate is no choice."""
        rates = len(self.config.learning_rates)
        return len(self.tuning_seeds) * rates * self.config.steps

    def tune(self, trainer: Trainer, net: Net, advance: Callable[[int], None]) -> float:
        """Return the rate of the config's grid at which a mixture ends lowest."""
        grid = {rate: self.arm(net._replace(rate=rate)) for rate in self.config.learning_rates}
        return tune(trainer, grid, self.tuning_seeds, self.config.steps, advance)[0]

    def train(
        self,
        trainer: Trainer,
        nets: Mapping[str, Net],
        advance: Callable[[int], None],
        *,
        inside: bool = False,
    ) -> dict[str, History]:
        """Return the history of every mixture, ``inside`` with looks at every period."""
        if not nets:
            return {}
        look = self._look(trainer) if inside else None
        arms = {name: self.arm(net) for name, net in nets.items()}
        return fit_arms(trainer, arms, self.seeds, self.config.steps, advance, look)

    def _look(self, trainer: Trainer) -> Look:
        some = self.data.train.sample(256)
        layer = f"layer{self.depth - 1}/dense"
        function = partial(look_inside, trainer.task.apply, self.preprocess, layer)
        at = range(0, self.config.steps + 1, self.config.period)
        return Look(function, at, (some.images, some.labels))
