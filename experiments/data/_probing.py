"""Probes on every layer of a seed's nets, for each task of features_off_the_shelf."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from experiments.data import _linear_probe as linear
from experiments.data import _transfer as transfer
from experiments.data._transfer import LAYERS, Lab
from jaxvision.data import Dataset, Splits
from jaxvision.random import probe as probe_key
from jaxvision.types import PyTree, UserError

Moment = Literal["start", "along", "end"]
Features = Mapping[str, np.ndarray]  # by layer [B, ...]
CHOOSING = 5  # every so many-th example of a probe chooses its penalty


class Task(NamedTuple):
    """What probes tell apart.

    Attributes:
      label: in the figure.
      images: of the "other" classes, of its "own", or of the "second" set.
      moments: when a net is probed.
      orders: the labels learned from are in so many other orders, one after the other: nothing can
        be learned. Where a layer parts the classes, one order is right or wrong on all of a class.
    """

    label: str
    images: Literal["other", "own", "second"]
    moments: tuple[Moment, ...]
    orders: int = 0


class Images(NamedTuple):
    """Examples to learn a probe from, and to judge it by."""

    train: Dataset
    test: Dataset


def check_sizes(config: Any, train: Dataset, classes: int) -> None:
    """Raise UserError unless the other classes have images enough, and subsets enough of each."""
    flag = f"--sizes={','.join(map(str, config.sizes))}"
    others = classes - classes // 2
    if list(config.sizes) != sorted(config.sizes):
        raise UserError(f"{flag}: from few to many, please")
    if config.sizes[0] < 2 * others:
        raise UserError(
            f"{flag}: {config.sizes[0]} images are fewer than probes of {others} classes need: two"
            f" of each, {2 * others}"
        )
    most = others * int(np.bincount(train.labels, minlength=classes).min())
    if config.sizes[-1] > most:
        raise UserError(
            f"{flag}: half of the classes of {config.dataset} have {most:,} images to learn from,"
            f" all classes alike, not {config.sizes[-1]:,}"
        )
    if list(config.snapshots) != sorted(config.snapshots) or config.snapshots[-1] >= config.steps:
        raise UserError(f"--snapshots: steps from early to late, before the last, {config.steps}")


def check_second(config: Any, second: Splits) -> None:
    """Raise UserError unless the second set has images enough of all its classes, to learn from.

    Fewer would be taken in silence, and test images of a class that nobody learned be judged.
    """
    labels, classes = second.train.labels, second.num_classes
    name, most = config.second_dataset, config.sizes[-1]
    there = classes * int(np.bincount(labels, minlength=classes).min())
    if most > there:
        raise UserError(
            f"--second_dataset={name} has {there:,} images to learn from, all {classes} classes"
            f" alike, not the {most:,} of --sizes"
        )
    if most < 2 * classes:
        raise UserError(
            f"--second_dataset={name} has {classes} classes: probes need two images of each,"
            f" {2 * classes}, not the {most:,} of --sizes"
        )


def images_of(lab: Lab, second: Splits, seed: int) -> dict[str, Images]:
    """Return a seed's images of the three kinds, those of probes with all classes alike."""
    config = lab.config
    most = config.sizes[-1]
    half = transfer.halves(lab.data.num_classes, seed)
    found = {}
    for name, classes in {"other": half.other, "own": half.own}.items():
        rows = transfer.rows_of(lab.train, classes, seed)[:most]
        test = transfer.of_classes(lab.data.test, classes)
        found[name] = Images(_rows(lab.train, rows), test.sample(config.test_images))
    everything = np.arange(second.num_classes)
    rows = transfer.rows_of(second.train, everything, seed)[:most]
    pair = Images(_rows(second.train, rows), second.test.sample(config.test_images))
    shape = lab.train.images.shape[1:]
    found["second"] = Images(
        *(Dataset(transfer.images_like(part.images, shape), part.labels) for part in pair)
    )
    return found


def probe_seed(
    lab: Lab,
    second: Splits,
    nets: Mapping[str, PyTree],
    tasks: Mapping[str, Task],
    place: int,
    seed: int,
    *,
    sized: bool = True,
) -> dict[str, np.ndarray]:
    """Return a seed's accuracies: tasks [T, L], by number of images [N, L], from scratch [N].

    Args:
      lab: of the run.
      second: the set that no net learns.
      nets: weights [S, T, ...]: ``own``, and by number of images those from scratch.
      tasks: what is told apart, by name.
      place: of the seed among the S.
      seed: itself.
      sized: probe fewer images too, and read the nets from scratch.
    """
    images = images_of(lab, second, seed)
    found: dict[str, list] = {}
    moments = len(lab.config.snapshots) + 2
    for moment in range(moments):
        net = transfer.run_of(nets["own"], place, moment)
        kind: Moment = {0: "start", moments - 1: "end"}.get(moment, "along")
        wanted = {name: task for name, task in tasks.items() if kind in task.moments}
        for name, task in wanted.items():
            probes = _probe_layers(lab, net, images[task.images], task, seed)
            for quantity, values in probes.items():
                found.setdefault(f"{name}/{quantity}", []).append(values)
        if kind == "end" and sized:
            found |= _by_size(lab, net, images["other"])
    if sized:
        found["scratch/accuracy"] = _from_scratch(lab, nets, images["other"].test, place, seed)
    return {name: np.asarray(values) for name, values in found.items()}


def _probe_layers(
    lab: Lab, net: PyTree, images: Images, task: Task, seed: int
) -> dict[str, np.ndarray]:
    """Return ``accuracy`` and ``held_out`` of a probe on each layer, [L] both.

    With shuffled labels they are means over several orders.
    """
    train, test = (lab.features(net, part.images) for part in images)
    labels = images.train.labels
    orders = [labels]
    if task.orders:
        keys = jax.random.split(probe_key(seed, "labels"), task.orders)
        orders = [jax.device_get(jax.random.permutation(key, labels)) for key in keys]
    found = [_probe_once(train, test, order, images.test.labels) for order in orders]
    return {name: np.mean([each[name] for each in found], axis=0) for name in found[0]}


def _probe_once(
    train: Features, test: Features, labels: np.ndarray, test_labels: np.ndarray
) -> dict[str, list[float]]:
    """Return ``accuracy`` and ``held_out`` of a probe on each layer's features, [L] both."""
    probes = [
        linear.probe(
            linear.Examples(train[layer], labels),
            linear.Examples(test[layer], test_labels),
            len(labels) // CHOOSING,
        )
        for layer in LAYERS
    ]
    return {
        "accuracy": [each.accuracy for each in probes],
        "held_out": [each.held_out_accuracy for each in probes],
    }


def _by_size(lab: Lab, net: PyTree, images: Images) -> dict[str, list[list[float]]]:
    """Return what probes make of fewer images of the other classes, ``size/...`` [N, L]."""
    found = {"size/accuracy": [], "size/held_out": []}
    plain = Task("", "other", ())
    for size in lab.config.sizes:
        fewer = Images(_rows(images.train, np.arange(size)), images.test)
        probes = _probe_layers(lab, net, fewer, plain, 0)
        for quantity, values in probes.items():
            found[f"size/{quantity}"].append(values)
    return found


def _from_scratch(
    lab: Lab, nets: Mapping[str, PyTree], test: Dataset, place: int, seed: int
) -> list[float]:
    """Return the accuracy of nets that learned the other classes from so many images [N]."""
    other = transfer.halves(lab.data.num_classes, seed).other
    sizes: Sequence[int] = lab.config.sizes
    found = []
    for size in sizes:
        logits = lab.features(transfer.run_of(nets[str(size)], place, -1), test.images)["fc8"]
        found.append(transfer.right_among(logits, test.labels, other))
    return found


def _rows(data: Dataset, rows: np.ndarray) -> Dataset:
    return Dataset(data.images[rows], data.labels[rows])
