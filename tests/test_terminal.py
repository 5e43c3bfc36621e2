"""Lines that do nothing to a terminal, and readers who leave."""

import os
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
