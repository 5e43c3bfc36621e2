"""Experiments with long runs: their work directory, and how they are stopped."""

import os
import signal
from pathlib import Path

import pytest

from jaxvision import cli
from jaxvision.report import record as records
from tests.cli.toy import call, files, interrupted, measure, refusal


def test_a_long_run_keeps_its_directory_and_counts_earlier_seconds(long_toy, tmp_path, capsys):
    toy, flags = long_toy
    assert call(toy, *flags, "--preset=tiny") == 0
    record = records.load(tmp_path / "results" / "toy-tiny")
    assert 1000 <= record.provenance["wall_time_s"] < 1060
    (kept,) = (tmp_path / "work").iterdir()
    assert kept.name.startswith("toy-tiny-")
    assert sorted(path.name for path in kept.iterdir()) == ["config.json", "lock", "net"]
    assert call(toy, *flags, "--seeds=7") == 0
    assert len(list((tmp_path / "work").iterdir())) == 2
    capsys.readouterr()
    assert call(toy, *flags, "--preset=tiny") == 0
    assert capsys.readouterr().err.count("starting afresh") == 0
    assert call(toy, *flags, "--preset=tiny", "--noresume") == 0
    assert f"starting afresh: emptying {kept}" in capsys.readouterr().err


def test_a_record_of_nets_that_other_code_trained_says_so(long_toy, tmp_path, monkeypatch, capsys):
    """They are not trained again; the commit of today is not theirs."""
    toy, flags = long_toy
    toy.__file__ = str(tmp_path / "toy.py")
    provenances = []
    for text in ("decay = 1", "decay = 2", "decay = 2"):
        Path(toy.__file__).write_text(text)
        assert call(toy, *flags, "--preset=tiny") == 0
        provenances.append(records.load(tmp_path / "results" / "toy-tiny"))
    assert "the code has changed" in capsys.readouterr().err
    first, second, third = provenances
    assert "earlier" not in first.provenance
    assert "begun" not in first.origin()
    for later in (second, third):
        (maker,) = later.provenance["earlier"]
        assert maker["commit"] == first.provenance["commit"]
        assert f"; begun with other code: 2 x {maker['device']}" in later.origin()
    assert call(toy, *flags, "--preset=tiny", "--noresume") == 0
    assert "earlier" not in records.load(tmp_path / "results" / "toy-tiny").provenance


def test_plot_only_of_a_long_run_needs_no_workdir(long_toy, tmp_path):
    toy, flags = long_toy
    assert call(toy, *flags) == 0
    assert call(toy, flags[0], "--plot_only", f"--workdir={tmp_path / 'other'}") == 0
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("stops", "code", "words"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGTERM), 75, "stopped by SIGTERM between two parts"),
        (lambda: interrupted(None, cli.progress), 130, "stopped by Ctrl-C between two parts"),
    ],
)
def test_a_long_run_that_is_stopped_says_how_to_go_on(
    long_toy, tmp_path, capsys, stops, code, words
):
    toy, flags = long_toy
    toy.measure = lambda config, progress, workdir: stops()
    assert call(toy, *flags, "--seeds=7", "--noresume") == code
    out, err = capsys.readouterr()
    assert out == ""
    command = f"python -m experiments toy {' '.join(flags)} --seeds=7"
    assert err.endswith(f"{words}\nto go on: {command}\n")
    assert not (tmp_path / "results").exists()


def test_sigterm_before_the_first_net_is_a_stop_too(long_toy, tmp_path, capsys, monkeypatch):
    toy, flags = long_toy
    before, seen = signal.getsignal(signal.SIGTERM), []

    def configure(cpu_devices):
        seen.append(signal.getsignal(signal.SIGTERM))
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(cli.runtime, "configure", configure)
    assert call(toy, *flags) == 75
    how = f"to go on: python -m experiments toy {' '.join(flags)}\n"
    assert capsys.readouterr().err == f"stopped by SIGTERM before its first net\n{how}"
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(os, "kill", lambda *_: None)
    toy.measure = measure  # no long run: it is ended, and at once
    assert call(toy, flags[0]) == 0
    assert seen[1] != seen[0]
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_workdir_that_cannot_be_used_is_one_clear_line(long_toy, tmp_path, capsys):
    toy, flags = long_toy
    (tmp_path / "file").write_text("mine")
    for place, reason in ((tmp_path / "file", "--workdir"), ("", "--workdir must not be empty")):
        assert call(toy, flags[0], f"--workdir={place}") == 2
        err = capsys.readouterr().err
        assert err.startswith("error: ")
        assert reason in err
        assert err.count("\n") == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("mistake", ["--results=/dev/null", "--data_devices=3", "--seeds=0"])
def test_what_is_refused_has_emptied_nothing(long_toy, tmp_path, capsys, mistake):
    toy, flags = long_toy
    assert call(toy, *flags, "--seeds=7") == 0
    before = files(tmp_path / "work")
    assert before
    capsys.readouterr()
    refusal(toy, capsys, *flags, "--seeds=7", "--noresume", mistake)
    assert files(tmp_path / "work") == before


def test_a_stop_while_the_record_is_written_is_one_between_two_parts(long_toy, tmp_path, capsys):
    toy, flags = long_toy

    def stops(record, config):
        os.kill(os.getpid(), signal.SIGTERM)

    toy.plot = stops
    assert call(toy, *flags) == 75
    assert "stopped by SIGTERM between two parts\n" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()
