"""The sweep over depths against autodiff of a Python loop of layers, one run at a time."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from jaxvision.data import Dataset, load
from jaxvision.data.augment import normalize
from jaxvision.random import stream
from jaxvision.training.depth_sweep import Cells, DepthSweep
from jaxvision.training.mapping import on_mesh
from jaxvision.training.order import Orders, batch_rows
from jaxvision.types import UserError

WIDTH, BATCH, PERIOD, DEEPEST = 6, 8, 3, 6


def tanh(h, key):
    return jnp.tanh(h)


def dropout(h, key):
    return jnp.where(jax.random.bernoulli(key, 0.7, h.shape), jnp.tanh(h), 0) / 0.7


def batch_norm(h, key):
    centered = h - h.mean(0, keepdims=True)
    return jax.nn.relu(centered / jnp.sqrt(jnp.mean(centered**2, 0, keepdims=True) + 1e-3))


OPTIMIZERS = {
    "sgd": lambda hyper: optax.sgd(hyper["learning_rate"]),
    "adam": lambda hyper: optax.adam(hyper["learning_rate"]),
}


def make_sweep(nonlinearity=tanh, optimizer="sgd", runs_per_call=4, devices=2):
    train = load("digits").train
    return DepthSweep(
        nonlinearity,
        OPTIMIZERS[optimizer],
        lambda images: normalize(images, np.float32(70.0), np.float32(90.0)),
        Dataset(train.images[:50], train.labels[:50]),
        WIDTH,
        BATCH,
        PERIOD,
        DEEPEST,
        runs_per_call,
        mesh=Mesh(np.array(jax.devices()[:devices]), ("run",)),
    )


def make_cells(depths, seeds=None):
    count = len(depths)
    seeds = np.arange(count) if seeds is None else seeds
    return Cells(
        np.array(depths),
        np.array(seeds, np.int32),
        np.linspace(1.0, 2.0, count, dtype=np.float32),
        np.full(count, 0.1, np.float32),
        {"learning_rate": np.linspace(0.01, 0.05, count, dtype=np.float32)},
    )


def trained_layers(sweep, cells, calls):
    """Return each run's layers [{'kernel', 'bias'}] after so many periods; all of one depth."""
    hidden = int(cells.depths[0]) - 2
    runs = on_mesh(cells._replace(depths=None), sweep.mesh, P("run"))
    shared = on_mesh((np.int32(hidden), *sweep.train[:2]), sweep.mesh, P())
    start, train = sweep.start, sweep.advance
    state = start(runs, shared)
    orders = Orders(cells.seeds, len(sweep.train.labels), sweep.batch_size)
    for call in range(calls):
        rows = np.swapaxes(orders.rows(call * sweep.period, sweep.period), 0, 1)
        state, _ = train(state, runs, on_mesh(rows, sweep.mesh, P(None, "run")), shared)
    first, stack, last = jax.device_get((state.input[0], state.hidden[0], state.output[0]))
    stacked = [jax.tree.map(lambda leaf, l=l: leaf[l], stack) for l in range(hidden)]
    return [
        [jax.tree.map(lambda leaf, r=r: leaf[r], layer) for layer in (first, *stacked, last)]
        for r in range(len(cells.seeds))
    ]


@partial(jax.jit, static_argnums=(0, 1))
def reference_step(nonlinearity, optimizer, layers, state, batch, seed, rate, number):
    """One step as one writes it: autodiff of a Python loop over layers."""
    x, y = batch

    def loss_function(layers):
        h = x @ layers[0]["kernel"] + layers[0]["bias"][None]
        for l, layer in enumerate(layers[1:]):
            key = jax.random.fold_in(stream(seed, "dropout", number), l)
            h = nonlinearity(h, key) @ layer["kernel"] + layer["bias"][None]
        log_probability = h - jax.nn.logsumexp(h, 1, keepdims=True)
        return -jnp.mean(log_probability[jnp.arange(BATCH), y]), jnp.mean(h.argmax(1) != y)

    found, gradient = jax.value_and_grad(loss_function, has_aux=True)(layers)
    transformation = OPTIMIZERS[optimizer]({"learning_rate": rate})
    state = transformation.init(layers) if state is None else state
    updates, state = transformation.update(gradient, state, layers)
    return optax.apply_updates(layers, updates), state, found


def reference(sweep, optimizer, layers, seed, rate, steps):
    """Train one run; returns losses and errors [2, T] and the layers at the end."""
    images, labels = (np.float32(sweep.train.images).reshape(-1, 64) - 70) / 90, sweep.train.labels
    rows = np.array(batch_rows(seed, 0, steps, len(labels), BATCH))
    state, history = None, []
    for number, row in enumerate(rows):
        batch = images[row], labels[row]
        layers, state, found = reference_step(
            sweep.nonlinearity, optimizer, layers, state, batch, seed, rate, number
        )
        history.append(found)
    return np.transpose(history), layers


@pytest.fixture(scope="module")
def sweep():
    return make_sweep(batch_norm, "sgd")


def check_against_autodiff(sweep, optimizer, depth, periods=2):
    cells = make_cells([depth] * 4)
    found = sweep.fit(cells, periods * PERIOD)
    starts, ends = (trained_layers(sweep, cells, calls) for calls in (0, periods))
    for r in (0, 3):
        rate = cells.hyper["learning_rate"][r]
        history, expected = reference(
            sweep, optimizer, starts[r], cells.seeds[r], rate, periods * PERIOD
        )
        np.testing.assert_allclose(found["loss"][r], history[0], rtol=5e-5)
        np.testing.assert_allclose(found["error"][r], history[1], atol=1e-6)
        for before, after in zip(starts[r], ends[r], strict=True):
            assert np.abs(after["kernel"] - before["kernel"]).max() > 1e-4
        jax.tree.map(partial(np.testing.assert_allclose, atol=3e-5, rtol=1e-3), ends[r], expected)


@pytest.mark.parametrize("depth", [2, 5])
def test_batch_norm_and_sgd_are_those_of_autodiff(sweep, depth):
    check_against_autodiff(sweep, "sgd", depth)


def test_dropout_and_adam_are_those_of_autodiff():
    check_against_autodiff(make_sweep(dropout, "adam"), "adam", 3)


@pytest.fixture(scope="module")
def mixed(sweep):
    """Seven trainings of three depths, in no order: calls of four, padded."""
    cells = make_cells([4, 2, 6, 4, 4, 4, 4])
    told = []
    return cells, sweep.fit(cells, 2 * PERIOD, told.append), told


def test_one_compilation_serves_every_depth(sweep, mixed):
    assert [p._cache_size() for p in (sweep.start, sweep.advance)] == [1, 1]


def test_cells_of_every_depth_come_back_in_their_order(sweep, mixed):
    cells, found, told = mixed
    assert sum(told) == len(cells.seeds)
    assert np.isfinite(found["loss"]).all()
    backward = jax.tree.map(lambda leaf: leaf[::-1], cells)
    again = sweep.fit(backward, 2 * PERIOD)
    for name, values in found.items():
        np.testing.assert_allclose(again[name][::-1], values, rtol=1e-6)


def test_a_call_stops_when_all_of_its_runs_have_finished(sweep):
    cells = make_cells([2, 2, 4, 4])

    def finished(
        rows, loss
    ):  # told the losses of one call so far: both nets of depth 2, later of 4
        return np.full(len(loss), loss.shape[1] >= 3 * PERIOD) | (loss[:, 0] == first[:2])

    first = sweep.fit(cells, PERIOD)["loss"][:, 0]
    loss = sweep.fit(cells, 4 * PERIOD, finished=finished)["loss"]
    assert np.isfinite(loss[:2]).sum(1).tolist() == [PERIOD] * 2
    assert np.isfinite(loss[2:]).sum(1).tolist() == [3 * PERIOD] * 2


def test_the_start_is_gaussian_of_the_cells_own_scale_and_paired_over_depths(sweep):
    nets = []
    for first in range(0, 160, 4):
        cells = make_cells([5] * 4, seeds=range(first, first + 4))
        cells = cells._replace(sigma_w=np.full(4, 1.5, np.float32))
        nets += trained_layers(sweep, cells, 0)
    for l, fan_in in enumerate([64, 6, 6, 6, 6]):
        kernels = np.array([net[l]["kernel"] for net in nets])
        assert kernels.shape[1] == fan_in
        assert kernels.std() * np.sqrt(fan_in) == pytest.approx(1.5, rel=0.05)
        assert np.array([net[l]["bias"] for net in nets]).std() == pytest.approx(0.1, rel=0.1)
    draws = np.array([np.ravel(layer["kernel"])[:36] for net in nets for layer in net[1:4]])
    assert np.abs(np.corrcoef(draws) - np.eye(480)).max() < 0.9  # no layer repeats another
    shallow = trained_layers(sweep, make_cells([3] * 4), 0)[3]
    np.testing.assert_allclose(
        shallow[1]["kernel"] / nets[3][1]["kernel"], np.full((6, 6), 2.0 / 1.5), rtol=1e-5
    )


def test_mistakes_are_told(sweep):
    with pytest.raises(UserError, match="whole number of periods"):
        sweep.fit(make_cells([2]), PERIOD + 1)
    for depth in (1, DEEPEST + 1):
        with pytest.raises(UserError, match="2 to 6 weight layers"):
            sweep.fit(make_cells([depth]), PERIOD)
    with pytest.raises(UserError, match="batch size 8 exceeds the 5 training images"):
        dataclasses.replace(sweep, train=Dataset(sweep.train.images[:5], sweep.train.labels[:5]))
