"""Nets that differ in one size: depth under two initializations, and width."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.breaking import _along as along
from experiments.breaking._along import Seen
from experiments.breaking._along_nets import Kind, Lab, Size, Snapshots, steps_of_sizes, together
from experiments.breaking._along_pairs import Watched, medians, rows_of, together_right
from jaxvision.progress import Progress


class Family(NamedTuple):
    """Nets of one arm that differ in one size.

    Attributes:
      arm: at whose snapshots the usual size is read.
      other: a value of what differs -> that net's size.
      usual: of the arm.
      values: of the others.
    """

    arm: str
    other: Callable[[int], Size]
    usual: int
    values: Sequence[int]


class Found(NamedTuple):
    """Arrays 'family/quantity' [S, sizes] by rising size, and rates."""

    arrays: dict[str, np.ndarray]
    rates: dict[str, float]


def possible_families(config: Any) -> dict[str, Family]:
    """Return every family by name, with no other values where a run has none."""

    def deep(depth: int) -> Size:
        return Size(depth, config.width)

    def wide(width: int) -> Size:
        return Size(config.depth, width)

    return {
        "depth_he": Family("he", deep, config.depth, config.depths),
        "depth_xavier": Family("xavier", deep, config.depth, config.depths),
        "width": Family("he", wide, config.width, config.widths),
    }


def families_of(config: Any) -> dict[str, Family]:
    """Return the families that a run has, by name."""
    return {
        name: family
        for name, family in possible_families(config).items()
        if family.values and family.arm in config.arms
    }


def sizes_of(family: Family) -> np.ndarray:
    """Return the sizes of a family, rising."""
    return np.array(sorted({family.usual, *family.values}))


class Member(NamedTuple):
    """A value of a family that is not its arm's own."""

    family: str
    value: int


def measured_families(
    lab: Lab,
    families: Mapping[str, Family],
    watched: Mapping[str, Watched],
    arms: Mapping[str, Kind],
    config: Any,
    bar: Progress,
) -> Found:
    """Train the other sizes of every family and measure all along training on common images."""
    nets = _trained(lab, families, arms)
    attacked = _attacked(nets, families, config)
    found = Found({}, {})
    for one, snapshots in nets.items():
        found.rates[f"{one.family}/{one.value}"] = snapshots.learning_rate
    for name, family in families.items():
        seen = {family.usual: until_size_steps(watched[family.arm], config)}
        for one, each in attacked.items():
            if one.family == name:
                seen[one.value] = each
        rising = [seen[value] for value in sorted(seen)]
        found.arrays.update(compared(name, rising))
        found.arrays.update(compared_along(name, rising))
        bar.advance()
    return found


def _trained(
    lab: Lab, families: Mapping[str, Family], arms: Mapping[str, Kind]
) -> dict[Member, Snapshots]:
    """Return the nets of every size that is not its arm's own."""
    nets = {}
    for name, family in families.items():
        kind = arms[family.arm]
        others = [value for value in family.values if value != family.usual]
        for value in others:
            size = family.other(value)
            nets[Member(name, value)] = lab.sized(kind, size)
    return nets


def _attacked(
    nets: Mapping[Member, Snapshots], families: Mapping[str, Family], config: Any
) -> dict[Member, Seen]:
    """Attack all snapshots of all runs of one size, whatever their start, by one program."""
    of_size: dict[Size, list[Member]] = {}
    for one in nets:
        size = families[one.family].other(one.value)
        of_size.setdefault(size, []).append(one)
    found = {}
    for alike in of_size.values():
        snapshots = together([nets[one] for one in alike])
        shown = along.given(snapshots, config)
        seen = along.sweep(snapshots, shown, config, "population")
        for place, one in enumerate(alike):
            found[one] = rows_of(seen, place, config.seeds)
    return found


def until_size_steps(arm: Watched, config: Any) -> Seen:
    """Return the snapshots that other sizes have too, fields [S, T, ...]."""
    places = [config.snapshots.index(step) for step in steps_of_sizes(config)]
    return Seen(*(field[:, places] for field in arm.seen))


def at_size_steps(arm: Watched, config: Any) -> Seen:
    """Return the snapshot after ``size_steps`` alone, fields [S, 1, ...]."""
    place = config.snapshots.index(config.size_steps)
    return Seen(*(field[:, place : place + 1] for field in arm.seen))


def compared(name: str, seen: Sequence[Seen]) -> dict[str, np.ndarray]:
    """Return arrays 'name/quantity' [S, sizes] on the images that all have right at the end.

    The loss's gradient is a mean over all images, as in its source.
    """
    seen = [Seen(*(field[:, -1:] for field in each)) for each in seen]
    counted = together_right([each.right for each in seen])
    columns = {
        "distance": [medians(each.distance, counted)[:, 0] for each in seen],
        "loss_slope": [each.loss_slope[:, 0].mean(-1) for each in seen],
        "margin_slope": [medians(each.margin_slope, counted)[:, 0] for each in seen],
        "error": [1 - each.right[:, 0].mean(-1) for each in seen],
    }
    arrays = {f"{name}/{key}": np.float32(np.stack(each, 1)) for key, each in columns.items()}
    return arrays | {f"{name}/paired": counted.sum(1)}


def compared_along(name: str, seen: Sequence[Seen]) -> dict[str, np.ndarray]:
    """Return distances along training on the images that all have right at every snapshot.

    Keys: 'name/along' [S, sizes, T], 'name/along_error' likewise, 'name/along_paired' [S].
    """
    counted = together_right([each.right for each in seen])
    distances = [medians(each.distance, counted) for each in seen]
    errors = [1 - each.right.mean(-1) for each in seen]
    return {
        f"{name}/along": np.float32(np.stack(distances, 1)),
        f"{name}/along_error": np.float32(np.stack(errors, 1)),
        f"{name}/along_paired": counted.sum(1),
    }


def slopes(values: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Return the power of size that values [S, sizes] follow, by least squares of logs: [S]."""
    x = np.log2(np.asarray(sizes, float))
    y = np.log2(values)
    x = x - x.mean()
    return (y * x).sum(1) / np.square(x).sum()
