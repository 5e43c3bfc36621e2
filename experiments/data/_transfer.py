"""Nets that learn half of the classes of a set, and the features of every layer.

One trainer serves all seeds and all ways to train: which classes and images a run learns from is
its pool of rows. A net has an output for every class of the set; a run never sees the labels of the
classes that it does not learn.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.data._size_lab import scaler
from experiments.data._subsets import subset
from jaxvision import runtime
from jaxvision.data import Dataset, Splits
from jaxvision.data.dataset import hold_out
from jaxvision.initializers import he_forward
from jaxvision.models.alexnet import AlexNet, alexnet
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.layers import apply_function, max_pool
from jaxvision.random import probe
from jaxvision.training.arms import Arm, fit_arms
from jaxvision.training.fit import Trainer
from jaxvision.training.looks import Look, snapshot
from jaxvision.training.optimizers import sgd
from jaxvision.training.step import Task
from jaxvision.types import Array, PyTree, UserError

LAYERS = ("pixels", "conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
POOLED = ("conv1", "conv2", "conv5")  # as in the net, what follows sees them pooled
HELD_OUT = 10  # every so many-th training image, class by class, chooses rates
AT_ONCE = 100  # images whose features are computed together
LEAST_CLASSES = 4  # two to learn and two to be held out


class Half(NamedTuple):
    """The classes of a seed: those its net learns, and the others."""

    own: np.ndarray
    other: np.ndarray


def halves(classes: int, seed: int) -> Half:
    """Return a seed's classes; where their number is odd the net learns the smaller half."""
    order = jax.device_get(jax.random.permutation(probe(seed, "classes"), classes))
    return Half(np.sort(order[: classes // 2]), np.sort(order[classes // 2 :]))


def rows_of(data: Dataset, classes: np.ndarray, seed: int) -> np.ndarray:
    """Return the images of these classes in a seed's order, all of them alike at its front."""
    order = subset(data.labels, seed)
    return order[np.isin(data.labels[order], classes)]


def images_like(images: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return images [N, ...] in another shape H, W, C: nearest pixels, gray as equal channels."""
    height, width, channels = shape
    down = np.arange(height) * images.shape[1] // height
    across = np.arange(width) * images.shape[2] // width
    scaled = images[:, down][:, :, across]
    if scaled.shape[-1] == channels:
        return scaled
    gray = scaled.mean(-1, keepdims=True).round().astype(np.uint8)
    return np.repeat(gray, channels, axis=-1)


class Way(NamedTuple):
    """How a net is trained: on its own classes, or from scratch on images of the others."""

    scratch: bool
    images: int | None = None  # None: all there are


@dataclasses.dataclass(frozen=True)
class Lab:
    """What trains and reads the nets of a run of the experiment.

    Attributes:
      config: features_off_the_shelf's.
      data: the set whose classes are halved.
      train, held_out: the parts of its training images.
      model: the net.
      trainer: of all runs.
    """

    config: Any
    data: Splits
    train: Dataset
    held_out: Dataset
    model: AlexNet
    trainer: Trainer

    def fit(
        self,
        ways: Mapping[Any, tuple[Way, float]],
        seeds: Sequence[int],
        look: Look,
        advance: Callable[[int], None],
    ) -> dict[Any, PyTree]:
        """Return the weights [S, T, ...] of each way at its rate, at the steps of the look."""
        arms = {name: self._arm(*way) for name, way in ways.items()}
        steps = self.config.steps
        found = fit_arms(self.trainer, arms, seeds, steps, advance, look)
        return {name: history.looks for name, history in found.items()}

    def choose_rate(
        self, way: Way, seeds: Sequence[int], advance: Callable[[int], None]
    ) -> tuple[float, dict[str, float]]:
        """Return the rate of lowest error on held-out images, and ``{str(rate): error}``."""
        rates = self.config.learning_rates
        last = Look(snapshot, (self.config.steps,))
        nets = self.fit({rate: (way, rate) for rate in rates}, seeds, last, advance)
        errors = {}
        for rate in rates:
            found = []
            for i, seed in enumerate(seeds):
                half = halves(self.data.num_classes, seed)
                classes = half.other if way.scratch else half.own
                chosen = of_classes(self.held_out, classes)
                logits = self.features(run_of(nets[rate], i, 0), chosen.images)["fc8"]
                found.append(1 - right_among(logits, chosen.labels, classes))
            errors[rate] = float(np.mean(found))
        best = min(errors, key=errors.__getitem__)
        return best, {str(rate): error for rate, error in errors.items()}

    def features(self, net: PyTree, images: np.ndarray) -> dict[str, np.ndarray]:
        """Return what each of ``LAYERS`` makes of images uint8 [N, H, W, C], [N, D] each.

        Rectified, and pooled where the net pools; ``fc8`` as it is.
        """
        count = len(images)
        filled = np.resize(images, (-(-count // AT_ONCE) * AT_ONCE, *images.shape[1:]))
        batches = filled.reshape(-1, AT_ONCE, *images.shape[1:])
        parts = [jax.device_get(self._features(net, batch)) for batch in batches]
        return {name: np.concatenate([part[name] for part in parts])[:count] for name in LAYERS}

    @cached_property
    def _features(self) -> Callable[[PyTree, Array], dict[str, Array]]:
        task = self.trainer.task

        def of_batch(net: PyTree, images: Array) -> dict[str, Array]:
            inputs = task.preprocess(images, None)
            _, activations, _ = task.apply(net["params"], net["batch_stats"], inputs, train=False)
            layers = {"pixels": inputs} | {
                name: layer if name == LAYERS[-1] else jnp.maximum(layer, 0)
                for name, layer in activations.items()
            }
            layers |= {name: max_pool(layers[name]) for name in POOLED}
            return {name: layer.reshape(len(images), -1) for name, layer in layers.items()}

        return runtime.jit(of_batch)

    def _arm(self, way: Way, rate: float) -> Arm:
        draw = partial(initialize_runs, self.model, image_shape=self.train.images.shape[1:])
        hyper = {"learning_rate": rate, "train_biases": 1.0}
        return Arm(draw, hyper, pool=partial(self._pool, way))

    def _pool(self, way: Way, seed: int) -> np.ndarray:
        half = halves(self.data.num_classes, seed)
        rows = rows_of(self.train, half.other if way.scratch else half.own, seed)
        return np.resize(rows[: way.images], len(self.train.labels))


def make_lab(config: Any, data: Splits) -> Lab:
    """Return the lab of a run.

    Raises:
      UserError: the set has too few classes or images.
    """
    classes = data.num_classes
    if classes < LEAST_CLASSES:
        raise UserError(
            f"--dataset={data.name}: {classes} classes are too few: two are learned and two held"
            f" out, so {LEAST_CLASSES} are needed"
        )
    train, held_out = hold_out(data.train, HELD_OUT)
    shape = train.images.shape[1:]
    model = alexnet(config.width, config.dense, classes, he_forward(), shape[0])
    task = Task(apply_function(model), partial(sgd, 0.0), scaler(train.images))
    trainer = Trainer(task, train, held_out, config.batch_size, period=config.steps)
    return Lab(config, data, train, held_out, model, trainer)


def of_classes(data: Dataset, classes: np.ndarray) -> Dataset:
    """Return the examples of these classes, as stored."""
    rows = np.flatnonzero(np.isin(data.labels, classes))
    return Dataset(data.images[rows], data.labels[rows])


def right_among(logits: np.ndarray, labels: np.ndarray, classes: np.ndarray) -> float:
    """Return the accuracy of logits [N, K] where only these classes are allowed."""
    return float((classes[logits[:, classes].argmax(1)] == labels).mean())


def run_of(nets: PyTree, seed: int, snapshot: int) -> PyTree:
    """Return one net of weights [S, T, ...]."""
    return jax.tree.map(lambda leaf: leaf[seed, snapshot], nets)
