"""Measure the phase diagram's trainings per second, by DepthSweep and one by one.

``python -m benchmarks.phase --torch_python=PATH``, PATH as for ``benchmarks.run``. The trainings
are those of ``experiments.trainability`` (tanh nets of ten depths from 8 to 128, digits, batch 16,
plain SGD), a ladder of one training at each depth being the unit. Five cases take turns:

* jaxvision: as many runs side by side as the experiment has, on one single-threaded device a core;
* the same code, one training in a call, on one device;
* PyTorch (eager, fused SGD), one training after the other, one thread or two, whichever is faster;
* two single-threaded PyTorch processes, one a core: what a careful user would start;
* likewise two processes of one-by-one JAX.

Everybody trains from the same weights on the same batches; the losses of the first steps at the
shallowest and a middle depth must agree. Time is wall time on two cores, drawing or copying the
weights included, compilation apart; median of the clean samples (see ``benchmarks.run``).

Appends to ``benchmarks/phase.json`` and prints Markdown.
"""

import argparse
import datetime
import sys
import tempfile
import time
from itertools import chain

from benchmarks.team import Team, append_result, summary

CORES = 2
STEPS = 50
WIDTHS = (32, 64)  # the experiment's is 64
SEEDS, GAINS = 5, 13  # runs side by side at each depth
DEPTHS = (8, 11, 15, 20, 27, 37, 51, 69, 94, 128)
CHECKED = (8, 27)  # depths whose first losses must agree ...
CHECKED_STEPS = 6
TOLERANCE = 1e-3  # ... relative to their size
GOAL = 20.0
LABELS = {
    "jaxvision": "jaxvision, all runs side by side",
    "single": "the same code, one training a call",
    "singles": "... two processes, one a core",
    "torch": "PyTorch, one by one",
    "torches": "... two processes, one a core",
}


def check(label: str, losses: list[list[float]], reference: list[list[float]]) -> None:
    """Raise unless the losses are those of jaxvision; a NaN never is."""
    for ours, theirs in zip(chain(*reference), chain(*losses), strict=True):
        if not abs(ours - theirs) <= TOLERANCE * abs(ours):
            raise RuntimeError(f"{label}: losses {losses}, jaxvision: {reference}")


def measure(options: argparse.Namespace, folder: str) -> dict[str, dict]:
    """Return per 'width case': trainings per second and how they came about."""
    own = [sys.executable, "-m", "benchmarks.phase_jax", "--devices"]
    torch = [options.torch_python, "-m", "benchmarks.phase_torch"]
    teams = {
        "jaxvision": Team([*own, str(CORES)], CORES),
        "single": Team([*own, "1"], CORES),
        "singles": Team([*own, "1"], CORES, a_core=True),
        "torch": Team(torch, CORES),
        "torches": Team(torch, CORES, a_core=True),
    }
    results = {}
    for width in WIDTHS:
        for name, team in teams.items():  # jaxvision first: it leaves weights and batches
            case = f"{'sweep' if name == 'jaxvision' else 'single'}:{width}"
            facts = team.prepare(case, folder=folder)
            reference = results.get(f"{width} jaxvision", facts)
            check(f"{width} {name}", facts["losses"], reference["losses"])
            results[f"{width} {name}"] = facts | {"group": name, "case": case, "samples": []}
            print(f"  width {width} {name}: ready", file=sys.stderr, flush=True)
    for _ in range(options.rounds):
        for result in results.values():
            time.sleep(0.25)  # threads of the case before may still spin
            sample = teams[result["group"]].sample(result["case"], result["trainings"])
            result["samples"].append(sample)
    for team in teams.values():
        team.close()
    for result in results.values():
        found = summary(result["samples"])
        result |= {"clean": found["clean"], "per_second": 1e3 / found["ms"]}
    return results


def markdown(results: dict[str, dict]) -> str:
    """Return the table."""
    lines = [
        f"Trainings of {STEPS} steps a second, mean over depths {DEPTHS[0]} to {DEPTHS[-1]}; goal: "
        f"at least {GOAL:g} times PyTorch one by one\n",
        "| width | case | trainings/s | jaxvision is faster by | clean |",
        "|---|---|---|---|---|",
    ]
    for key, result in results.items():
        width = key.split()[0]
        times = results[f"{width} jaxvision"]["per_second"] / result["per_second"]
        lines.append(
            f"| {width} | {LABELS[result['group']]} | {result['per_second']:.2f} | {times:.1f} | "
            f"{result['clean']}/{len(result['samples'])} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, measure, append, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--torch_python", required=True, help="interpreter that has PyTorch")
    parser.add_argument("--rounds", type=int, default=4, help="samples of every case")
    options = parser.parse_args()
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    with tempfile.TemporaryDirectory() as folder:
        results = measure(options, folder)
    append_result("phase", {"started": started, "cases": results})
    print(markdown(results))


if __name__ == "__main__":
    main()
