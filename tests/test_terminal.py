"""Lines that do nothing to a terminal, and readers who leave."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from jaxvision import terminal

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain 'text' é", "plain 'text' é"),
        ("two\nlines", r"two\nlines"),
        ("\x1b[2Jhi\r", r"\x1b[2Jhi\r"),
        ("\udcff", r"\udcff"),
        ("\u202eabc", r"\u202eabc"),
    ],
)
def test_a_line_does_nothing_to_a_terminal(text, shown):
    assert terminal.one_line(text) == shown
    assert terminal.one_line(text).isprintable()


@pytest.mark.parametrize(
    "module", ["jaxvision", "experiments", "experiments.catalog list", "experiments.catalog names"]
)
def test_a_list_that_nobody_reads_is_no_traceback(module):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", *module.split()]
    done = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (terminal.UNREAD, b"")


PRINTS = "experiments.catalog names"


def started(command, shell, **environment):
    """Return how a module ends whose streams the shell has redirected so."""
    words = [sys.executable, "-m", *command.split()]
    line = f"exec {shlex.join(words)} {shell}"
    environment = os.environ | environment
    return subprocess.run(
        ["/bin/sh", "-c", line], cwd=ROOT, env=environment, capture_output=True, check=False
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
def test_output_that_cannot_be_written_is_one_line():
    done = started(PRINTS, ">/dev/full")
    line = "error: standard output cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr.decode()) == (terminal.UNWRITABLE, line)
    mistake = "experiments he_unit"
    assert started(mistake, "2>/dev/full").returncode == terminal.UNWRITABLE
    assert started(mistake, ">/dev/full 2>&1").returncode == terminal.UNWRITABLE


def test_closed_streams_are_nowhere():
    for shell in (">&-", "2>&-", "<&- >&- 2>&-"):
        done = started(PRINTS, shell)
        assert (done.returncode, done.stderr) == (0, b"")
        assert (done.stdout == b"") == (">&-" in shell.replace("2>&-", ""))


def test_a_letter_that_the_terminal_lacks_is_no_error():
    code = "from jaxvision import terminal; terminal.open_streams(); print('\\u2713 ok')"
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"? ok\n")


def test_an_error_of_another_file_stays_one(tmp_path):
    with pytest.raises(FileNotFoundError), terminal.until_unread():
        (tmp_path / "none").read_bytes()
