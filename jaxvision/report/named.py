"""Arrays whose axes have names and, where they are known, values; and records read as such."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxvision.report.record import Record, load
from jaxvision.types import UserError

if TYPE_CHECKING:
    from pandas import DataFrame, Series


@dataclass(frozen=True, eq=False)
class NamedArray:
    """An array with names on its axes; NumPy takes it as the array that it is.

    Attributes:
      values: any shape.
      axes: a name for each axis.
      places: of an axis the value that belongs to each index: seeds, rates, steps. An axis that is
        not in it is numbered.
    """

    values: np.ndarray
    axes: tuple[str, ...]
    places: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.axes) != self.values.ndim:
            raise ValueError(f"{self.axes} do not name the axes of shape {self.values.shape}")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        shape = ", ".join(f"{a}: {n}" for a, n in zip(self.axes, self.values.shape, strict=True))
        return f"NamedArray({shape})"

    def along(self, axis: str) -> list:
        """Return the values that belong to the indices of an axis."""
        size = self.values.shape[self._index(axis)]
        return list(self.places.get(axis, range(size)))

    def at(self, **chosen: Any) -> "NamedArray":
        """Return the part at one place of each axis that is named: ``loss.at(seed=3)``.

        Raises:
          UserError: there is no such axis, or no such place on it.
        """
        found = self
        for axis, place in chosen.items():
            found = found._at_one(axis, place)
        return found

    def _at_one(self, axis: str, place: Any) -> "NamedArray":
        number = self._index(axis)
        along = self.along(axis)
        if place not in along:
            raise UserError(f"{axis}={place!r} is not there: {axis} is one of {_listed(along)}")
        values = np.take(self.values, along.index(place), number)
        axes = tuple(name for name in self.axes if name != axis)
        places = {name: of_one for name, of_one in self.places.items() if name != axis}
        return NamedArray(values, axes, places)

    def _index(self, axis: str) -> int:
        if axis not in self.axes:
            raise UserError(f"there is no axis {axis!r}: the axes are {', '.join(self.axes)}")
        return self.axes.index(axis)

    def to_pandas(self) -> "Series":
        """Return a Series, one row a number, its index named by the axes.

        Raises:
          UserError: pandas is not installed.
        """
        pandas = _pandas()
        along = [self.along(axis) for axis in self.axes]
        index = pandas.MultiIndex.from_product(along, names=self.axes)
        return pandas.Series(self.values.ravel(), index)


@dataclass(frozen=True, eq=False, repr=False)
class OpenRecord:
    """A record as ``load_record`` reads it.

    Attributes:
      record: config, numbers, claims and provenance, as they were written.
    """

    record: Record

    def __repr__(self) -> str:
        """Return a line: a session shows it, and the numbers of a record would fill the screen."""
        run = f"{self.record.experiment}, preset {self.record.preset}"
        return f"OpenRecord({run}: {len(self.claims)} claims, {len(self.record.arrays)} arrays)"

    @cached_property
    def arrays(self) -> dict[str, NamedArray]:
        """Its arrays by name, their axes named as far as the record tells which is which."""
        return {name: named(self.record, name) for name in self.record.arrays}

    @property
    def claims(self) -> list[dict[str, Any]]:
        """Its claims with their verdicts."""
        return self.record.claims

    def to_pandas(self) -> "DataFrame":
        """Return the claims as a table, one row each, by their id.

        Raises:
          UserError: pandas is not installed.
        """
        return _pandas().DataFrame(self.claims).set_index("id")


def load_record(directory: str | os.PathLike) -> OpenRecord:
    """Read and verify the record at ``directory``, such as ``experiments/results/he_init``.

    The ``record.json`` in it will do too.

    Raises:
      UserError: it is missing, damaged or no record.
    """
    if not isinstance(directory, str | os.PathLike):
        example = "experiments/results/he_init"
        raise UserError(f"load_record({directory!r}): the path of a record, as {example!r}")
    path = Path(directory)
    return OpenRecord(load(path.parent if path.name == "record.json" else path))


# By the number of an array's axes, the array beside it that holds its steps.
_STEPS = {2: "test_steps", 3: "layer_steps"}


def named(record: Record, name: str) -> NamedArray:
    """Return one of a record's arrays with the names of its axes, as far as they can be known.

    ``seed`` is the first of the first two axes with as many places as the config has seeds; a list
    of steps has none. ``step`` is the axis with as many as the run has steps, or as
    ``ARM/test_steps`` (of an array with two axes) or ``ARM/layer_steps`` (of three) beside the
    array. Others are ``axis_0``, ``axis_1``, ...
    """
    values = record.arrays[name]
    axes = [f"axis_{number}" for number in range(values.ndim)]
    sizes = list(enumerate(values.shape))
    places = {}
    seeds = _seeds(record)
    of_seeds = [number for number, size in sizes[:2] if size in seeds]
    if of_seeds and not are_steps(name):
        first = of_seeds[0]
        axes[first] = "seed"
        places["seed"] = seeds[values.shape[first]]
    steps = _steps(record, name)
    of_steps = [number for number, size in sizes if size in steps and axes[number] != "seed"]
    if len(of_steps) == 1:
        (only,) = of_steps
        axes[only] = "step"
        places["step"] = steps[values.shape[only]]
    return NamedArray(values, tuple(axes), places)


def are_steps(name: str) -> bool:
    """Return whether an array is a list of steps, such as 'he/layer_steps'."""
    return name.endswith("steps")


def _seeds(record: Record) -> dict[int, list[int]]:
    """Return the seeds by how many there are."""
    count, first = record.config.get("seeds"), record.config.get("first_seed", 0)
    return {} if count is None else {count: [first + i for i in range(count)]}


def _steps(record: Record, name: str) -> dict[int, list[int]]:
    """Return the steps that an array may be of, by how many there are."""
    found = {}
    count = record.config.get("steps")
    if count is not None:
        found[count] = list(range(count))
    arm, _, _ = name.rpartition("/")
    beside = _STEPS.get(record.arrays[name].ndim)
    steps = record.arrays.get(f"{arm}/{beside}")
    if steps is not None:
        found[len(steps)] = steps.tolist()
    return found


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise UserError("a table needs pandas, which is not here: pip install pandas") from error
    return pandas


def _listed(values: list) -> str:
    shown = ", ".join(str(value) for value in values[:8])
    return f"{shown}, ..." if len(values) > 8 else shown
