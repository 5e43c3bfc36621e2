"""Processes that meet, train together, lose one another: with real processes on loopback."""

import io
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from absl import flags

from jaxvision import launch
from jaxvision.parallel import distributed, peers
from jaxvision.types import UserError

ROOT = Path(__file__).resolve().parents[2]
WORKER = [sys.executable, str(ROOT / "tests" / "parallel" / "mesh_worker.py")]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


def free_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()


def joined(jobs, *arguments):
    """Start one process of the worker for each of the ``jobs``; returns them."""
    numbers = f"--coordinator=127.0.0.1:{free_address()[1]}", f"--num_processes={len(jobs)}"
    return [
        subprocess.Popen(
            [*WORKER, *numbers, f"--process_id={i}", *arguments, *job.split()],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )
        for i, job in enumerate(jobs)
    ]


def results(text):
    """Return the JSON lines of a worker, whatever JAX prints between them."""
    lines = (line[line.find("{") :] for line in text.splitlines() if "{" in line)
    return [json.loads(line) for line in lines]


def run_alone(*arguments):
    done = subprocess.run(
        [*WORKER, *arguments], capture_output=True, text=True, env=ENVIRONMENT, check=False
    )
    assert done.returncode == 0, done.stderr
    return results(done.stdout)


def run_joined(count, *arguments):
    """Return what each process printed."""
    processes = joined([""] * count, *arguments)
    with ThreadPoolExecutor() as pool:
        outputs = list(pool.map(lambda p: p.communicate(timeout=200), processes))
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors
    return [results(output) for output, _ in outputs]


# The same bits over layouts, and a state that moves between them.


@pytest.fixture(scope="module")
def travelled(tmp_path_factory):
    """Sixteen steps in several layouts, and in four of them by turns: 1x1, 1x4, 2x1, 2x2."""
    state = f"--state={tmp_path_factory.mktemp('state') / 'state.npz'}"
    options = ("--shards=4", state)
    jobs = ("train=1x1", "train=1x4", "move=1x1", "move=1x4")
    found = run_alone("--devices=4", *options, *jobs)
    for devices, layout in ((1, "1x2"), (2, "1x4")):
        each = run_joined(2, f"--devices={devices}", *options, f"train={layout}", f"move={layout}")
        assert [[line["main"] for line in lines] for lines in each] == [[True] * 2, [False] * 2]
        for first, second in zip(*each, strict=True):
            assert first | {"main": None} == second | {"main": None}
        found += each[0]
    return found


@pytest.mark.slow  # a short one: test_survival.py
def test_shards_give_the_same_bits_on_one_to_four_devices_of_one_or_two_processes(travelled):
    digests = {line["history"] for line in travelled if "train" in line}
    assert len([line for line in travelled if "train" in line]) == 4
    assert len(digests) == 1


@pytest.mark.slow
def test_a_state_moves_between_layouts_and_arrives_with_the_same_bits(travelled):
    moves = [line for line in travelled if "move" in line]
    assert [line["step"] for line in moves] == [4, 8, 12, 16]
    assert len({line["variables"] for line in moves}) == 4  # each did its part
    whole = next(line["variables"] for line in travelled if "train" in line)
    assert moves[-1]["variables"] == whole


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("net", "mapping"), [("dense", "vmap"), ("conv", "map"), ("resnet", "map")]
)
def test_all_layouts_have_the_same_bits(net, mapping):
    """One, two, four, eight devices, and two processes with one, two, four each."""
    options = ("--shards=8", f"--net={net}", f"--mapping={mapping}", "--steps=8")
    layouts = ["1x1", "1x2", "1x4", "1x8", "2x1", "2x2", "2x4"]
    found = run_alone("--devices=8", *options, *(f"train={layout}" for layout in layouts))
    for devices in (1, 2, 4):
        layouts = [f"train={run}x{2 * devices // run}" for run in (1, 2) if devices < 4 or run == 1]
        for lines in run_joined(2, f"--devices={devices}", *options, *layouts):
            found += lines
    assert len(found) == 17
    assert len({line["history"] for line in found}) == 1


@pytest.mark.slow
def test_two_processes_train_as_one_to_rounding():
    """Without shards: statistics and gradients over both, no bits promised."""
    options = ("--dropout=0", "--steps=8")
    (alone,) = run_alone(*options, "train=1x1")
    for lines in run_joined(2, *options, "train=1x2", "train=2x1"):
        for line in lines:
            for quantity in ("loss", "test_loss"):
                flat = (itertools.chain(*values[quantity]) for values in (line, alone))
                assert list(next(flat)) == pytest.approx(list(next(flat)), rel=1e-4)


@pytest.mark.slow
def test_streamed_to_two_processes_the_bits_are_those_of_data_held_by_one():
    """In chunks of one step and of two. A process gathers what its own devices need."""
    options = ("--shards=4", "--steps=8")
    (alone,) = run_alone(*options, "train=1x1")
    assert alone["gathered"] == 0
    for lines in run_joined(2, *options, f"--chunk={2 * 16 * 64}", "train=1x2", "train=2x1"):
        assert {line["history"] for line in lines} == {alone["history"]}
        # Two runs of eight steps of 16 images; with a process a run, each needs one.
        assert [line["gathered"] for line in lines] == [2 * 8 * 16, 8 * 16]


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
        while "waiting" not in process.stdout.readline():
            pass
    if Path("/proc/net/tcp6").exists():
        (address,) = listening(int(processes[0].args[2].rpartition(":")[2]))
        assert address in ("0100007F", "0000000000000000FFFF00000100007F")  # 127.0.0.1
    processes[1].terminate()
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [75, 75], outputs
    first, second = (results(output)[-1]["stopped"] for output, _ in outputs)
    assert first == second
    assert not any("error:" in errors for _, errors in outputs)


@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [("user", 2, "error: this one is mistaken"), ("bug", 1, "ValueError: a bug")],
)
def test_an_error_of_one_ends_the_other(kind, code, words):
    processes = joined(["wait", f"fail={kind}"])
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [code, code], outputs
    assert f"error: process 1 ended with exit code {code}, so this one stops" in outputs[0][1]
    assert words in outputs[1][1]


# Processes that do not find together; none of these starts JAX.


def meeting(*processes):
    """Let processes (count, number, seconds) meet; returns what each got, an error as its text."""
    address = free_address()

    def one(count, process_id, seconds):
        try:
            found = peers.meet(address, count, process_id, seconds)
        except UserError as error:
            return str(error)
        for connection in found.values():
            connection.close()
        return sorted(found)

    with ThreadPoolExecutor() as pool:
        return list(pool.map(one, *zip(*processes, strict=True)))


def test_processes_meet_in_any_order():
    assert meeting((3, 2, 10), (3, 0, 10), (3, 1, 10)) == [[0], [1, 2], [0]]


def test_a_missing_process_0_is_one_line():
    (error,) = meeting((2, 1, 0.3))
    assert "no process 0 at 127.0.0.1:" in error


def test_a_missing_process_is_named_to_all():
    first, second = meeting((3, 0, 0.5), (3, 1, 5))
    assert "process 2 of 3 did not come to 127.0.0.1:" in first
    assert "did not go on" in second


@pytest.mark.parametrize(("count", "process_id"), [(3, 1), (2, 5), (2, 0)])
def test_numbers_that_do_not_fit_are_refused(count, process_id):
    address = free_address()

    def come():
        with socket.create_connection(address) as connection:
            connection.sendall(f"jaxvision {process_id} {count}\n".encode())
            return connection.recv(8)

    with ThreadPoolExecutor() as pool:
        first = pool.submit(peers.meet, address, 2, 0, 10)
        time.sleep(0.2)
        assert pool.submit(come).result() == b""
        with pytest.raises(UserError, match="the same number of processes"):
            first.result()


def test_a_stranger_is_sent_away_and_an_address_in_use_named():
    address = free_address()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(peers.meet, address, 2, 0, 10)
        time.sleep(0.2)
        with socket.create_connection(address) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\n")
            with pytest.raises(UserError, match=r"cannot listen at 127.0.0.1:.*in use"):
                peers.meet(address, 2, 0, 1)
            second = peers.meet(address, 2, 1, 10)
        assert (first.result().keys(), second.keys()) == ({1}, {0})
        for connection in (first.result()[1], second[0]):
            connection.close()


def test_a_last_word_is_the_code_and_none_from_the_dead():
    for code in (0, 2, None):
        ours, theirs = socket.socketpair()
        with ours:
            if code is not None:
                peers.tell({1: theirs}, code)
            theirs.close()
            assert peers.last_word(ours) == code
    ours, theirs = socket.socketpair()
    with ours, theirs:
        before = time.monotonic()
        peers.await_ends({1: ours}, 0.2)
        assert 0.1 < time.monotonic() - before < 2


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


# The launcher.


def launched(count, program, errors=subprocess.STDOUT):
    command = [sys.executable, "-m", "jaxvision.launch", "-n", str(count), "--"]
    return subprocess.Popen(
        [*command, sys.executable, "-u", "-c", program],
        stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT,
    )  # fmt: skip


NUMBER = "import os, sys, time; i = int(sys.argv[3].split('=')[1]); "


def test_the_launcher_numbers_lines_and_returns_the_first_failure():
    program = NUMBER + "print(sys.argv[2], len(os.sched_getaffinity(0))); sys.exit(4 * i)"
    process = launched(2, program)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 4
    each = max(1, len(os.sched_getaffinity(0)) // 2)
    lines = [f"[{i}] --num_processes=2 {each}" for i in range(2)]
    assert sorted(output.splitlines()) == lines


def test_the_launcher_explains_an_abort():
    process = launched(2, NUMBER + "os.abort() if i else sys.exit(0)")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == launch.LOST_PEER == distributed.LOST_PEER
    assert "[1] error: ended by JAX: another process is gone or silent" in output


def test_the_launcher_hands_signals_on():
    process = launched(2, NUMBER + "print('ready'); time.sleep(60)")
    for _ in range(2):
        assert "ready" in process.stdout.readline()
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM


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
    programs = ["exit 69", "sleep 60"]
    processes = [subprocess.Popen(["sh", "-c", program]) for program in programs]
    assert launch._wait(processes) == [69, 69]


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


@pytest.mark.parametrize("arguments", [[], ["-n", "0", "--", "true"], ["-n", "2", "--"]])
def test_the_launcher_wants_a_number_and_a_program(arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["launch", *arguments])
    with pytest.raises(SystemExit) as ended:
        launch.main()
    assert ended.value.code == 2
    assert "-n N" in capsys.readouterr().err
