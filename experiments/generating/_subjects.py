"""The nets of ``preferred_inputs``: those whose preferred inputs are made, and their judges.

Three families learn from one set. ``plain`` nets know its K classes. ``odd`` nets know three times
as many: the classes as they are, as mosaics (quarters of the image exchanged across the center) and
blurred. ``dense`` nets have no convolution and know K. The first two are one architecture, with 3 K
outputs, and learn in one program; of a plain net the outputs beyond K never hear of an image.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxvision.adversarial.nets import over_nets
from jaxvision.data import Dataset, Splits
from jaxvision.data.augment import standardizer
from jaxvision.generative import anchors
from jaxvision.initializers import he_forward
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.layers import Apply, apply_function
from jaxvision.models.mlp import MLP
from jaxvision.models.shallow import ShallowConvNet
from jaxvision.random import stream
from jaxvision.training.optimizers import adam
from jaxvision.training.order import Orders
from jaxvision.training.schedules import cosine_decay, linear_warm_up, scheduled
from jaxvision.training.step import Task
from jaxvision.types import Array, Hyper, PyTree

KINDS = ("as they are", "mosaic", "blurred")
BLUR = 0.1  # of a side, the standard deviation
RATE = 0.003
BATCH = 32
DEPTH = 3  # of the dense nets


class Budget(NamedTuple):
    """How large nets are and how long they learn.

    Attributes:
      channels: of the convolutions.
      units: of the dense layer, and of the dense nets' layers.
      steps: of all nets.
    """

    channels: tuple[int, ...]
    units: int
    steps: int


class Family(NamedTuple):
    """N nets of one architecture.

    Attributes:
      apply: see ``models.layers.apply_function``.
      preprocess: of pixels 0 to 255.
      variables: leaves [N, ...].
    """

    apply: Apply
    preprocess: Callable[[Array, Array | None], Array]
    variables: PyTree

    def at(self, rows: slice | np.ndarray) -> "Family":
        """Return some of the nets."""
        return self._replace(variables=jax.tree.map(lambda leaf: leaf[rows], self.variables))


def odd_copies(data: Splits) -> Dataset:
    """Return training images of 3 K classes: as they are, as mosaics, and blurred."""
    train = data.train
    height, width = train.images.shape[1:3]
    mosaic = np.roll(train.images, (height // 2, width // 2), (1, 2))
    blurred = anchors.blurred(train.images, BLUR * height)
    labels = [train.labels + kind * data.num_classes for kind in range(len(KINDS))]
    images = np.concatenate([train.images, mosaic, blurred])
    return Dataset(images, np.concatenate(labels).astype(np.int32))


def learned(
    data: Splits, budget: Budget, plain: Sequence[int], odd: Sequence[int]
) -> tuple[Family, Family]:
    """Return the plain nets and the odd ones, a net for each seed; training is one program."""
    copies = odd_copies(data)
    model = ShallowConvNet(
        budget.channels, budget.units, len(KINDS) * data.num_classes, he_forward()
    )
    seeds = [*plain, *odd]
    everything = np.arange(len(copies.labels))
    as_they_are = np.resize(np.arange(len(data.train.labels)), len(everything))
    pools = [as_they_are] * len(plain) + [everything] * len(odd)
    both = _family(model, data, copies, budget.steps, seeds, np.stack(pools))
    first = slice(len(plain))
    second = slice(len(plain), None)
    return both.at(first), both.at(second)


def dense(data: Splits, budget: Budget, seeds: Sequence[int]) -> Family:
    """Return dense nets, one for each seed."""
    model = MLP(DEPTH, budget.units, data.num_classes, he_forward())
    return _family(model, data, data.train, budget.steps, seeds, None)


def _family(
    model: ShallowConvNet | MLP,
    data: Splits,
    learns: Dataset,
    steps: int,
    seeds: Sequence[int],
    pools: np.ndarray | None,
) -> Family:
    """Train by Adam, its rate climbing for a tenth of the steps and falling along half a cosine."""
    preprocess = standardizer(data.train)
    apply = apply_function(model)
    warm_up = steps // 10
    rules = linear_warm_up(warm_up), cosine_decay(warm_up, steps)
    task = Task(apply, scheduled(partial(adam, 0.0), *rules), preprocess)
    keys = jnp.stack([stream(seed, "init") for seed in seeds])
    start = initialize_runs(model, keys, data.train.images.shape[1:])
    count = len(seeds)
    hyper = {
        "learning_rate": np.full(count, RATE, np.float32),
        "train_biases": np.ones(count, np.float32),
    }
    orders = Orders(seeds, len(learns.labels), BATCH, pools)
    rows = orders.rows(0, steps)
    found, _ = trained(task, start, hyper, seeds, rows, learns)
    return Family(apply, preprocess, found)


def trained(
    task: Task,
    start: PyTree,
    hyper: Mapping[str, np.ndarray],
    seeds: Sequence[int],
    rows: np.ndarray,
    data: Dataset,
) -> tuple[PyTree, dict[str, np.ndarray]]:
    """Train R runs in one program, without looking at test images.

    Args:
      task: the functions of a run, or whatever has its methods ``start`` and ``step``.
      start: variables, leaves [R, ...].
      hyper: [R] each.
      seeds: of the runs.
      rows: the training images of every step [R, T, B].
      data: what they are rows of.

    Returns:
      Variables [R, ...] and metrics [R, T].
    """

    def one(run: PyTree, data: Dataset) -> tuple[PyTree, Hyper]:
        state = task.start(run["start"], run["hyper"])

        def step(state: PyTree, rows: Array) -> tuple[PyTree, Hyper]:
            batch = data.images[rows], data.labels[rows]
            return task.step(state, *batch, run["hyper"], run["seed"])

        state, metrics = lax.scan(step, state, run["rows"])
        return {"params": state.params, "batch_stats": state.batch_stats}, metrics

    runs = {"start": start, "hyper": hyper, "seed": np.int32(seeds), "rows": rows}
    return over_nets(one, runs, data, mapping="map")
