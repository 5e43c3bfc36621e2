"""Classifiers with and without convolutions: what each is, what it costs, how it is trained."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.depth._histograms import histograms
from jaxvision.cli import ShowProgress
from jaxvision.data import Dataset, Splits
from jaxvision.data.augment import per_pixel_mean
from jaxvision.data.dataset import hold_out
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.layers import Apply, apply_function
from jaxvision.models.stacks import stacked_axes
from jaxvision.training.arms import Arm, fit_arms
from jaxvision.training.fit import History, Trainer
from jaxvision.training.looks import Look, Moment
from jaxvision.training.optimizers import sgd
from jaxvision.training.step import Task, evaluate
from jaxvision.trees import named_leaves
from jaxvision.types import Array, PyTree, UserError

EVALUATED = 128  # images of a batch in evaluation
AT_A_TIME = 2000  # images whose features are made at once


# The order in which a net sees the pixels, by their number.


def as_they_are(pixels: int) -> np.ndarray:
    """Return the order of the image itself."""
    return np.arange(pixels)


def shuffled(pixels: int) -> np.ndarray:
    """Return one fixed random order, the same for all images and nets."""
    return np.argsort(np.random.PCG64(0).random_raw(pixels), kind="stable")


def reordered(images: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return images [N, H, W, C] with their pixels in another order, whole pixels moved."""
    n, h, w, c = images.shape
    return images.reshape(n, h * w, c)[:, order].reshape(images.shape)


# What a net is given: bytes.


def raw(images: np.ndarray) -> np.ndarray:
    """Return the images themselves."""
    return images


def by_hand(images: np.ndarray) -> np.ndarray:
    """Return histograms of gradients and colors, uint8 [N, D]: entries are at most 1."""
    starts = range(0, len(images), AT_A_TIME)
    parts = [histograms(images[start : start + AT_A_TIME]) for start in starts]
    return np.round(255 * np.concatenate(parts)).astype(np.uint8)


class Kind(NamedTuple):
    """A kind of classifier.

    Attributes:
      label: in the figure, and its color.
      given: images -> what the model is given, uint8 [N, ...].
      model: ``(config, width, classes, image size) -> module``.
      widths: of a config, those tried.
      rates: of a config, the learning rates tried.
    """

    label: str
    given: Callable[[np.ndarray], np.ndarray]
    model: Callable
    widths: Callable[[Any], tuple[int, ...]]
    rates: Callable[[Any], tuple[float, ...]]


class Plan(NamedTuple):
    """What a net of one width costs, and how long it is trained.

    Attributes:
      cost: multiply-adds of an image on its way forward.
      steps: of a training.
    """

    cost: int
    steps: int


class Compared(NamedTuple):
    """What a kind's nets reached.

    Attributes:
      chosen: by order of the pixels, width and rate.
      tried: by order, then by width and rate: held-out error; NaN where there was no choice.
      histories: by order, on the seeds compared.
    """

    chosen: dict[str, tuple[int, float]]
    tried: dict[str, dict[tuple[int, float], float]]
    histories: dict[str, History]

    def told(self, order: str, plans: Mapping[int, Plan]) -> dict[str, Any]:
        """Return what a record tells of a net beside its errors."""
        width, rate = self.chosen[order]
        tried = {
            f"width {w}, rate {r:g}": error
            for (w, r), error in self.tried[order].items()
            if not np.isnan(error)
        }
        return {
            "width": width,
            "learning_rate": rate,
            "steps": plans[width].steps,
            "multiply_adds": plans[width].cost,
            "held_out_errors": tried,
        }


class Views(NamedTuple):
    """A data set as one kind of classifier is given it, in every order of the pixels.

    Attributes:
      train, held_out, test: images uint8 [N, V, ...].
      means: of the training images, float32 [V, ...].
      scales: the standard deviation around them, [V].
    """

    train: Dataset
    held_out: Dataset
    test: Dataset
    means: np.ndarray
    scales: np.ndarray


def multiply_adds(model: Any, shape: tuple[int, ...]) -> int:
    """Return the multiplications with a weight that one input of a shape costs on its way forward.

    A weight of a dense layer is used once, one of a convolution at every place of its output.
    ``model`` keeps the contract of ``models.layers``.
    """
    inputs = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), inputs)
    _, activations = jax.eval_shape(model.apply, variables, inputs)
    kernels = named_leaves(variables["params"])
    total = 0
    for layer, activation in activations.items():
        kernel = kernels[f"{layer}/kernel"]
        places = activation.shape[1 + stacked_axes(layer, kernel) : -1]
        total += math.prod(places) * math.prod(kernel.shape)
    return total


@dataclasses.dataclass(frozen=True)
class Lab:
    """What all classifiers of a run share.

    Attributes:
      config: imagenet_2012's.
      data: the images.
      orders: of the pixels, by name.
      seeds: those compared.
      tuning_seeds: those that choose widths and rates.
    """

    config: Any
    data: Splits
    orders: Mapping[str, Callable]
    seeds: range
    tuning_seeds: range

    def views(self, kind: Kind) -> Views:
        """Return what a kind is given; every fifth training image is held out to choose by."""
        shape = self.data.train.images.shape
        orders = [order(shape[1] * shape[2]) for order in self.orders.values()]

        def seen(part: Dataset) -> Dataset:
            images = np.asarray(part.images)
            views = [kind.given(reordered(images, order)) for order in orders]
            return Dataset(np.stack(views, axis=1), part.labels)

        train, held_out = hold_out(self.data.train)
        train = seen(train)
        means = per_pixel_mean(train.images)
        some = train.sample(AT_A_TIME).images - means
        scales = some.std(axis=(0, *range(2, some.ndim)))
        return Views(train, seen(held_out), seen(self.data.test), means, scales)

    def model(self, kind: Kind, width: int) -> Any:
        """Return the kind's model at a width."""
        return kind.model(self.config, width, self.data.num_classes, self.image_size)

    @property
    def image_size(self) -> int:
        """The images' height in pixels."""
        return self.data.train.images.shape[1]

    def trainer(self, kind: Kind, width: int, views: Views) -> Trainer:
        """Return what trains the kind's nets of a width."""
        config = self.config
        task = Task(
            apply=of_a_view(apply_function(self.model(kind, width))),
            optimizer=partial(sgd, config.weight_decay),
            preprocess=as_given,
        )
        # One size of call for choosing and for judging: one compilation.
        per_call = len(self.orders) * len(self.seeds)
        sizes = config.batch_size, config.period
        return Trainer(task, views.train, views.test, *sizes, runs_per_call=per_call)

    def arm(self, kind: Kind, width: int, views: Views, view: int, rate: float) -> Arm:
        """Return nets of a width that see one of the views, driven at a rate."""
        model = self.model(kind, width)
        kept = {
            "view": np.float32(view),
            "mean": views.means[view],
            "scale": views.scales[view],
        }

        def initialize(keys: Array) -> PyTree:
            drawn = initialize_runs(model, keys, kept["mean"].shape)
            copies = {name: np.stack([value] * len(keys)) for name, value in kept.items()}
            return {"params": drawn["params"], "batch_stats": copies}

        return Arm(initialize, {"learning_rate": rate, "train_biases": 1.0})

    def plans(self, kind: Kind, budget: int) -> dict[int, Plan]:
        """Return by width what the kind's nets cost and how long they are trained: whole periods.

        ``budget``: multiply-adds on the way forward that a net may spend on a training, an image a
        step.

        Raises:
          UserError: a net cannot afford one period.
        """
        period = self.config.period
        shape = kind.given(np.asarray(self.data.train.images[:1])).shape[1:]
        found = {}
        for width in kind.widths(self.config):
            cost = multiply_adds(self.model(kind, width), shape)
            affordable = budget // cost
            periods = min(affordable, self.config.most_steps) // period
            if not periods:
                raise UserError(
                    f"{kind.label}, width {width}: the conv net's compute pays for {affordable} "
                    f"steps, less than --period={period}; take a smaller width or more --steps"
                )
            found[width] = Plan(cost, periods * period)
        return found

    def compare(self, kind: Kind, plans: Mapping[int, Plan], progress: ShowProgress) -> Compared:
        """Return what the kind's nets reach in every order, each at its best width and rate."""
        views = self.views(kind)
        rates = kind.rates(self.config)
        trainers = {width: self.trainer(kind, width, views) for width in plans}
        tried = {order: {} for order in self.orders}
        for width, plan in plans.items():
            if len(plans) * len(rates) == 1:  # no choice: nothing is trained for it
                found = {order: {rates[0]: float("nan")} for order in self.orders}
            else:
                found = self.choose(kind, width, views, trainers[width], plan.steps, progress)
            for order, errors in found.items():
                tried[order] |= {(width, rate): error for rate, error in errors.items()}
        chosen = {order: min(errors, key=errors.__getitem__) for order, errors in tried.items()}
        histories = {}
        for width in sorted({width for width, _ in chosen.values()}):
            arms = {
                order: self.arm(kind, width, views, view, chosen[order][1])
                for view, order in enumerate(self.orders)
                if chosen[order][0] == width
            }
            steps = plans[width].steps
            total = len(arms) * len(self.seeds) * steps
            with progress(total, f"{kind.label}: training") as bar:
                trainer = trainers[width]
                histories |= fit_arms(trainer, arms, self.seeds, steps, bar.advance)
        return Compared(chosen, tried, histories)

    def choose(
        self,
        kind: Kind,
        width: int,
        views: Views,
        trainer: Trainer,
        steps: int,
        progress: ShowProgress,
    ) -> dict[str, dict[float, float]]:
        """Return by order and rate the held-out error of the worst tuning seed, inf if one died."""
        rates = kind.rates(self.config)
        grid = {
            (order, rate): self.arm(kind, width, views, view, rate)
            for view, order in enumerate(self.orders)
            for rate in rates
        }
        look = Look(held_out_error(trainer.task), (steps,), views.held_out)
        total = len(grid) * len(self.tuning_seeds) * steps
        with progress(total, f"{kind.label}, width {width}: choosing a rate") as bar:
            found = fit_arms(trainer, grid, self.tuning_seeds, steps, bar.advance, look)
        errors = {order: {} for order in self.orders}
        for (order, rate), history in found.items():
            alive = np.isfinite(history.test["loss"][:, -1]).all()
            errors[order][rate] = float(history.looks.max()) if alive else float("inf")
        return errors


def error_of(history: History, chance: float) -> np.ndarray:
    """Return the test error [S, E]; a run that has diverged errs as often as chance."""
    return np.where(np.isfinite(history.test["loss"]), history.test["error"], chance)


def as_given(images: Array, key: Array | None) -> Array:
    """Return the bytes as they are: what a net sees of them is its own, see ``of_a_view``."""
    del key
    return images


def of_a_view(apply: Apply) -> Apply:
    """Return ``apply`` on the view [B, ...] that a net sees of images [B, V, ...], normalized.

    Which one, its mean and its scale are variables of the net that are not trained.
    """

    def apply_to_view(
        params: PyTree, batch_stats: PyTree, images: Array, **given: Any
    ) -> tuple[Array, dict[str, Array], PyTree]:
        view = batch_stats["view"].astype(jnp.int32)
        seen = jnp.take(images, view, axis=1).astype(jnp.float32)
        inputs = (seen - batch_stats["mean"][None]) / batch_stats["scale"]
        logits, activations, _ = apply(params, {}, inputs, **given)
        return logits, activations, batch_stats

    return apply_to_view


def held_out_error(task: Task) -> Callable[[Moment, Dataset], Array]:
    """Return the function of a look at a net's error on held-out images."""

    def error(moment: Moment, data: Dataset) -> Array:
        return evaluate(task, moment.state, data.images, data.labels, EVALUATED)["error"]

    return error
