"""Run directories: named by what is run, held by one process, begun afresh only when asked."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jaxvision import data
from jaxvision.data import Identity
from jaxvision.longrun.stop import Stopped
from jaxvision.longrun.workdir import Workdir, config_hash
from jaxvision.native import switch
from jaxvision.parallel import distributed
from jaxvision.report import provenance
from jaxvision.report import record as records
from jaxvision.types import UserError

CONFIG = {"steps": 8, "rates": (0.1, 0.2)}


@pytest.fixture
def opened(tmp_path):
    """Return ``opened(config, **options)``, a work directory not yet entered."""
    return lambda config=CONFIG, **options: Workdir(tmp_path, "toy", "tiny", config, **options)


@pytest.fixture
def begun(opened):
    """Return ``begun(config, **options)``, a context: a work directory with its first part."""

    @contextlib.contextmanager
    def begun(config=CONFIG, **options):
        with opened(config, **options) as workdir:
            workdir.part("net")
            yield workdir

    return begun


def checkpoint_in(workdir, name="net"):
    """Make a part look trained."""
    (workdir.part(name).directory / "checkpoints" / "4").mkdir(parents=True, exist_ok=True)


def test_the_name_says_what_is_run(opened, tmp_path):
    names = {opened(config).directory.name for config in (CONFIG, {"steps": 9}, {"steps": "9"})}
    assert len(names) == 3
    name = f"toy-tiny-{config_hash(CONFIG)}"
    assert name in names
    assert records.RUN_NAME.fullmatch(name)


@pytest.mark.parametrize("resume", [True, False])
def test_before_the_first_part_nothing_is_made_or_emptied(opened, begun, tmp_path, resume):
    """What is refused before a net trains, such as a data set without a name, leaves no trace."""
    with opened(resume=resume):
        pass
    assert list(tmp_path.iterdir()) == []
    with begun() as workdir:
        (workdir.directory / "file").write_text("mine")
    with pytest.raises(UserError, match="no such set"), opened(resume=resume):
        raise UserError("no such set")
    assert (workdir.directory / "file").read_text() == "mine"


def test_begun_it_says_what_it_is_and_parts_lie_inside(begun, capsys):
    with begun() as workdir:
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
def test_a_part_stays_inside(opened, name, tmp_path):
    with opened() as workdir, pytest.raises(UserError, match="run name"):
        workdir.part(name)
    assert list(tmp_path.iterdir()) == []


def test_parts_are_for_those_who_have_entered(opened, begun):
    with pytest.raises(RuntimeError, match="enter the Workdir"):
        opened().part("net")
    with begun() as workdir:
        pass
    with begun(), workdir, pytest.raises(UserError, match="in use"):
        workdir.part("net")  # a second time it is locked anew


def test_of_several_processes_one_has_the_files(opened, monkeypatch, tmp_path):
    monkeypatch.setattr(distributed, "is_main", lambda: False)
    with opened() as workdir:
        assert workdir.part("plain56").name == "plain56"
    assert list(tmp_path.iterdir()) == []


def test_one_process_at_a_time(begun):
    with begun() as workdir:
        with pytest.raises(UserError) as caught, begun():
            pass
        assert f"{workdir.directory} is in use by process {os.getpid()}" in str(caught.value)
        with begun({"steps": 9}):
            pass  # another config, another directory
    with begun():
        pass


def test_the_lock_of_a_process_that_was_killed_is_free(opened, begun):
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
    with pytest.raises(UserError, match=f"in use by process {child.pid}:"), begun():
        pass
    child.kill()
    child.wait()
    child.stdout.close()
    with begun():
        pass


def test_an_error_inside_gives_the_lock_back(begun):
    with pytest.raises(ZeroDivisionError), begun():
        raise ZeroDivisionError
    with begun():
        pass


def test_what_is_there_stays_unless_a_fresh_start_is_asked_for(begun, capsys):
    with begun() as workdir:
        kept = workdir.part("net").directory / "file"
        kept.parent.mkdir()
        kept.write_text("mine")
    with begun():
        assert kept.read_text() == "mine"
    assert capsys.readouterr().err == ""
    with begun(resume=False) as workdir:
        assert sorted(p.name for p in workdir.directory.iterdir()) == ["config.json", "lock"]
        workdir.part("net").directory.mkdir()
        workdir.part("second")  # empties nothing
        assert workdir.part("net").directory.is_dir()
    assert capsys.readouterr().err == f"starting afresh: emptying {workdir.directory}\n"


def test_what_a_killed_process_left_is_removed(begun):
    with begun() as workdir:
        left = workdir.directory / "config.tmp"
        left.write_text("half of")
    with begun():
        assert sorted(p.name for p in workdir.directory.iterdir()) == ["config.json", "lock"]


def test_a_directory_that_is_in_use_is_not_emptied(begun):
    with begun() as workdir:
        (workdir.directory / "file").write_text("mine")
        with pytest.raises(UserError, match="in use"), begun(resume=False):
            pass
        assert (workdir.directory / "file").read_text() == "mine"


def test_the_directory_of_another_config_is_refused(begun):
    with begun() as workdir:
        path = workdir.directory / "config.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"config": {"steps": 9}}))
    with pytest.raises(UserError, match="is of another run"), begun():
        pass


DAMAGE = {
    "empty": "",
    "cut": "{",
    "deep": "[" * 5000,
    "no makers": "{}",
    "a list": "[]",
    "makers are no list": '{"makers": 1}',
    "a maker is no table": '{"makers": [1]}',
    "data are no list": '{"makers": [{"data": 1}]}',
    "data lack a name": '{"makers": [{"data": [{}]}]}',
}


@pytest.mark.parametrize("text", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_config_is_written_anew(begun, text):
    """The directory's name vouches for the config, the seals for the data."""
    with begun() as workdir:
        path = workdir.directory / "config.json"
    told = json.loads(path.read_text())
    path.write_text(text)
    with begun():
        assert json.loads(path.read_text()) | {"makers": 0} == told | {"makers": 0}


# The data.


@pytest.fixture
def load(monkeypatch):
    """Return ``load(*identities)``: make this process have loaded these data."""
    return lambda *found: monkeypatch.setattr(data, "identities", lambda: found)


OLD = Identity("mine", "1.0.0", "", "00aa00aa00aa", 80, 20)
OTHERS = {
    "version": (dataclasses.replace(OLD, version="2.0.0"), "mine 2.0.0 (80 and 20 images"),
    "digest": (dataclasses.replace(OLD, digest="11bb11bb11bb"), "digest 11bb11bb11bb)"),
    "label": (dataclasses.replace(OLD, label="coarse"), "(labels coarse, 80"),
    "count": (dataclasses.replace(OLD, train=300), "300 and 20 images"),
}


@pytest.mark.parametrize(("other", "told"), OTHERS.values(), ids=OTHERS.keys())
def test_other_data_are_refused(begun, load, capsys, other, told):
    load(OLD)
    with begun() as workdir:
        checkpoint_in(workdir)
    load(other)
    with pytest.raises(UserError) as caught, begun():
        pass
    before, now = str(caught.value).split(", the data are now ")
    words = "was trained on mine 1.0.0 (80 and 20 images, digest 00aa00aa00aa)"
    assert before == f"{workdir.directory} {words}"
    assert told in now
    assert now.endswith(": --noresume trains anew, another --workdir keeps both")
    assert capsys.readouterr().err == ""
    load(OLD)
    with begun():
        pass  # nothing was changed
    load(other)
    with begun(resume=False) as workdir:
        checkpoint_in(workdir)
    with begun() as workdir:
        assert workdir.earlier == []


def test_where_nothing_was_trained_other_data_are_no_news(begun, load):
    load(OLD)
    with begun():
        pass
    load(OTHERS["version"][0])
    with begun() as workdir:
        told = json.loads((workdir.directory / "config.json").read_text())
    (maker,) = told["makers"]
    (identity,) = maker["data"]
    assert identity["version"] == "2.0.0"


def test_a_part_s_checkpoints_know_part_run_and_data(begun, load):
    load(OLD)
    with begun() as workdir:
        owner = workdir.part("net").owner
        assert owner["part"] == "net"
        assert workdir.part("other").owner == owner | {"part": "other"}
    with begun({"steps": 9}) as workdir:
        assert workdir.part("net").owner == owner | {"run": workdir.directory.name}
        assert owner["run"] != workdir.directory.name
    load(OTHERS["digest"][0])
    with begun() as workdir:
        other = workdir.part("net").owner
        assert other == owner | {"data": other["data"]}
        assert owner["data"] != other["data"]


@pytest.fixture
def enter(opened, tmp_path, capsys):
    """Return ``enter(text)``: train a net with an experiment of that source; lines, earlier."""
    source = tmp_path / "toy.py"

    def enter(text, **options):
        source.write_text(text)
        with opened(source=source, **options) as workdir:
            checkpoint_in(workdir)
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


def test_where_nothing_was_trained_other_code_is_no_news(begun, capsys):
    with begun(source="/first"):
        pass
    with begun(source="/second") as workdir:
        assert workdir.earlier == []
    told = json.loads((workdir.directory / "config.json").read_text())
    assert len(told["makers"]) == 1
    assert capsys.readouterr().err == ""


def test_who_cannot_be_told_counts_as_another(enter, opened):
    enter("first")
    path = opened().directory / "config.json"
    path.write_text("{")
    (line,), (maker,) = enter("first")
    assert "config.json is missing or damaged" in line
    assert "has changed" not in line
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


def test_going_on_without_the_kernels_is_said(enter, monkeypatch):
    monkeypatch.setattr(switch, "is_on", lambda: True)
    enter("first")
    monkeypatch.setattr(switch, "is_on", lambda: False)
    (line,), (maker,) = enter("first")
    assert "begun with native kernels True, goes on with False: its numbers may differ" in line
    assert maker["differs"] == ["native kernels"]


UNUSABLE = {
    "file": "choose another place with --workdir",
    "file/below": "choose another place with --workdir",
    "loop": "cannot be followed",
    "x" * 300: "cannot be followed: File name too long",
    "~nosuchuser": "cannot be followed",
}


@pytest.mark.parametrize(("place", "words"), UNUSABLE.items(), ids=[p[:12] for p in UNUSABLE])
def test_a_place_that_cannot_be_used_is_one_line(tmp_path, monkeypatch, place, words):
    """Before anything is loaded or trained."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UserError, match=words) as caught:
        Workdir(place, "toy", "tiny", CONFIG).__enter__()
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "loop"]


def test_a_disk_that_refuses_is_one_line(begun, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match=r"cannot use .*: No space left on device; "), begun():
        pass


@pytest.mark.parametrize(
    ("stops", "code"), [(lambda: os.kill(os.getpid(), signal.SIGTERM), 75), (None, 130)]
)
def test_between_two_parts_signals_stop_at_once(begun, stops, code):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped, match="between two parts") as caught, begun():
        if stops is None:
            raise KeyboardInterrupt
        stops()
        signal.pause()
    assert caught.value.exit_code == code
    assert signal.getsignal(signal.SIGTERM) == before
    with begun():
        pass  # the lock is free
