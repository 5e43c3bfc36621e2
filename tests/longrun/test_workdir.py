"""Run directories: named by what is run, held by one process, begun afresh only when asked."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jaxvision.longrun.stop import Stopped
from jaxvision.longrun.workdir import Workdir, config_hash
from jaxvision.parallel import distributed
from jaxvision.report import provenance
from jaxvision.report import record as records
from jaxvision.types import UserError

CONFIG = {"steps": 8, "rates": (0.1, 0.2)}


@pytest.fixture
def opened(tmp_path):
    """Return ``opened(config, **options)``, a work directory not yet entered."""
    return lambda config=CONFIG, **options: Workdir(tmp_path, "toy", "tiny", config, **options)


def test_the_name_says_what_is_run(opened, tmp_path):
    names = {opened(config).directory.name for config in (CONFIG, {"steps": 9}, {"steps": "9"})}
    assert len(names) == 3
    name = f"toy-tiny-{config_hash(CONFIG)}"
    assert name in names
    assert records.RUN_NAME.fullmatch(name)
    assert list(tmp_path.iterdir()) == []  # nothing is made before it is entered


def test_entered_it_says_what_it_is_and_parts_lie_inside(opened, capsys):
    with opened() as workdir:
        part = workdir.part("plain56")
        assert part is workdir.part("plain56")
        assert (part.name, part.directory) == ("plain56", workdir.directory / "plain56")
        told = json.loads((workdir.directory / "config.json").read_text())
    assert (told["experiment"], told["config"]) == ("toy", {"steps": 8, "rates": [0.1, 0.2]})
    (maker,) = told["makers"]
    assert maker["versions"]["jax"]
    assert maker["code"] == provenance.code_hash()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["", "..", "a/b", "/tmp", ".hidden"])
def test_a_part_stays_inside(opened, name):
    with pytest.raises(UserError, match="run name"):
        opened().part(name)


def test_of_several_processes_one_has_the_files(opened, monkeypatch, tmp_path):
    monkeypatch.setattr(distributed, "is_main", lambda: False)
    with opened() as workdir:
        assert workdir.part("plain56").name == "plain56"
    assert list(tmp_path.iterdir()) == []


def test_one_process_at_a_time(opened):
    with opened() as workdir:
        with pytest.raises(UserError) as caught, opened():
            pass
        assert f"{workdir.directory} is in use by process {os.getpid()}" in str(caught.value)
        with opened({"steps": 9}):
            pass  # another config, another directory
    with opened():
        pass


def test_the_lock_of_a_process_that_was_killed_is_free(opened):
    code = (
        "import os, sys, signal; from jaxvision.longrun.workdir import _lock; from pathlib import "
        "Path; _lock(Path(sys.argv[1])); print('locked', flush=True); signal.pause()"
    )
    directory = opened().directory
    directory.mkdir()
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(directory)],
        cwd=Path(__file__).resolve().parents[2],
        stdout=subprocess.PIPE,
    )
    assert child.stdout.readline() == b"locked\n"
    with pytest.raises(UserError, match=f"in use by process {child.pid}:"), opened():
        pass
    child.kill()
    child.wait()
    child.stdout.close()
    with opened():
        pass


def test_an_error_inside_gives_the_lock_back(opened):
    with pytest.raises(ZeroDivisionError), opened():
        raise ZeroDivisionError
    with opened():
        pass


def test_what_is_there_stays_unless_a_fresh_start_is_asked_for(opened, capsys):
    with opened() as workdir:
        kept = workdir.part("net").directory / "file"
        kept.parent.mkdir()
        kept.write_text("mine")
    with opened():
        assert kept.read_text() == "mine"
    assert capsys.readouterr().err == ""
    with opened(resume=False):
        assert sorted(p.name for p in workdir.directory.iterdir()) == ["config.json", "lock"]
    assert capsys.readouterr().err == f"starting afresh: emptying {workdir.directory}\n"


def test_a_directory_that_is_in_use_is_not_emptied(opened):
    with opened() as workdir:
        (workdir.directory / "file").write_text("mine")
        with pytest.raises(UserError, match="in use"), opened(resume=False):
            pass
        assert (workdir.directory / "file").read_text() == "mine"


def test_the_directory_of_another_config_is_refused(opened):
    with opened() as workdir:
        path = workdir.directory / "config.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"config": {"steps": 9}}))
    with pytest.raises(UserError, match="is of another run"), opened():
        pass
    path.write_text("{")  # damaged: the name vouches for the config
    with opened():
        assert json.loads(path.read_text()) == told


@pytest.fixture
def enter(opened, tmp_path, capsys):
    """Return ``enter(text)``: train a net with an experiment of that source; lines, earlier."""
    source = tmp_path / "toy.py"

    def enter(text, **options):
        source.write_text(text)
        with opened(source=source, **options) as workdir:
            (workdir.part("net").directory / "checkpoints" / "4").mkdir(parents=True, exist_ok=True)
        return capsys.readouterr().err.splitlines(), workdir.earlier

    return enter


def test_nets_of_other_code_are_named_as_long_as_they_are_there(enter):
    """The commit does not tell: an edit is not committed, a commit may change no code."""
    assert enter("first") == ([], [])
    for text in ("second", "second"):  # each time, for what was trained first is used each time
        (line,), (maker,) = enter(text)
        assert "the code has changed since nets here were trained (" in line
        assert line.endswith("; --noresume trains them anew")
        assert maker["started"]
    (line,), (maker,) = enter("first")  # an edit taken back: the net may have learned with it
    assert "the code has changed" in line
    _, makers = enter("third")
    assert len({maker["code"] for maker in makers}) == len(makers) == 2
    (line,), earlier = enter("third", resume=False)
    assert "starting afresh" in line
    assert earlier == []
    assert enter("third") == ([], [])


def test_where_nothing_was_trained_other_code_is_no_news(opened, capsys):
    with opened(source="/first"):
        pass
    with opened(source="/second") as workdir:
        assert workdir.earlier == []
    told = json.loads((workdir.directory / "config.json").read_text())
    assert len(told["makers"]) == 1
    assert capsys.readouterr().err == ""


def test_who_cannot_be_told_counts_as_another(enter, opened):
    enter("first")
    path = opened().directory / "config.json"
    path.write_text("{")
    (line,), (maker,) = enter("first")
    assert "(unknown device, commit unknown)" in line
    assert maker == {"differs": ["code"]}


def test_going_on_with_another_device_is_said(enter, monkeypatch, capsys):
    now = provenance.describe
    enter("first")
    monkeypatch.setattr(provenance, "describe", lambda *a: now(*a) | {"device": "another"})
    for _ in range(2):  # as long as it is so
        (line,), (maker,) = enter("first")
        assert "begun with device cpu: " in line
        assert "goes on with another: its numbers may differ" in line
        assert maker["device"].startswith("cpu: ")
        assert maker["differs"] == ["device"]


def test_a_place_that_cannot_be_used_is_one_line(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="choose another place with --workdir"):
        Workdir(tmp_path / "file", "toy", "tiny", CONFIG).__enter__()


@pytest.mark.parametrize(
    ("stops", "code"), [(lambda: os.kill(os.getpid(), signal.SIGTERM), 75), (None, 130)]
)
def test_between_two_parts_signals_stop_at_once(opened, stops, code):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped, match="between two parts") as caught, opened():
        if stops is None:
            raise KeyboardInterrupt
        stops()
        signal.pause()
    assert caught.value.exit_code == code
    assert signal.getsignal(signal.SIGTERM) == before
    with opened():
        pass  # the lock is free
