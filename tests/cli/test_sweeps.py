"""``--sweep``: a run for each value, each its own, then one figure of all."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from jaxvision.cli import running, side_by_side, sweep
from jaxvision.report import record as records
from tests.cli import toy as toys
from tests.cli.toy import call, files, refusal

BAD = [
    ("--sweep=batch", "names no values"),
    ("--sweep=batch=", "--sweep=batch: '' is not a whole number"),
    ("--sweep=batch=8", "needs two values at least"),
    ("--sweep=batch=8,08", "'8,08' names a value twice"),
    ("--sweep=batch=8,many", "--sweep=batch: 'many' is not a whole number"),
    ("--sweep=batch=8,-1", "'-1' must be at least 1"),
    ("--sweep=optimizer=sgd,lion", "'lion' is none of sgd, adam"),
    ("--sweep=depths=3,5", "it holds several values already"),
    ("--sweep=bach=8,16", "the set-up has no flag 'bach': did you mean batch?"),
    ("--sweep=preset=tiny,cpu", "the set-up has no flag 'preset'"),
    ("--sweep=batch=8,16 --batch=4", "leave out --batch=4"),
    ("--sweep=batch=8,16 --run_name=mine", "leave out --run_name"),
    ("--sweep=batch=8,16 --outcome=gian", "no 'gian': did you mean gain?"),
    ("--sweep=batch=8,16 --claim=gian", "no claim 'gian': did you mean gain?"),
    ("--outcome=gain", "give one, or neither"),
]


@pytest.fixture
def swept(toy, results, monkeypatch):
    """``swept(*flags)`` runs the toy, whose gain falls with its batch; returns the runs made."""
    made = []

    def measure(config, progress):
        made.append(config.batch)
        numbers, arrays = toys.measure(config, progress)
        return numbers | {"gain": numbers["gain"] - config.batch}, arrays

    toy.measure = measure

    def run(*flags):
        made.clear()
        assert call(toy, f"--results={results}", *flags) == 0
        return list(made)

    return run


@pytest.fixture
def undrawn(monkeypatch):
    """Leave the figures out: they take most of the time."""
    drawn = []

    def write(directory, runs, outcome, further, **_):
        drawn.append(SimpleNamespace(runs=runs, outcome=outcome, further=further))

    monkeypatch.setattr(side_by_side, "write_figure", write)
    return drawn


@pytest.mark.parametrize(("flags", "reason"), BAD)
def test_a_mistake_is_one_line_before_anything_is_run(toy, results, capsys, flags, reason):
    toy.measure = None
    assert reason in refusal(toy, capsys, f"--results={results}", *flags.split())
    assert not results.exists()


def test_fields_that_do_not_fit_are_refused_before_the_first_run(toy, results, capsys):
    """Also those of a later value."""
    toy.measure = None
    line = refusal(toy, capsys, f"--results={results}", "--sweep=dataset=digits,no_such_set/x//y@")
    assert "no_such_set" in line
    assert not results.exists()


def test_a_set_that_is_not_there_is_said_before_the_first_run(toy, results, capsys):
    line = refusal(toy, capsys, f"--results={results}", "--sweep=dataset=digits,nonsense")
    assert "unknown data set 'nonsense'" in line
    assert not results.exists()


def test_each_value_is_a_run_of_its_own_and_is_made_once(swept, results, capsys):
    assert swept("--sweep=batch=1,2,9") == [1, 2, 9]
    out = capsys.readouterr().out
    for value in (1, 2, 9):
        assert f"toy --batch={value}: " in out
    assert "gain by --batch (mean over seeds, 90 % interval):" in out
    assert "  9  -6 [-7.507, -4.493]" in out
    assert "lowest at 9, highest at 1" in out
    (figure,) = results.glob("toy-sweep-*")
    assert {path.name for path in figure.iterdir()} == {"figure.png", "figure.svg", "sweep.json"}
    before = files(results)
    assert swept("--sweep", "batch=1,2,9") == []
    assert "toy --batch=2 was run before: " in capsys.readouterr().err
    assert files(results) == before
    # The run of one value is the run that its flag makes.
    assert swept("--batch=2") == [2]
    assert set(files(results)) == set(before)


def test_the_verdicts_by_value_are_those_of_the_runs(swept, results, undrawn):
    swept("--sweep=batch=1,9")
    (drawn,) = undrawn
    runs = drawn.runs
    assert drawn.outcome == "gain"  # the first claim whose verdicts differ
    assert [run.label for run in runs] == ["1", "9"]
    assert [run.verdicts["gain"] for run in runs] == ["reproduced", "contradicted"]
    made = [records.load(path.parent) for path in results.glob("*/record.json")]
    assert sorted(record.command for record in made) == [
        f"python -m experiments toy --results={results} --batch={value}" for value in (1, 9)
    ]
    np.testing.assert_array_equal(runs[0].outcome("gain"), np.arange(5.0))


def test_a_broken_sweep_goes_on_where_it_was(toy, swept, results, undrawn, capsys):
    measure = toy.measure

    def broken(config, progress):
        if config.batch == 4:
            raise KeyboardInterrupt
        return measure(config, progress)

    toy.measure = broken
    assert call(toy, f"--results={results}", "--sweep=batch=2,4,8") == 130
    err = capsys.readouterr().err
    assert "stopped by Ctrl-C in run 2 of 3; those before it are kept" in err
    assert f"to go on: python -m experiments toy --results={results} --sweep=batch=2,4,8" in err
    toy.measure = measure
    assert swept("--sweep=batch=2,4,8") == [4, 8]


def test_ctrl_c_while_the_figure_is_drawn_says_that_the_runs_are_kept(
    swept, toy, results, capsys, monkeypatch
):
    """It said that nothing was written."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(side_by_side, "write_figure", interrupted)
        assert call(toy, f"--results={results}", "--sweep=batch=2,4") == 130
    err = capsys.readouterr().err
    assert "stopped by Ctrl-C while their figure was drawn; all runs are kept" in err
    assert "nothing was written" not in err
    assert swept("--sweep=batch=2,4") == []


def test_a_record_of_another_set_up_or_scale_is_not_taken_for_the_run(swept, results, undrawn):
    swept("--sweep=batch=2,4")
    paths = sorted(path.parent for path in results.glob("*/record.json"))
    paths[0].rename(results / "kept")
    paths[1].rename(paths[0])
    assert sorted(swept("--sweep=batch=2,4")) == [2, 4]
    assert swept("--sweep=batch=2,4", "--preset=tiny") == [2, 4]


def test_what_other_code_or_other_images_made_is_made_again(
    swept, results, undrawn, monkeypatch, tmp_path
):
    flags = "--sweep=batch=2,4"
    assert swept(flags) == [2, 4]
    with monkeypatch.context() as patch:
        patch.setattr(running, "code_of", lambda experiment: "other")
        patch.setattr(sweep, "code_of", lambda experiment: "other")
        assert swept(flags) == [2, 4]
    assert swept(flags) == [2, 4]
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 8, 8, 1), np.uint8)
    for pixels in images:
        np.savez(tmp_path / "own.npz", images=pixels, labels=np.arange(40) % 4)
        own = f"--dataset={tmp_path / 'own.npz'}"
        assert swept(flags, own) == [2, 4]
        assert swept(flags, own) == []


def test_any_number_of_the_records_can_be_shown(toy, swept, results, undrawn, capsys):
    """Arrays and numbers are known once there is a record: before, claims alone can be named."""
    flags = "--sweep=batch=2,4"
    assert "no 'curve'" in refusal(toy, capsys, f"--results={results}", flags, "--outcome=curve")
    swept(flags)
    capsys.readouterr()
    assert swept(flags, "--outcome=list") == []
    assert capsys.readouterr().out.split() == ["gain", "loss", "curve", "images"]
    swept(flags, "--outcome=curve")
    swept(flags, "--outcome=images")
    curve, images = undrawn[1:]
    assert "curve by --batch" in capsys.readouterr().out
    np.testing.assert_array_equal(curve.runs[0].outcome("curve"), 2 * np.arange(1.0, 6.0))
    assert images.runs[1].outcome("images") == 1437


def test_redrawing_runs_nothing(toy, swept, results, capsys, undrawn):
    flags = "--sweep=batch=2,4"
    line = refusal(toy, capsys, f"--results={results}", flags, "--plot_only")
    assert "there is no run" in line and "leave out --plot_only" in line
    swept(flags)
    assert swept(flags, "--plot_only") == []
    assert len(undrawn) == 2


def test_field_case_44_a_run_that_is_not_finite_is_never_the_best(toy, results, undrawn, capsys):
    """Wherever it stands; and its numbers are strict JSON."""

    def measure(config, progress):
        numbers, arrays = toys.measure(config, progress)
        gain = np.where(config.batch == 2, np.nan, numbers["gain"] / config.batch)
        return numbers | {"gain": gain}, arrays

    toy.measure = measure
    toy.claims = lambda config: toys.claims(config)[:1]
    for values in ("2,4,8", "4,2,8", "4,8,2"):
        assert call(toy, f"--results={results}", f"--sweep=batch={values}", "--quiet") == 0
        out = capsys.readouterr().out
        assert "  2  not finite" in out
        assert "lowest at 8, highest at 4" in out

    def refuse(text):
        raise ValueError(f"{text} is no JSON")

    for drawn in undrawn:
        told = json.loads(drawn.further["sweep.json"], parse_constant=refuse)
        assert {run["value"]: run["outcome"]["estimate"] for run in told["runs"]} == {
            2: {"float": "nan"},
            4: 0.75,
            8: 0.375,
        }
