"""Measure attacks that search, beside torchattacks on the same nets, in one run, taking turns.

``python -m benchmarks.searches --torch_python=PATH`` where PATH is an interpreter with PyTorch and
torchattacks. Both have all cores. One pixel is searched by differential evolution with the budget
of its paper (400 candidates, 100 generations) on both sides; torchattacks rounds that down to a
multiple of a candidate's numbers. Nets are ReLU MLPs of random weights, images those of many random
ones that the net is surest of, labels its own answers. Both sides end with an image's success, so
the rates of success stand beside the times, and a side that fails more often takes longer. What the
other library does not have is timed alone. Times are wall times of one call, compilation apart; the
median of the clean samples (see ``benchmarks.team``). Compare ratios of one run, nothing else.

Appends to ``benchmarks/searches.json`` and prints Markdown.
"""

import argparse
import datetime
import itertools
import os
import sys
import time
from typing import NamedTuple

import numpy as np

from benchmarks.tables import Goal
from benchmarks.team import Team, append_result, machine, summary

OURS, TORCHATTACKS = "jaxvision", "torchattacks"
PAUSE = 0.25  # seconds: threads of the case before may still spin
SAMPLE_SECONDS = 0.5
CANDIDATES, GENERATIONS = 400, 100
SHARPNESS, DRAWN = 10.0, 400
SIZES = {  # side of the gray images, and units of the net's layers
    "digits": (8, (64, 128, 128, 10)),
    "mnist": (28, (784, 256, 256, 10)),
}


class Case(NamedTuple):
    """What is timed.

    Attributes:
      label: in tables.
      sides: who runs it.
    """

    label: str
    sides: tuple[str, ...] = (OURS,)


BOTH = (OURS, TORCHATTACKS)
CASES = {
    "evolution:digits:2": Case("one pixel by evolution, 2 images of 8x8", BOTH),
    "evolution:mnist:2": Case("one pixel by evolution, 2 images of 28x28", BOTH),
    "every:digits:8": Case("all 256 levels of every pixel, 8 images of 8x8"),
    "corners:mnist:2": Case("black and white at every pixel, 2 images of 28x28"),
    "elites:digits:1": Case("fooling images of 8x8, pixels, 200 generations of 200"),
    "painted:digits:1": Case("fooling images of 8x8, CPPNs, 200 generations of 200"),
}
SUCCESS = 0.5  # ours may succeed less often by so much: one image of two
MOST_OF_TORCHATTACKS = 0.05  # what the project promises


def problem(size: str, count: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the weights [I, O] of a net's layers and images [B, H, W, 1], the same everywhere.

    The net is as sure as a trained one. Of random images those are taken that it is surest of, so
    that one pixel is not always enough and the search goes on for all its generations.
    """
    side, widths = SIZES[size]
    rng = np.random.default_rng(0)
    kernels = [
        np.float32(rng.normal(size=(fan, out)) * np.sqrt(2 / fan))
        for fan, out in itertools.pairwise(widths)
    ]
    kernels[-1] *= SHARPNESS
    images = rng.random((DRAWN, side, side, 1), np.float32)
    x = images.reshape(DRAWN, -1) - 0.5
    for kernel in kernels[:-1]:
        x = np.maximum(x @ kernel, 0)
    logits = np.sort(x @ kernels[-1], 1)
    surest = np.argsort(logits[:, -2] - logits[:, -1])
    return kernels, images[surest[:count]]


def measure(torch_python: str, rounds: int, cases: tuple[str, ...]) -> dict[str, dict[str, dict]]:
    """Return per case and side: ms a call, facts, and the samples."""
    cores = len(os.sched_getaffinity(0))
    teams = {
        OURS: Team([sys.executable, "-m", "benchmarks.searches_jax"], cores),
        TORCHATTACKS: Team([torch_python, "-m", "benchmarks.searches_torch"], cores),
    }
    results = {case: {} for case in cases}
    for case in cases:
        for side in CASES[case].sides:
            facts = teams[side].prepare(case)
            once = teams[side].sample(case, 1)["wall"]
            n = max(1, round(SAMPLE_SECONDS / once))
            results[case][side] = facts | {"n": n, "samples": []}
            print(f"  {case} {side}: {1e3 * once:.1f} ms", file=sys.stderr, flush=True)
        rates = [result["success"] for result in results[case].values()]
        if len(rates) == 2 and rates[0] < rates[1] - SUCCESS:
            raise RuntimeError(f"{case}: ours succeeds {rates[0]}, theirs {rates[1]}")
    for _ in range(rounds):
        for case, sides in results.items():
            for side, result in sides.items():
                time.sleep(PAUSE)
                result["samples"].append(teams[side].sample(case, result["n"]))
    for team in teams.values():
        team.close()
    for sides in results.values():
        for result in sides.values():
            result |= summary(result["samples"], cores)
    return results


def ratios(results: dict[str, dict[str, dict]]) -> dict[str, float]:
    """Return our time over the other side's, by case."""
    return {
        case: sides[OURS]["ms"] / sides[TORCHATTACKS]["ms"]
        for case, sides in results.items()
        if TORCHATTACKS in sides
    }


def markdown(results: dict[str, dict[str, dict]]) -> str:
    """Return the tables of times and of goals."""
    lines = [
        "| search | jaxvision, ms | torchattacks, ms | ratio | success, ours and theirs | clean |",
        "|---|---|---|---|---|---|",
    ]
    found = ratios(results)
    for case, sides in results.items():
        times = [f"{sides[side]['ms']:.3g}" if side in sides else "" for side in BOTH]
        ratio = f"{found[case]:.3g}" if case in found else ""
        success = ", ".join(f"{result['success']:.2f}" for result in sides.values())
        clean = sum(result["clean"] for result in sides.values())
        samples = sum(len(result["samples"]) for result in sides.values())
        row = [CASES[case].label, *times, ratio, success, f"{clean}/{samples}"]
        lines.append(f"| {' | '.join(row)} |")
    lines += ["", "| goal | reached | limit | |", "|---|---|---|---|"]
    for case, ratio in found.items():
        goal = Goal(f"{CASES[case].label} / torchattacks", ratio, MOST_OF_TORCHATTACKS)
        verdict = "met" if goal.met else "**missed**"
        lines.append(f"| {goal.name} | {goal.found:.3g} | {goal.limit:g} | {verdict} |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, measure, append, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--torch_python", required=True, help="interpreter that has torchattacks")
    parser.add_argument("--rounds", type=int, default=5, help="samples of every case")
    parser.add_argument("--cases", nargs="+", choices=tuple(CASES), default=tuple(CASES))
    options = parser.parse_args()
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    results = measure(options.torch_python, options.rounds, tuple(options.cases))
    entry = {"started": started, "machine": machine(), "cases": results}
    append_result("searches", entry | {"ratios": ratios(results)})
    print(markdown(results))


if __name__ == "__main__":
    main()
