"""Progress: plain lines in a log, one live line on a terminal."""

import io
import sys

import pytest

from jaxvision import progress as progress_lib
from jaxvision.progress import each, note, progress


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


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands at ``clock[0]`` seconds, and a run that begins at 0."""
    now = [0.0]
    monkeypatch.setattr(progress_lib.time, "perf_counter", lambda: now[0])
    progress_lib.begin()
    yield now
    progress_lib.begin()


def test_bars_say_which_net_of_how_many_is_at_work_and_how_long_all_will_take(clock, capsys):
    for name in each(["small", "large", "larger"], "nets"):
        with progress(10, f"{name}: training") as watched:
            clock[0] += 240.0
            watched.advance(10)
    with progress(1, "drawing"):
        pass
    assert capsys.readouterr().err.splitlines() == [
        "1 of 3 nets, small: training: started, 10 steps",
        "1 of 3 nets, small: training: 100 %, 0 s left",
        "1 of 3 nets, small: training: done in 240.0 s",
        "2 of 3 nets, large: training: started, 10 steps, about 8 min left in all",
        "2 of 3 nets, large: training: 100 %, 0 s left, about 4 min left in all",
        "2 of 3 nets, large: training: done in 240.0 s",
        "3 of 3 nets, larger: training: started, 10 steps, about 4 min left in all",
        "3 of 3 nets, larger: training: 100 %, 0 s left",
        "3 of 3 nets, larger: training: done in 240.0 s",
        "drawing: started, 1 steps",
        "drawing: done in 0.0 s",
    ]


def test_what_a_run_is_known_to_take_is_said_from_its_first_bar_on(clock, capsys):
    progress_lib.begin(expected=300.0)
    clock[0] = 60.0
    with progress(4, "training"):
        clock[0] = 400.0
    with progress(4, "probing"):
        pass
    first, _, third, _ = capsys.readouterr().err.splitlines()
    assert first == "training: started, 4 steps, about 4 min left in all"
    assert third == "probing: started, 4 steps"  # it takes longer than it was said to


def test_a_broken_run_leaves_no_place_behind(clock, capsys):
    with pytest.raises(KeyboardInterrupt):
        for _ in each(["a", "b"], "nets"):
            raise KeyboardInterrupt
    with progress(1, "training"):
        pass
    assert capsys.readouterr().err.startswith("training: started")


def test_a_note_is_one_line_by_the_program_s_name_and_silent_where_progress_is(capsys):
    note("the file a\nb is damaged")
    assert capsys.readouterr().err == "jaxvision: the file a\\nb is damaged\n"
    progress_lib.configure(quiet=True)
    try:
        note("nobody waits for this")
    finally:
        progress_lib.configure(quiet=False)
    assert capsys.readouterr().err == ""
