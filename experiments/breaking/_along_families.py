"""Nets that differ in one size: depth under two initializations, and width."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.breaking import _along as along
from experiments.breaking._along import Seen
from experiments.breaking._along_nets import Kind, Lab, Size
from experiments.breaking._along_pairs import Watched, medians, together_right
from jaxvision.progress import Progress


class Family(NamedTuple):
    """Nets of one arm that differ in one size.

    Attributes:
      arm: at whose snapshot after ``size_steps`` steps the usual size is read.
      label: in the figure.
      other: a value of what differs -> that net's size.
      usual: of the arm.
      values: of the others.
    """

    arm: str
    label: str
    other: Callable[[int], Size]
    usual: int
    values: Sequence[int]


class Found(NamedTuple):
    """Arrays 'family/quantity' [S, sizes] by rising size, and rates."""

    arrays: dict[str, np.ndarray]
    rates: dict[str, float]


def families_of(config: Any) -> dict[str, Family]:
    """Return the families that a run has, by name."""

    def deep(depth: int) -> Size:
        return Size(depth, config.width)

    def wide(width: int) -> Size:
        return Size(config.depth, width)

    every = {
        "depth_he": Family("he", "He", deep, config.depth, config.depths),
        "depth_xavier": Family("xavier", "Xavier", deep, config.depth, config.depths),
        "width": Family("he", "width", wide, config.width, config.widths),
    }
    return {
        name: family
        for name, family in every.items()
        if family.values and family.arm in config.arms
    }


def sizes_of(family: Family) -> np.ndarray:
    """Return the sizes of a family, rising."""
    return np.array(sorted({family.usual, *family.values}))


def measured_families(
    lab: Lab,
    families: Mapping[str, Family],
    watched: Mapping[str, Watched],
    arms: Mapping[str, Kind],
    config: Any,
    bar: Progress,
) -> Found:
    """Train the other sizes of every family and measure all on common images."""
    found = Found({}, {})
    for name, family in families.items():
        seen = {family.usual: at_size_steps(watched[family.arm], config)}
        for value in family.values:
            if value == family.usual:
                continue
            snapshots = lab.at_the_end(arms[family.arm], family.other(value))
            shown = along.given(snapshots, config)
            seen[value] = along.sweep(snapshots, shown, config, "population")
            found.rates[f"{name}/{value}"] = snapshots.learning_rate
        found.arrays.update(compared(name, [seen[value] for value in sorted(seen)]))
        bar.advance()
    return found


def at_size_steps(arm: Watched, config: Any) -> Seen:
    """Return the snapshot after ``size_steps`` alone, fields [S, 1, ...]."""
    place = config.snapshots.index(config.size_steps)
    return Seen(*(field[:, place : place + 1] for field in arm.seen))


def compared(name: str, seen: Sequence[Seen]) -> dict[str, np.ndarray]:
    """Return arrays 'name/quantity' [S, sizes] on the images that all have right.

    The loss's gradient is a mean over all images, as in its source.
    """
    counted = together_right([each.right for each in seen])
    columns = {
        "distance": [medians(each.distance, counted)[:, 0] for each in seen],
        "loss_slope": [each.loss_slope[:, 0].mean(-1) for each in seen],
        "margin_slope": [medians(each.margin_slope, counted)[:, 0] for each in seen],
        "error": [1 - each.right[:, 0].mean(-1) for each in seen],
    }
    arrays = {f"{name}/{key}": np.float32(np.stack(each, 1)) for key, each in columns.items()}
    return arrays | {f"{name}/paired": counted.sum(1)}


def slopes(values: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Return the power of size that values [S, sizes] follow, by least squares of logs: [S]."""
    x = np.log2(np.asarray(sizes, float))
    y = np.log2(values)
    x = x - x.mean()
    return (y * x).sum(1) / np.square(x).sum()
