"""The leash: a command ends with whoever started it, and its exit code goes through."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxvision import leash

ROOT = Path(__file__).resolve().parents[1]
LEASH = [sys.executable, "-m", "jaxvision.leash", "--"]
SLEEPS = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"


def leashed(*command):
    pipe = subprocess.PIPE
    return subprocess.Popen([*LEASH, *command], stdin=pipe, stdout=pipe, text=True, cwd=ROOT)


def ends(pid, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(("program", "code"), [("exit 3", 3), ("kill -9 $$", 137)])
def test_the_exit_code_goes_through(program, code):
    process = leashed("sh", "-c", program)
    assert process.wait(timeout=30) == code  # while the leash is still held
    process.stdin.close()
    process.stdout.close()


def test_a_command_ends_with_a_starter_that_is_killed():
    """As a worker of a cluster is, by a host that has no memory left."""
    starter = f"""
import subprocess, sys
command = {[*LEASH, sys.executable, "-c", SLEEPS]!r}
subprocess.Popen(command, stdin=subprocess.PIPE).wait()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    command = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    assert ends(command)
    process.stdout.close()


def test_what_cannot_be_started_is_one_line(capsys):
    assert leash.main(["--", "no-such-program"]) == 2
    assert capsys.readouterr().err.startswith("error: cannot start no-such-program: No such file")
    assert leash.main(["sleep"]) == 2
    assert capsys.readouterr().err.startswith("usage: ")
