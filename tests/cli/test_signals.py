"""Commands as a user types them, in processes of their own."""

import os
import signal
import subprocess
import sys

import pytest

from tests.cli.toy import ROOT


@pytest.mark.parametrize(
    ("sent", "code", "line"),
    [
        (signal.SIGTERM, 75, "stopped by SIGTERM: start it again"),
        (signal.SIGINT, 130, "stopped; nothing was written"),
    ],
)
def test_a_stop_while_python_imports_is_one_line_too(tmp_path, sent, code, line):
    command = [sys.executable, "-X", "importtime", "-m", "experiments", "plain_vs_residual"]
    places = [f"--results={tmp_path / 'r'}", f"--workdir={tmp_path / 'w'}", "--preset=tiny"]
    # Tests that run in the background ignore Ctrl-C, and so would the child.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    child = subprocess.Popen([*command, *places], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    for done in child.stderr:  # a line for every import that is done
        if done.split()[-1] == "experiments":
            break
    child.send_signal(sent)
    last = child.communicate(timeout=60)[1].splitlines()[-1]
    assert child.returncode == code
    assert last == line
    assert list(tmp_path.iterdir()) == []


def test_as_the_user_types_it(tmp_path):
    """The one mistake that no process which has started JAX can make."""
    command = [sys.executable, "-m", "experiments", "he_init", "--preset=tiny"]
    done = subprocess.run(
        [*command, f"--results={tmp_path}/r"],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "nosuch"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "JAX_PLATFORMS is 'nosuch': unset it" in done.stderr
    assert not (tmp_path / "r").exists()
