"""Stopping: the first signal is a request, a second Ctrl-C is obeyed at once."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from jaxvision.longrun.stop import Stopped, StopRequest, ended_by_sigterm
from jaxvision.parallel import distributed

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def handlers():
    """Our own handlers outside, and the check that they are back afterwards."""
    heard = []
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {n: signal.signal(n, lambda signum, _: heard.append(signum)) for n in numbers}
    mine = [signal.getsignal(n) for n in numbers]
    yield heard
    assert [signal.getsignal(n) for n in numbers] == mine
    assert signal.set_wakeup_fd(-1) == -1
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("signum", "code", "words"),
    [
        (signal.SIGTERM, 75, "stopped by SIGTERM at 3"),
        (signal.SIGINT, 130, "stopped by Ctrl-C at 3"),
    ],
)
def test_a_signal_is_a_request(handlers, capsys, signum, code, words):
    with pytest.raises(Stopped) as caught, StopRequest() as stop:
        assert not stop.should_stop()
        os.kill(os.getpid(), signum)
        assert stop.should_stop()
        raise Stopped(stop.agreed, "at 3")
    assert str(caught.value) == words
    assert caught.value.exit_code == code
    assert handlers == []  # acted on: nobody else hears of it
    assert "stopping at the end of this period" in capsys.readouterr().err


def test_a_request_nobody_acted_on_goes_to_the_handler_outside(handlers):
    with StopRequest():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    assert handlers == [signal.SIGTERM]


def test_no_signal_no_stop(handlers, capsys):
    for _ in range(3):
        with StopRequest() as stop:
            assert not stop.should_stop()
    assert handlers == []
    assert capsys.readouterr() == ("", "")


def test_what_is_ignored_outside_stays_ignored(handlers):
    """A job in the background is not to be stopped by a Ctrl-C meant for another."""
    mine = signal.signal(signal.SIGINT, signal.SIG_IGN)
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert not stop.should_stop()
    assert signal.signal(signal.SIGINT, mine) == signal.SIG_IGN


def test_the_answer_is_that_of_all_processes(handlers, monkeypatch):
    asked, answers = [], iter([0, signal.SIGTERM])
    monkeypatch.setattr(
        distributed, "should_stop", lambda mine: asked.append(mine) or next(answers)
    )
    with pytest.raises(Stopped, match="by SIGTERM") as caught, StopRequest() as stop:
        assert not stop.should_stop()
        assert stop.should_stop()  # another process was asked
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.should_stop()  # what is agreed stays
        raise Stopped(stop.agreed, "here")
    assert asked == [0, 0]
    assert caught.value.exit_code == 75
    assert handlers == []


def test_other_threads_and_runs_in_memory_do_not_listen(handlers):
    def enter(**options):
        with StopRequest(**options):
            os.kill(os.getpid(), signal.SIGTERM)

    worker = threading.Thread(target=enter)
    worker.start()
    worker.join()
    enter(listens=False)
    assert handlers == [signal.SIGTERM] * 2


def test_a_short_run_leaves_signals_as_they_were():
    before = signal.getsignal(signal.SIGTERM)
    with ended_by_sigterm():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
    assert signal.set_wakeup_fd(-1) == -1


# Minutes inside one C function that gives up the lock, as a compiled period does: no handler
# written in Python can run meanwhile.
BUSY = """
import hashlib
from jaxvision.longrun.stop import StopRequest, ended_by_sigterm
with {entered}:
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
"""


def busy(entered):
    """Return a process that is busy while it has entered this context."""
    command = [sys.executable, "-c", BUSY.format(entered=entered)]
    child = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "ready\n"
    return child


def test_a_second_ctrl_c_ends_it_at_once_even_inside_a_compiled_period():
    child = busy("StopRequest() as stop")
    child.send_signal(signal.SIGINT)
    assert child.stderr.readline() == "\n"
    assert child.stderr.readline().startswith("Ctrl-C: stopping at the end of this period")
    assert child.poll() is None
    sent = time.monotonic()
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=30) == 130
    assert time.monotonic() - sent < 5
    assert "stopped at once" in child.communicate()[1]


def test_sigterm_ends_a_short_run_at_once_and_in_a_line():
    child = busy("ended_by_sigterm()")
    sent = time.monotonic()
    child.send_signal(signal.SIGTERM)
    assert child.wait(timeout=30) == 75
    assert time.monotonic() - sent < 5
    assert child.communicate()[1] == "stopped by SIGTERM: start it again\n"
