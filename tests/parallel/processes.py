"""Real processes of mesh_worker.py on loopback, alone and joined."""

import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
