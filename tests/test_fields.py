"""Fields of a config: what their flags accept, and what a config made in Python may hold."""

import dataclasses
import importlib
from types import SimpleNamespace

import numpy as np
import pytest
from absl import flags

from experiments.catalog import CATALOG, module_name
from jaxvision import fields
from jaxvision.fields import flagged, seeds_of
from jaxvision.types import UserError


@dataclasses.dataclass(frozen=True)
class Config:
    name: str = flagged("a", "One.", choices=("a", "b"))
    seeds: int = flagged(5, "Many.", low=1)
    grid: int = flagged(5, "More.", low=1, high=10**8)
    depths: tuple[int, ...] = flagged((3, 5), "Some.", low=2, high=99)
    rate: float = flagged(0.1, "How fast.", low=0)
    augment: bool = flagged(False, "Or not.")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"seeds": 0}, "--seeds: '0' must be at least 1"),
        ({"seeds": 10**6 + 1}, "--seeds: '1000001' is too large: at most 1000000"),
        ({"seeds": 2.5}, "--seeds: 2.5 is not a whole number"),
        ({"grid": 10**8 + 1}, "--grid: '100000001' must be from 1 to 100000000"),
        ({"depths": (3, 1)}, "--depths: '1' must be from 2 to 99"),
        ({"rate": float("nan")}, "--rate: 'nan' is not a finite number"),
        ({"rate": 1e39}, "--rate: '1e+39' is too large: float32 ends at 3.4e38"),
        ({"rate": "fast"}, "--rate: 'fast' is not a number"),
        ({"name": "c"}, "--name: 'c' is none of a, b"),
        ({"augment": 1}, "--augment: 1 is not true or false"),
    ],
)
def test_a_config_is_held_against_the_bounds_of_its_flags(change, line):
    with pytest.raises(UserError) as caught:
        fields.check(Config(**change))
    assert str(caught.value) == line


@pytest.mark.parametrize(
    "change",
    [{}, {"rate": 1}, {"rate": 3.4e38}, {"rate": 1e-320}, {"grid": 10**8}, {"depths": ()}],
)
def test_what_a_flag_takes_a_config_may_hold(change):
    fields.check(Config(**change))


def test_float32_holds_the_largest_float_and_no_larger_one():
    assert np.float32(fields.LARGEST_FLOAT32) == np.finfo(np.float32).max
    with np.errstate(over="ignore"):
        assert np.isinf(np.float32(1.0001 * fields.LARGEST_FLOAT32))


@pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry.name)
def test_no_flag_takes_a_number_that_no_machine_holds(entry):
    """A net of a billion units ended in a C++ abort, or in hours of decoding."""
    experiment = importlib.import_module(module_name(entry.name))
    values = flags.FlagValues()
    for field in dataclasses.fields(experiment.Config):
        fields.define(field, values)
    for field in dataclasses.fields(experiment.Config):
        if field.type is int and field.metadata["high"] is None:
            with pytest.raises(flags.IllegalFlagValueError, match=r"too large|must be"):
                values(["x", f"--{field.name}=999999999"])


def test_seeds_are_those_from_the_first_on():
    assert list(seeds_of(SimpleNamespace(first_seed=900, seeds=3))) == [900, 901, 902]
