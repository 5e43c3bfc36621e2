"""Progress: plain lines in a log, one live line on a terminal."""

import io
import sys

import pytest

from jaxvision.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_gets_one_plain_line_at_each_end(capsys):
    with progress(100, "training") as watched:
        for _ in range(10):
            watched.advance(10, loss=0.51234, arm="He")
    out, err = capsys.readouterr()
    assert out == ""
    first, last = err.splitlines()
    assert first == "training: started, 100 steps"
    assert last.startswith("training: done in ")
    assert last.endswith(" s, loss 0.512, arm He")
    assert err.replace("\n", "").isprintable()


def test_a_log_says_when_it_was_stopped(capsys):
    with pytest.raises(KeyboardInterrupt), progress(2, "training"):
        raise KeyboardInterrupt
    assert "training: stopped in " in capsys.readouterr().err


def test_a_terminal_gets_a_live_line(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress(4, "training") as watched:
        watched.advance(1)
        watched.advance(3, loss=0.5)
    shown = terminal.getvalue()
    assert "started" not in shown
    last = shown.rstrip("\n").split("\r")[-1]
    for told in ("training", "100%", "elapsed", "left", "loss 0.5"):
        assert told in last


def test_a_log_gets_a_line_every_so_often(capsys, monkeypatch):
    now = [0.0]
    module = sys.modules[progress.__module__]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    with progress(100, "training") as watched:
        for now[0] in (10.0, 20.0, 40.0, 50.0, 60.0):  # seconds
            watched.advance(10, loss=0.5)
    between = capsys.readouterr().err.splitlines()[1:-1]
    assert between == ["training: 30 %, 93 s left, loss 0.5"]  # half a minute had passed once


def test_what_a_resumed_run_had_done_is_no_speed(monkeypatch, capsys):
    """Ninety steps were there before; ten took a minute, so ten more take another."""
    now = [0.0]
    module = sys.modules[progress.__module__]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    with progress(110, "training", done=90) as watched:
        now[0] = 60.0
        watched.advance(10)
    assert capsys.readouterr().err.splitlines()[:2] == [
        "training: started, 20 steps",
        "training: 91 %, 60 s left",
    ]
