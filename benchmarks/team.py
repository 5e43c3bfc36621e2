"""Processes that are measured: long-lived, pinned, timed by who asks them.

A ``Team`` is one process that has all cores, or one process on every core, all busy at once. Its
wall time is then that of all their steps, as somebody has it who starts a PyTorch a core.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TICK = os.sysconf("SC_CLK_TCK")
CLEAN = 0.12  # cores that strangers may keep busy during a sample that counts
SETTINGS = ("JAX", "XLA", "PJRT", "OMP", "MKL", "MALLOC")


class Team:
    """Workers that do the same at the same time: one of ``cores`` cores, or one on each.

    Args:
      command: what a worker runs; it answers as ``worker.serve`` does.
      cores: how many of the cores that this process may use.
      a_core: one worker on every core instead of one for all of them.
      variables: of its environment.
    """

    def __init__(
        self, command: Sequence[str], cores: int, a_core: bool = False, **variables: str
    ) -> None:
        allowed = sorted(os.sched_getaffinity(0))[:cores]
        groups = [[core] for core in allowed] if a_core else [allowed]
        self.processes = [start(command, group, **variables) for group in groups]

    def ask(self, **request: object) -> list[dict]:
        """Send a request to every worker, return their answers."""
        for process in self.processes:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        return [self._answer(process, request) for process in self.processes]

    @staticmethod
    def _answer(process: subprocess.Popen, request: dict) -> dict:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{process.args} ended at {request}")
        return json.loads(line)

    def prepare(self, case: str, **given: object) -> dict:
        """Let every worker prepare a case; returns the facts that the first one tells."""
        return self.ask(prepare=case, **given)[0]

    def sample(self, case: str, n: int, beside: Sequence[subprocess.Popen] = ()) -> dict:
        """Time n steps of every worker.

        Returns:
          ``wall`` and ``cpu`` seconds a step, over the steps of all workers, ``peak_mb`` of the
          first, and ``foreign``: how many cores others kept busy meanwhile, ``beside`` apart.
        """
        known = [*self.processes, *beside]
        start, busy, own = time.perf_counter(), machine_seconds(), cpu_seconds(known)
        answers = self.ask(time=case, n=n)
        seconds = time.perf_counter() - start
        foreign = machine_seconds() - busy - (cpu_seconds(known) - own)
        return {
            "wall": seconds / (n * len(answers)),
            "cpu": statistics.mean(answer["cpu"] for answer in answers),
            "peak_mb": answers[0]["peak_mb"],
            "foreign": foreign / seconds,
        }

    def close(self) -> None:
        """End the workers."""
        for process in self.processes:
            process.stdin.close()
        for process in self.processes:
            with process:  # waits, and closes its pipes
                pass


def pace(team: Team, case: str, units: int, seconds: float) -> tuple[float, int]:
    """Return the seconds of a step, and how many steps take about ``seconds``.

    Args:
      team: that has prepared the case.
      case: its name.
      units: steps of one call of the case, of which the count is a multiple.
      seconds: of a sample.
    """
    once = team.sample(case, units)["wall"]
    return once, units * max(1, round(seconds / once / units))


def start(command: Sequence[str], cores: Sequence[int], **variables: str) -> subprocess.Popen:
    """Start a worker on these cores."""
    return subprocess.Popen(
        ["taskset", "-c", ",".join(map(str, cores)), *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env=environment(**variables),
    )


def environment(**variables: str) -> dict[str, str]:
    """The environment without settings that would change what is measured."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    return kept | {"PYTHONWARNINGS": "ignore", "JAXVISION_DISABLE": "cache"} | variables


@contextlib.contextmanager
def busy_process(cores: int) -> Iterator[subprocess.Popen]:
    """Keep a process busy meanwhile, on the cores that workers have: somebody else's."""
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    process = start([sys.executable, "-c", "while True: pass"], allowed)
    try:
        yield process
    finally:
        process.kill()
        with process:
            pass


def machine_seconds() -> float:
    """CPU seconds that the cores which this process may use have been busy."""
    allowed = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    ticks = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *values = line.split()
        if name in allowed:
            fields = [int(value) for value in values]
            ticks += sum(fields[:3]) + sum(fields[5:8])
    return ticks / TICK


def cpu_seconds(processes: Sequence[subprocess.Popen]) -> float:
    """CPU seconds that processes have used."""
    total = 0
    for process in processes:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def summary(samples: Sequence[dict], cores: int = 2) -> dict:
    """Return ``ms`` a step and how many samples were ``clean``.

    On one core the lowest CPU time, on several the median wall time of the clean samples; of all of
    them where none was.
    """
    clean = [sample for sample in samples if sample["foreign"] < CLEAN]
    walls = [sample["wall"] for sample in clean or samples]
    lowest = min(sample["cpu"] for sample in samples)
    seconds = lowest if cores == 1 else statistics.median(walls)
    return {"ms": 1e3 * seconds, "clean": len(clean)}


def machine() -> str:
    """Name the processor: vendors sell many under one name, so with family, model and vectors."""
    text = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    fields = {key.strip(): value.strip() for key, _, value in map(_parts, text.splitlines())}
    flags = fields.get("flags", "").split()
    vectors = next((name for name in ("avx512f", "avx2") if name in flags), "other vectors")
    name = fields.get("model name", "unknown processor")
    family, model = fields.get("cpu family", "?"), fields.get("model", "?")
    return f"{name} (family {family}, model {model}, {vectors})"


def _parts(line: str) -> tuple[str, str, str]:
    return line.partition(":")


def append_result(name: str, entry: dict) -> None:
    """Add the results of one run to the history in ``benchmarks/<name>.json``."""
    path = ROOT / "benchmarks" / f"{name}.json"
    history = json.loads(path.read_text()) if path.exists() else []
    path.write_text(json.dumps([*history, entry], indent=1) + "\n")
