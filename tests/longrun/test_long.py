"""Long runs: stopped anywhere and resumed, they are the same to the bit as left alone."""

import os
import signal
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from jaxvision.longrun.checkpoint import Checkpoints
from jaxvision.longrun.lanes import Lanes
from jaxvision.longrun.long import fit_long
from jaxvision.longrun.metrics import Metrics, from_line
from jaxvision.longrun.stop import Stopped
from jaxvision.longrun.workdir import Part, Workdir
from jaxvision.progress import progress
from jaxvision.types import UserError

STEPS, PERIOD = 24, 4
STOPPED = SimpleNamespace(SIGTERM=75, SIGINT=130)


def schedule(rows):
    """Depend on how many rows there are, and by run on how well it did."""
    rate = np.float32(0.02 / len(rows))
    return {"learning_rate": rate * (1 + np.asarray(rows[-1].get("train_error", 0.0)))}


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
    trainer, runs = lab.trainer("mlp", period=PERIOD, runs_per_call=2), lab.runs("mlp")

    def fit(part, steps=STEPS, trainer=trainer, runs=runs, **options):
        options = {"schedule": schedule} | options
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
    """Without a schedule; the means of the periods are those of their steps."""
    found = world.fit(None, schedule=None)
    wanted = world.trainer.fit(world.runs, STEPS)
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
    train = {"hyper", "train_loss", "train_error"}
    for i, row in enumerate(rows[1:]):
        assert set(row) == set(rows[0]) | train
        np.testing.assert_array_equal(row["train_loss"], world.history.train["loss"][:, i])
        np.testing.assert_array_equal(row["test_error"], world.history.test["error"][:, i + 1])
        wanted = np.float32(schedule(rows[: i + 1])["learning_rate"])
        np.testing.assert_array_equal(np.float32(row["hyper"]["learning_rate"]), wanted)
        assert row["hyper"]["train_biases"] == [1.0] * 3  # the schedule does not name it


def test_half_and_half_is_the_whole(world, tmp_path):
    world.fit(tmp_path, STEPS // 2)
    assert world.lines.startswith(lines(tmp_path))
    ends_alike(world, tmp_path)


@pytest.mark.parametrize(
    ("signum", "place", "method", "call", "rests_at"),
    [
        ("SIGTERM", Lanes, "start", 0, 0),
        ("SIGTERM", Lanes, "evaluate", 0, 0),  # of step 0
        ("SIGTERM", Lanes, "advance", 2, 12),
        ("SIGINT", Lanes, "advance", 2, 12),
        ("SIGTERM", Lanes, "evaluate", 3, 12),
        ("SIGTERM", Metrics, "append", 3, 12),
        ("SIGTERM", Checkpoints, "save", 2, 12),
        ("SIGTERM", Lanes, "evaluate", 6, 24),  # the last: it is finished rather than repeated
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
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        found = checkpoints.restore(Lanes(world.trainer, world.runs).template())
    assert found.step == rests_at
    np.testing.assert_array_equal(found.state.step, rests_at)
    assert world.lines.startswith(lines(tmp_path))
    ends_alike(world, tmp_path)


def test_in_evaluation_it_stops_between_two_calls(world, tmp_path, monkeypatch):
    """Three runs two at a time are evaluated in two calls: the second is not made."""
    program, evaluated = Lanes._program, []

    def counting(self, name):
        made = program(self, name)

        def call(*arguments):
            evaluated.append(1)
            if len(evaluated) == 3:  # the first call of step 4
                os.kill(os.getpid(), signal.SIGTERM)
            return made(*arguments)

        return call if name == "evaluate" else made

    with monkeypatch.context() as patch, pytest.raises(Stopped, match="at step 4 of 24"):
        patch.setattr(Lanes, "_program", counting)
        world.fit(tmp_path)
    assert len(evaluated) == 3
    assert lines(tmp_path) == world.lines[: len(lines(tmp_path))]
    assert lines(tmp_path).count("\n") == 1  # the row of step 4 lacks its evaluation
    ends_alike(world, tmp_path)


def test_a_resumed_schedule_sees_the_same_rows(world, tmp_path):
    def seen(directory, *steps):
        rows_seen = []

        def watching(rows):
            rows_seen.append([dict(row) for row in rows])
            return schedule(rows)

        for step in steps:
            world.fit(directory, step, schedule=watching)
        return rows_seen

    assert seen(tmp_path / "a", 24) == seen(tmp_path / "b", 4, 16, 24)


def test_a_finished_part_is_taken_as_it_is(world, tmp_path, monkeypatch, capsys):
    ends_alike(world, tmp_path)
    for name in ("start", "advance", "evaluate", "to_devices"):
        monkeypatch.setattr(Lanes, name, None)  # calling it would be a TypeError
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


@pytest.mark.parametrize("damage", ["deleted", "changed", "torn"])
def test_the_metrics_file_is_mended_from_the_checkpoint(world, tmp_path, damage, capsys):
    world.fit(tmp_path, 12)
    path = tmp_path / "metrics.jsonl"
    content = path.read_text()
    path.unlink()
    if damage != "deleted":
        path.write_text(content.replace("1", "2") if damage == "changed" else content[:-9])
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


def test_what_was_trained_otherwise_is_refused(world, lab, tmp_path):
    world.fit(tmp_path, 12)
    with pytest.raises(UserError, match="holds step 12, which 8 steps in periods of 4 do not pass"):
        world.fit(tmp_path, 8)
    with pytest.raises(UserError, match=r"is of another run: .* float32.* there"):
        world.fit(tmp_path, runs=lab.runs("mlp", range(2)))
    other = lab.trainer("mlp", period=3, runs_per_call=2)
    with pytest.raises(UserError, match="in periods of 3 do not pass"):
        world.fit(tmp_path, trainer=other)
    with pytest.raises(UserError, match="not a whole number of periods"):
        world.fit(tmp_path, 25)
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


def explodes(rows):
    return {"learning_rate": 0.01 if len(rows) < 3 else 1e30}


def test_a_run_that_diverges_ends_with_its_last_good_checkpoint(world, tmp_path):
    with pytest.raises(UserError, match=r"not finite .*lower the learning rate"):
        world.fit(tmp_path, schedule=explodes)
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["4", "8"]


def test_divergence_can_be_a_result_and_is_resumed_too(world, tmp_path):
    options = {"schedule": explodes, "may_diverge": True}
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
