"""The classifier of our own in whose features generated images are measured."""

from collections.abc import Callable
from functools import cached_property, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision import runtime
from jaxvision.data import Dataset, Splits
from jaxvision.data.augment import standardizer
from jaxvision.initializers import he_forward
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.layers import apply_function
from jaxvision.models.shallow import ShallowConvNet
from jaxvision.training.arms import Arm, make_runs
from jaxvision.training.fit import Trainer
from jaxvision.training.optimizers import adam
from jaxvision.training.schedules import Optimizer, cosine_decay, linear_warm_up, scheduled
from jaxvision.training.step import Task
from jaxvision.types import Array, PyTree, UserError

SEED = 0  # one ruler for all that is measured
RATE = 0.003
BATCH = 64
_CHUNK = 256  # images that are read at a time


class Plan(NamedTuple):
    """What a classifier is made of, and how long it learns by Adam.

    Attributes:
      channels: of its 3x3 convolutions.
      pooled: a max pool after each of them, or after which.
      units: of its dense layer: D, the features.
      steps: of training.
      falls: whether the rate climbs for a tenth of them and falls along half a cosine.
    """

    channels: tuple[int, ...]
    pooled: bool | tuple[bool, ...]
    units: int
    steps: int
    falls: bool


def small(units: int, steps: int) -> Plan:
    """Return two convolutions: enough for digits."""
    return Plan((16, 32), True, units, steps, falls=False)


def deep(side: int, units: int, steps: int) -> Plan:
    """Return five convolutions, for images of ``side`` pixels whose classes differ by outline.

    On ``shapes16k``, scaled to 16 pixels, they name 93 to 95 % of the test images after 2,400 steps
    or more; three convolutions, each of them pooled, name 70 %.
    """
    pooled = (False, True, False, True, side > 16)
    return Plan((16, 16, 32, 32, 64), pooled, units, steps, falls=True)


class Reading(NamedTuple):
    """What a ruler says of N images."""

    features: np.ndarray  # [N, D] of its penultimate layer, after the ReLU
    probabilities: np.ndarray  # [N, K]

    def of(self, rows: np.ndarray) -> "Reading":
        """Return what it says of some of them."""
        return Reading(self.features[rows], self.probabilities[rows])


class Ruler:
    """A trained classifier as a measure of images.

    Its features are divided by one number, so that their mean variance over the training images is
    1: distances do not depend on how large a classifier's numbers happen to be.

    Attributes:
      test_error: of the classifier, fraction.
    """

    def __init__(self, data: Splits, plan: Plan) -> None:
        shape = data.train.images.shape[1:]
        model = ShallowConvNet(
            plan.channels, plan.units, data.num_classes, he_forward(), plan.pooled
        )
        self._preprocess = standardizer(data.train)
        self._apply = apply_function(model)
        task = Task(self._apply, _optimizer(plan), self._preprocess)
        steps = plan.steps
        trainer = Trainer(task, data.train, data.test, BATCH, steps, runs_per_call=1)
        hyper = {"learning_rate": RATE, "train_biases": 1.0}
        runs = make_runs(
            {"": Arm(partial(initialize_runs, model, image_shape=shape), hyper)}, [SEED]
        )
        history = trainer.fit(runs, steps)
        self._variables = jax.tree.map(lambda leaf: leaf[0], history.variables)
        self.test_error = float(history.test["error"][0, -1])
        self._scale = np.float32(1)
        raw = self.read(data.train.images).features
        self._scale = np.float32(np.sqrt(raw.var(0).mean()))

    def read(self, images: np.ndarray) -> Reading:
        """Return features and probabilities of images uint8 [N, H, W, C]."""
        chunks = []
        for first in range(0, len(images), _CHUNK):
            some = images[first : first + _CHUNK]
            filled = np.resize(some, (_CHUNK, *some.shape[1:]))
            found = jax.device_get(self._program(self._variables, filled))
            chunks.append([leaf[: len(some)] for leaf in found])
        features, probabilities = map(np.concatenate, zip(*chunks, strict=True))
        return Reading(features / self._scale, probabilities)

    @cached_property
    def _program(self) -> Callable[[PyTree, Array], tuple[Array, Array]]:
        def one(variables: PyTree, images: Array) -> tuple[Array, Array]:
            inputs = self._preprocess(images, None)
            logits, activations, _ = self._apply(
                variables["params"], variables["batch_stats"], inputs, train=False
            )
            return jax.nn.relu(activations["dense"]), jax.nn.softmax(logits)

        return runtime.jit(one)


def _optimizer(plan: Plan) -> Optimizer:
    optimizer = partial(adam, 0.0)
    if not plan.falls:
        return optimizer
    warm_up = plan.steps // 10
    return scheduled(optimizer, linear_warm_up(warm_up), cosine_decay(warm_up, plan.steps))


def resized(data: Splits, side: int) -> Splits:
    """Return a data set with images of side x side pixels, linearly interpolated; 8 bits again.

    Raises:
      UserError: the images are not square.
    """
    height, width = data.train.images.shape[1:3]
    if height != width:
        raise UserError(f"square images are wanted, and those of {data.name} are {height}x{width}")
    if height == side:
        return data
    return data._replace(train=_resized(data.train, side), test=_resized(data.test, side))


def _resized(part: Dataset, side: int) -> Dataset:
    images = np.concatenate([_program(side)(some) for some in _batches(part.images)])
    return Dataset(images[: len(part.labels)], part.labels)


def _batches(images: np.ndarray) -> list[np.ndarray]:
    """Return images in batches of one size, the last filled up."""
    size = min(len(images), 2000)
    count = -(-len(images) // size)
    filled = np.resize(images, (count * size, *images.shape[1:]))
    return np.split(filled, count)


def _program(side: int) -> Callable[[Array], Array]:
    def one(images: Array) -> Array:
        b, _, _, c = images.shape
        pixels = images.astype(jnp.float32)
        larger = jax.image.resize(pixels, (b, side, side, c), "linear")
        return jnp.clip(jnp.round(larger), 0, 255).astype(jnp.uint8)

    return runtime.jit_once(one)
