"""The launcher: numbered lines, exit codes, signals handed on."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jaxvision import launch
from jaxvision.parallel import distributed

ROOT = Path(__file__).resolve().parents[1]


def launched(count, program, errors=subprocess.STDOUT):
    command = [sys.executable, "-m", "jaxvision.launch", "-n", str(count), "--"]
    return subprocess.Popen(
        [*command, sys.executable, "-u", "-c", program],
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        cwd=ROOT,
    )


NUMBER = "import os, sys, time; i = int(sys.argv[3].split('=')[1]); "


def test_the_launcher_numbers_lines_and_returns_the_first_failure():
    program = NUMBER + "print(sys.argv[2], len(os.sched_getaffinity(0))); sys.exit(4 * i)"
    process = launched(2, program)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 4
    each = max(1, len(os.sched_getaffinity(0)) // 2)
    lines = [f"[{i}] --num_processes=2 {each}" for i in range(2)]
    assert sorted(output.splitlines()) == lines


def shells(*programs):
    return [subprocess.Popen(["sh", "-c", program]) for program in programs]


def test_an_abort_after_another_s_end_follows_from_it(capsys):
    """JAX aborts whoever outlives another process: start again, as a scheduler may by itself."""
    assert launch._wait(shells("exit 0", "sleep .3; kill -6 $$")) == [0, launch.LOST_PEER]
    assert launch.LOST_PEER == distributed.LOST_PEER == 69
    assert "[1] error: ended by JAX, as another process has ended" in capsys.readouterr().out


def test_a_killed_process_explains_the_abort_seen_with_it():
    processes = shells("kill -6 $$", "kill -9 $$")
    for process in processes:
        process.wait()  # both have ended before the first look
    assert launch._wait(processes) == [137, launch.LOST_PEER]


def test_an_abort_that_follows_from_nothing_is_no_lost_peer(capsys):
    """A run that always aborts must not be started again for ever."""
    codes = launch._wait(shells("kill -6 $$", "sleep .3; kill -6 $$"))
    assert codes == [134, launch.LOST_PEER]
    assert launch.first_failure(codes) == 134
    assert "[0] error: aborted" in capsys.readouterr().out


def test_the_launcher_hands_signals_on():
    process = launched(2, NUMBER + "print('ready'); time.sleep(60)")
    for _ in range(2):
        assert "ready" in process.stdout.readline()
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM


STOPPED_EARLY = """
import signal, sys
from jaxvision import launch

started = launch._started

def slowly(command, count):
    for i, process in enumerate(started(command, count)):
        yield process
        if i == 0:
            signal.raise_signal(signal.SIGTERM)

launch._started = slowly
sys.exit(launch.launch([sys.executable, "-c", "import time; time.sleep(60)"], 3))
"""


def test_a_signal_that_comes_while_processes_start_reaches_all():
    """Those that are there, and those that are started after it."""
    done = subprocess.run([sys.executable, "-c", STOPPED_EARLY], timeout=50, check=False)
    assert done.returncode == 128 + signal.SIGTERM


def test_where_nobody_reads_on_the_launcher_ends_its_processes():
    """As in ``| head -1``. They say more than a pipe holds, and would then wait for a reader."""
    program = NUMBER + "print(os.getpid()); print('x' * 300_000); time.sleep(600)"
    process = launched(2, program, errors=subprocess.PIPE)
    pid = int(process.stdout.readline().split()[1])
    process.stdout.close()
    assert process.wait(timeout=30) == launch.UNREAD == 141
    assert process.stderr.read() == ""
    process.stderr.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_program_that_cannot_be_started_is_one_line():
    command = [sys.executable, "-m", "jaxvision.launch", "--", "no-such-program", "--flag"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: cannot start no-such-program: No such file or directory\n"


def test_what_the_launcher_killed_itself_is_no_failure_of_its_own(monkeypatch):
    """Process 0 sees a lost peer; process 1 is frozen, and ends only when it is killed."""
    monkeypatch.setattr(launch, "GRACE_SECONDS", 0.2)
    assert launch._wait(shells("exit 69", "sleep 60")) == [69, 69]


def test_lines_of_two_processes_do_not_mix(monkeypatch):
    """A write is all that is sure not to be interrupted by the other process's line."""
    written = []

    class Out(io.StringIO):
        def write(self, text):
            written.append(text)

    monkeypatch.setattr(sys, "stdout", Out())
    process = subprocess.Popen(["printf", "one\\ntwo"], stdout=subprocess.PIPE, text=True)
    launch._print_lines(7, process)
    process.communicate()
    assert written == ["[7] one\n", "[7] two\n"]


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ([0, 0], 0),
        ([75, 75], 75),
        ([0, 75], 75),
        ([137, 69], 137),
        ([69, 137], 137),  # both ended between two looks
        ([0, 69, 75], 69),
        ([75, 2, 1], 2),
    ],
)
def test_a_failure_comes_before_a_stop_and_that_before_success(codes, code):
    assert launch.first_failure(codes) == code


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["-n", "0", "--", "true"],
        ["-n", "1000000", "--", "true"],
        ["-n", "2", "--"],
    ],
)
def test_the_launcher_wants_a_number_and_a_program(arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["launch", *arguments])
    with pytest.raises(SystemExit) as ended:
        launch.main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and "-n N" in line
