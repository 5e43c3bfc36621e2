"""``compare``: two runs of one experiment, paired by seed where their seeds are the same."""

import numpy as np
import pytest

from jaxvision.cli import compare
from jaxvision.report import stats
from tests.cli import toy as toys
from tests.cli.toy import call, files


@pytest.fixture
def runs(toy, results):
    """``runs(name, *flags)`` makes a run of the toy whose gain is smaller by its batch."""

    def measure(config, progress):
        numbers, arrays = toys.measure(config, progress)
        noise = np.random.default_rng(config.batch).normal(size=config.seeds)
        return numbers | {"gain": numbers["gain"] - config.batch + noise}, arrays

    toy.measure = measure

    def run(name, *flags):
        assert call(toy, f"--results={results}", f"--run_name={name}", *flags) == 0

    return run


@pytest.fixture
def compared(toy, results, capsys):
    """``compared(*arguments)`` returns exit code, output and errors."""

    def run(*arguments):
        capsys.readouterr()
        found = [f"--results={results}", *arguments]
        code = compare.main(found, results, lambda name: toy if name == "toy" else None)
        return code, *capsys.readouterr()

    return run


def gains(batch, seeds=5):
    noise = np.random.default_rng(batch).normal(size=seeds)
    return np.arange(1.0, seeds + 1) - batch + noise


def test_claims_stand_side_by_side_and_their_differences_are_paired_by_seed(
    runs, compared, results
):
    runs("first", "--batch=1")
    runs("second", "--batch=9", "--seeds=7")
    code, out, err = compared("first", "second")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("A  toy --batch=1: n = 5 seeds, preset cpu, ")
    assert lines[1].startswith("B  toy --batch=9 --seeds=7: n = 7 seeds")
    assert "set-up, A | B: --seeds=5 | 7, --batch=1 | 9" in lines
    gap = gains(9, 7)[:5] - gains(1)  # the seeds that both have
    its = stats.t_interval(gap)
    assert "gain: reproduced -> contradicted" in lines
    told = f"; B - A {its.estimate:.4g} [{its.low:.4g}, {its.high:.4g}], n=5, p="
    (line,) = [line for line in lines if told in line]
    # Two-sided. Of the two claims the other differs more: Holm doubles its p-value, not this one.
    assert line.endswith(f"p={2 * stats.less_p(gap):.2g}")
    (figure,) = results.glob("toy-compare-*")
    assert {path.name for path in figure.iterdir()} == {"figure.png", "figure.svg"}


def test_runs_of_other_seeds_are_not_paired(runs, compared):
    runs("first")
    runs("second", "--first_seed=100")
    code, out, _ = compared("first", "second")
    assert code == 0
    assert "unpaired: the runs begin with other seeds (0 and 100)" in out
    assert "B - A" not in out
    assert "    A 1." in out or "    A -" in out


def test_what_cannot_be_compared_is_one_line(toy, runs, compared, results):
    runs("first")
    toy.__file__ = toy.__file__.replace("toy.py", "other.py")
    runs("other")
    before = files(results)
    for arguments, reason in (
        (("first", "other"), "first is a run of toy, other of other: only runs of one experiment"),
        (("first", "first"), "first and first are one and the same run"),
        (("other", "other-2"), "there is no run 'other-2': did you mean other?"),
        (("first",), "the following arguments are required: B"),
        (("first", str(results / "nothing")), "there is no run"),
    ):
        code, out, err = compared(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("error: ") and err.count("\n") == 1
        assert reason in err
    assert files(results) == before


def test_an_unknown_outcome_is_refused_and_all_can_be_listed(runs, compared, results):
    runs("first")
    runs("second", "--batch=9")
    assert compared("first", "second", "--outcome=list")[1].split() == [
        *("gain", "loss", "curve", "images"),
    ]
    code, _, err = compared("first", "second", "--outcome=gian")
    assert code == 2
    assert err == (
        "error: --outcome: there is no 'gian': did you mean gain? --outcome=list shows what there"
        " is\n"
    )
    assert not list(results.glob("toy-compare-*"))


def test_a_damaged_run_is_one_line(runs, compared, results):
    runs("first")
    (results / "broken").mkdir()
    (results / "broken" / "record.json").write_text("{")
    code, _, err = compared("first", "broken")
    assert code == 2
    assert "no whole record in" in err
