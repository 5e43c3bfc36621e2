"""Metrics: lines that read back exactly, cut and mended on resume, shown in TensorBoard."""

import json
import math
import os
import struct
import sys
import threading
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from jaxvision.longrun.metrics import Metrics, from_line, to_line
from jaxvision.types import UserError

LINES = [
    to_line({"step": 0, "test_loss": [2.5, 2.25]}),
    to_line({"step": 4, "train_rate": [0.1, 0.2], "train_loss": [2.0, math.nan]}),
    to_line({"step": 8, "train_rate": [0.1, 0.2], "train_loss": [1.5, math.inf]}),
]


@hypothesis.given(
    st.lists(st.floats(width=64), min_size=1), st.lists(st.floats(width=32), min_size=1)
)
def test_floats_read_back_exactly(doubles, singles):
    row = {"step": 3, "a": np.array(doubles), "b": np.array(singles, np.float32), "c": [[1.5], []]}
    line = to_line(row)
    assert "\n" not in line
    found = from_line(line)
    np.testing.assert_array_equal(np.array(found["a"]), row["a"])
    np.testing.assert_array_equal(np.array(found["b"], np.float32), row["b"])
    assert (found["step"], found["c"]) == (3, [[1.5], []])
    assert to_line(found) == line


def test_a_line_is_strict_json():
    def refuse(token):
        raise AssertionError(token)

    assert json.loads(LINES[2], parse_constant=refuse)["train_loss"] == [1.5, "inf"]


def write(directory, begun, added, **options):
    metrics = Metrics(directory, begun, **options)
    for line in added:
        metrics.append(line)
    metrics.close()
    return (directory / "metrics.jsonl").read_text()


@pytest.mark.parametrize(
    "left", ["".join(f"{line}\n" for line in LINES), f"{LINES[0]}\n{LINES[1][:9]}", f"{LINES[0]}\n"]
)
def test_what_lies_beyond_the_restored_step_is_cut(tmp_path, capsys, left):
    (tmp_path / "metrics.jsonl").write_text(left)
    assert write(tmp_path, LINES[:1], LINES[1:]) == "".join(f"{line}\n" for line in LINES)
    assert os.listdir(tmp_path) == ["metrics.jsonl"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("left", [None, "", LINES[0].replace("5", "6") + "\n", "\xff\n"])
def test_lines_that_were_changed_are_written_anew_and_that_is_said(tmp_path, capsys, left):
    if left is not None:
        (tmp_path / "metrics.jsonl").write_bytes(left.encode("latin-1"))
    assert write(tmp_path, LINES[:2], LINES[2:]) == "".join(f"{line}\n" for line in LINES)
    assert "metrics.jsonl was damaged: written anew" in capsys.readouterr().err


def test_a_line_is_on_disk_when_append_returns(tmp_path):
    metrics = Metrics(tmp_path, [])
    for count, line in enumerate(LINES, start=1):
        metrics.append(line)
        assert (tmp_path / "metrics.jsonl").read_text().splitlines() == LINES[:count]
    metrics.close()


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    metrics = Metrics(tmp_path, LINES[:1])
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"^cannot write .*: No space left on device; mend this"):
        metrics.append(LINES[1])
    metrics.close()
    with pytest.raises(UserError, match="No space left on device"):
        Metrics(tmp_path, LINES[:1])


def events(directory):
    """Return {(tag, step): value} of the only event file, read without TensorFlow."""
    from tensorboardX.proto.event_pb2 import Event

    (file,) = (directory / "tensorboard").iterdir()
    content, found = file.read_bytes(), {}
    while content:
        (size,) = struct.unpack("<Q", content[:8])  # length, its checksum, record, its checksum
        event = Event.FromString(content[12 : 12 + size])
        content = content[16 + size :]
        for value in event.summary.value:
            assert (value.tag, event.step) not in found
            found[value.tag, event.step] = value.simple_value
    return found


def test_tensorboard_shows_the_same_and_nothing_twice(tmp_path):
    pytest.importorskip("tensorboardX")
    write(tmp_path, [], LINES, tensorboard=True)
    first = events(tmp_path)
    assert len(first) == 10
    assert first["test_loss/run1", 0] == 2.25
    assert first["train_loss/run0", 8] == 1.5
    assert math.isnan(first["train_loss/run1", 4])
    assert first["train_rate/run1", 4] == np.float32(0.2)
    write(tmp_path, LINES[:2], LINES[2:], tensorboard=True)  # resumed at step 4
    assert str(events(tmp_path)) == str(first)


@pytest.mark.parametrize("rows_before", [0, 2])
def test_a_disk_that_refuses_the_events_costs_only_them(tmp_path, monkeypatch, capsys, rows_before):
    record_writer = pytest.importorskip("tensorboardX.record_writer")
    threads = set(threading.enumerate())
    full = Path("/dev/full")
    if not rows_before:
        monkeypatch.setattr(record_writer, "open_file", lambda path: full.open("wb"))
    metrics = Metrics(tmp_path, [], tensorboard=True)
    for line in LINES[:rows_before]:
        metrics.append(line)
    if rows_before:
        metrics._events._file.close()
        metrics._events._file._writer = full.open("wb")
    for line in LINES[rows_before:]:
        metrics.append(line)
    metrics.close()
    assert (tmp_path / "metrics.jsonl").read_text().splitlines() == LINES
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"cannot write {tmp_path}/tensorboard: No space left on device; going on without "
        "TensorBoard events"
    )
    assert set(threading.enumerate()) <= threads  # none that would hold up the end of the program


def test_a_file_in_the_place_of_the_events_costs_only_them(tmp_path, capsys):
    pytest.importorskip("tensorboardX")
    (tmp_path / "tensorboard").write_text("mine")
    write(tmp_path, [], LINES, tensorboard=True)
    (line,) = capsys.readouterr().err.splitlines()
    assert "tensorboard: File exists; going on without TensorBoard events" in line
    assert (tmp_path / "tensorboard").read_text() == "mine"


def test_without_tensorboardx_the_flag_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(UserError, match=r"needs tensorboardX: pip install tensorboardX"):
        Metrics(tmp_path, LINES, tensorboard=True)
    assert list(tmp_path.iterdir()) == []
