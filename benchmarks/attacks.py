"""Measure attacks beside foolbox on the same net and images, in one run, the cases taking turns.

``python -m benchmarks.attacks``, with what tests need installed. Both sides run on JAX, on all
cores: ours as one compiled program, foolbox through eagerpy, which runs operation by operation. The
net is a ReLU MLP of MNIST's size; its weights and the images are random, its labels its own
answers. Nobody may win by failing: the rates of success, and the lengths of the smallest
perturbations, stand beside the times. Times are wall times of one attack, compilation apart; the
median of the clean samples (see ``benchmarks.team``). Compare ratios of one run, nothing else.

To add an attack, give it a line in ``CASES`` and its two sides in ``attacks_jax``.

Appends to ``benchmarks/attacks.json`` and prints Markdown.
"""

import argparse
import datetime
import os
import sys
import time
from typing import NamedTuple

from benchmarks.tables import Goal
from benchmarks.team import Team, append_result, machine, summary

OURS, FOOLBOX = "jaxvision", "foolbox"
PAUSE = 0.25  # seconds: threads of the case before may still spin
SAMPLE_SECONDS = 0.5


class Case(NamedTuple):
    """An attack that is timed.

    Attributes:
      label: in tables.
      sides: who runs it.
      same_norm: the sides must also find perturbations about as long: within a tenth.
    """

    label: str
    sides: tuple[str, ...] = (OURS, FOOLBOX)
    same_norm: bool = False


CASES = {
    "pgd:1": Case("PGD, 40 steps, one image"),
    "pgd:32": Case("PGD, 40 steps, 32 images"),
    "pgd:256": Case("PGD, 40 steps, 256 images"),
    "pgd8:1": Case("PGD, 40 steps, one image, 8 epsilons"),
    "min_norm:32": Case("smallest L2 perturbation, 32 images, 10 x 100 steps", same_norm=True),
}
SUCCESS = 0.05  # ours may succeed less often by so much
# What the project promises: case, the other case or side, the most that the ratio may be.
MOST_OF_FOOLBOX = {"pgd:32": 0.05}
MOST_OF_ONE_EPSILON = 2.0


def check(case: str, ours: dict, theirs: dict) -> None:
    """Raise where the two sides did not do the same: a fast attack that fails is none."""
    if ours["success"] < theirs["success"] - SUCCESS:
        raise RuntimeError(f"{case}: ours succeeds {ours['success']}, theirs {theirs['success']}")
    if CASES[case].same_norm and ours["norm"] > 1.1 * theirs["norm"]:
        raise RuntimeError(f"{case}: our norms are {ours['norm']}, theirs {theirs['norm']}")


def measure(rounds: int, cases: tuple[str, ...]) -> dict[str, dict[str, dict]]:
    """Return per case and side: ms an attack, success, norm, and the samples."""
    cores = len(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "benchmarks.attacks_jax"]
    teams = {side: Team([*command, side], cores) for side in (OURS, FOOLBOX)}
    results = {case: {} for case in cases}
    for case in cases:
        for side in CASES[case].sides:
            facts = teams[side].prepare(case)
            once = teams[side].sample(case, 1)["wall"]
            n = max(1, round(SAMPLE_SECONDS / once))
            results[case][side] = facts | {"n": n, "samples": []}
            print(f"  {case} {side}: {1e3 * once:.1f} ms", file=sys.stderr, flush=True)
        if len(results[case]) == 2:
            check(case, *results[case].values())
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
        case: sides[OURS]["ms"] / sides[FOOLBOX]["ms"]
        for case, sides in results.items()
        if {OURS, FOOLBOX} <= sides.keys()
    }


def goals(results: dict[str, dict[str, dict]]) -> list[Goal]:
    """Return the goals whose numbers are there."""
    found = ratios(results)
    goals = [
        Goal(f"{CASES[case].label} / foolbox", found[case], most)
        for case, most in MOST_OF_FOOLBOX.items()
        if case in found
    ]
    if {"pgd:1", "pgd8:1"} <= results.keys():
        eight, one = (results[case][OURS]["ms"] for case in ("pgd8:1", "pgd:1"))
        goals.append(Goal("8 epsilons / one, one image", eight / one, MOST_OF_ONE_EPSILON))
    return goals


def markdown(results: dict[str, dict[str, dict]]) -> str:
    """Return the tables of times and of goals."""
    lines = [
        "| attack | jaxvision, ms | foolbox, ms | ratio | success, ours and theirs | clean |",
        "|---|---|---|---|---|---|",
    ]
    found = ratios(results)
    for case, sides in results.items():
        times = [f"{sides[side]['ms']:.3g}" if side in sides else "" for side in (OURS, FOOLBOX)]
        ratio = f"{found[case]:.3g}" if case in found else ""
        success = ", ".join(f"{result['success']:.2f}" for result in sides.values())
        clean = sum(result["clean"] for result in sides.values())
        samples = sum(len(result["samples"]) for result in sides.values())
        row = [CASES[case].label, *times, ratio, success, f"{clean}/{samples}"]
        lines.append(f"| {' | '.join(row)} |")
    lines += ["", "| goal | reached | limit | |", "|---|---|---|---|"]
    for goal in goals(results):
        verdict = "met" if goal.met else "**missed**"
        lines.append(f"| {goal.name} | {goal.found:.3g} | {goal.limit:g} | {verdict} |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, measure, append, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="samples of every case")
    parser.add_argument("--cases", nargs="+", choices=tuple(CASES), default=tuple(CASES))
    options = parser.parse_args()
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    results = measure(options.rounds, tuple(options.cases))
    entry = {"started": started, "machine": machine(), "cases": results}
    append_result("attacks", entry | {"ratios": ratios(results)})
    print(markdown(results))


if __name__ == "__main__":
    main()
