"""A small laboratory: a few digits, a small net of each kind, and how to train it."""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from jaxvision.data import Dataset, load
from jaxvision.data.augment import normalize
from jaxvision.initializers import he_backward
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.layers import apply_function
from jaxvision.models.mlp import MLP
from jaxvision.models.plain import PlainConvNet, Stage
from jaxvision.random import stream
from jaxvision.training.fit import Runs, Trainer
from jaxvision.training.optimizers import sgd
from jaxvision.training.step import Task

NETS = {
    "mlp": MLP(5, 8, 10, he_backward()),
    "conv": PlainConvNet(2, (Stage(3, 4, 2), Stage(3, 4, 3)), 8, 10, he_backward()),
}
WEIGHT_DECAY = 0.01


def preprocess(images, key):
    del key
    return normalize(images, np.float32(70.0), np.float32(90.0))


def _start(kind):
    keys = jnp.stack([stream(seed, "init") for seed in range(5)])
    return jax.device_get(initialize_runs(NETS[kind], keys, (8, 8, 1)))


@pytest.fixture(scope="session")
def lab():
    """Return the data, the nets' five starts, and functions that make tasks, runs and trainers."""
    splits = load("digits")
    train = Dataset(splits.train.images[:50], splits.train.labels[:50])
    test = Dataset(splits.test.images[:37], splits.test.labels[:37])
    starts = {kind: _start(kind) for kind in NETS}
    applies = {kind: apply_function(net) for kind, net in NETS.items()}

    def task(kind, probe=None, optimizer=sgd):
        return Task(applies[kind], partial(optimizer, WEIGHT_DECAY), preprocess, probe=probe)

    def trainer(kind, probe=None, devices=2, period=4, optimizer=sgd, **options):
        mesh = Mesh(np.array(jax.devices()[:devices]), ("run",))
        made = task(kind, probe, optimizer)
        return Trainer(made, train, test, 16, period, mesh=mesh, **options)

    def runs(kind, rows=range(3), rates=(0.01, 0.02, 0.03, 0.04, 0.05)):
        rows = list(rows)
        rates = np.asarray(rates, np.float32)[rows]
        hyper = {"learning_rate": rates, "train_biases": np.ones_like(rates)}
        variables = jax.tree.map(lambda leaf: leaf[rows], starts[kind])
        return Runs(variables, np.asarray(rows, np.int32), hyper)

    return SimpleNamespace(
        train=train, test=test, task=task, trainer=trainer, runs=runs, starts=starts
    )
