"""Processes that train together, stop together, lose one another: with real ones on loopback."""

import itertools
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from absl import flags

from jaxvision.parallel import distributed
from jaxvision.types import UserError
from tests.parallel.processes import joined, results, run_joined

# A process that is lost.


def lose(processes, victim, signum, seconds):
    """Send a signal to one process once it trains; returns the other's exit code and last words."""
    survivor = processes[1 - victim]
    for process in processes:
        for line in process.stdout:
            if "trained" in line:
                break
    processes[victim].send_signal(signum)
    before = time.monotonic()
    try:
        _, errors = survivor.communicate(timeout=seconds + 30)
        took = time.monotonic() - before
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert took < seconds
    return survivor.returncode, errors


@pytest.mark.slow  # a short one: test_survival.py
@pytest.mark.parametrize("victim", [1, 0])
def test_a_killed_process_ends_the_other_with_one_clear_line(victim):
    processes = joined(["train=1x2"] * 2, "--steps=4000", "--slow=0.1")
    code, errors = lose(processes, victim, signal.SIGKILL, seconds=5)
    assert code == distributed.LOST_PEER
    assert f"error: process {victim} is gone (killed, or its host is), so this one stops" in errors
    assert "Traceback" not in errors


@pytest.mark.slow
def test_a_process_that_is_silent_ends_the_other_by_the_heartbeat():
    """JAX aborts it, in its own words; the launcher adds ours."""
    processes = joined(["train=1x2"] * 2, "--steps=4000", "--slow=0.1")
    code, errors = lose(processes, 1, signal.SIGSTOP, distributed.HEARTBEAT_SECONDS + 15)
    assert code == -signal.SIGABRT
    assert "another task died" in errors or "heartbeat" in errors


# Processes that agree.


def test_what_process_0_has_reaches_the_other_bit_by_bit():
    (first,), (second,) = run_joined(2, "share")
    assert first == second
    assert first["odd"] == "00000080" + "0000c07f" + "01000000" + "0000807f"
    assert np.frombuffer(bytes.fromhex(first["whole"]), np.int64).tolist() == [0, 1, 2]
    assert first["text"] == "zero: é"


def listening(port):
    """Return the addresses at which this host listens at the port, in hexadecimal."""
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            address, its_port = local.split(":")
            if state == "0A" and int(its_port, 16) == port:
                found.append(address)
    return found


def test_all_stop_at_one_step_when_one_is_asked_to():
    """And meanwhile process 0 listens at the address it was given, and at no other."""
    processes = joined(["wait"] * 2)
    for process in processes:
        while "waiting" not in (line := process.stdout.readline()):
            assert line, "it has ended"
    if Path("/proc/net/tcp6").exists():
        (address,) = listening(int(processes[0].args[2].rpartition(":")[2]))
        assert address in ("0100007F", "0000000000000000FFFF00000100007F")  # 127.0.0.1
    processes[1].terminate()
    outputs = [process.communicate(timeout=200) for process in processes]
    assert [process.returncode for process in processes] == [75, 75], outputs
    first, second = (results(output)[-1]["stopped"] for output, _ in outputs)
    assert first == second
    lines = [line for _, errors in outputs for line in errors.splitlines()]
    assert not any(line.startswith("error:") for line in lines)


def test_what_differs_is_refused_by_all():
    processes = joined(["agree=a agree=b", "agree=a agree=c"])
    outputs = [process.communicate(timeout=200) for process in processes]
    assert [process.returncode for process in processes] == [2, 2], outputs
    assert "error: process 1 differs from process 0, see there: " in outputs[0][1]
    assert "error: this process differs from process 0 in word (b there, c here): " in outputs[1][1]


@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [("user", 2, "error: this one is mistaken"), ("bug", 1, "ValueError: a bug")],
)
def test_an_error_of_one_ends_the_other(kind, code, words):
    processes = joined(["wait", f"fail={kind}"])
    outputs = [process.communicate(timeout=200) for process in processes]
    assert [process.returncode for process in processes] == [code, code], outputs
    assert f"error: process 1 ended with exit code {code}, so this one stops" in outputs[0][1]
    assert words in outputs[1][1]


# Flags, and clusters that JAX joins by itself.


def parsed(*arguments):
    values = flags.FlagValues()
    distributed.define_flags(values)
    values(["program", *arguments])
    return values


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--num_processes=2"], "need --coordinator and --process_id too"),
        (["--coordinator=a:1", "--process_id=0"], "need --num_processes too"),
        (["--coordinator=a", "--num_processes=2", "--process_id=0"], "not HOST:PORT"),
        (["--coordinator=a:x", "--num_processes=2", "--process_id=0"], "not HOST:PORT"),
        (["--coordinator=a:99999", "--num_processes=2", "--process_id=0"], "not HOST:PORT"),
        (["--coordinator=a:1", "--num_processes=2", "--process_id=2"], "count from 0"),
    ],
)
def test_incomplete_flags_are_one_line(arguments, words):
    with pytest.raises(UserError, match=words):
        distributed.start_from_flags(parsed(*arguments))


@pytest.mark.parametrize(
    "place",
    [f"{'a' * 64}.org:80", "a\udcff:80", "..:80", "a:" + "1" * 5000, "a:٣", "a:0", ":80", "80"],
)
def test_what_is_no_address_is_one_short_line(place):
    with pytest.raises(UserError, match=r"is not HOST:PORT$") as caught:
        distributed.start(place, 2, 0)
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize(
    "argument",
    ["--num_processes=1000000000", "--num_processes=0x2", "--process_id=-1", "--wait_seconds=0"],
)
def test_numbers_have_bounds_and_one_spelling(argument):
    with pytest.raises(flags.IllegalFlagValueError):
        parsed(argument)


@pytest.mark.parametrize(
    ("equal", "mine", "words"),
    [
        ([True, True, True], "0.1", None),
        ([True, True, False], "0.1", "process 2 differs from process 0, see there: start every"),
        (
            [True, False, True],
            "0.2",
            r"this process .* --rate \(0.1 there, 0.2 here\): start every",
        ),
    ],
)
def test_all_processes_refuse_what_differs_in_one(equal, mine, words, monkeypatch):
    """Where JAX joined them by itself, and of what is known only later, such as the data."""
    monkeypatch.setattr(distributed, "several", lambda: True)
    monkeypatch.setattr(distributed, "text_from_main", lambda _: '{"--rate": "0.1"}')
    gathered = np.logical_not(equal)
    monkeypatch.setattr(distributed.multihost_utils, "process_allgather", lambda _: gathered)
    if words is None:
        distributed.agree({"--rate": mine})
        return
    with pytest.raises(UserError, match=words):
        distributed.agree({"--rate": mine})


def test_one_process_agrees_with_itself():
    distributed.agree({"--rate": "0.1"})


CLUSTERS = {
    "srun": {"SLURM_STEP_NODELIST": "node[1-2]", "SLURM_NTASKS": "2"},
    "mpirun": {"OMPI_COMM_WORLD_SIZE": "2"},
    "gke": {"TPU_WORKER_HOSTNAMES": "a,b"},
}
ALONE = {
    "nothing": {},
    "srun of one": {"SLURM_STEP_NODELIST": "node1", "SLURM_NTASKS": "1"},
    "sbatch": {"SLURM_NTASKS": "2"},
    "one tpu": {"TPU_WORKER_HOSTNAMES": "a"},
}


@pytest.mark.parametrize("name", [*CLUSTERS, *ALONE, "auto", "one process"])
def test_clusters_are_joined_by_jax_and_one_process_is_left_alone(name, monkeypatch):
    calls = []
    monkeypatch.setattr(distributed, "_join", lambda **options: calls.append(options))
    for variable in itertools.chain(*CLUSTERS.values()):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in (CLUSTERS | ALONE).get(name, {}).items():
        monkeypatch.setenv(variable, value)
    arguments = {
        "auto": ["--coordinator=auto"],
        "one process": ["--coordinator=a:1", "--num_processes=1", "--process_id=0"],
    }
    distributed.start_from_flags(parsed(*arguments.get(name, [])))
    joins = name in CLUSTERS or name == "auto"
    assert calls == ([{"initialization_timeout": 60}] if joins else [])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("coordinator_address should be defined."), "coordinator_address should"),
        (KeyError("SLURM_NODELIST"), "'SLURM_NODELIST'"),
        (RuntimeError("no\n  cluster"), "(no cluster)"),
    ],
)
def test_a_cluster_that_jax_does_not_find_is_one_line(error, words, monkeypatch):
    def initialize(**_):
        raise error

    monkeypatch.setattr(distributed.jax.distributed, "initialize", initialize)
    with pytest.raises(UserError, match="by itself") as caught:
        distributed.start_from_flags(parsed("--coordinator=auto"))
    assert words in str(caught.value)
    assert str(caught.value).endswith("--coordinator=HOST:PORT, --num_processes and --process_id")


def test_one_process_decides_and_ends_alone():
    assert distributed.is_main()
    assert not distributed.several()
    assert not distributed.should_stop(False)
    with pytest.raises(SystemExit) as ended:
        distributed.end(3)
    assert ended.value.code == 3
    with pytest.raises(ValueError, match="a bug"), distributed.watched():
        raise ValueError("a bug")
