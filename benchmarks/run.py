"""Measure jaxvision beside PyTorch and plain Flax, in one run, cases taking turns.

``python -m benchmarks.run --torch_python=PATH`` where PATH is an interpreter with
``requirements-torch.txt`` installed. Every case lives in a long-lived process; the processes take
turns round after round, so that a busy machine slows all of them alike. On several cores time is
wall time, the median of the clean samples: those in which strangers used less than 12 % of a core.
With ``--cores 1`` it is CPU time, the lowest of the rounds, which repeats to 1-3 % even on a shared
machine.

Everybody trains the same batch from the same weights, and the first losses must agree. jaxvision is
measured as it trains: by its Trainer, the steps of a period in one call, under the allocator as it
is. PyTorch takes a step a call, and gets the allocator setting that suits that, its faster layout,
its fused optimizer and the number of threads that is fastest here; and once more a single-threaded
process on every core, all busy at once.

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

from benchmarks import problems, resnet
from benchmarks.cases import OURS, TORCH, Case, cases, teams
from benchmarks.duel import PAUSE
from benchmarks.tables import RESULTS, markdown
from benchmarks.team import ROOT, Team, busy_process, environment, machine, pace, summary

DEPTHS = (30, 1000)
FEW, MANY = problems.PERIOD, 17 * problems.PERIOD  # steps after which memory is looked at
TOLERANCE = 2e-3
ROUNDS_BESIDE = 3


def say(what: str) -> None:
    """Tell how far it is."""
    print(f"  {what}", file=sys.stderr, flush=True)


def all_cores() -> int:
    """Return how many cores there are to use."""
    return len(os.sched_getaffinity(0))


def steps(options: argparse.Namespace, cores: int) -> dict[str, dict[str, dict]]:
    """Time a step of every net in every implementation (per seed where several run at once)."""
    listed = cases(options.nets)
    running = teams({case.team for case in listed}, options.torch_python, cores)
    table = {net: {} for net in options.nets}
    for case in listed:
        facts = running[case.team].prepare(case.name)
        check_losses(case, facts["losses"], table[case.net])
        once, n = pace(running[case.team], case.name, facts["units"], options.seconds)
        table[case.net][case.label] = facts | {"n": n, "samples": []}
        say(f"cores={cores} {case.net} {case.label}: {once * 1e3:.1f} ms")
    for _ in range(options.rounds):
        for case in listed:
            time.sleep(PAUSE)
            result = table[case.net][case.label]
            result["samples"].append(running[case.team].sample(case.name, result["n"]))
    for team in running.values():
        team.close()
    for row in table.values():
        for result in row.values():
            result |= summary(result["samples"], cores)
    return table


def check_losses(case: Case | str, losses: list[float], row: dict[str, dict]) -> None:
    """Raise unless the first losses are those of the net's first implementation."""
    for label, other in row.items():
        for ours, theirs in zip(losses, other["losses"], strict=True):
            if not abs(ours - theirs) <= TOLERANCE * abs(theirs):  # a NaN fails too
                raise RuntimeError(f"{case}: losses {losses}, {label}: {other['losses']}")
        return


def beside(options: argparse.Namespace, cores: int) -> dict[str, dict]:
    """Time ResNet-20 alone and beside one busy process, in turns."""
    listed = [case for case in cases(["resnet20"]) if case.label in (OURS, TORCH)]
    running = teams({case.team for case in listed}, options.torch_python, cores)
    found = {case.label: {"alone": [], "beside": []} for case in listed}
    units = {case: running[case.team].prepare(case.name)["units"] for case in listed}
    for _ in range(min(options.rounds, ROUNDS_BESIDE)):
        for case in listed:
            team, n = running[case.team], max(units[case], problems.PERIOD)
            time.sleep(PAUSE)
            found[case.label]["alone"].append(team.sample(case.name, n))
            with busy_process(cores) as other:
                found[case.label]["beside"].append(team.sample(case.name, n, [other]))
    for team in running.values():
        team.close()
    for result in found.values():
        alone, crowded = (
            statistics.median(sample["wall"] for sample in result[name])
            for name in ("alone", "beside")
        )
        result["slower"] = crowded / alone
    return found


def compile_times() -> dict[str, float]:
    """CPU seconds to compile and start the 16-channel net, by depth, nothing cached."""
    worker = Team([sys.executable, "-m", "benchmarks.jax_worker", "--devices=1"], 1)
    worker.prepare("conv16:1", depth=14)  # what a first compilation pays once
    times = {}
    for depth in DEPTHS:
        first = min(worker.prepare("conv16:1", depth=depth)["first_cpu_s"] for _ in range(2))
        again = worker.sample("conv16:1", problems.PERIOD)["cpu"] * problems.PERIOD
        times[str(depth)] = first - again
    worker.close()
    return times


def peak_memory(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Largest resident MB of a fresh process after few and after many steps of ResNet-20."""
    peaks = {}
    for case in cases(["resnet20"]):
        if case.label not in (OURS, TORCH):
            continue
        (team,) = teams({case.team}, options.torch_python, all_cores()).values()
        first = team.prepare(case.name)["peak_mb"]
        peaks[case.label] = {
            str(FEW): first,
            str(MANY): team.sample(case.name, MANY - FEW)["peak_mb"],
        }
        team.close()
    return peaks


def starts(options: argparse.Namespace, net: str = "conv16") -> dict[str, float]:
    """Wall seconds from process start to the end of the first steps; medians of three but cold.

    Cold compiles the kernels too.
    """
    ours = [sys.executable, "-m", "benchmarks.jax_worker", "--devices=1"]
    ours.append(f"--first_steps={net}:1")
    torch = [options.torch_python, "-m", "benchmarks.torch_worker", net]
    seconds = {"jaxvision cold": [], "torch": [], "jaxvision warm": []}
    with tempfile.TemporaryDirectory() as cache:
        settings = {"JAXVISION_DISABLE": "", "XDG_CACHE_HOME": cache}
        turns = ["jaxvision cold", *3 * ["torch", "jaxvision warm"]]
        for label in turns:
            start = time.perf_counter()
            command = torch if label == "torch" else ours
            subprocess.run(command, cwd=ROOT, env=environment(**settings), check=True)
            seconds[label].append(time.perf_counter() - start)
    return {label: statistics.median(values) for label, values in seconds.items()}


def images(options: argparse.Namespace) -> dict:
    """Return what ``benchmarks.resnet`` measures of ResNet-20: peaks and images a second."""
    rounds = max(1, options.rounds // 2)
    seconds = 4 * options.seconds
    return resnet.measure(options.torch_python, "cpu", ("resnet20",), rounds, seconds)


def main() -> None:
    """Parse the command line, measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--torch_python", required=True, help="interpreter that has PyTorch")
    parser.add_argument("--rounds", type=int, default=6, help="samples of every case")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a sample")
    parser.add_argument("--nets", nargs="+", choices=problems.NETS, default=problems.NETS)
    parser.add_argument("--cores", nargs="+", type=int, default=[all_cores()])
    parser.add_argument("--steps_only", action="store_true", help="nothing but the table of steps")
    options = parser.parse_args()
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    results = {"started": started, "machine": machine(), "steps": {}}
    for cores in options.cores:
        results["steps"][str(cores)] = steps(options, cores)
    if not options.steps_only:
        for name, measure in (
            ("images", images),
            ("beside", lambda options: beside(options, all_cores())),
            ("peak_mb", peak_memory),
            ("compile_cpu_s", lambda options: compile_times()),
            ("start_s", starts),
        ):
            say(name)
            results[name] = measure(options)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(markdown(results))


if __name__ == "__main__":
    main()
