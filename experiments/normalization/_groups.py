"""Groups of nets for model_averaging: their images, their branches, what is kept of a run."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from experiments.normalization._noisy import Lab, Way, nested_rows
from jaxvision.data import Dataset, Splits
from jaxvision.training.arms import make_runs
from jaxvision.training.averaging import averages
from jaxvision.training.looks import Moment
from jaxvision.types import PyTree, UserError


def few_images(images: int, data: Splits) -> tuple[Splits, Dataset]:
    """Return the set with so many training images, and a set of those left out.

    Of these there are as many as test images, or as there are.

    Raises:
      UserError: too few would be left.
    """
    train = data.train
    rows = nested_rows(train.labels, 0)
    if images > len(rows) - data.num_classes:
        raise UserError(
            f"--images={images} leaves none of the {len(rows)} training images for temperatures:"
            f" at most {len(rows) - data.num_classes}"
        )
    kept, left = rows[:images], rows[images:][: len(data.test.labels)]
    few = Dataset(train.images[kept], train.labels[kept])
    rest = Dataset(train.images[left], train.labels[left])
    return data._replace(train=few), rest


def equal_width(width: int, depth: int, inputs: int, classes: int, members: int) -> int:
    """Return the width of one net that has as many weights as ``members`` nets of ``width``."""

    def weights(width: int) -> int:
        hidden = (depth - 2) * (width + 1) * width
        return (inputs + 1) * width + hidden + (width + 1) * classes

    wanted, wide = members * weights(width), width
    while weights(wide) < wanted:
        wide += 1
    return wide


def snapshots_of(steps: int, count: int) -> list[int]:
    """Return the steps of ``count`` snapshots of a run's second half, evenly; the last one too."""
    between = max(steps // 2 // count, 1)
    return [steps - between * i for i in reversed(range(count))]


def with_averages(moment: Moment, data: PyTree) -> dict[str, PyTree]:
    """Return a run's weights, and the averages that its optimizer keeps, each as a net."""
    del data
    found = {"last": moment.variables}
    for name, params in averages(moment.state.opt_state).items():
        found[name] = moment.variables | {"params": params}
    return found


def grouped(variables: PyTree, members: int) -> PyTree:
    """Return leaves [S * M, ...] as [S, M, ...]."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, members, *leaf.shape[1:]), variables)


def branched(
    lab: Lab, way: Way, rate: float, starts: PyTree, count: int, advance: Callable[[int], None]
) -> PyTree:
    """Return what ``count`` runs become that start from one net: leaves [S, count, ...].

    Args:
      lab: whose seeds are those of all members.
      way: to train them; the rate begins anew.
      rate: learning rate.
      starts: of each group, leaves [S, ...].
      count: branches; their orders are those of the group's first members.
      advance: told what is done.
    """
    groups = len(jax.tree.leaves(starts)[0])
    seeds = np.asarray(lab.seeds).reshape(groups, -1)[:, :count].ravel()
    rows = np.arange(len(lab.data.train.labels))
    runs = make_runs({"branch": lab.arm(way, rate, rows)}, seeds)
    repeated = jax.tree.map(lambda leaf: np.repeat(leaf, count, axis=0), starts)
    trainer = lab.trainer(lab.kind_of(way), len(seeds))
    history = trainer.fit(
        runs._replace(variables=repeated), lab.steps(way), advance, may_diverge=True
    )
    return grouped(history.variables, count)


def check(config: Any) -> None:
    """Raise UserError for sizes that do not fit each other."""
    if config.n_branches > config.members:
        raise UserError(
            f"--n_branches={config.n_branches} is more than the {config.members} members of a"
            " group: raise --members"
        )
    late = [step for step in config.shared_steps if step >= config.steps]
    if late:
        raise UserError(f"--shared_steps={late[0]} is not before the last of {config.steps} steps")
    if config.n_snapshots > config.steps // 2:
        raise UserError(
            f"--n_snapshots={config.n_snapshots} do not fit into half of {config.steps} steps"
        )


def sized(
    ways: Mapping[str, Way], config: Any, image_shape: tuple[int, ...], classes: int
) -> dict[str, Way]:
    """Return the ways with what follows from the config: the wide net's width, the long run."""
    inputs = int(np.prod(image_shape))
    found = dict(ways)
    if "wide" in ways:
        width = equal_width(config.width, config.depth, inputs, classes, config.members)
        found["wide"] = dataclasses.replace(ways["wide"], width=width)
    if "long" in ways:
        found["long"] = dataclasses.replace(ways["long"], longer=config.members)
    return found
