"""Ways to answer with a net that has batch norm, and their errors, looked at while it trains.

A net's training does not depend on its running averages, so one net keeps those of every momentum.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.data import Dataset
from jaxvision.models.inference import Inference, answering, population_statistics
from jaxvision.models.layers import Apply
from jaxvision.models.normalization import own_statistics
from jaxvision.training.looks import Moment
from jaxvision.types import Array, PyTree, UserError


class Way(NamedTuple):
    """A way to answer with a trained net.

    Attributes:
      label: in the figure.
      inference: see ``models.inference``.
      momentum: of the running statistics.
      biased: divide sums of squares by m, not by m - 1; of ``population`` alone.
      again: take the population's statistics over other training batches.
    """

    label: str
    inference: Inference
    momentum: float = 0.9
    biased: bool = False
    again: bool = False


class Seen(NamedTuple):
    """What a look reads beside the net.

    Attributes:
      calibration: two sets of training batches, uint8 [2, N, B, H, W, C].
      images, labels: to answer about, [M, H, W, C] and [M].
      companies: {kind: {size: images [N, size, H, W, C] and labels [N, size]}}: the same in
        batches that train mode would take its statistics of.
    """

    calibration: Array
    images: Array
    labels: Array
    companies: dict[str, dict[int, tuple[Array, Array]]]


def tracking(apply: Apply, momenta: Collection[float]) -> Apply:
    """Return ``apply`` with ``batch_stats`` {momentum: running statistics}, all of one training."""

    def tracked(
        params: PyTree, batch_stats: PyTree, images: Array, *, train: bool, **given: Any
    ) -> tuple[Array, dict[str, Array], PyTree]:
        some = batch_stats[min(momenta)]
        if not train:
            logits, activations, _ = apply(params, some, images, train=False, **given)
            return logits, activations, batch_stats
        with own_statistics():
            logits, activations, own = apply(params, some, images, train=True, **given)

        def averaged(momentum: float) -> PyTree:
            def average(old: Array, new: Array) -> Array:
                return momentum * old + (1 - momentum) * new

            return jax.tree.map(average, batch_stats[momentum], own)

        return logits, activations, {momentum: averaged(momentum) for momentum in momenta}

    return tracked


def rows_of_batches(data: Dataset, size: int, seed: int, *, one_class: bool = False) -> np.ndarray:
    """Return the rows [N, size] of shuffled batches; what fills no batch is left over.

    Raises:
      UserError: there is no whole batch.
    """
    rng = np.random.default_rng(seed)
    labels = np.asarray(data.labels)
    shuffled = rng.permutation(len(labels))
    groups = [shuffled]
    if one_class:
        groups = [shuffled[labels[shuffled] == label] for label in np.unique(labels)]
    whole = [rows[: len(rows) // size * size].reshape(-1, size) for rows in groups]
    found = np.concatenate(whole)
    if not len(found):
        kind = "batch of one class" if one_class else "batch"
        raise UserError(f"{len(labels)} images make no {kind} of {size}: take smaller ones")
    return rng.permutation(found)


def companies_of(
    data: Dataset, sizes: Sequence[int]
) -> dict[str, dict[int, tuple[np.ndarray, np.ndarray]]]:
    """Return the images in batches of each size, mixed and of one class: see ``Seen``."""

    def batches(size: int, *, one_class: bool) -> tuple[np.ndarray, np.ndarray]:
        rows = rows_of_batches(data, size, 1, one_class=one_class)
        return data.images[rows], data.labels[rows]

    return {
        "mixed": {size: batches(size, one_class=False) for size in sizes},
        "one_class": {size: batches(size, one_class=True) for size in sizes},
    }


def errors(
    apply: Apply, ways: Mapping[str, Way], preprocess: Callable, moment: Moment, seen: Seen
) -> dict[str, PyTree]:
    """Return a net's error by each way, and in train mode by kind and size of company.

    ``start_left`` is the share of its start that the slowest running mean still holds.
    """
    prepare = lambda images: preprocess(images, None)  # noqa: E731
    calibration = jax.vmap(jax.vmap(prepare))(seen.calibration)
    inputs = prepare(seen.images)
    running = moment.state.batch_stats
    found: dict[str, PyTree] = {}
    for name, way in ways.items():
        net = {"params": moment.state.params, "batch_stats": running[way.momentum]}
        answer = _answer(apply, net, way, calibration, moment.state.step)
        found[name] = _error(answer(inputs), seen.labels)
    in_train_mode = answering(apply, net, "batch")
    found["company"] = {
        kind: {
            size: _error(jax.vmap(lambda x: in_train_mode(prepare(x)))(images), labels)
            for size, (images, labels) in by_size.items()
        }
        for kind, by_size in seen.companies.items()
    }
    settled = population_statistics(apply, net["params"], net["batch_stats"], calibration[0])
    found["start_left"] = _start_left(running[max(running)], settled)
    return found


def _answer(
    apply: Apply, net: PyTree, way: Way, calibration: Array, steps: Array
) -> Callable[[Array], Array]:
    batches = calibration[1 if way.again else 0]
    if not way.biased:
        return answering(
            apply, net, way.inference, batches=batches, steps=steps, momentum=way.momentum
        )
    unbiased = population_statistics(apply, net["params"], net["batch_stats"], batches)
    count = batches.shape[1]  # numbers of a channel in a batch: the nets are dense
    return answering(apply, net | {"batch_stats": biased(unbiased, count)}, "ema")


def biased(batch_stats: PyTree, count: int) -> PyTree:
    """Return the statistics with variances divided by ``count``, not by one less."""

    def divided(path: tuple, leaf: Array) -> Array:
        return leaf * (count - 1) / count if path[-1].key == "var" else leaf

    return jax.tree_util.tree_map_with_path(divided, batch_stats)


def _error(logits: Array, labels: Array) -> Array:
    return jnp.mean(jnp.argmax(logits, -1) != labels)


def _start_left(running: PyTree, settled: PyTree) -> Array:
    """Return 1 minus the share of the settled means, which started at 0, that is reached."""

    def means(tree: PyTree) -> Array:
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        return jnp.concatenate([leaf.ravel() for path, leaf in leaves if path[-1].key == "mean"])

    reached, whole = means(running), means(settled)
    return 1 - reached @ whole / (whole @ whole)
