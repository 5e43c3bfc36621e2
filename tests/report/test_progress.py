"""Progress: plain lines in a log, one live line on a terminal."""

import io
import sys

import pytest

from jaxvision.report.progress import progress


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
