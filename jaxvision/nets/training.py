"""From a spec to trained runs: its tables of names, its data, its functions, its training."""

import datetime
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision import data
from jaxvision.data import views
from jaxvision.data.augment import pad_crop_flip, standardizer, turned
from jaxvision.longrun.long import LongHistory, fit_long
from jaxvision.longrun.workdir import Part
from jaxvision.models.builders import INITIALIZERS, NETS
from jaxvision.models.drawing import initialize, initialize_runs
from jaxvision.models.layers import apply_function
from jaxvision.models.whitened import WhitenedConvNet, whitened
from jaxvision.nets.spec import Spec, key_of
from jaxvision.parallel import distributed
from jaxvision.parallel.mesh import make_mesh
from jaxvision.progress import Progress, progress, silent
from jaxvision.report import provenance
from jaxvision.training.arms import Arm, make_runs
from jaxvision.training.fit import History, Trainer
from jaxvision.training.looks import Look, snapshot
from jaxvision.training.losses import Loss, cross_entropy, smoothed_cross_entropy
from jaxvision.training.optimizers import adam, caffe_sgd, momentum_sgd, nesterov_sgd, sgd
from jaxvision.training.schedules import (
    Optimizer,
    cosine_decay,
    linear_warm_up,
    scheduled,
    step_decay,
)
from jaxvision.training.step import Task
from jaxvision.types import Array, PyTree, UserError

OPTIMIZERS: dict[str, Callable] = {
    "sgd": sgd,
    "caffe_sgd": caffe_sgd,
    "momentum_sgd": momentum_sgd,
    "nesterov_sgd": nesterov_sgd,
    "adam": adam,
}
WHITE = 255  # the brightest pixel
MOMENTUM = 0.9  # of ``momentum_sgd`` and ``nesterov_sgd``; the others have theirs built in
WHITENED_BY = 2000  # training images whose patches a whitening layer is taken from


class Run(NamedTuple):
    """What is kept of one run."""

    weights: dict[int, PyTree]  # {'params', 'batch_stats'} after so many steps
    # 'test_error', 'seconds' of training, and 'made': on what it was trained, and by which code
    note: dict[str, Any]


class Net:
    """A spec, its data and its functions.

    Attributes:
      spec: what it is.
      data: what it learns from, a sample where the spec wants one, and is tested on.
      key: see ``key_of``.
      apply: see ``models.layers.apply_function``.
      standardize: uint8 images, None -> the inputs of ``apply``.

    Raises:
      UserError: the spec names what there is not, or the data cannot be loaded.
    """

    def __init__(self, spec: Spec) -> None:
        make = _named(NETS, spec.net, "net")
        kernel_init = _named(INITIALIZERS, spec.initializer, "initializer")()
        optimizer = _optimizer(spec)
        loaded = data.load(spec.dataset, image_size=spec.image_size)
        self.spec = spec
        self.data = loaded._replace(train=_learned(spec, loaded.train))
        self.key = key_of(spec, loaded.identity.digest)
        self.standardize = standardizer(self.data.train)
        self._shape = loaded.train.images.shape[1:]
        self._model = make(loaded.num_classes, self._shape, kernel_init, **spec.sizes)
        self.apply = apply_function(self._model)
        self._task = Task(self.apply, optimizer, self._preprocess, _loss(spec))

    def template(self) -> PyTree:
        """Return shapes and dtypes of one run's variables; computes nothing."""
        draw = partial(initialize, self._model, image_shape=self._shape)
        return jax.eval_shape(draw, jax.random.key(0))

    def train(
        self, seeds: Sequence[int], at: Sequence[int], folder: Path | None = None
    ) -> Iterator[tuple[int, Run]]:
        """Train runs, as many at a time as there are devices; yields them by seed.

        A device trains one run after the other. Side by side they would round otherwise, and a
        run's weights would depend on how many there are.

        Args:
          seeds: of the runs.
          at: steps whose weights are kept; the last one is the spec's number of steps.
          folder: where a training keeps checkpoints until it is done, and goes on from them; None
            keeps it in memory.

        Raises:
          UserError: the loss is not finite, or the batch is larger than the training set.
          Stopped: a signal asked for it, and what was done is in the folder.
        """
        trainer = self.trainer(by_epoch=folder is not None)
        at_once = trainer.mesh.shape["run"]
        look = Look(snapshot, at)
        made = _maker()
        show = progress if distributed.is_main() and folder is None else silent
        with show(self.spec.steps * len(seeds), f"training {self.spec}") as bar:
            for first in range(0, len(seeds), at_once):
                together = seeds[first : first + at_once]
                history, seconds = self._fit(trainer, together, look, bar, folder)
                for row, seed in enumerate(together):
                    error = float(history.test["error"][row, -1])
                    note = {"test_error": error, "seconds": seconds, "made": made}
                    yield seed, Run(_weights(history, row, at), note)

    def trainer(self, by_epoch: bool) -> Trainer:
        """Return what trains runs, one after the other on each device."""
        mesh = make_mesh()
        return Trainer(
            self._task,
            self.data.train,
            self.data.test,
            self.spec.batch_size,
            self._period(by_epoch),
            mapping="map",
            runs_per_call=mesh.shape["run"],
            mesh=mesh,
        )

    def _period(self, by_epoch: bool) -> int:
        """Return the steps between two moves of the bar, or two checkpoints."""
        steps = self.spec.steps
        epoch = len(self.data.train.labels) // self.spec.batch_size
        if by_epoch and epoch and steps % epoch == 0:
            return epoch
        return steps // 10 if steps % 10 == 0 else steps

    def arm(self, learning_rate: float) -> Arm:
        """Return how runs start and what drives them, at one rate."""
        hyper = {
            "learning_rate": learning_rate,
            "train_biases": 1.0,
            "momentum": MOMENTUM,
        }
        return Arm(self._start, hyper)

    def _start(self, keys: Array) -> PyTree:
        """Return the variables of a run for every key, before the first step."""
        variables = initialize_runs(self._model, keys, image_shape=self._shape)
        if not isinstance(self._model, WhitenedConvNet):
            return variables
        some = self.data.train.sample(WHITENED_BY)
        return whitened(variables, self.standardize(some.images, None))

    def _fit(
        self,
        trainer: Trainer,
        seeds: Sequence[int],
        look: Look,
        bar: Progress,
        folder: Path | None,
    ) -> tuple[History | LongHistory, float]:
        """Return the history of some runs, and the seconds of their training."""
        runs = make_runs({"net": self.arm(self.spec.learning_rate)}, seeds)
        clock = time.perf_counter()
        if folder is None:
            history = trainer.fit(runs, self.spec.steps, bar.advance, look=look)
            return history, time.perf_counter() - clock
        part = Part(folder / f"seeds-{'-'.join(map(str, seeds))}", owner={"net": self.key})
        show = progress if distributed.is_main() else silent
        history = fit_long(trainer, runs, self.spec.steps, part, look=look, progress=show)
        return history, part.earlier_seconds + time.perf_counter() - clock

    def _preprocess(self, images: Array, key: Array | None) -> Array:
        if self.spec.turn and key is not None:
            key, turn_key = jax.random.split(key)
            images = turned(turn_key, images, self.spec.turn)
        if self.spec.viewed and key is not None:
            key, view_key = jax.random.split(key)
            images = _viewed(view_key, images)
        inputs = self.standardize(images, None)
        if self.spec.pad and key is not None:
            return pad_crop_flip(key, inputs, self.spec.pad)
        return inputs


def _learned(spec: Spec, train: data.Dataset) -> data.Dataset:
    """Return the images of a spec with the labels that are learned."""
    some = _images_of(spec, train)
    if not spec.shuffled_labels:
        return some
    order = np.argsort(np.random.PCG64(0).random_raw(len(some.labels)), kind="stable")
    return some._replace(labels=some.labels[order])


def _viewed(key: Array, images: Array) -> Array:
    """Return pixels 0 to 255 in views of their own."""
    shares = images.astype(jnp.float32) / WHITE
    return WHITE * views.viewed(key, shares, views.PAPER)


def _images_of(spec: Spec, train: data.Dataset) -> data.Dataset:
    images = len(train.labels) if spec.images is None else spec.images
    if not spec.left_out:
        return train.sample(images)
    left = train.without_sample(images)
    if not len(left.labels):
        raise UserError(f"a sample of {images} images leaves none of {len(train.labels)} out")
    return left


def _optimizer(spec: Spec) -> Optimizer:
    optimizer = partial(_named(OPTIMIZERS, spec.optimizer, "optimizer"), spec.weight_decay)
    rules = [step_decay(spec.drops)] if spec.drops else []
    if spec.warm_up is not None:
        if not 0 <= spec.warm_up < spec.steps:
            raise UserError(f"a warm-up of {spec.warm_up} steps does not fit into {spec.steps}")
        rules += [linear_warm_up(spec.warm_up), cosine_decay(spec.warm_up, spec.steps)]
    return scheduled(optimizer, *rules) if rules else optimizer


def _loss(spec: Spec) -> Loss:
    if not 0 <= spec.label_smoothing < 1:
        raise UserError(f"label_smoothing={spec.label_smoothing}: use a share from 0 to below 1")
    return smoothed_cross_entropy(spec.label_smoothing) if spec.label_smoothing else cross_entropy


def _named(table: Mapping[str, Any], name: str, what: str) -> Any:
    if name not in table:
        raise UserError(f"there is no {what} {name!r}: use {', '.join(table)}")
    return table[name]


def _maker() -> dict[str, Any]:
    """Return what trains now: code, versions, device, date."""
    known = provenance.describe(datetime.datetime.now(datetime.UTC), 0.0)
    names = ("commit", "dirty", "versions", "device", "started")
    return {name: known[name] for name in names}


def _weights(history: History | LongHistory, row: int, at: Sequence[int]) -> dict[int, PyTree]:
    """Return one run's variables by step, from a history with a look at them."""
    return {
        step: jax.tree.map(lambda leaf, i=i: leaf[row, i], history.looks)
        for i, step in enumerate(at)
    }
