"""One record of many seeds from records of few: the seeds of a run, cut and put together again.

Nothing says which axis of an array is that of the seeds. The parts say it themselves, where they
are of different sizes: it is the one along which an array is as long as its part has seeds. What
has no such axis must be equal in all parts, to the bit; a mean over seeds is not, and is refused.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxvision.report.record import Record
from jaxvision.types import UserError

_OF_ALL = "is of all seeds together: it cannot be put together from parts"


def sizes(seeds: int, parts: int) -> list[int]:
    """Return how many seeds each part has, at least two different numbers where there are parts.

    Raises:
      UserError: so few seeds cannot be cut so often.
    """
    if parts == 1:
        return [seeds]
    small, more = divmod(seeds, parts)
    found = [small] * parts
    for part in range(more):
        found[part] += 1
    if more == 0:  # equal parts would not show which axis is that of the seeds
        found[0] += 1
        found[-1] -= 1
    if min(found) < 1:
        raise UserError(f"{seeds} seeds cannot be cut into {parts} parts of different sizes")
    return found


def cut(config: Any, parts: int) -> list[Any]:
    """Return configs whose seeds, one after the other, are those of ``config``."""
    found, first = [], config.first_seed
    for size in sizes(config.seeds, parts):
        found.append(dataclasses.replace(config, seeds=size, first_seed=first))
        first += size
    return found


def merged(parts: Sequence[Record]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the numbers and arrays that one run of all seeds has, from those of its parts.

    Raises:
      UserError: the parts do not fit together, or something in them is neither by seed nor the
        same in all.
    """
    counts = [record.config["seeds"] for record in parts]
    if len(parts) == 1:
        return parts[0].numbers, parts[0].arrays
    if len(set(counts)) == 1:
        raise UserError("the parts have equally many seeds: which axis is theirs cannot be known")
    if len({frozenset(record.arrays) for record in parts}) > 1:
        raise UserError("the parts hold other arrays than one another")
    arrays = {
        name: _joined_arrays([record.arrays[name] for record in parts], counts, name)
        for name in parts[0].arrays
    }
    return _joined_values([record.numbers for record in parts], counts, "numbers"), arrays


def _joined_values(values: Sequence[Any], counts: list[int], name: str) -> Any:
    """Join what stands at one place of the numbers."""
    first = values[0]
    if isinstance(first, dict):
        return _joined_dicts(values, counts, name)
    if isinstance(first, list):
        lengths = [len(value) for value in values]
        if lengths == counts:
            return list(itertools.chain(*values))
    if not all(_same(value, first) for value in values):
        raise UserError(f"{name} {_OF_ALL}")
    return first


def _joined_dicts(values: Sequence[dict], counts: list[int], name: str) -> dict[str, Any]:
    keys = values[0].keys()
    if any(value.keys() != keys for value in values):
        raise UserError(f"{name}: the parts hold other keys than one another")
    joined = {}
    for key in keys:
        joined[key] = _joined_values([value[key] for value in values], counts, f"{name}/{key}")
    return joined


def _same(a: Any, b: Any) -> bool:
    return repr(a) == repr(b)  # JSON values: NaN equals itself, and -0.0 is not 0.0


def _joined_arrays(arrays: Sequence[np.ndarray], counts: list[int], name: str) -> np.ndarray:
    """Join arrays along their axis of seeds; without one they must be the same."""
    first = arrays[0]
    if any(array.ndim != first.ndim or array.dtype != first.dtype for array in arrays):
        raise UserError(f"{name} is of another kind in each part")
    varying = []
    for axis in range(first.ndim):
        lengths = [array.shape[axis] for array in arrays]
        if lengths == counts:
            varying.append(axis)
        elif len(set(lengths)) > 1:
            raise UserError(f"{name} {_OF_ALL}")
    if len(varying) == 1:
        return np.concatenate(arrays, varying[0])
    contents = {array.tobytes() for array in arrays}
    if varying or len(contents) > 1:
        raise UserError(f"{name} {_OF_ALL}")
    return first
