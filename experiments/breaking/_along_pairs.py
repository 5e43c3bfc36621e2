"""From what all nets of all arms showed to numbers that may be compared: on the same images."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from experiments.breaking import _along as along
from experiments.breaking._along import Fooling, Seen
from experiments.breaking._along_nets import Kind, Lab, Snapshots, together
from jaxvision.models.inference import Inference

Rows = TypeVar("Rows", Seen, Fooling)


class Watched(NamedTuple):
    """One arm: its nets, what they showed, fields [S, T, ...], and log2 of normalized margins."""

    snapshots: Snapshots
    seen: Seen
    fooling: Fooling
    margins: np.ndarray


def watch(
    arms: Mapping[str, Kind],
    nets: Mapping[str, Snapshots],
    config: Any,
    inference: Inference,
    judged_on: str,
) -> dict[str, Watched]:
    """Attack every arm along training; arms of one architecture share one compiled sweep."""
    found = {}
    for architecture in dict.fromkeys(arms[name].net for name in nets):
        alike = [name for name in nets if arms[name].net == architecture]
        snapshots = together([nets[name] for name in alike])
        shown = along.given(snapshots, config, judged_on)
        seen = along.sweep(snapshots, shown, config, inference)
        fooling = along.universal_along(snapshots, shown, config, inference)
        for place, name in enumerate(alike):
            own = rows_of(seen, place, config.seeds)
            handed = rows_of(fooling, place, config.seeds)
            margins = along.log_normalized_margins(nets[name], own, config.depth)
            found[name] = Watched(nets[name], own, handed, margins)
    return found


def rows_of(fields: Rows, place: int, count: int) -> Rows:
    """Return the ``count`` runs of one kind, of fields [S, ...] of kinds one after the other."""
    first = place * count
    return jax.tree.map(lambda field: field[first : first + count], fields)


def together_right(seen: Sequence[np.ndarray]) -> np.ndarray:
    """Return which images every net of a seed has right at every step, bool [S, B].

    Args:
      seen: for each arm bool [S, T, B].
    """
    return np.concatenate(seen, axis=1).all(1)


def medians(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Return the median of values [S, T, B] over the images that count, [S, B]: [S, T].

    An image without a value at a step is left out there; NaN where none is left.
    """
    known = np.isfinite(values)
    kept = np.where(counted[:, None] & known, values, np.nan)
    some = np.isfinite(kept).any(-1)
    found = np.full(some.shape, np.nan)
    found[some] = np.nanmedian(kept[some], axis=-1)
    return found


def shares(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Return the mean of values [S, T, B] over the images that count, [S, T]; NaN of none."""
    kept = np.where(counted[:, None], values, 0)
    total = kept.sum(-1)
    count = counted.sum(1)[:, None]
    return total / np.where(count > 0, count, np.nan)


def missing_arms(config: Any, *arms: str) -> str:
    """Return which of the arms a run needs and has not; "" where it has them."""
    missing = [arm for arm in arms if arm not in config.arms]
    return f"--arms with {', '.join(missing)}" if missing else ""


def late_steps(config: Any) -> slice:
    """Return which snapshots are compared: those from the reference on."""
    return slice(config.snapshots.index(config.reference), None)


def paired_arrays(watched: Mapping[str, Watched], config: Any) -> dict[str, np.ndarray]:
    """Return arrays 'arm/quantity' [S, T] of all arms on common images."""
    late = late_steps(config)
    right = [each.seen.right[:, late] for each in watched.values()]
    counted = together_right(right)
    arrays = {"paired": counted.sum(1)}
    for name, each in watched.items():
        seen = each.seen
        of_arm = {
            "distance": medians(seen.distance, counted),
            "first_order": medians(seen.first_order, counted),
            "loss_slope": shares(seen.loss_slope, counted),
            "margin_slope": medians(seen.margin_slope, counted),
            "noise": shares(seen.noise, counted),
            "error": 1 - seen.right.mean(-1),
            "alone": seen.alone,
            "log_margin": each.margins,
            "crossed": each.fooling.crossed,
            "signs": each.fooling.signs,
        }
        arrays |= {f"{name}/{key}": np.float32(value) for key, value in of_arm.items()}
    if {"he", "xavier"} <= watched.keys():
        arrays |= _same_regions(watched["he"].seen, watched["xavier"].seen)
    return arrays


def _same_regions(he: Seen, xavier: Seen) -> dict[str, np.ndarray]:
    """Return at the first snapshot how often both answer alike [S], and their gradients' ratio."""
    alike = he.classes[:, 0] == xavier.classes[:, 0]
    ratio = he.margin_slope[:, 0] / xavier.margin_slope[:, 0]
    return {
        "start/alike": alike.mean(-1),
        "start/octaves": np.log2(np.median(ratio, axis=-1)),
    }


def conv_arrays(lab: Lab, config: Any, inference: Inference) -> dict[str, np.ndarray]:
    """Return what conv nets with and without batch norm show on images that both have right.

    Keys: 'conv/...' and 'conv_bn/...'; ``error`` [S] on all test images, ``distance`` [S],
    ``stands`` [S, E], the share that PGD does not fool.
    """
    nets = {"conv": lab.conv(normalized=False), "conv_bn": lab.conv(normalized=True)}
    seen = {}
    stands = {}
    for name, snapshots in nets.items():
        shown = along.given(snapshots, config)
        seen[name] = along.sweep(snapshots, shown, config, inference)
        stands[name] = along.under_pgd(snapshots, shown, config, inference)
    counted = together_right([each.right for each in seen.values()])
    arrays = {}
    for name, each in seen.items():
        distance = medians(each.distance, counted)
        arrays |= {
            f"{name}/error": nets[name].trained.test_error,
            f"{name}/distance": distance[:, -1],
            f"{name}/stands": shares(stands[name], counted),
        }
    return arrays
