"""Seeds cut and put together again: which axis is theirs, and what must be refused."""

import dataclasses

import numpy as np
import pytest

from jaxvision.report import merging
from jaxvision.report.record import Record
from jaxvision.types import UserError


@dataclasses.dataclass(frozen=True)
class Config:
    seeds: int = 5
    first_seed: int = 700
    width: int = 3


def measured(config, shared=0.5):
    """Return a record whose values are a function of the seed, as a run's are."""
    seeds = np.arange(config.first_seed, config.first_seed + config.seeds, dtype=np.float32)
    curve = np.sin(seeds)[:, None] * np.arange(config.width)
    arrays = {
        "curve": curve,  # [S, W]
        "by_width": curve.T,  # [W, S]
        "stalled": np.full(config.seeds, np.nan),
        "widths": np.arange(config.width),
        "chance": np.float64(0.9),
    }
    numbers = {
        "rate": {"he": 0.01, "loss": float("nan")},
        "gain": seeds.tolist(),
        "rates": [1, 2],
        "shared": shared,
    }
    return Record("toy", "cpu", "toy", "", dataclasses.asdict(config), numbers, arrays, [], {})


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_parts_give_what_the_whole_gives_to_the_bit(parts):
    whole = measured(Config())
    configs = merging.cut(Config(), parts)
    assert [config.width for config in configs] == [3] * parts
    numbers, arrays = merging.merged([measured(config) for config in configs])
    assert repr(numbers) == repr(whole.numbers)
    assert arrays.keys() == whole.arrays.keys()
    for name, array in whole.arrays.items():
        assert arrays[name].tobytes() == array.tobytes(), name
        assert arrays[name].shape == array.shape


def test_seeds_of_the_parts_are_those_of_the_whole():
    for seeds in range(3, 30):
        for parts in range(2, 6):
            if seeds < 2 * parts:
                continue
            configs = merging.cut(Config(seeds=seeds), parts)
            drawn = [s for c in configs for s in range(c.first_seed, c.first_seed + c.seeds)]
            assert drawn == list(range(700, 700 + seeds))
            assert len({config.seeds for config in configs}) > 1


@pytest.mark.parametrize(("seeds", "parts"), [(2, 2), (3, 3), (3, 4), (1, 2)])
def test_too_few_seeds_are_refused(seeds, parts):
    with pytest.raises(UserError, match=f"{seeds} seeds cannot be cut into {parts} parts"):
        merging.cut(Config(seeds=seeds), parts)


def test_parts_of_equal_size_are_refused():
    """Three widths and three seeds: nobody knows which axis is which."""
    with pytest.raises(UserError, match="equally many seeds"):
        merging.merged([measured(Config(seeds=3)), measured(Config(seeds=3))])


def broken(name, change):
    """Return two parts, the second of which has one thing changed."""
    first, second = (measured(config) for config in merging.cut(Config(), 2))
    kept = {**second.arrays, **second.numbers}
    changed = change(kept[name])
    if name in second.arrays:
        return [first, dataclasses.replace(second, arrays=second.arrays | {name: changed})]
    return [first, dataclasses.replace(second, numbers=second.numbers | {name: changed})]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("shared", lambda value: value + 1e-12),  # a mean over seeds
        ("shared", lambda value: -value),
        ("rates", lambda value: [1, 3]),
        ("rate", lambda value: {"he": 0.01}),
        ("gain", lambda value: [*value, 1.0]),
        ("widths", lambda value: value + 1),
        ("widths", lambda value: value.astype(np.int32)),
        ("widths", lambda value: value[:, None]),
        ("curve", lambda value: value[:, :2]),
        ("chance", lambda value: -value),
    ],
)
def test_what_is_not_by_seed_must_be_the_same(name, change):
    with pytest.raises(UserError, match=name):
        merging.merged(broken(name, change))


def test_other_names_are_refused():
    first, second = (measured(config) for config in merging.cut(Config(), 2))
    fewer = dict(list(second.arrays.items())[1:])
    with pytest.raises(UserError, match="other arrays"):
        merging.merged([first, dataclasses.replace(second, arrays=fewer)])
