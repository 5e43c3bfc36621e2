"""Where records go: places and names, refused before the run."""

import dataclasses
import errno
import os
import subprocess
from pathlib import Path

import pytest

from jaxvision import cli
from jaxvision.cli import places
from jaxvision.report import plots
from jaxvision.report import record as records
from tests.cli.toy import ROOT, Config, call, files, measure, refusal


@pytest.mark.parametrize("below", ["", "deeper", "deeper/still"])
def test_results_below_a_file_fail_before_the_run(toy, tmp_path, capsys, below):
    toy.measure = None  # calling it would be a TypeError
    blocked = tmp_path / "file"
    blocked.write_text("mine")
    assert call(toy, f"--results={blocked / below}") == 2
    assert "cannot write to" in capsys.readouterr().err
    assert blocked.read_text() == "mine"


def test_results_without_permission_fail_before_the_run(toy, results, capsys, monkeypatch):
    toy.measure = None

    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(places.tempfile, "TemporaryDirectory", refuse)  # root may write anywhere
    assert call(toy, f"--results={results}") == 2
    assert "choose another directory with --results" in capsys.readouterr().err
    assert not results.exists()


def test_a_folder_of_the_user_s_is_never_taken_for_a_run_s(toy, results, capsys):
    toy.measure = None
    for name, text in (("src", "code"), ("record", "{}")):
        (results / name / "sub").mkdir(parents=True)
        (results / name / f"{name}.json").write_text(text)
        before = files(results)
        line = refusal(toy, capsys, f"--results={results}", f"--run_name={name}")
        assert line == (
            f"{results / name} holds files and no record of a run:"
            " choose another --run_name or --results"
        )
        assert files(results) == before


def test_a_run_leaves_files_of_others_in_its_folder(toy, results):
    flags = [f"--results={results}", "--run_name=mine"]
    assert call(toy, *flags) == 0
    (results / "mine" / "notes.txt").write_text("a note")
    (results / "mine" / "README.md").write_text("a page")
    toy.plot = lambda record, config: plots.new_figure(1, 1)[0]
    for more in ([], ["--plot_only"]):
        assert call(toy, *flags, *more) == 0
        assert (results / "mine" / "notes.txt").read_text() == "a note"
        assert (results / "mine" / "README.md").read_text() == "a page"


@pytest.mark.parametrize("flags", ["--seeds=7", "--preset=tiny", "--native=off"])
def test_a_name_that_the_user_gave_is_kept_for_one_set_up(toy, results, capsys, flags):
    named = [f"--results={results}", "--run_name=hello"]
    assert call(toy, "--seeds=6", *named) == 0
    assert call(toy, *named, "--seeds=6", "--quiet") == 0  # a rerun
    before = files(results)
    capsys.readouterr()
    line = refusal(toy, capsys, *named, "--seeds=6", flags)
    assert f"{results}/hello holds another run, 'toy --seeds=6': choose another --run_name" in line
    assert files(results) == before


def test_a_record_of_another_experiment_is_not_replaced(toy, results, capsys):
    assert call(toy, f"--results={results}", "--run_name=hello") == 0
    toy.__file__ = str(ROOT / "experiments" / "other.py")
    capsys.readouterr()
    line = refusal(toy, capsys, f"--results={results}", "--run_name=hello")
    assert f"{results}/hello holds a record of toy: choose another --run_name" in line


def test_a_damaged_record_is_replaced(toy, results):
    assert call(toy, f"--results={results}") == 0
    for text in (b"", b'{\n "format": "jaxvision record 2"'):
        (results / "toy" / "record.json").write_bytes(text)
        assert call(toy, f"--results={results}") == 0
        assert records.load(results / "toy").experiment == "toy"


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ([], "toy"),
        (["--preset=cpu"], "toy"),
        (["--seeds=5"], "toy"),  # the default, said aloud
        (["--preset=tiny"], "toy-tiny"),
        (["--preset=gpu"], "toy-gpu"),
    ],
)
def test_an_untouched_preset_has_its_own_name(toy, results, flags, name):
    assert call(toy, f"--results={results}", *flags) == 0
    assert [path.name for path in results.iterdir()] == [name]


def test_a_touched_preset_never_replaces_another_record(toy):
    names = {
        cli.default_run_name(toy, preset, dataclasses.replace(toy.PRESETS[preset], **changes))
        for preset in ("tiny", "cpu")
        for changes in ({}, {"seeds": 7}, {"seeds": 8}, {"rates": (0.1,)}, {"augment": True})
    }
    assert len(names) == 10
    assert all(records.RUN_NAME.fullmatch(name) for name in names)
    again = cli.default_run_name(toy, "cpu", Config(seeds=7))
    assert again in names
    assert again.startswith("toy-cpu-")


def test_data_dir_is_where_prepared_sets_are_looked_for(toy, results, tmp_path, monkeypatch):
    seen = []
    toy.measure = lambda config, progress: (
        seen.append(cli.os.environ["TFDS_DATA_DIR"]) or measure(config, progress)
    )
    assert call(toy, f"--results={results}", f"--data_dir={tmp_path}/a/../b") == 0
    assert seen == [str(tmp_path / "b")]


@pytest.mark.parametrize("flag", ["results", "workdir", "data_dir"])
@pytest.mark.parametrize("kind", ["link loop", "long name", "nobody's home"])
def test_a_place_that_cannot_be_followed_is_refused_by_its_flag(
    long_toy, tmp_path, capsys, flag, kind
):
    (tmp_path / "loop").symlink_to("loop")
    place = {
        "link loop": tmp_path / "loop",
        "long name": tmp_path / ("x" * 300),
        "nobody's home": "~nosuchuser/runs",
    }[kind]
    toy, flags = long_toy
    before = files(tmp_path)
    assert refusal(toy, capsys, *flags, f"--{flag}={place}").startswith(f"--{flag}=")
    assert files(tmp_path) == before
    assert not Path("~nosuchuser").exists()


def test_home_is_written_as_the_shell_has_it(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert call(toy, "--results=~/runs") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_name_that_is_no_text_is_a_place_too(toy, tmp_path, capsys):
    """As where the name of a folder is no UTF-8."""
    toy.plot = lambda record, config: plots.new_figure(1, 1)[0]
    assert call(toy, f"--results={tmp_path}/\udcff") == 0
    assert r"\udcff/toy/ holds record.json" in capsys.readouterr().out


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A checkout of its own, and a working directory beside it."""
    (tmp_path / "clone" / "experiments").mkdir(parents=True)
    (tmp_path / "clone" / "pyproject.toml").touch()
    (tmp_path / "here").mkdir()
    monkeypatch.setattr(places, "ROOT", tmp_path / "clone")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def written(root):
    return [str(path.parent.relative_to(root)) for path in root.rglob("record.json")]


@pytest.mark.parametrize(
    ("flags", "where"),
    [
        ([], "clone/experiments/results/toy"),
        (["--preset=cpu", "--seeds=5"], "clone/experiments/results/toy"),
        (["--run_name=toy"], "clone/experiments/results/toy"),
        (["--preset=tiny"], "here/runs/toy-tiny"),
        (["--run_name=mine"], "here/runs/mine"),
        (["--run_name=toy", "--seeds=7"], "here/runs/toy"),
        (["--results=there"], "here/there/toy"),
    ],
)
def test_only_an_untouched_cpu_preset_is_the_experiment_s_own_record(toy, elsewhere, flags, where):
    toy.__file__ = str(elsewhere / "clone" / "experiments" / "toy.py")
    assert call(toy, *flags) == 0
    assert written(elsewhere) == [where]
    assert call(toy, *flags, "--plot_only") == 0


@pytest.mark.parametrize(
    "flag",
    [
        "--data_dir=/data",
        "--data_devices=2",
        "--native=off",
        "JAXVISION_DISABLE",
        "--num_processes",
    ],
)
def test_what_changes_numbers_or_data_is_part_of_the_name(toy, elsewhere, monkeypatch, flag):
    """Trying it replaces no record, and least of all the one that git tracks."""
    toy.__file__ = str(elsewhere / "clone" / "experiments" / "toy.py")
    monkeypatch.setattr(cli.distributed, "start_from_flags", lambda *_: None)
    joined = ["--num_processes=2", "--process_id=0", "--coordinator=a:1"]
    flags = joined if flag == "--num_processes" else [flag]
    if flag == "JAXVISION_DISABLE":
        monkeypatch.setenv(flag, "conv")
        flags = []
    assert call(toy, *flags) == 0
    (first,) = written(elsewhere)
    assert first.startswith("here/runs/toy-cpu-")
    monkeypatch.delenv("JAXVISION_DISABLE", raising=False)
    assert call(toy, "--data_dir=/others") == 0
    assert len(written(elsewhere)) == 2


@pytest.mark.parametrize("kind", ["wheel", "file of a user"])
def test_what_is_no_experiment_of_a_clone_writes_to_runs(toy, elsewhere, kind):
    toy.__file__ = str(elsewhere / "clone" / "experiments" / "toy.py")
    if kind == "wheel":
        (elsewhere / "clone" / "pyproject.toml").unlink()
    else:
        toy.__file__ = str(elsewhere / "toy.py")
    assert call(toy) == 0
    assert written(elsewhere) == ["here/runs/toy"]


def test_git_does_not_see_the_runs_of_a_user():
    path = ROOT / "runs" / "he_init-tiny" / "record.json"
    done = subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, check=False)
    assert done.returncode in (0, 128)  # 128: no clone


def test_without_a_working_directory_whole_paths_still_work(toy, tmp_path, monkeypatch, capsys):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    line = refusal(toy, capsys, "--preset=tiny")
    assert line == "--results=runs cannot be followed: No such file or directory"
    assert call(toy, "--preset=tiny", f"--results={tmp_path / 'r'}") == 0
    assert f"{tmp_path}/r/toy-tiny/ holds" in capsys.readouterr().out
    os.chdir(tmp_path)
