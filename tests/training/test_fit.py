"""Training many runs: the same numbers however they are mapped, cut, padded or watched."""

import dataclasses
import functools
import re

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.dynamics import probes
from jaxvision.initializers import he_backward
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.layers import apply_function
from jaxvision.models.plain import PlainConvNet, Stage
from jaxvision.random import stream
from jaxvision.training import order
from jaxvision.training.fit import Runs, Trainer
from jaxvision.training.order import Orders, batch_rows, epoch_order
from jaxvision.training.step import initial_state, train_step
from jaxvision.types import UserError

STEPS = 8
KINDS = ["mlp", "conv"]


@pytest.fixture(scope="module")
def trainer(lab):
    """Return ``trainer(kind, **options)``; asked twice it is one object, so it compiles once."""
    make = functools.cache(lab.trainer)

    def trainer(kind, **options):
        if options.get("mapping") == {"mlp": "vmap", "conv": "map"}[kind]:  # the default
            del options["mapping"]
        return make(kind, **options)

    return trainer


@pytest.fixture(scope="module")
def fitted(lab, trainer):
    """Return ``fitted(kind, rows, **options)``, the history of these rows of the five runs."""

    @functools.cache
    def fit(kind, rows=(0, 1, 2), **options):
        return trainer(kind, **options).fit(lab.runs(kind, rows), STEPS)

    return fit


def rows_of(history, rows):
    parts = (history.train, history.test, history.variables)
    return jax.tree.map(lambda leaf: leaf[rows], parts)


def assert_same(a, b, rows=slice(None)):
    """Hold two histories bit-equal; ``rows`` picks the runs of ``a``."""
    jax.tree.map(np.testing.assert_array_equal, rows_of(a, rows), rows_of(b, slice(None)))


def assert_close(a, b):
    """To float32 rounding, grown over eight steps."""
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    jax.tree.map(close, rows_of(a, slice(None)), rows_of(b, slice(None)))


# The order of the data.


@hypothesis.settings(max_examples=30)
@hypothesis.given(
    seed=st.integers(0, 2**31 - 1),
    start=st.integers(0, 40),
    period=st.sampled_from([3, 8]),
    geometry=st.sampled_from([(13, 4), (5, 5)]),
)
def test_rows_of_a_period_are_the_rows_of_its_steps(seed, start, period, geometry):
    """Epochs of three steps and of one: a period begins and ends anywhere in an epoch."""
    orders = Orders([seed, 7, seed], *geometry)
    whole = orders.rows(start, period)
    assert whole.shape == (3, period, geometry[1])
    np.testing.assert_array_equal(whole[0], whole[2])
    alone = [batch_rows(seed, start + step, 1, *geometry) for step in range(period)]
    np.testing.assert_array_equal(whole[0], np.concatenate(alone))
    later = orders.rows(start + period, 2)[0]
    again = batch_rows(seed, start + period, 2, *geometry)
    np.testing.assert_array_equal(later, again)


@pytest.mark.parametrize(("size", "batch_size"), [(12, 4), (13, 4), (50, 16), (6, 6), (7, 1)])
def test_an_epoch_visits_every_image_once(size, batch_size):
    per_epoch = size // batch_size
    for epoch in range(3):
        rows = batch_rows(0, epoch * per_epoch, per_epoch, size, batch_size)
        assert rows.shape == (per_epoch, batch_size)
        order = epoch_order(0, epoch, size)
        assert sorted(np.asarray(order).tolist()) == list(range(size))
        # What does not fill a batch is left out, another part in every epoch.
        np.testing.assert_array_equal(rows.ravel(), order[: per_epoch * batch_size])


def test_every_seed_and_every_epoch_has_its_own_order():
    orders = {
        tuple(np.asarray(epoch_order(seed, epoch, 20)).tolist())
        for seed in range(4)
        for epoch in range(4)
    }
    assert len(orders) == 16


def test_the_order_of_an_epoch_is_drawn_once(monkeypatch):
    drawn = []

    def counted(seed, epoch, size):
        drawn.append((seed, epoch))
        return np.arange(size)

    monkeypatch.setattr(order, "epoch_order", counted)
    orders = Orders([1, 2, 1], 12, 4)
    for start in range(7):
        orders.rows(start, 2)
    assert sorted(drawn) == [(seed, epoch) for seed in (1, 2) for epoch in (0, 1, 2)]


@pytest.mark.parametrize("size", [1, 2, 20, 1000, 1625, 1626, 70_000])
def test_order_is_the_named_stream_shuffled_by_jax(size):
    """Sizes of no round of sorting, of one, and of two, at both sides of the bound."""
    expected = jax.random.permutation(stream(3, "order", 2), size)
    found = epoch_order(3, 2, size)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected)


def test_equal_sort_keys_keep_their_order():
    keys = np.uint32([7, 2**32 - 1, 0, 7, 2**32 - 1, 7])
    np.testing.assert_array_equal(order._places(keys), [2, 0, 3, 5, 1, 4])


# One run, however it is mapped.


@pytest.mark.parametrize("kind", KINDS)
def test_equals_steps_taken_one_by_one(lab, fitted, kind):
    history = fitted(kind)
    task = lab.task(kind)
    runs = lab.runs(kind)
    images, labels = lab.train[:2]
    step = jax.jit(functools.partial(train_step, task))
    for run in range(2):
        one = jax.tree.map(lambda leaf, run=run: jnp.asarray(leaf[run]), runs)
        variables, seed, hyper = one.variables, one.seeds, one.hyper
        state = initial_state(task, variables, hyper)
        for number in range(STEPS):
            (rows,) = batch_rows(seed, number, 1, 50, 16)
            state, metrics = step(state, images[rows], labels[rows], hyper, seed)
            found = history.train["loss"][run, number]
            np.testing.assert_allclose(found, metrics["loss"], rtol=1e-4)
        final = jax.tree.map(lambda leaf, run=run: leaf[run], history.variables["params"])
        close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
        jax.tree.map(close, final, state.params)


@pytest.mark.parametrize("kind", KINDS)
def test_history_has_every_step_and_every_evaluation(lab, fitted, kind):
    history = fitted(kind)
    assert history.train["loss"].shape == history.train["error"].shape == (3, STEPS)
    assert history.test["loss"].shape == history.test["error"].shape == (3, 3)
    np.testing.assert_array_equal(history.test_steps, [0, 4, 8])
    assert np.isfinite(history.train["loss"]).all()
    # The error is a whole number of the 37 test images, of 16 in a training batch.
    for errors, images in ((history.test["error"], 37), (history.train["error"], 16)):
        np.testing.assert_allclose(errors * images, np.round(errors * images), atol=1e-4)


def test_devices_change_no_bit_of_runs_that_are_mapped_one_by_one(fitted):
    assert_same(fitted("conv"), fitted("conv", devices=1))


def test_devices_change_runs_side_by_side_by_rounding_alone(fitted):
    """Products of more runs at once may be summed in another order (jax 0.12: the last bit)."""
    assert_close(fitted("mlp"), fitted("mlp", devices=1))


@pytest.mark.parametrize("kind", KINDS)
def test_mappings_agree_to_rounding(fitted, kind):
    assert_close(fitted(kind, mapping="vmap"), fitted(kind, mapping="map"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", [0, 2])
def test_under_map_a_run_alone_is_the_run_within_its_sweep(fitted, kind, row):
    """Also what makes filled calls right: three runs are here two calls, the last one filled."""
    sweep, alone = (fitted(kind, rows, mapping="map") for rows in ((0, 1, 2), (row,)))
    assert_same(sweep, alone, rows=slice(row, row + 1))


@pytest.mark.parametrize("options", [{"rows": (0,)}, {"runs_per_call": 2}], ids=str)
def test_under_vmap_a_run_does_not_depend_on_its_neighbors_beyond_rounding(fitted, options):
    """XLA sums otherwise for one run than for two side by side."""
    few = fitted("mlp", **options)
    count = len(few.train["loss"])
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    jax.tree.map(close, rows_of(fitted("mlp"), slice(count)), rows_of(few, slice(None)))


@pytest.mark.parametrize("period", [1, 2])
def test_the_period_changes_no_bit(fitted, period):
    every, some = fitted("mlp", period=period), fitted("mlp")
    jax.tree.map(np.testing.assert_array_equal, every.train, some.train)
    jax.tree.map(np.testing.assert_array_equal, every.variables, some.variables)
    common = slice(None, None, 4 // period)
    for name, values in every.test.items():
        np.testing.assert_array_equal(values[:, common], some.test[name])
    np.testing.assert_array_equal(every.test_steps[common], some.test_steps)


def test_runs_of_one_seed_and_start_differ_by_their_rate_alone(lab, trainer):
    runs = lab.runs("mlp", (0, 0, 1))
    runs.hyper["learning_rate"] = np.array([0.01, 0.05, 0.01], np.float32)
    loss = trainer("mlp").fit(runs, STEPS).train["loss"]
    assert loss[0, 0] == loss[1, 0]  # the same first batch and the same start
    assert loss[0, 1] != loss[1, 1]
    assert loss[0, 0] != loss[2, 0]


# One compile.


def compiled(trainer, runs):
    """Return how often each program that a trainer has made was compiled."""
    programs = vars(trainer.programs(runs.variables["params"]))
    return {n: p._cache_size() for n, p in programs.items() if hasattr(p, "_cache_size")}


@pytest.mark.parametrize(("kind", "options"), [("conv", {}), ("mlp", {"runs_per_call": 2})])
def test_any_number_of_runs_and_steps_is_one_compile(lab, trainer, kind, options):
    """Choosing rates and then training the arms are calls of one program."""
    shared = trainer(kind, **options)
    for rows, steps in (((0, 1, 2), STEPS), ((3,), 4), ((0, 1, 2, 3, 4), 12)):
        shared.fit(lab.runs(kind, rows), steps)
    assert compiled(shared, lab.runs(kind)) == {"start": 1, "advance": 1, "evaluate": 1}


def test_progress_is_told_of_real_runs_only(lab, trainer):
    told = []
    trainer("mlp", runs_per_call=2).fit(lab.runs("mlp", (0, 1, 2)), STEPS, told.append)
    # Two calls of two periods; the second call trains one run and a copy of it.
    assert told == [2 * 4, 2 * 4, 4, 4]


# Watching.


@pytest.mark.parametrize("kind", KINDS)
def test_probes_change_no_bit(fitted, kind):
    bare, watched = fitted(kind), fitted(kind, probe=probes.per_layer)
    jax.tree.map(np.testing.assert_array_equal, watched.variables, bare.variables)
    jax.tree.map(np.testing.assert_array_equal, watched.test, bare.test)
    for name, values in bare.train.items():
        np.testing.assert_array_equal(watched.train[name], values)
    layers = {"mlp": 5, "conv": 10}[kind]
    for name in probes.LAYERWISE:
        assert watched.train[name].shape == (3, STEPS, layers)
        assert (watched.train[name] > 0).all()


# Divergence and mistakes.

EXPLODING = (0.01, 1e30, 0.03, 0.04, 0.05)


def test_a_diverged_run_is_marked_and_the_others_do_not_notice(lab, trainer, fitted):
    runs = lab.runs("mlp", (0, 1, 2), EXPLODING)
    history = trainer("mlp").fit(runs, STEPS, may_diverge=True)
    whole = fitted("mlp")
    for row in (0, 2):
        pick = slice(row, row + 1)
        jax.tree.map(np.testing.assert_array_equal, rows_of(history, pick), rows_of(whole, pick))
    loss = history.train["loss"][1]
    step = history.diverged_step()
    np.testing.assert_array_equal(step[[0, 2]], -1)
    assert 1 <= step[1] < STEPS
    assert np.isfinite(loss[: step[1]]).all()
    assert not np.isfinite(loss[step[1]])
    assert history.escape_step().shape == (3,)


def test_an_unexpected_divergence_is_one_clear_line(lab, trainer):
    runs = lab.runs("mlp", (0, 1, 2), EXPLODING)
    with pytest.raises(UserError) as caught:
        trainer("mlp").fit(runs, STEPS)
    pattern = r"the loss is not finite at step [1-7]: lower the learning rate"
    assert re.fullmatch(pattern, str(caught.value))


def test_a_batch_larger_than_the_set_is_one_clear_line(lab):
    with pytest.raises(UserError, match=r"^batch size 51 exceeds the 50 training images$"):
        Trainer(lab.task("mlp"), lab.train, lab.test, batch_size=51, period=1)


@pytest.mark.parametrize("steps", [3, 6, 10])
def test_steps_that_are_no_whole_periods_are_one_clear_line(lab, trainer, steps):
    with pytest.raises(UserError, match=rf"^{steps} steps are not a whole number of periods of 4$"):
        trainer("mlp").fit(lab.runs("mlp"), steps)


# The program of a swept step of the conv net, as XLA compiles it for the CPU.


def advance_hlo(lab, stage_layers):
    net = PlainConvNet(
        2, (Stage(stage_layers, 4, 2), Stage(stage_layers, 4, 3)), 8, 10, he_backward()
    )
    trainer = lab.trainer("conv", probes.per_layer)
    task = dataclasses.replace(trainer.task, apply=apply_function(net))
    trainer = dataclasses.replace(trainer, task=task)
    keys = jnp.stack([stream(seed, "init") for seed in range(2)])
    variables = initialize_runs(net, keys, (8, 8, 1))
    runs = Runs(variables, *lab.runs("conv", (0, 1))[1:])
    programs = trainer.programs(variables["params"])
    state = jax.eval_shape(programs.start, variables, runs.hyper, None)
    rows = jax.ShapeDtypeStruct((2, trainer.period, trainer.batch_size), jnp.int32)
    lowered = programs.advance.lower(state, runs.seeds, runs.hyper, rows, lab.train)
    return lowered.compile().as_text()


@pytest.fixture(scope="module")
def hlo(lab):
    if jax.default_backend() != "cpu":
        pytest.skip("what XLA makes of convolutions on the CPU")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXVISION_DISABLE", "native")  # our own kernels are no convolutions to XLA
        return {layers: advance_hlo(lab, layers) for layers in (3, 6)}


def computations(hlo):
    """Return ``{name: lines}`` of an HLO module."""
    found, name = {}, None
    for line in hlo.splitlines():
        if header := re.match(r"(?:ENTRY )?%?([\w.\-]+) \(.*\{$", line):
            name = header[1]
            found[name] = []
        elif name is not None:
            found[name].append(line)
    return found


def convolutions(lines):
    return [line for line in lines if re.search(r"= \S+ convolution\(", line)]


def in_loops(program):
    """Return the names of the computations that run inside a while loop."""
    texts = {name: "\n".join(lines) for name, lines in program.items()}
    calls = r"(?:body|condition|calls|to_apply|to)=%?([\w.\-]+)"
    called = {name: set(re.findall(calls, text)) for name, text in texts.items()}
    frontier = set().union(*(re.findall(r"body=%?([\w.\-]+)", text) for text in texts.values()))
    inside = set()
    while frontier:
        inside |= frontier
        frontier = set().union(*(called[name] for name in frontier)) - inside
    return inside


def test_swept_step_has_fast_convolutions_inside_loops_only(hlo):
    program = computations(hlo[3])
    inside = in_loops(program)
    assert inside < program.keys()
    found = {name: convolutions(lines) for name, lines in program.items()}
    assert sum(map(len, found.values())) == len(convolutions(hlo[3].splitlines())) > 0
    for name, lines in found.items():
        assert not lines or name in inside, f"{name} is in no loop"
        for line in lines:
            assert "dim_labels=b01f_01io->b01f" in line
            assert "feature_group_count" not in line


def test_number_of_convolutions_does_not_grow_with_depth(hlo):
    shallow, deep = (len(convolutions(text.splitlines())) for text in hlo.values())
    # Stem, and of each stage the first layer and the stacked rest; forward, and backward by input
    # and by kernel, but no gradient by the images.
    assert shallow == deep == 3 * 5 - 1
