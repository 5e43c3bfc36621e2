"""How identity_construction grows nets, trains them over a grid of rates, and compares them."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision import runtime
from jaxvision.data import Splits
from jaxvision.initializers import he_forward
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.layers import apply_function
from jaxvision.models.mlp import MLP
from jaxvision.random import stream
from jaxvision.report.claims import Statistic
from jaxvision.report.record import Record
from jaxvision.training.calls import Runs
from jaxvision.training.fit import Trainer
from jaxvision.training.optimizers import sgd
from jaxvision.training.step import Task
from jaxvision.types import Array, PyTree

EVALUATED = 10_000  # training images, at most, on which losses and errors are taken

Layers = Callable[[np.ndarray], np.ndarray]
Where = Literal["own", "shallow", "lowest"]


def identity(drawn: np.ndarray) -> np.ndarray:
    """Return kernels [S, k, W, W] that are all the identity, in the place of those drawn."""
    return np.broadcast_to(np.eye(drawn.shape[-1], dtype=drawn.dtype), drawn.shape)


def as_drawn(drawn: np.ndarray) -> np.ndarray:
    """Return the kernels [S, k, W, W] as He's initializer has drawn them."""
    return drawn


def grown(trained: PyTree, kernels: np.ndarray) -> PyTree:
    """Return trained MLPs with more hidden layers, put before the output; their biases are zero.

    Args:
      trained: variables of S nets of ``models.mlp``, leaves [S, ...].
      kernels: of the k layers to add, [S, k, W, W].
    """
    params = trained["params"]
    added = {"kernel": kernels, "bias": np.zeros_like(kernels[..., 0, :])}
    hidden = {
        name: np.concatenate([leaf, added[name]], axis=1) for name, leaf in params["hidden"].items()
    }
    return trained | {"params": params | {"hidden": hidden}}


class Swept(NamedTuple):
    """What training at G rates on S seeds left behind."""

    loss: np.ndarray  # [G, S, E] nats, over training images; of chance where the run diverged
    error: np.ndarray  # [G, S, E]
    variables: PyTree  # at the end, leaves [G, S, ...]


@dataclasses.dataclass(frozen=True)
class Lab:
    """What all nets of a run share.

    Attributes:
      config: identity_construction's.
      data: the images.
      seeds: all of them: first those that are judged, then those that choose rates.
      judged: how many are judged.
      preprocess: see ``Task``.
    """

    config: Any
    data: Splits
    seeds: Sequence[int]
    judged: int
    preprocess: Callable

    def model(self, added: int, nonlinearity: Callable = jax.nn.relu) -> MLP:
        """Return the shallow net with ``added`` more hidden layers."""
        config = self.config
        sizes = config.depth + added, config.width, self.data.num_classes
        return MLP(*sizes, he_forward(), nonlinearity)

    def drawn(self, added: int, replicate: int = 0) -> PyTree:
        """Return fresh variables of the net on every seed, leaves [S, ...]."""
        keys = jnp.stack([stream(seed, "init", replicate) for seed in self.seeds])
        return initialize_runs(self.model(added), keys, self.data.train.images.shape[1:])

    def trainer(self, added: int) -> Trainer:
        """Return what trains the net; it is evaluated on training images, as the source has it."""
        config, train = self.config, self.data.train
        task = Task(apply_function(self.model(added)), partial(sgd, 0.0), self.preprocess)
        evaluated = train.sample(EVALUATED)
        return Trainer(task, train, evaluated, config.batch_size, config.period)

    def sweep(
        self, trainer: Trainer, start: PyTree, steps: int, advance: Callable[[int], None]
    ) -> Swept:
        """Train every seed's net from its start, leaves [S, ...], at every rate of the config."""
        rates = np.float32(self.config.learning_rates)
        rows = np.tile(np.arange(len(self.seeds)), len(rates))
        rate_of_runs = np.repeat(rates, len(self.seeds))
        runs = Runs(
            jax.tree.map(lambda leaf: leaf[rows], start),
            np.int32(self.seeds)[rows],
            {"learning_rate": rate_of_runs, "train_biases": np.ones_like(rate_of_runs)},
        )
        history = trainer.fit(runs, steps, advance, may_diverge=True)

        def by_rate(leaf: np.ndarray) -> np.ndarray:
            return leaf.reshape((len(rates), len(self.seeds), *leaf.shape[1:]))

        loss = by_rate(history.test["loss"])
        error = by_rate(history.test["error"])
        alive = np.isfinite(loss)
        train = self.data.train
        return Swept(
            loss=np.where(alive, loss, train.label_entropy),
            error=np.where(alive, error, train.chance_error),
            variables=jax.tree.map(by_rate, history.variables),
        )

    def best_rate(self, swept: Swept) -> int:
        """Return the row of the rate whose worst tuning seed ends with the lowest loss."""
        of_tuning = swept.loss[:, self.judged :, -1]
        worst = of_tuning.max(axis=1)
        return int(worst.argmin())

    def logits(self, added: int, variables: PyTree, nonlinearity: Callable) -> np.ndarray:
        """Return the logits [S, N, K] of the judged seeds' nets on training images."""
        apply = apply_function(self.model(added, nonlinearity))
        images = self.data.train.sample(self.config.images).images
        inputs = np.asarray(self.preprocess(images, None))

        def one(variables: PyTree, inputs: Array) -> Array:
            return apply(variables["params"], {}, inputs, train=False)[0]

        judged = jax.tree.map(lambda leaf: leaf[: self.judged], variables)
        every = runtime.jit(jax.vmap(one, in_axes=(0, None)))
        return jax.device_get(every({"params": judged["params"]}, inputs))


def octaves(deeper: str, shallow: str, where: Where = "own") -> Statistic:
    """Return the statistic log2(loss of one net over that of the other) [S] at the end.

    Args:
      deeper: a net of the record.
      shallow: another.
      where: "own", each at its own best rate; "shallow", both at the best rate of the shallow one;
        "lowest", both at the lowest rate.
    """

    def ended(record: Record, net: str, rate_of: str) -> np.ndarray:
        row = 0 if where == "lowest" else record.numbers["best_row"][rate_of]
        return record.arrays[f"{net}/loss"][row, :, -1]

    def statistic(record: Record) -> np.ndarray:
        rate_of = shallow if where == "shallow" else deeper
        loss = ended(record, deeper, rate_of)
        return np.log2(loss / ended(record, shallow, shallow))

    return statistic


def safe_rate(ratio: np.ndarray, rates: Sequence[float], bar: float) -> np.ndarray:
    """Return log2 of the largest rate [S] up to which a ratio [G, S] stays below the bar.

    A step below the grid where it is above the bar at the lowest rate.
    """
    so_far = np.logical_and.accumulate(ratio < bar, axis=0)
    holds = so_far.sum(axis=0)
    logs = np.log2(np.float64(rates))
    below = logs[0] - grid_step(rates)
    return np.insert(logs, 0, below)[holds]


def grid_step(rates: Sequence[float]) -> float:
    """Return the widest step between neighboring rates, in octaves; one octave for a single one."""
    steps = np.diff(np.log2(np.float64(rates)))
    return float(steps.max()) if steps.size else 1.0
