"""Measure jaxvision beside PyTorch and plain Flax, in one run, cases taking turns.

``python -m benchmarks.run --torch_python=PATH`` where PATH is an interpreter with
``requirements-torch.txt`` installed. Every case lives in a long-lived process; the processes take
turns round after round, so that a busy machine slows all of them alike. Two metrics:

* cores=1: process pinned to one core, CPU seconds, lowest of the rounds: repeats to 1-3 % even on a
  shared machine.
* cores=2: wall seconds, median of the clean samples, those in which other processes used less than
  12 % of a core.

Writes ``benchmarks/results.json`` and prints Markdown. Compare ratios within one run, nothing else.
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import problems

ROOT = Path(__file__).resolve().parents[1]
TICK = os.sysconf("SC_CLK_TCK")
DEPTHS = (14, 30, 100, 300, 1000)
LABELS = ("torch NCHW", "torch channels_last", "flax", "jaxvision", "jaxvision 8 seeds")
# What the project promises: (name, numerator, denominator, most the ratio may be).
GOALS = (
    ("resnet20 step / plain Flax", "resnet20 jaxvision", "resnet20 flax", 0.4),
    ("resnet20 step / torch", "resnet20 jaxvision", "resnet20 torch channels_last", 1.6),
    ("conv32, 8 seeds / torch", "conv32 jaxvision 8 seeds", "conv32 torch channels_last", 1.0),
    ("conv16, 8 seeds / torch", "conv16 jaxvision 8 seeds", "conv16 torch channels_last", 1.0),
    ("mlp, 8 seeds / torch", "mlp jaxvision 8 seeds", "mlp torch NCHW", 0.3),
)


class Worker:
    """One worker process, pinned to the first ``cores`` cores."""

    def __init__(self, command: list[str], cores: int) -> None:
        allowed = sorted(os.sched_getaffinity(0))[:cores]
        pinned = ["taskset", "-c", ",".join(map(str, allowed)), *command]
        self.process = subprocess.Popen(
            pinned,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env=environment(),
        )

    def ask(self, **request: object) -> dict:
        """Send a request, return the answer."""
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended at {request}")
        return json.loads(line)

    def sample(self, case: str, n: int) -> dict:
        """Time n steps; ``foreign`` is how many cores other processes kept busy meanwhile."""
        start, busy, own = time.perf_counter(), machine_seconds(), self.seconds()
        answer = self.ask(time=case, n=n)
        foreign = machine_seconds() - busy - (self.seconds() - own)
        return answer | {"foreign": foreign / (time.perf_counter() - start)}

    def seconds(self) -> float:
        """CPU seconds this process has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def environment(**variables: str) -> dict[str, str]:
    """The environment without settings that would change what is measured."""
    ours = ("JAX", "XLA", "PJRT", "OMP", "MKL", "MALLOC")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {"PYTHONWARNINGS": "ignore", "JAXVISION_DISABLE": "cache"} | variables


def machine_seconds() -> float:
    """CPU seconds that the whole machine has been busy."""
    fields = [int(value) for value in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    return (sum(fields[:3]) + sum(fields[5:8])) / TICK


def steps(options: argparse.Namespace, cores: int) -> dict[str, dict]:
    """Time a step of every net in every implementation (per seed where several run at once)."""
    jax_worker = [sys.executable, "-m", "benchmarks.jax_worker", "--mode"]
    commands = {
        "torch": [options.torch_python, "-m", "benchmarks.torch_worker"],
        "flax": [*jax_worker, "flax"],
        "threads": [*jax_worker, "threads"],
        "single": [*jax_worker, "devices"],
        "sweep": [*jax_worker, "devices", f"--devices={cores}"],
    }
    workers = {name: Worker(command, cores) for name, command in commands.items()}
    cases = []
    for net in options.nets:
        cases.append((f"{net} torch NCHW", workers["torch"], net))
        cases.append((f"{net} flax", workers["flax"], f"{net}:flax"))
        # Small nets run as the experiments run them, on a single-threaded device.
        ours = workers["threads" if net == "resnet20" else "single"]
        cases.append((f"{net} jaxvision", ours, net))
        if net != "mlp":
            cases.append((f"{net} torch channels_last", workers["torch"], f"{net}:channels_last"))
        if net != "resnet20":
            cases.append((f"{net} jaxvision in a scan", workers["single"], f"{net}:scan"))
            cases.append((f"{net} jaxvision 8 seeds", workers["sweep"], f"{net}:sweep"))
    results = {}
    for label, worker, case in cases:
        facts = worker.ask(prepare=case)
        check_losses(label, facts["losses"], results)
        once = worker.sample(case, 1)["wall"]
        n = max(facts.get("units", 1), int(options.seconds / once))
        results[label] = facts | {"n": n, "samples": []}
        print(f"  cores={cores} {label}: {once * 1e3:.1f} ms", file=sys.stderr, flush=True)
    for _ in range(options.rounds):
        for label, worker, case in cases:
            time.sleep(0.25)  # threads of the case before may still spin
            results[label]["samples"].append(worker.sample(case, results[label]["n"]))
    for worker in workers.values():
        worker.close()
    for result in results.values():
        clean = [s for s in result["samples"] if s["foreign"] < 0.12]
        result["clean"] = len(clean)
        walls = [s["wall"] for s in clean or result["samples"]]
        lowest = min(s["cpu"] for s in result["samples"])
        result["ms"] = 1e3 * (lowest if cores == 1 else statistics.median(walls))
    return results


def check_losses(label: str, losses: list[float], results: dict[str, dict]) -> None:
    """Compare the first losses with those of the same net's first implementation."""
    net = label.split()[0]
    for other, result in results.items():
        if other.split()[0] == net:
            # An 8-seed sweep reports one loss per seed or step; the first is comparable.
            count = 1 if "seeds" in label + other else 6
            for ours, theirs in list(zip(losses, result["losses"], strict=False))[:count]:
                if not abs(ours - theirs) <= 2e-3 * abs(theirs):  # a NaN fails too
                    raise RuntimeError(f"{label}: losses {losses}, {other}: {result['losses']}")
            return


def compile_times() -> dict[str, float]:
    """CPU seconds to compile the scanned 16-channel net, by depth, nothing cached."""
    worker = Worker([sys.executable, "-m", "benchmarks.jax_worker", "--mode", "devices"], 1)
    worker.ask(prepare="conv16", depth=14)  # what a first compilation pays once
    times = {
        str(depth): min(worker.ask(prepare="conv16", depth=depth)["compile_cpu_s"] for _ in (0, 1))
        for depth in DEPTHS
    }
    worker.close()
    return times


def peak_memory(options: argparse.Namespace) -> dict[str, float]:
    """Largest resident MB of a fresh process that takes six ResNet-20 steps."""
    jax_worker = [sys.executable, "-m", "benchmarks.jax_worker", "--mode"]
    peaks = {}
    for label, command, case in (
        (
            "torch channels_last",
            [options.torch_python, "-m", "benchmarks.torch_worker"],
            "resnet20:channels_last",
        ),
        ("flax", [*jax_worker, "flax"], "resnet20:flax"),
        ("jaxvision", [*jax_worker, "threads"], "resnet20"),
    ):
        worker = Worker(command, len(os.sched_getaffinity(0)))
        peaks[label] = worker.ask(prepare=case)["peak_mb"]
        worker.close()
    return peaks


def starts(options: argparse.Namespace, net: str = "conv16") -> dict[str, float]:
    """Wall seconds from process start to the end of the first steps, medians of three."""
    ours = [sys.executable, "-m", "benchmarks.jax_worker", "--mode=devices", f"--first_step={net}"]
    torch = [options.torch_python, "-m", "benchmarks.torch_worker", net]
    seconds = {"torch": [], "jaxvision cold": [], "jaxvision warm": []}
    for _ in range(3):
        with tempfile.TemporaryDirectory() as cache:
            settings = {"JAXVISION_DISABLE": "", "XDG_CACHE_HOME": cache}
            for label, command in zip(seconds, (torch, ours, ours), strict=True):
                start = time.perf_counter()
                subprocess.run(command, cwd=ROOT, env=environment(**settings), check=True)
                seconds[label].append(time.perf_counter() - start)
    return {label: statistics.median(values) for label, values in seconds.items()}


def goals(results: dict) -> list[tuple[str, float, float]]:
    """Return (name, ratio reached, most it may be); steps on as many cores as there are."""
    cores = max(results["steps"], key=int)
    ms = {label: result["ms"] for label, result in results["steps"][cores].items()}
    found = [
        (name, ms[top] / ms[bottom], limit)
        for name, top, bottom, limit in GOALS
        if top in ms and bottom in ms
    ]
    found += [
        (f"{net} in a scan / dispatched", ms[f"{net} jaxvision in a scan"] / ms[label], 1.05)
        for net in problems.NETS
        if f"{net} jaxvision in a scan" in ms and (label := f"{net} jaxvision") in ms
    ]
    if "compile_cpu_s" in results:
        times = results["compile_cpu_s"]
        found.append(("compile 1000 layers / 30", times["1000"] / times["30"], 1.2))
        start = results["start_s"]
        found.append(("warm start / torch", start["jaxvision warm"] / start["torch"], 1.0))
    return found


def markdown(results: dict) -> str:
    """Return the tables."""
    lines = []
    for cores, table in results["steps"].items():
        kind = "CPU-ms" if cores == "1" else "ms"
        lines += [
            f"\n{kind} per step (and seed), cores={cores}\n",
            f"| net | implementation | {kind} | / torch channels_last | clean |",
            "|---|---|---|---|---|",
        ]
        for label, result in table.items():
            net, _, name = label.partition(" ")
            base = table.get(f"{net} torch channels_last", table[f"{net} torch NCHW"])["ms"]
            clean = f"{result['clean']}/{len(result['samples'])}"
            lines.append(
                f"| {net} | {name} | {result['ms']:.2f} | {result['ms'] / base:.2f} | {clean} |"
            )
    for name, unit in (("compile_cpu_s", "s by depth"), ("peak_mb", "MB"), ("start_s", "s")):
        if name in results:
            values = ", ".join(f"{key}: {value:.3g}" for key, value in results[name].items())
            lines.append(f"\n{name} ({unit}): {values}")
    lines += ["\n| goal | reached | at most | |", "|---|---|---|---|"]
    for name, ratio, limit in goals(results):
        verdict = "met" if ratio <= limit else "missed"
        lines.append(f"| {name} | {ratio:.2f} | {limit:.2f} | {verdict} |")
    return "\n".join(lines)


def append_result(name: str, entry: dict) -> None:
    """Add the results of one run to the history in ``benchmarks/<name>.json``."""
    path = ROOT / "benchmarks" / f"{name}.json"
    history = json.loads(path.read_text()) if path.exists() else []
    path.write_text(json.dumps([*history, entry], indent=1) + "\n")


def main() -> None:
    """Parse the command line, measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--torch_python", required=True, help="interpreter that has PyTorch")
    parser.add_argument("--rounds", type=int, default=7, help="samples of every case")
    parser.add_argument("--seconds", type=float, default=0.4, help="length of a sample")
    parser.add_argument("--nets", nargs="+", choices=problems.NETS, default=problems.NETS)
    parser.add_argument("--cores", nargs="+", type=int, default=[1, len(os.sched_getaffinity(0))])
    parser.add_argument(
        "--steps_only", action="store_true", help="no compile times, memory, starts"
    )
    options = parser.parse_args()
    results = {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "steps": {},
    }
    for cores in options.cores:
        results["steps"][str(cores)] = steps(options, cores)
        print(f"cores={cores} measured", markdown(results), sep="\n", file=sys.stderr, flush=True)
    if not options.steps_only:
        results |= {
            "compile_cpu_s": compile_times(),
            "peak_mb": peak_memory(options),
            "start_s": starts(options),
        }
    (ROOT / "benchmarks" / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    print(markdown(results))


if __name__ == "__main__":
    main()
