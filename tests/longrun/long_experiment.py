"""A whole experiment with long runs, so that a test can start it as a user would, and kill it.

Source: none. Run it as python tests/longrun/long_experiment.py --preset=tiny --workdir=DIR. The
environment variable PAUSE makes every period so many seconds longer, for whoever must be in time.
"""

import contextlib
import dataclasses
import os
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from jaxvision import cli
from jaxvision.data import Dataset, load
from jaxvision.data.augment import normalize, pad_crop_flip
from jaxvision.dynamics import probes
from jaxvision.fields import flagged
from jaxvision.longrun.long import fit_long
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.layers import apply_function
from jaxvision.models.resnet import ResNet
from jaxvision.report import plots
from jaxvision.report.claims import Claim, Share
from jaxvision.training.arms import Arm, make_runs
from jaxvision.training.fit import Trainer
from jaxvision.training.looks import Look
from jaxvision.training.optimizers import adam
from jaxvision.training.schedules import scheduled, step_decay, warm_up
from jaxvision.training.step import Task
from jaxvision.trees import named_leaves


@dataclasses.dataclass(frozen=True)
class Config:
    steps: int = flagged(96, "Steps.", low=1)
    period: int = flagged(4, "Steps between two evaluations.", low=1)
    seeds: int = flagged(3, "Runs.", low=1)
    parts: int = flagged(1, "Nets trained one after the other.", low=1)


PRESETS = {"tiny": Config(), "cpu": Config(seeds=4)}
NET = ResNet((1,), 4, 10)
SHARDS = 4  # the same bits on up to four devices
LOOKED_AT = (0, 3, 46, 48)


def task() -> Task:
    """Return a task that uses everything a run carries or draws: dropout, crops, batch norm."""
    bare = apply_function(NET)

    def apply(params, batch_stats, images, *, train, taps=None, dropout_key=None):
        if train:
            kept = jax.random.bernoulli(dropout_key, 0.9, images.shape)
            images = images * kept / np.float32(0.9)
        return bare(params, batch_stats, images, train=train, taps=taps)

    def preprocess(images, key):
        images = images if key is None else pad_crop_flip(key, images, 1)
        return normalize(images, np.float32(70.0), np.float32(90.0))

    rules = step_decay((46,)), warm_up(below=0.8, window=6, factor=0.5)
    return Task(apply, scheduled(partial(adam, 0.01), *rules), preprocess)


def slowed(progress):
    """Return ``progress`` of which every period takes PAUSE seconds longer."""

    @contextlib.contextmanager
    def shown(*arguments):
        def advance(*told, **shown):
            bar.advance(*told, **shown)
            time.sleep(float(os.environ.get("PAUSE", "0")))

        with progress(*arguments) as bar:
            yield SimpleNamespace(advance=advance)

    return shown


def measure(config, progress, workdir):
    splits = load("digits")
    train = Dataset(splits.train.images[:50], splits.train.labels[:50])
    test = Dataset(splits.test.images[:37], splits.test.labels[:37])
    trainer = Trainer(task(), train, test, 16, config.period, shards=SHARDS)
    start = partial(initialize_runs, NET, image_shape=(8, 8, 1))
    hyper = {"learning_rate": 0.003, "train_biases": 1.0}
    look = Look(
        trainer.watch_step(probes.per_layer), [at for at in LOOKED_AT if at <= config.steps]
    )
    runs = make_runs({"net": Arm(start, hyper)}, range(config.seeds))
    arrays = {}
    for number in range(config.parts):
        part = workdir and workdir.part(f"net{number}")
        history = fit_long(trainer, runs, config.steps, part, look=look, progress=slowed(progress))
        arrays |= {f"net{number}/seen_{k}": v for k, v in history.looks.items()}
        arrays |= {f"net{number}/{k}": v for k, v in named_leaves(history.variables).items()}
        arrays |= {f"net{number}/train_{k}": v for k, v in history.train.items()}
        arrays |= {f"net{number}/test_{k}": v for k, v in history.test.items()}
    return {}, arrays


def claims(config):
    learned = lambda record: record.arrays["net0/train_loss"][:, -1] < 2.0  # noqa: E731
    return [Claim("learns", "none", "it learns", learned, Share())]


def plot(record, config):
    figure, axes = plots.new_figure(1, 1)
    losses = record.arrays["net0/test_loss"]
    plots.seed_band(axes[0, 0], range(losses.shape[1]), losses, "k", "test loss")
    return plots.finish(figure, record, "It learns", net="MLP", optimizer="SGD", paper="none")


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
