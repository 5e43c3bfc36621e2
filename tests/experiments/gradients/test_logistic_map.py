"""The experiment's verdicts must follow the science: break it, and the right claim falls."""

import dataclasses
import math
from functools import partial

import jax
import numpy as np
import pytest

from experiments.gradients import logistic_map
from jaxvision.dynamics import chaos
from jaxvision.progress import progress
from jaxvision.report.claims import judge
from jaxvision.report.record import Record
from jaxvision.training.mapping import over_seeds

CONFIG = logistic_map.Config(
    seeds=10,
    rates=40,
    gains=6,
    width=64,
    depth=240,
    batch_norm_width=192,
    batch_norm_depth=30,
    batch_size=16,
)


def measured(config):
    numbers, arrays = logistic_map.measure(config, progress)
    fields = dataclasses.asdict(config)
    return Record("logistic_map", "tiny", "x", "", fields, numbers, arrays, [], {})


def verdicts(record, config=CONFIG):
    return {found.id: found.verdict for found in judge(logistic_map.claims(config), record)}


@pytest.fixture(scope="module")
def record():
    return measured(CONFIG)


@pytest.fixture
def changed(record):
    """The record with some arrays and numbers replaced."""

    def change(arrays=(), numbers=()):
        return dataclasses.replace(
            record, arrays=record.arrays | dict(arrays), numbers=record.numbers | dict(numbers)
        )

    return change


def test_everything_holds(record):
    assert set(verdicts(record).values()) == {"reproduced"}


def test_another_base_of_the_logarithm_is_not_ln_2(record, changed):
    bits = [value / math.log(2) for value in record.numbers["exponent_at_4"]]
    found = verdicts(changed(numbers={"exponent_at_4": bits}))
    assert [id for id, verdict in found.items() if verdict != "reproduced"] == ["ln-2"]


def sine_exponent(rates, steps=3000, skip=1000, start=0.3):
    x, total = np.full(np.shape(rates), start), 0.0
    for t in range(skip + steps):
        if t >= skip:
            total = total + np.log(np.abs(rates / 4 * np.pi * np.cos(np.pi * x)))
        x = rates / 4 * np.sin(np.pi * x)
    return np.asarray(total / steps)


def test_another_map_doubles_elsewhere(monkeypatch, changed):
    # x -> r sin(pi x) / 4 shares Feigenbaum's constant, and nothing else.
    monkeypatch.setattr(chaos, "logistic_exponent", sine_exponent)
    numbers, _ = logistic_map._measure_map(dataclasses.replace(CONFIG, iterations=3000))
    found = verdicts(changed(numbers=numbers))
    broken = [id for id, verdict in found.items() if verdict == "contradicted"]
    assert broken == ["ln-2", "doubling-2", "doubling-4"]


def test_a_net_four_times_as_wide_lacks_the_correction(record):
    claimed = dataclasses.replace(CONFIG, width=CONFIG.width // 4)
    assert verdicts(record, claimed)["relu-width"] == "contradicted"


def test_gradients_that_grow_at_the_gain_of_he_contradict_hanin_and_nica(record, changed):
    found = verdicts(changed({"relu": record.arrays["relu"] + 0.05}))
    assert found["relu"] == found["relu-width"] == found["relu-shrinks"] == "contradicted"


def test_tanh_at_other_gains_has_another_edge(record, changed):
    found = verdicts(changed({"tanh": record.arrays["tanh"][:, ::-1]}))
    assert found["tanh"] == found["tanh-edge"] == "contradicted"


def test_without_batch_norm_nothing_explodes_at_small_gains(monkeypatch, changed):
    monkeypatch.setitem(chaos._NETS, "batch_norm_relu", jax.nn.relu)
    gains = logistic_map.gains_of(CONFIG)
    exponents = partial(logistic_map._exponents, "batch_norm_relu", (32, 20, 4))
    plain = over_seeds(exponents, CONFIG.seeds, gains)
    found = verdicts(changed({"batch_norm_relu": plain}))
    assert found["batch-norm"] == found["batch-norm-gain"] == "contradicted"
