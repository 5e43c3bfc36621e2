"""Start one program as several processes on this machine, joined over loopback.

    python -m jaxvision.launch -n 2 -- python -m experiments he_init --preset=tiny

For CPUs and for trying out what runs on many hosts: on a machine with accelerators one process
already uses all of them. The processes share the cores out; each one's lines begin with its number.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import NoReturn

from jaxvision.terminal import UNREAD, forget_output, shell_code

LOST_PEER, STOPPED = os.EX_UNAVAILABLE, os.EX_TEMPFAIL  # as in parallel/distributed.py
ABORTED = 128 + signal.SIGABRT
MOST_PROCESSES = 256  # on one machine; each of them is a Python with JAX
GRACE_SECONDS = 60  # for the others to end by themselves after one has failed

_unread = threading.Event()


def launch(command: Sequence[str], count: int) -> int:
    """Run ``count`` processes of ``command`` and return the exit code of the first that failed.

    Each gets ``--coordinator``, ``--num_processes`` and ``--process_id`` appended. SIGTERM and
    SIGINT are handed on. Once one has failed, those still running after a minute are killed. Where
    nobody reads the output any more they get SIGTERM, and the exit code is that of SIGPIPE.

    Raises:
      OSError: the program cannot be started.
    """
    processes, asked = [], []  # the signals that came while not all had been started

    def hand_on(number: int, _: object) -> None:
        asked.append(number)
        for process in processes:
            process.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, hand_on)
    try:
        for process in _started(command, count):
            processes.append(process)
            for number in asked:
                process.send_signal(number)
    except OSError:
        for process in processes:
            process.kill()
        raise
    printers = [threading.Thread(target=_print_lines, args=(i, p)) for i, p in enumerate(processes)]
    for printer in printers:
        printer.start()
    codes = _wait(processes)
    for printer, process in zip(printers, processes, strict=True):
        printer.join()
        process.stdout.close()
    return UNREAD if _unread.is_set() else first_failure(codes)


def first_failure(codes: Sequence[int]) -> int:
    """Return the exit code of several processes, given theirs in the order in which they ended.

    A real failure comes before a lost peer (69), which follows from another's failure; that before
    an orderly stop (75), and that before success.
    """
    failures = [code for code in codes if code not in (0, STOPPED)]
    return min(failures, key=lambda code: code == LOST_PEER) if failures else max(codes)


def _started(command: Sequence[str], count: int) -> Iterator[subprocess.Popen]:
    """Yield the processes as they are started."""
    place, groups = f"127.0.0.1:{_free_port()}", _core_groups(count)
    for i in range(count):
        joined = [f"--coordinator={place}", f"--num_processes={count}", f"--process_id={i}"]
        yield subprocess.Popen(
            [*command, *joined],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C reaches each process once, through us
            preexec_fn=lambda i=i: _use_cores(groups[i]),
        )


def _wait(processes: Sequence[subprocess.Popen]) -> list[int]:
    """Return exit codes as a shell would give them, in the order in which processes ended."""
    codes = []
    running = dict(enumerate(processes))
    deadline = None
    killed = False
    while running:
        ended = {i: shell_code(p.poll()) for i, p in running.items() if p.poll() is not None}
        # Of those that ended between two looks, one that was aborted may follow from another.
        for i, code in sorted(ended.items(), key=lambda item: item[1] == ABORTED):
            del running[i]
            if code == ABORTED and codes:
                # JAX ends a process so, with a C++ stack, where another one is gone.
                _say(i, "error: ended by JAX, as another process has ended")
                code = LOST_PEER
            elif code == ABORTED:
                _say(
                    i, "error: aborted; where another process hangs JAX does so after half a minute"
                )
            codes.append(LOST_PEER if killed else code)  # killed because another had failed
            if code not in (0, STOPPED) and deadline is None:
                deadline = time.monotonic() + GRACE_SECONDS
        if _unread.is_set() and deadline is None:
            deadline = time.monotonic() + GRACE_SECONDS
            for process in running.values():
                process.terminate()
        if deadline is not None and time.monotonic() > deadline:
            killed = True
            for process in running.values():
                process.kill()
        time.sleep(0.05)
    return codes


def _print_lines(i: int, process: subprocess.Popen) -> None:
    for line in process.stdout:
        _say(i, line.rstrip())


def _say(i: int, line: str) -> None:
    try:
        # In one piece: ``print`` writes the end apart, and another thread may come between.
        sys.stdout.write(f"[{i}] {line}\n")
        sys.stdout.flush()
    except OSError:
        # The processes would wait for a reader when their pipes are full: go on reading for them.
        forget_output()
        _unread.set()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _core_groups(count: int) -> list[set[int]]:
    """Share the usable cores out; where there are too few each process may use all."""
    if not hasattr(os, "sched_getaffinity"):
        return [set()] * count
    cores = sorted(os.sched_getaffinity(0))
    each = len(cores) // count
    return [set(cores[i * each : (i + 1) * each] if each else cores) for i in range(count)]


def _use_cores(cores: set[int]) -> None:
    if cores:
        os.sched_setaffinity(0, cores)


class _Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` whose refusals are one line."""

    def error(self, message: str) -> NoReturn:
        """Say it and exit."""
        self.exit(2, f"error: {message}; {self.prog} --help shows what there is\n")


def main() -> None:
    """Parse the command line, launch, exit."""
    parser = _Parser(prog="python -m jaxvision.launch", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("-n", type=int, default=2, metavar="N", help="processes (2)")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- program and its flags")
    options = parser.parse_args()
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not 1 <= options.n <= MOST_PROCESSES or not command:
        parser.error(f"say -n N, from 1 to {MOST_PROCESSES}, and after -- what to run")
    try:
        code = launch(command, options.n)
    except OSError as error:
        parser.exit(2, f"error: cannot start {command[0]}: {error.strerror}\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
