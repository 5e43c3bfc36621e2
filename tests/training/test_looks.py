"""Looks: they see each run as it is at their steps, and training does not notice."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from jaxvision.dynamics import probes
from jaxvision.training.arms import Arm, fit_arms
from jaxvision.training.looks import Look, snapshot
from jaxvision.training.order import batch_rows
from jaxvision.types import UserError

STEPS, PERIOD = 8, 4
AT = (3, 0, 4, 5, 8)  # in any order, inside a period and at its ends


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope="module", params=["mlp", "conv"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def trainer(lab, kind):
    return lab.trainer(kind, period=PERIOD)


@pytest.fixture(scope="module")
def bare(lab, kind, trainer):
    return trainer.fit(lab.runs(kind), STEPS)


@pytest.fixture(scope="module")
def seen(lab, kind, trainer):
    return trainer.fit(lab.runs(kind), STEPS, look=Look(snapshot, AT))


def test_a_look_changes_no_bit(bare, seen):
    """Though the periods are cut at steps 3 and 5, by another program."""
    same(seen[:4], bare[:4])
    assert bare.looks == {}


def test_a_snapshot_is_the_net_after_so_many_steps(lab, kind, trainer, bare, seen):
    runs = lab.runs(kind)
    single = dataclasses.replace(trainer, period=1)
    for i, step in enumerate(AT):
        if step == 0:
            wanted = runs.variables
        elif step == STEPS:
            wanted = bare.variables
        else:
            wanted = single.fit(runs, step).variables
        same(jax.tree.map(lambda leaf, i=i: leaf[:, i], seen.looks), wanted)


def test_a_look_sees_seed_hyper_parameters_the_next_batch_and_its_data(lab, kind, trainer):
    def function(moment, data):
        return {
            "step": moment.state.step,
            "seed": moment.seed + data["add"],
            "rate": moment.hyper["learning_rate"],
            "images": moment.images,
            "labels": moment.labels,
        }

    runs = lab.runs(kind)
    look = Look(function, (2, STEPS), {"add": np.int32(10)})
    found = trainer.fit(runs, STEPS, look=look).looks
    assert found["images"].shape == (3, 2, 16, 8, 8, 1)
    for run in range(3):
        np.testing.assert_array_equal(found["step"][run], [2, STEPS])
        np.testing.assert_array_equal(found["seed"][run], runs.seeds[run] + 10)
        np.testing.assert_array_equal(found["rate"][run], runs.hyper["learning_rate"][run])
        for i, step in enumerate(look.at):
            (rows,) = batch_rows(runs.seeds[run], step, 1, 50, 16)
            np.testing.assert_array_equal(found["images"][run, i], lab.train.images[rows])
            np.testing.assert_array_equal(found["labels"][run, i], lab.train.labels[rows])


def test_watching_a_step_shows_what_a_probe_shows_there(lab, kind, trainer):
    """In a training of its own, with the probe in every step."""
    runs, at = lab.runs(kind), (0, 1, 6)
    look = Look(trainer.watch_step(probes.per_layer), at)
    found = trainer.fit(runs, STEPS, look=look).looks
    wanted = lab.trainer(kind, probes.per_layer, period=PERIOD).fit(runs, STEPS).train
    assert found.keys() == wanted.keys()
    for name, values in found.items():
        np.testing.assert_allclose(values, wanted[name][:, list(at)], rtol=1e-4, err_msg=name)


def test_each_program_of_a_look_is_compiled_once(lab, kind):
    fresh, look = lab.trainer(kind, period=PERIOD), Look(snapshot, (1, 3))
    for rows, steps in (((0, 1, 2), STEPS), ((0, 1, 2), 4)):
        fresh.fit(lab.runs(kind, rows), steps, look=look)
    programs = fresh.programs(lab.runs(kind).variables["params"])
    made = {name: p for name, p in vars(programs).items() if hasattr(p, "_cache_size")}
    assert made.keys() == {"start", "advance_some", "evaluate"}
    counts = [program._cache_size() for program in (*made.values(), programs.look(snapshot))]
    assert set(counts) == {1}


def test_looks_between_periods_need_no_other_program(lab, kind):
    fresh = lab.trainer(kind, period=PERIOD)
    fresh.fit(lab.runs(kind), STEPS, look=Look(snapshot, (0, 4)))
    assert "advance_some" not in vars(fresh.programs(lab.runs(kind).variables["params"]))


@pytest.mark.parametrize("at", [(-1,), (0, 9)])
def test_a_step_that_the_run_has_not_is_one_clear_line(lab, kind, trainer, at):
    message = rf"^there is no step {at[-1]} to look at: the run has {STEPS} steps$"
    with pytest.raises(UserError, match=message):
        trainer.fit(lab.runs(kind), STEPS, look=Look(snapshot, at))


def test_arms_have_their_own_looks(lab):
    """Arm by arm, each with a row for every seed."""
    start = lab.starts["mlp"]

    def initialize(first, keys):
        return jax.tree.map(lambda leaf: leaf[first : first + len(keys)], start)

    hyper = {"learning_rate": 0.02, "train_biases": 1.0}
    arms = {name: Arm(functools.partial(initialize, i), hyper) for i, name in enumerate("ab")}
    look = Look(snapshot, (0, 4))
    found = fit_arms(lab.trainer("mlp", period=PERIOD), arms, (0, 1), 4, look=look)
    for i, history in enumerate(found.values()):
        first = jax.tree.map(lambda leaf: leaf[:, 0], history.looks)
        same(first, jax.tree.map(lambda leaf, i=i: leaf[i : i + 2], start))
        same(jax.tree.map(lambda leaf: leaf[:, 1], history.looks), history.variables)
