"""Long runs: stopped anywhere and resumed, they are the same to the bit as left alone."""

import dataclasses
import os
import signal
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.data import Dataset
from jaxvision.longrun.checkpoint import Checkpoints
from jaxvision.longrun.long import fit_long
from jaxvision.longrun.metrics import Metrics, from_line
from jaxvision.longrun.stop import Stopped
from jaxvision.longrun.workdir import Part, Workdir
from jaxvision.progress import progress
from jaxvision.training.calls import Call
from jaxvision.training.looks import Look
from jaxvision.training.optimizers import sgd
from jaxvision.training.schedules import scheduled, step_decay, warm_up
from jaxvision.types import UserError

STEPS, PERIOD = 24, 4
STOPPED = SimpleNamespace(SIGTERM=75, SIGINT=130)


def scheduled_sgd(weight_decay, hyper):
    """Depend on the step and, by run, on how well it does; both change inside a period."""
    rules = step_decay((10,), 0.5), warm_up(below=0.75, window=3)
    return scheduled(partial(sgd, weight_decay), *rules)(hyper)


def weight_sums(moment, data):
    """What is seen, exact, and infinite where a run has no step behind it."""
    kernels = [leaf for leaf in jax.tree.leaves(moment.state.params) if leaf.ndim > 1]
    sums = jnp.stack([kernel.sum() for kernel in kernels])
    pixels = moment.images.astype(jnp.int32).sum()
    return {"sums": sums * data, "inverse": 1 / moment.state.step, "pixels": pixels}


LOOK = Look(weight_sums, (10, 0, 4, 23, 24), np.float32(2))


@pytest.fixture(autouse=True)
def outside():
    """A signal that a run does not take for itself fails the test, and does not end pytest."""

    def unexpected(signum, frame):
        raise AssertionError(f"signal {signum} was passed on")

    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, unexpected) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def world(lab, tmp_path_factory):
    """Three runs, trained two at a time, and what they come to when left alone."""
    options = {"period": PERIOD, "runs_per_call": 2, "optimizer": scheduled_sgd}
    trainer, runs = lab.trainer("mlp", **options), lab.runs("mlp")

    def fit(part, steps=STEPS, trainer=trainer, runs=runs, **options):
        return fit_long(trainer, runs, steps, part and Part(part), **options)

    directory = tmp_path_factory.mktemp("alone")
    return SimpleNamespace(
        trainer=trainer, runs=runs, fit=fit, history=fit(directory), lines=lines(directory)
    )


def lines(directory):
    return (directory / "metrics.jsonl").read_text()


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def ends_alike(world, directory):
    """Finish the run in ``directory`` and hold it against the one that was left alone."""
    same(world.fit(directory), world.history)
    assert lines(directory) == world.lines


def test_it_is_what_fit_makes(world):
    """The means of the periods are those of their steps."""
    found, wanted = world.history, world.trainer.fit(world.runs, STEPS)
    same(found.variables, wanted.variables)
    same(found.test, jax.tree.map(np.float64, wanted.test))
    np.testing.assert_array_equal(found.steps, wanted.test_steps)
    for name, values in found.train.items():
        means = wanted.train[name].reshape(3, -1, PERIOD).mean(-1)
        np.testing.assert_allclose(values, means, rtol=1e-6)


def test_in_memory_it_is_the_same_and_leaves_no_files(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    same(world.fit(None), world.history)
    assert os.listdir(tmp_path) == []


def test_rows_are_what_the_history_holds(world):
    rows = [from_line(line) for line in world.lines.splitlines()]
    assert [row["step"] for row in rows] == list(world.history.steps) == [0, 4, 8, 12, 16, 20, 24]
    assert set(rows[0]) == {"step", "test_loss", "test_error"}
    train = {"train_learning_rate", "train_loss", "train_error"}
    for i, row in enumerate(rows[1:]):
        assert set(row) == set(rows[0]) | train
        np.testing.assert_array_equal(row["train_loss"], world.history.train["loss"][:, i])
        np.testing.assert_array_equal(row["test_error"], world.history.test["error"][:, i + 1])


def test_half_and_half_is_the_whole(world, tmp_path):
    world.fit(tmp_path, STEPS // 2)
    assert world.lines.startswith(lines(tmp_path))
    ends_alike(world, tmp_path)


@pytest.mark.parametrize(
    ("signum", "place", "method", "call", "rests_at"),
    [
        ("SIGTERM", Call, "start", 0, 0),
        ("SIGTERM", Call, "evaluate", 0, 0),  # of step 0; two calls a period
        ("SIGTERM", Call, "advance", 4, 12),
        ("SIGINT", Call, "advance", 5, 12),
        ("SIGTERM", Call, "evaluate", 6, 12),
        ("SIGTERM", Metrics, "append", 3, 12),
        ("SIGTERM", Checkpoints, "save", 2, 12),
        ("SIGTERM", Call, "evaluate", 12, 24),  # the last: it is finished rather than repeated
        ("SIGTERM", Checkpoints, "save", 5, 24),
    ],
)
def test_a_signal_saves_and_the_rest_is_the_same(
    world, tmp_path, monkeypatch, signum, place, method, call, rests_at
):
    """The signal comes while the ``call``-th call of a method runs."""
    original, calls = getattr(place, method), []

    def signalled(self, *arguments, **options):
        calls.append(1)
        if len(calls) == call + 1:
            os.kill(os.getpid(), getattr(signal, signum))
        return original(self, *arguments, **options)

    with monkeypatch.context() as patch, pytest.raises(Stopped) as caught:
        patch.setattr(place, method, signalled)
        world.fit(tmp_path)
    assert caught.value.exit_code == getattr(STOPPED, signum)
    assert f"at step {rests_at} of {STEPS} of {tmp_path.name}, which is saved" in str(caught.value)
    assert max(int(path.name) for path in (tmp_path / "checkpoints").iterdir()) == rests_at
    assert world.lines.startswith(lines(tmp_path))
    ends_alike(world, tmp_path)


def test_in_evaluation_it_stops_between_two_calls(world, tmp_path, monkeypatch):
    """Three runs two at a time are evaluated in two calls: the second is not made."""
    evaluate, evaluated = Call.evaluate, []

    def counting(self, state):
        evaluated.append(1)
        if len(evaluated) == 3:  # the first call of step 4
            os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(self, state)

    with monkeypatch.context() as patch, pytest.raises(Stopped, match="at step 4 of 24"):
        patch.setattr(Call, "evaluate", counting)
        world.fit(tmp_path)
    assert len(evaluated) == 3
    assert lines(tmp_path) == world.lines[: len(lines(tmp_path))]
    assert lines(tmp_path).count("\n") == 1  # the row of step 4 lacks its evaluation
    ends_alike(world, tmp_path)


def test_a_finished_part_is_taken_as_it_is(world, tmp_path, monkeypatch, capsys):
    ends_alike(world, tmp_path)
    for name in ("start", "advance", "evaluate", "place"):
        monkeypatch.setattr(Call, name, None)  # calling it would be a TypeError
    ends_alike(world, tmp_path)
    assert "going on at step 24 of 24" in capsys.readouterr().err


def test_checkpoints_come_every_few_periods_and_at_the_end(world, tmp_path, monkeypatch):
    saved, save = [], Checkpoints.save

    def counting(self, step, *arguments, **options):
        saved.append(step)
        save(self, step, *arguments, **options)

    monkeypatch.setattr(Checkpoints, "save", counting)
    world.fit(tmp_path, 20, checkpoint_every=2)
    assert saved == [8, 16, 20]
    ends_alike(world, tmp_path)


@pytest.mark.parametrize("every", [1, 4])
def test_a_kill_between_row_and_checkpoint_loses_nothing(world, tmp_path, monkeypatch, every):
    """The row is written first: the file may be ahead of the checkpoint, never behind."""

    class Killed(BaseException):
        pass

    append, count = Metrics.append, []

    def dies(self, line):
        append(self, line)
        count.append(1)
        if len(count) == 6:  # step 20
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Metrics, "append", dies)
        world.fit(tmp_path, checkpoint_every=every)
    assert lines(tmp_path).count("\n") == 6
    ends_alike(world, tmp_path)


def test_the_metrics_file_is_mended_from_the_checkpoint(world, tmp_path, capsys):
    """Deleted, changed and torn off, each between two parts of one run."""
    path = tmp_path / "metrics.jsonl"
    for steps, damaged in (
        (4, lambda content: None),
        (8, lambda content: content.replace("1", "2")),
        (12, lambda content: content[:-9]),
    ):
        world.fit(tmp_path, steps)
        assert world.lines.startswith(lines(tmp_path))
        left = damaged(path.read_text())
        path.unlink()
        if left is not None:
            path.write_text(left)
        assert capsys.readouterr().err.count("was damaged: written anew") == (steps > 4)
    ends_alike(world, tmp_path)
    assert "was damaged: written anew" in capsys.readouterr().err


def test_without_checkpoints_it_says_that_it_begins_again(world, tmp_path, capsys):
    world.fit(tmp_path, 8, checkpoint_every=5)
    for step in (tmp_path / "checkpoints").iterdir():
        step.rename(tmp_path / step.name)
    ends_alike(world, tmp_path)
    assert "there is no checkpoint, so it starts at step 0" in capsys.readouterr().err


def test_a_damaged_newest_checkpoint_costs_a_period(world, tmp_path, capsys):
    world.fit(tmp_path, 12)
    for file in (tmp_path / "checkpoints" / "12" / "state").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:-1])
    ends_alike(world, tmp_path)
    err = capsys.readouterr().err
    assert "checkpoints/12 skipped: " in err
    assert "going on at step 8 of 24" in err


def test_what_its_steps_do_not_pass_is_refused(world, tmp_path):
    world.fit(tmp_path, 12)
    with pytest.raises(UserError, match="holds step 12, which 8 steps in periods of 4 do not pass"):
        world.fit(tmp_path, 8)
    other = dataclasses.replace(world.trainer, period=3)
    with pytest.raises(UserError, match="in periods of 3 do not pass"):
        world.fit(tmp_path, trainer=other)
    with pytest.raises(UserError, match="not a whole number of periods"):
        world.fit(tmp_path, 25)
    with pytest.raises(UserError, match=r"^there is no step 25 to look at: the run has 24 steps$"):
        world.fit(tmp_path, look=dataclasses.replace(LOOK, at=(0, 25)))
    ends_alike(world, tmp_path)


def relabeled(data):
    """One label of fifty is another."""
    return Dataset(data.images, np.r_[(data.labels[0] + 1) % 10, data.labels[1:]])


def repainted(data):
    return Dataset(data.images ^ 1, data.labels)


def shortened(data):
    return Dataset(data.images[:-1], data.labels[:-1])


def test_another_batch_or_other_data_are_refused(world, tmp_path):
    """In one line, and nothing is changed: the right command goes on."""
    train, test = world.trainer.train, world.trainer.test
    changes = [
        ({"batch_size": 15}, "batch size is 16 there and 15 here"),
        ({"shards": 2}, "parts of a batch is one a device there and 2 here"),
        ({"train": shortened(train)}, r"training images is 50 \(\w{12}\) there and 49 \("),
        ({"train": relabeled(train)}, r"training images is 50 \(\w{12}\) there and 50 \("),
        ({"train": repainted(train)}, r"training images is 50 \(\w{12}\) there and 50 \("),
        ({"test": relabeled(test)}, r"test images is 37 \(\w{12}\) there and 37 \("),
    ]
    world.fit(tmp_path, 12)
    for change, words in changes:
        with pytest.raises(UserError, match=f"is of another run: {words}.*; put its own back"):
            world.fit(tmp_path, trainer=dataclasses.replace(world.trainer, **change))
    ends_alike(world, tmp_path)


def test_other_runs_and_looks_are_refused(world, lab, tmp_path):
    world.fit(tmp_path, 12)
    runs = world.runs
    for other, words in (
        (lab.runs("mlp", range(2)), "seeds is 0, 1, 2 there and 0, 1 here"),
        (runs._replace(seeds=runs.seeds + 1), "seeds is 0, 1, 2 there and 1, 2, 3 here"),
        (lab.runs("mlp", rates=(0.1,) * 5), r"learning_rate is 0.01, 0.02, 0.03 there and 0.1,"),
    ):
        with pytest.raises(UserError, match=f"is of another run: {words}"):
            world.fit(tmp_path, runs=other)
    with pytest.raises(UserError, match="looked at is none there and 10, 0, 4, 23, 24 here"):
        world.fit(tmp_path, look=LOOK)
    ends_alike(world, tmp_path)


def test_exchanged_parts_are_refused(world, tmp_path):
    """Equal shapes, equal steps: only the seal tells whose net it is."""
    with Workdir(tmp_path, "toy", "tiny", {}) as workdir:
        parts = [workdir.part(name) for name in ("plain", "residual")]
        for part in parts:
            fit_long(world.trainer, world.runs, STEPS, part)
        plain, residual = (part.directory for part in parts)
        plain.rename(tmp_path / "aside")
        residual.rename(plain)
        (tmp_path / "aside").rename(residual)
        for part in parts:
            with pytest.raises(UserError, match=r"is of another run: part is .* there and"):
                fit_long(world.trainer, world.runs, STEPS, part)


# Looks.


def test_a_look_changes_no_bit_and_sees_what_fit_sees(world):
    found, wanted = world.fit(None, look=LOOK), world.trainer.fit(world.runs, STEPS, look=LOOK)
    same(found[:4], world.history[:4])
    same(found.looks, wanted.looks)
    assert found.looks["sums"].shape == (3, 5, 4)
    np.testing.assert_allclose(found.looks["inverse"][0], [0.1, np.inf, 1 / 4, 1 / 23, 1 / 24])


@pytest.mark.parametrize("stops", [(4, 24), (8, 12, 24)], ids=str)
def test_what_was_seen_is_resumed_with_the_rest(world, tmp_path, stops):
    """The look at step 0 is infinite: that is no divergence."""
    for step in stops:  # a run that is to end earlier is looked at later than it ends
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Look, "check", lambda look, steps: None)
            history = world.fit(tmp_path, step, look=LOOK)
    same(history, world.fit(None, look=LOOK))


# Divergence.


def explodes(weight_decay, hyper):
    return scheduled(partial(sgd, weight_decay), step_decay((8,), 1e30))(hyper)


@pytest.fixture(scope="module")
def exploding(lab):
    return lab.trainer("mlp", period=PERIOD, runs_per_call=2, optimizer=explodes)


def test_a_run_that_diverges_ends_with_its_last_good_checkpoint(world, exploding, tmp_path):
    with pytest.raises(UserError, match=r"not finite .*lower the learning rate"):
        world.fit(tmp_path, trainer=exploding, look=LOOK)
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["4", "8"]


def test_divergence_can_be_a_result_and_is_resumed_too(world, exploding, tmp_path):
    options = {"trainer": exploding, "may_diverge": True}
    alone = world.fit(tmp_path / "alone", **options)
    assert not np.isfinite(alone.train["loss"][:, -1]).any()
    world.fit(tmp_path / "halves", 16, **options)
    same(world.fit(tmp_path / "halves", **options), alone)
    assert lines(tmp_path / "halves") == lines(tmp_path / "alone")


def test_it_shows_how_far_it_is(world, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("jaxvision.progress.SECONDS_BETWEEN_LINES", 0.0)
    world.fit(tmp_path, 8)
    capsys.readouterr()
    world.fit(tmp_path, progress=progress)
    shown = capsys.readouterr().err.splitlines()
    assert shown[0] == f"{tmp_path.name}: going on at step 8 of 24"
    assert shown[1] == f"{tmp_path.name}: started, 16 steps"
    assert [line.split(": ")[1].split(" %")[0] for line in shown[2:6]] == ["50", "67", "83", "100"]
    for line in shown[2:6]:
        for told in (" s left", "epoch ", "loss ", "error ", "test error ", "images/s "):
            assert told in line
    assert "epoch 8," in shown[-1]
    loss = float(np.mean(world.history.train["loss"][:, -1]))
    assert f"loss {loss:.3g}," in shown[-1]
