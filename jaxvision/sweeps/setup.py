"""What a sweep trains: a net of any maker as a ``Task``, its starts as ``Runs``."""

import inspect
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import optax

from jaxvision import data as data_sets
from jaxvision.arguments import check_numbers, check_rate, check_whole, near
from jaxvision.data.dataset import Dataset
from jaxvision.dynamics.traced.layers import trace
from jaxvision.dynamics.traced.plan import Plan
from jaxvision.dynamics.traced.redraw import redrawn
from jaxvision.dynamics.traced.tapped import NORMS, run, zeros
from jaxvision.dynamics.watching import check_real, per_layer, plan_of
from jaxvision.initializers import Initializer
from jaxvision.models.foreign import Parts
from jaxvision.random import stream
from jaxvision.training.calls import Runs
from jaxvision.training.losses import Loss, check_labels
from jaxvision.training.mapping import Mapping as HowMapped
from jaxvision.training.step import Observed, Task
from jaxvision.types import Array, PyTree, UserError

Optimizer = Callable[[Array], optax.GradientTransformation]
Data = str | os.PathLike | tuple[Any, Any] | data_sets.Splits


def datasets(data: Data) -> tuple[Dataset, Dataset]:
    """Return the images to train on and to test on.

    Raises:
      UserError: it is no data.
    """
    if isinstance(data, str | os.PathLike):
        data = data_sets.load(data)
    if isinstance(data, data_sets.Splits):
        return data.train, data.test
    try:
        train, test = (_split(np.asarray(images), np.asarray(labels)) for images, labels in data)
    except (TypeError, ValueError) as error:
        wanted = "a name, a path, or ((train images, labels), (test images, labels))"
        raise UserError(f"the data must be {wanted}") from error
    if train.images.shape[1:] != test.images.shape[1:]:
        sizes = " and ".join(str(list(split.images.shape[1:])) for split in (train, test))
        raise UserError(f"training and test images are of two shapes, {sizes}: make them alike")
    return train, test


def _split(images: np.ndarray, labels: np.ndarray) -> Dataset:
    """Return images and their labels, which must be as many and whole numbers."""
    check_numbers("images", images)
    with np.errstate(invalid="ignore"):  # NaN is refused below
        whole = labels.astype(np.int32)
    if labels.dtype.kind in "iuf" and (labels != whole).any():
        odd = labels[labels != whole].flat[0]
        raise UserError(f"labels are whole numbers that count classes, and one is {odd}")
    if not images.shape or not labels.shape or not 0 < len(images) == len(labels):
        shapes = f"images {list(images.shape)} with labels {list(labels.shape)}"
        raise UserError(f"{shapes}: a split needs at least one image, and a label for each")
    return Dataset(images, whole)


def watched_plan(first: Parts, inputs: Array) -> Plan:
    """Return the net's layers, in train mode.

    Raises:
      UserError: a parameter has no gradient, the net does not take the inputs or has no layer.
    """
    check_real(first.params)
    key = stream(0, "dropout")

    def apply(params: PyTree, images: Array) -> Array:
        return first.call(params, first.state, images, train=True, key=key)[0]

    return plan_of(apply, first.params, inputs)


def mapping_of(plan: Plan) -> HowMapped:
    """Return how runs share a device: on CPU those of a conv net are faster one by one."""
    convolutions = ("conv2d", "conv_general_dilated")
    return "map" if any(layer.primitive in convolutions for layer in plan.layers) else "vmap"


def check_classes(splits: tuple[Dataset, ...], plan: Plan) -> None:
    """Raise UserError where labels are not one of the net's classes for each output."""
    _, *inner, classes = plan.output.shape
    for split in splits:
        check_labels(split.labels, (len(split.labels), *inner), classes)


def check_initializers(initializers: Mapping[str, Initializer | None]) -> None:
    """Raise UserError where they are no initializers by name."""
    wanted = "as in {'He': jv.initializers.he_backward()}, or None for the net's own"
    if not isinstance(initializers, Mapping):
        raise UserError(f"initializers go by their names, {wanted}")
    for name, initializer in initializers.items():
        if initializer is None:
            continue
        try:
            inspect.signature(initializer).bind("key", "shape", "dtype")
        except TypeError as error:
            raise UserError(f"{name} is no initializer: (key, shape, dtype), {wanted}") from error


def check_names(verb: str, takes: Sequence[str], net: Any, given: Mapping[str, Any]) -> None:
    """Raise UserError where a name is one that neither the verb nor the net takes."""
    for name in given:
        if name in takes or _net_takes(net, name):
            continue
        close = " or ".join(near(name, takes))
        hint = f"did you mean {close}?" if close else f"it takes {', '.join(takes)}"
        raise UserError(f"{verb} has no {name!r}, nor has the net: {hint}")


def _net_takes(net: Any, name: str) -> bool:
    """Return whether a net takes an argument of that name, as far as it can be known."""
    try:
        takes = inspect.signature(net).parameters
    except (TypeError, ValueError):  # it comes by ``start``, or is of a kind that does not say
        return True
    if any(found.kind is inspect.Parameter.VAR_KEYWORD for found in takes.values()):
        return True
    of_apply = inspect.signature(net.apply).parameters if hasattr(net, "apply") else {}
    return name in takes or name in of_apply


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise UserError where one is no seed, or is there twice."""
    for seed in seeds:
        check_whole("seeds", seed, 0)
    _check_once("seeds", seeds)


def check_rates(rates: Sequence[float]) -> None:
    """Raise UserError where one is no rate, or is there twice."""
    for rate in rates:
        check_rate("learning_rates", rate)
    _check_once("learning_rates", rates)


def _check_once(name: str, along: Sequence[float]) -> None:
    values = [float(value) for value in along]
    twice = [value for value in values if values.count(value) > 1]
    if twice:
        raise UserError(f"{name} names {twice[0]:g} twice: leave one out")


def check_optimizer(optimizer: Any) -> None:
    """Raise UserError where it is no function of the rate."""
    if not callable(optimizer):
        shown = repr(optimizer) if isinstance(optimizer, str) else type(optimizer).__name__
        raise UserError(
            f"optimizer={shown} is no function of the rate: one is optax.adam, uncalled"
        )


def starts_of(
    draw: Callable[..., Parts],
    plan: Plan,
    initializers: Mapping[str, Initializer | None],
    seeds: Sequence[int],
) -> dict[str, list[PyTree]]:
    """Return the variables of each seed, by the name of the initializer."""
    found = {name: [] for name in initializers}
    for seed in seeds:
        own = draw(key=stream(seed, "init"))
        for name, initializer in initializers.items():
            params = own.params
            if initializer is not None:
                key = stream(seed, "init", 1)
                params = redrawn(plan, params, initializer, key)
            found[name].append({"params": params, "batch_stats": own.state})
    return found


def runs_of(starts: dict[str, list[PyTree]], places: Mapping[str, list]) -> Runs:
    """Return the runs: all seeds of the first rate, of the second, ..., by initializer."""
    rates, seeds = places["learning_rate"], places["seed"]
    trees = []
    for of_seeds in starts.values():
        trees += jax.device_get(of_seeds) * len(rates)
    variables = jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
    each_seed = np.repeat(np.float32(rates), len(seeds))
    by_rate = np.tile(each_seed, len(starts))
    by_seed = np.tile(np.int32(seeds), len(starts) * len(rates))
    return Runs(variables, by_seed, {"learning_rate": by_rate})


def task_of(
    call: Callable, plan: Plan, optimizer: Optimizer, preprocess: Callable, loss: Loss
) -> Task:
    """Return what the trainer needs of a net that knows nothing of taps."""

    def apply(params, state, images, *, train, taps=None, dropout_key=None):
        def function(params, images):
            return call(params, state, images, train, dropout_key)

        if taps is None:
            output, state = function(params, images)
            return output, OrderedDict(), state
        traced = trace(function, params, images)
        (output, state), read = run(traced, NORMS, params, images, taps)
        return output, OrderedDict(read), state

    def probe(observed: Observed) -> dict[str, Array]:
        return per_layer(plan, observed.activations, observed.tap_gradients, observed.gradients)

    return Task(
        apply=apply,
        optimizer=lambda hyper: optimizer(hyper["learning_rate"]),
        preprocess=preprocess,
        loss=loss,
        probe=probe,
        taps=lambda params: zeros(plan, NORMS),
    )
