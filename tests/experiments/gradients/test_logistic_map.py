"""The experiment's verdicts must follow the science: break it, and the right claim falls."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.gradients import _exponents as exponents
from experiments.gradients import logistic_map
from jaxvision.progress import progress
from jaxvision.report.claims import judge
from jaxvision.report.record import Record

CONFIG = logistic_map.Config(
    seeds=8,
    first_seed=0,
    n_rates=40,
    iterations=5000,
    n_gains=16,
    width=128,
    depth=100,
    relu_widths=(8, 32),
    relu_depth=300,
    batch_norm_width=64,
    batch_norm_depth=16,
    batch_sizes=(8, 32),
)
NETS = logistic_map.NETS


def measured(nets=NETS, config=CONFIG):
    numbers, arrays = logistic_map.measure(config, progress, nets)
    fields = dataclasses.asdict(config)
    return Record("logistic_map", "tiny", "x", "", fields, numbers, arrays, [], {})


def verdicts(record, config=CONFIG):
    return {found.id: found.verdict for found in judge(logistic_map.claims(config), record)}


def contradicted(record, config=CONFIG):
    return {id for id, verdict in verdicts(record, config).items() if verdict == "contradicted"}


@pytest.fixture(scope="module")
def record():
    return measured()


@pytest.fixture
def changed(record):
    """A record as theory has it, with some arrays and numbers replaced."""

    def change(arrays=(), numbers=()):
        right = {name: exact(name) for name in NETS}
        return dataclasses.replace(
            record,
            arrays=record.arrays | right | dict(arrays),
            numbers=record.numbers | dict(numbers),
        )

    return change


def exact(name, config=CONFIG, shift=0.0):
    """What theory says of a net, with a little spread over seeds, as its array."""
    net = NETS[name]
    gains = logistic_map.gains_of(net, config)
    spread = 0.001 * np.linspace(-1, 1, config.seeds)[:, None]
    curves = [
        logistic_map.theory_of(name, gains, size)[None] + spread + shift
        for size in logistic_map.sizes_of(name, config)
    ]
    return np.stack(curves, axis=1)


def test_what_is_measured_contradicts_nothing(record):
    found = verdicts(record)
    assert "contradicted" not in found.values()
    assert found["ln-2"] == found["doubling-4"] == "reproduced"


def test_theory_itself_holds(changed):
    found = verdicts(changed())
    assert set(found.values()) == {"reproduced"}


def test_another_base_of_the_logarithm_is_not_ln_2(record, changed):
    bits = [value / math.log(2) for value in record.numbers["exponent_at_4"]]
    assert contradicted(changed(numbers={"exponent_at_4": bits})) == {"ln-2"}


def sine_exponent(rates, steps, start=0.3):
    """The exponent of x -> r sin(pi x) / 4."""
    x, total = np.full(np.shape(rates), start), 0.0
    for t in range(1000 + steps):
        if t >= 1000:
            total = total + np.log(np.abs(rates / 4 * np.pi * np.cos(np.pi * x)))
        x = rates / 4 * np.sin(np.pi * x)
    return np.asarray(total / steps)


def test_another_map_doubles_elsewhere(changed):
    fewer = dataclasses.replace(CONFIG, iterations=3000)
    numbers, _ = logistic_map.measure_map(fewer, sine_exponent)
    assert contradicted(changed(numbers=numbers)) == {"ln-2", "doubling-4"}


def test_a_net_four_times_as_wide_lacks_the_correction(changed):
    claimed = dataclasses.replace(CONFIG, relu_widths=(2, 8))
    assert contradicted(changed({"relu": exact("relu")}), claimed) == {"relu-2", "relu-8"}


def test_gains_a_tenth_off_are_no_gains_of_he(changed):
    shifted = {name: exact(name, shift=np.log(1.1)) for name in ("relu", "tanh")}
    assert contradicted(changed(shifted)) == {"tanh", "relu-8", "relu-32"}


def test_tanh_at_other_gains_has_another_edge(changed):
    assert "tanh" in contradicted(changed({"tanh": exact("tanh")[..., ::-1]}))
    gains = logistic_map.gains_of(NETS["tanh"], CONFIG)
    wrong = exponents.tanh_exponent(gains / 1.2, CONFIG.width)[None, None]
    noise = 0.001 * np.linspace(-1, 1, CONFIG.seeds)[:, None, None]
    assert contradicted(changed({"tanh": wrong + noise})) == {"tanh", "tanh-edge"}


def test_infinite_width_is_not_that_of_the_tanh_nets(changed):
    """The band is narrower than the term of finite width."""
    narrow = dataclasses.replace(CONFIG, width=10**6)
    assert verdicts(changed({"tanh": exact("tanh", narrow)}))["tanh"] == "contradicted"


def test_batch_norm_over_another_number_of_inputs(changed):
    other = dataclasses.replace(CONFIG, batch_sizes=(16, 32))
    found = contradicted(changed({"batch_norm": exact("batch_norm", other)}))
    assert found == {"batch-norm", "batch-norm-8-32"}
    many = dataclasses.replace(CONFIG, batch_sizes=(8, 64))
    found = contradicted(changed({"batch_norm": exact("batch_norm", many)}))
    assert found == {"batch-norm-8-32"}


def test_without_batch_norm_nothing_explodes_at_small_gains(changed):
    broken = {"batch_norm": dataclasses.replace(NETS["batch_norm"], activate=jax.nn.relu)}
    fewer = dataclasses.replace(CONFIG, batch_norm_width=32)
    found = contradicted(changed(measured(broken, fewer).arrays))
    assert "batch-norm" in found


def test_batch_norm_with_the_unbiased_variance_explodes_alike():
    """It only scales what the next batch norm scales back: no rule can or should notice."""
    batch, width, depth = 8, 16, 6

    def growth(ddof):
        keys = jax.random.split(jax.random.key(0), depth + 2)
        x = jax.random.normal(keys[0], (batch, width))
        direction = jax.random.normal(keys[1], (batch, width))
        norms = []
        for key in keys[2:]:
            kernel = jax.random.normal(key, (width, width))

            def layer(x, kernel=kernel):
                h = x @ kernel
                std = jnp.std(h, axis=0, keepdims=True, ddof=ddof)
                return jax.nn.relu((h - jnp.mean(h, axis=0, keepdims=True)) / std)

            x, direction = jax.jvp(layer, (x,), (direction,))
            norms.append(jnp.linalg.norm(direction))
        return np.diff(np.log(norms))

    np.testing.assert_allclose(growth(0), growth(1), atol=1e-4)


def test_a_crossing_lies_on_the_line_between_two_gains():
    gains = np.array([0.5, 1.0, 2.0])
    values = np.array([[-1.0, -0.1, 0.3], [-1.0, 1.0, -1.0], [0.2, 0.3, 0.4], [-3.0, -2.0, -1.0]])
    found = exponents.crossing(gains, values)
    np.testing.assert_allclose(found[:2], [1.25, 0.75])
    assert np.isnan(found[2:]).all()


def test_the_exponent_of_wide_tanh_nets_is_the_log_of_the_gain_in_the_ordered_phase():
    gains = np.array([0.5, 0.9])
    np.testing.assert_allclose(exponents.tanh_exponent(gains, 10**9), np.log(gains), atol=1e-6)
    # A linear net's factor has a relative variance of 2 / width.
    narrow = exponents.tanh_exponent(gains, 100)
    np.testing.assert_allclose(narrow - np.log(gains), -0.5 / 100, atol=1e-6)
