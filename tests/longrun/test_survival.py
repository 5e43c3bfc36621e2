"""Long runs as a user starts them, in processes of their own that are killed and stopped."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

BOTH = "--data_devices=2"  # share every batch
SCRIPT = Path(__file__).with_name("long_experiment.py")
ROOT = SCRIPT.parents[2]


@pytest.fixture(autouse=True, scope="module")
def ctrl_c():
    """Children hear Ctrl-C, even where whoever started the tests ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def with_devices(count):
    """Return the environment of a process with ``count`` devices, on any machine."""
    return {
        "JAX_NUM_CPU_DEVICES": f"{count}",
        "PJRT_NPROC": "1",  # one thread each, as runtime.configure has it
        "JAXVISION_DISABLE": "devices",
    }


def start(place, *flags, before=(), pause=0.0, devices=None):
    """Start the experiment in ``place``; its stderr can be read line by line.

    ``before``: what stands before the command; ``pause``: seconds that every period is longer;
    ``devices``: how many it has, on any machine (None: one a core).
    """
    command = [*before, sys.executable, str(SCRIPT), "--preset=tiny"]
    command += [f"--workdir={place / 'work'}", f"--results={place / 'results'}", *flags]
    environment = os.environ | {"PAUSE": f"{pause}"}
    environment |= with_devices(devices) if devices else {}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, cwd=ROOT, **pipes)


def start_two(place, *flags, **options):
    """Start two processes that are one run."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        joined = f"--coordinator=127.0.0.1:{probe.getsockname()[1]}", "--num_processes=2"
    return [start(place, *flags, *joined, f"--process_id={i}", **options) for i in range(2)]


def finish(child):
    out, err = child.communicate(timeout=200)
    assert "Traceback" not in err, err
    out = re.sub(r"\[Gloo\] .*\n", "", out)  # said by every process that meets others
    return SimpleNamespace(code=child.returncode, out=out, err=err)


def wait_for(child, words):
    """Read the child's stderr until a line has ``words``; return the lines."""
    read = []
    while not read or words not in read[-1]:
        read.append(child.stderr.readline())
        assert read[-1], f"it ended: {read}"
    return read


def directory(place):
    (found,) = (place / "work").iterdir()
    return found


def left(place):
    """Return all that a run leaves behind which must not depend on how it came about."""
    part = directory(place) / "net0"
    newest = max(part.joinpath("checkpoints").iterdir(), key=lambda path: int(path.name))
    seal = json.loads((newest / "seal" / "metadata").read_text())
    results = place / "results" / "long_experiment-tiny"
    names = ["arrays.npz", "figure.png", "figure.svg", "record.json"]
    assert sorted(path.name for path in results.iterdir()) == names
    return {
        "metrics": (part / "metrics.jsonl").read_text(),
        "record": (results / "arrays.npz").read_bytes(),
        "state": seal["sha256s"],  # of every leaf, the optimizer's too
        "rows": seal["note"]["rows"],
        "step": seal["step"],
    }


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """One run that nobody disturbs; it fills the compile cache for the others."""
    place = tmp_path_factory.mktemp("alone")
    done = finish(start(place))
    assert done.code == 0, done.err
    found = left(place)
    assert len(found["state"]) > 20
    assert found["step"] == 96
    return SimpleNamespace(left=found, wall_time=wall_time(place))


def wall_time(place):
    record = json.loads((place / "results/long_experiment-tiny/record.json").read_text())
    return record["provenance"]["wall_time_s"]


def rows(place):
    path = directory(place) / "net0" / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def newest_checkpoint(place):
    names = [path.name for path in (directory(place) / "net0" / "checkpoints").iterdir()]
    return max((int(name) for name in names if name.isdigit()), default=0)


def kill_until_done(place, rng, kills, found=()):
    """Kill the run ``kills`` times, each some periods and a moment later, and let it finish.

    Returns the last process, and the newest checkpoint at each kill; ``found``: at earlier ones.
    """
    found = [*found]
    for _ in range(kills):
        child = start(place)
        (*_, said) = wait_for(child, "net0: ")
        went_on = re.search(r"going on at step (\d+)", said)
        # Nothing is lost: it goes on where the newest checkpoint was when its forerunner died.
        assert int(went_on[1] if went_on else 0) == (found[-1] if found else 0)
        wanted = rows(place) + rng.randint(0, 15 // kills)
        while rows(place) < wanted and child.poll() is None:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.2))
        child.kill()
        child.communicate()
        if child.returncode == 0:  # faster than the killer
            break
        found.append(newest_checkpoint(place))
    return finish(start(place)), found


def train(child, place, least=0):
    """Let it train two periods, and up to ``least`` of the 24; return where it went on."""
    told = "".join(wait_for(child, "net0: started"))
    wanted = max(rows(place) + 2, least)
    while rows(place) < wanted:
        assert child.poll() is None
        time.sleep(0.005)
    went_on = re.search(r"going on at step (\d+)", told)
    return int(went_on[1]) if went_on else 0


def stop_one_of_two(place, main, other, *flags):
    """Of two processes that train together tell one to end: both do."""
    other.send_signal(signal.SIGTERM)
    main, other = finish(main), finish(other)
    assert main.code == other.code == 75
    assert_said_how_to_go_on(main, place, "stopped by SIGTERM", *flags)
    assert "SIGTERM: stopping at the end of this period" in other.err
    assert "net0" not in other.err  # process 0 alone speaks of the run


def kill_one_of_two(place, victim, *flags, **options):
    children = start_two(place, *flags, **options)
    train(children[0], place)
    children[victim].kill()
    finish(children[victim])
    survivor = finish(children[1 - victim])
    assert survivor.code == 69
    line = f"error: process {victim} is gone (killed, or its host is), so this one stops\n"
    assert line in survivor.err


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_fifty_times_nothing_is_lost(alone, tmp_path, capsys):
    rng, found = random.Random(1), []
    for number in range(5):
        place = tmp_path / f"{number}"
        done, checkpoints = kill_until_done(place, rng, 10)
        assert done.code == 0, done.err
        assert left(place) == alone.left
        found.append(checkpoints)
    with capsys.disabled():
        print(f"\nnewest checkpoints at the kills: {found}")
    assert sum(map(len, found)) >= 45


@pytest.mark.timeout(600)
def test_killed_stopped_and_resumed_it_loses_nothing(alone, tmp_path):
    """One run in four turns; a process takes seconds to start. Slow tests have many more."""
    # Two processes that train together, and process 0 is killed.
    kill_one_of_two(tmp_path, 0, BOTH, devices=1, pause=0.2)
    newest = newest_checkpoint(tmp_path)
    # Two again, and SIGTERM to one.
    main, other = start_two(tmp_path, BOTH, devices=1, pause=0.2)
    assert train(main, tmp_path) == newest
    stop_one_of_two(tmp_path, main, other, BOTH)
    # One alone: Ctrl-C.
    third = start(tmp_path, "--tensorboard", pause=0.2)
    told = wait_for(third, "net0: started")
    assert any("going on at step " in line for line in told)
    third.send_signal(signal.SIGINT)
    third = finish(third)
    assert third.code == 130, third.err
    assert_said_how_to_go_on(third, tmp_path, "stopped by Ctrl-C", "--tensorboard")
    assert len(list((directory(tmp_path) / "net0" / "tensorboard").iterdir())) == 1
    # And to the end.
    newest = newest_checkpoint(tmp_path)
    done = finish(start(tmp_path))
    assert done.code == 0, done.err
    assert f"net0: going on at step {newest} of 96\n" in done.err
    assert left(tmp_path) == alone.left
    # The record counts the seconds of all the processes.
    assert wall_time(tmp_path) > 0.3 * alone.wall_time


def assert_said_how_to_go_on(done, place, words, *more):
    stopped, how = done.err.splitlines()[-2:]
    step = int(re.match(rf"{words} at step (\d+) of 96 of net0, which is saved$", stopped)[1])
    assert (directory(place) / "net0" / "checkpoints" / f"{step}").is_dir()
    flags = f"--preset=tiny --workdir={place}/work --results={place}/results"
    flags = " ".join([flags, *more])
    assert how == f"to go on: python -m experiments long_experiment {flags}"
    assert done.out == ""
    assert not (place / "results").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_any_number_of_processes_and_devices_goes_on(alone, tmp_path):
    """One process with 1 and 4 devices, two with 1 and 2 each, by turns; the launcher ends it."""
    for devices, flags, least in ((1, (), 2), (4, ("--data_devices=4",), 10), (2, (BOTH,), 14)):
        child = start(tmp_path, *flags, devices=devices, pause=0.2)
        train(child, tmp_path, least)
        child.send_signal(signal.SIGTERM)
        assert finish(child).code == 75
    children = start_two(tmp_path, BOTH, devices=1, pause=1)
    train(children[0], tmp_path)
    main, other = map(finish, start_two(tmp_path))
    assert main.code == other.code == 2
    (line,) = (line for line in main.err.splitlines() if line.startswith("error: "))
    assert f"is in use by process {children[0].pid}: " in line
    assert "error: process 0 ended with exit code 2, so this one stops\n" in other.err
    assert main.out == other.out == ""
    stop_one_of_two(tmp_path, *children, BOTH)
    kill_one_of_two(tmp_path, 1, BOTH, devices=2, pause=0.2)
    launcher = [sys.executable, "-m", "jaxvision.launch", "-n", "2", "--"]
    last = finish(start(tmp_path, BOTH, before=launcher, devices=2))
    assert last.code == 0, last.out
    assert "[0] net0: going on at step" in last.out
    assert last.out.count("net0: done") == last.out.count("/ holds record.json") == 1
    assert left(tmp_path) == alone.left


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_processes_leave_the_record_of_one(tmp_path):
    """A real experiment from its first step to its figure, with and without shards of a batch."""
    command = [sys.executable, "-m", "experiments", "plain_vs_residual", "--preset=tiny"]
    launcher = [sys.executable, "-m", "jaxvision.launch", "-n", "2", "--"]
    for case, flags in (("runs", []), ("batch", ["--deterministic_reduction"])):
        found = []
        for count, before in ((1, []), (2, launcher)):
            place = tmp_path / f"{case}{count}"
            where = [f"--workdir={place / 'work'}", f"--results={place}", "--run_name=it"]
            shared = [f"--data_devices={count}"] if flags else []
            done = subprocess.run(
                [*before, *command, *where, *flags, *shared],
                cwd=ROOT,
                check=False,
                capture_output=True,
                text=True,
                env=os.environ | with_devices(1),
            )
            assert done.returncode == 0, done.stdout + done.stderr
            record = json.loads((place / "it" / "record.json").read_text())
            assert record["provenance"]["device_count"] == count
            found.append(np.load(place / "it" / "arrays.npz"))
        one, two = found
        assert one.files == two.files
        for name in one.files:
            if name.endswith(("_error", "steps", "lesion")):
                np.testing.assert_array_equal(two[name], one[name])
            else:  # measured on the trained nets, by programs that depend on the device count
                np.testing.assert_allclose(two[name], one[name], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_terminated_at_twenty_moments(alone, tmp_path, capsys):
    """From before the first line to the last: it ends with 75, or with 0 when it was done."""
    rng, codes = random.Random(2), []
    for _ in range(20):
        child = start(tmp_path)
        wait_for(child, "net0: ")
        time.sleep(rng.uniform(0, 0.5))
        child.send_signal(signal.SIGTERM)
        codes.append(finish(child).code)
        if codes[-1] == 0:
            break
    assert set(codes) <= {75, 0}
    assert codes.count(75) >= 3
    if codes[-1] != 0:
        assert finish(start(tmp_path)).code == 0
    with capsys.disabled():
        print(f"\nexit codes after SIGTERM: {codes}")
    assert left(tmp_path) == alone.left


@pytest.mark.slow
def test_noresume_begins_again(alone, tmp_path):
    finish(start(tmp_path, "--steps=8"))
    work = directory(tmp_path)
    (work / "net0" / "checkpoints" / "8" / "seal" / "metadata").write_text("{}")
    broken = finish(start(tmp_path, "--steps=8"))
    assert broken.code == 0  # step 4 verifies
    again = finish(start(tmp_path, "--steps=8", "--noresume"))
    assert again.code == 0
    assert f"starting afresh: emptying {work}" in again.err
    assert sorted(os.listdir(work / "net0" / "checkpoints")) == ["4", "8"]
