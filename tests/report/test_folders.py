"""Folders that are replaced whole: many writers and readers, and those that die between."""

import multiprocessing
import os
import signal
import time

import pytest

from jaxvision.report import folders

SPAWN = multiprocessing.get_context("spawn")


def content(number):
    """Return files that are of one state if and only if they agree."""
    text = str(number).encode() * 50
    return {"a": text, "b": text}


def write_without_pause(directory, first, until):
    number = first
    while time.monotonic() < until:
        folders.replace(directory, content(number))
        number += 1


def read_without_pause(directory, until, failures):
    while time.monotonic() < until:
        a, b = folders.read(directory, ["a", "b"])
        if a != b:
            failures.put((a, b))


def test_writers_and_readers_do_not_disturb_each_other(tmp_path):
    directory = tmp_path / "run"
    folders.replace(directory, content(0))
    failures, until = SPAWN.Queue(), time.monotonic() + 2
    writers = [(write_without_pause, (directory, 10**6 * i, until)) for i in (1, 2, 3)]
    readers = [(read_without_pause, (directory, until, failures))] * 2
    processes = [SPAWN.Process(target=work, args=args) for work, args in writers + readers]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 5
    assert failures.empty()
    assert os.listdir(tmp_path) == ["run"]


def write_and_die(directory, call):
    """Die by SIGKILL before, in, or after the given call of the operating system."""
    name, count = call
    done, calls = getattr(os, name), []

    def dying(*args):
        calls.append(args)
        if len(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return done(*args)

    setattr(os, name, dying)
    folders.replace(directory, content(2))


@pytest.mark.parametrize("call", [("fsync", 2), ("rename", 1), ("rename", 2), ("fsync", 4)])
def test_a_killed_writer_leaves_a_whole_folder_and_no_litter(tmp_path, call):
    directory = tmp_path / "run"
    folders.replace(directory, content(1))
    process = SPAWN.Process(target=write_and_die, args=(directory, call))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    a, b = folders.read(directory, ["a", "b"])
    assert a == b
    assert a in (content(1)["a"], content(2)["a"])
    folders.replace(directory, content(3))
    assert folders.read(directory, ["a"]) == [content(3)["a"]]
    assert os.listdir(tmp_path) == ["run"]


@pytest.mark.parametrize("links", [True, False])
def test_what_others_put_there_stays(tmp_path, monkeypatch, links):
    directory = tmp_path / "run"
    folders.replace(directory, content(1) | {"figure": b"old"})
    (directory / "notes.txt").write_text("mine")
    (directory / "sub" / "deeper").mkdir(parents=True)
    (directory / "sub" / "deeper" / "code.py").write_text("mine too")
    (directory / "sub" / "link").symlink_to("nowhere")
    (directory / "link").symlink_to("/nowhere")
    if not links:

        def refuse(*args, **kwargs):
            raise OSError("no hard links here")

        monkeypatch.setattr(os, "link", refuse)
    folders.replace(directory, content(2), ours=["a", "b", "figure"])
    assert sorted(os.listdir(directory)) == ["a", "b", "link", "notes.txt", "sub"]
    assert (directory / "notes.txt").read_text() == "mine"
    assert (directory / "sub" / "deeper" / "code.py").read_text() == "mine too"
    assert os.readlink(directory / "sub" / "link") == "nowhere"
    assert os.readlink(directory / "link") == "/nowhere"
    assert os.listdir(tmp_path) == ["run"]


def test_a_killed_writer_takes_nothing_of_others_with_it(tmp_path):
    directory = tmp_path / "run"
    folders.replace(directory, content(1))
    (directory / "sub").mkdir()
    (directory / "sub" / "notes").write_text("mine")
    for call in [("rename", 1), ("rename", 2), ("fsync", 4)]:
        process = SPAWN.Process(target=write_and_die, args=(directory, call))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        folders.replace(directory, content(3))
        assert (directory / "sub" / "notes").read_text() == "mine"
        assert os.listdir(tmp_path) == ["run"]


def test_file_systems_without_locks_do_too(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError("no locks here")

    monkeypatch.setattr(folders.fcntl, "flock", refuse)
    (tmp_path / ".run.new-1").mkdir()  # it may be a living writer's
    for number in (1, 2):
        folders.replace(tmp_path / "run", content(number))
    assert folders.read(tmp_path / "run", ["a"]) == [content(2)["a"]]
    assert sorted(os.listdir(tmp_path)) == [".run.new-1", "run"]


def test_litter_of_another_run_is_left_alone(tmp_path):
    for name in (".run.new-1", ".run2.new-1", ".another.new-1"):
        (tmp_path / name).mkdir()
    folders.replace(tmp_path / "run", content(1))
    assert sorted(os.listdir(tmp_path)) == [".another.new-1", ".run2.new-1", "run"]


def test_files_are_not_written_through_links(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "page").symlink_to("precious")
    folders.write_file(tmp_path / "page", b"page")
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (tmp_path / "page").is_symlink()
    assert (tmp_path / "page").read_bytes() == b"page"
    assert sorted(os.listdir(tmp_path)) == ["page", "precious"]
