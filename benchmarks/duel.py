"""Our side and another library's on the same cases, by turns in one run, and the table of them."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence

from benchmarks.tables import Goal
from benchmarks.team import Team, summary

PAUSE = 0.25  # seconds: threads of the case before may still spin
SAMPLE_SECONDS = 0.5

Results = dict[str, dict[str, dict]]  # case -> side -> facts, ``samples`` and ``ms``


def measure(
    cases: Mapping[str, Sequence[str]],
    commands: Mapping[str, Sequence[str]],
    rounds: int,
    cores: int,
    check: Callable[[str, dict, dict], None],
) -> Results:
    """Return per case and side: ms a call, facts, and the samples.

    Args:
      cases: who runs each, ours first.
      commands: what a side's worker runs.
      rounds: samples of every case, the cases taking turns.
      cores: of every worker.
      check: of a case, our facts and another side's; raises where they did not do the same.
    """
    teams = {side: Team(command, cores) for side, command in commands.items()}
    results = {case: {} for case in cases}
    for case, sides in cases.items():
        for side in sides:
            facts = teams[side].prepare(case)
            once = teams[side].sample(case, 1)["wall"]
            n = max(1, round(SAMPLE_SECONDS / once))
            results[case][side] = facts | {"n": n, "samples": []}
            print(f"  {case} {side}: {1e3 * once:.1f} ms", file=sys.stderr, flush=True)
        ours, *others = results[case].values()
        for theirs in others:
            check(case, ours, theirs)
    for _ in range(rounds):
        for case, sides in results.items():
            for side, result in sides.items():
                time.sleep(PAUSE)
                sample = teams[side].sample(case, result["n"])
                result["samples"].append(sample)
    for team in teams.values():
        team.close()
    for sides in results.values():
        for result in sides.values():
            result |= summary(result["samples"], cores)
    return results


def ratios(results: Results, ours: str, theirs: str) -> dict[str, float]:
    """Return our time over the other side's, by case."""
    return {
        case: sides[ours]["ms"] / sides[theirs]["ms"]
        for case, sides in results.items()
        if {ours, theirs} <= sides.keys()
    }


def markdown(
    results: Results,
    labels: Mapping[str, str],
    heading: str,
    sides: tuple[str, str],
    goals: Sequence[Goal],
) -> str:
    """Return the tables of times and of goals; ``sides``: ours and theirs."""
    ours, theirs = sides
    lines = [
        f"| {heading} | {ours}, ms | {theirs}, ms | ratio | success, ours and theirs | clean |",
        "|---|---|---|---|---|---|",
    ]
    found = ratios(results, ours, theirs)
    for case, by_side in results.items():
        times = [f"{by_side[side]['ms']:.3g}" if side in by_side else "" for side in sides]
        ratio = f"{found[case]:.3g}" if case in found else ""
        success = ", ".join(f"{result['success']:.2f}" for result in by_side.values())
        clean = sum(result["clean"] for result in by_side.values())
        samples = sum(len(result["samples"]) for result in by_side.values())
        row = [labels[case], *times, ratio, success, f"{clean}/{samples}"]
        lines.append(f"| {' | '.join(row)} |")
    lines += ["", "| goal | reached | limit | |", "|---|---|---|---|"]
    for goal in goals:
        verdict = "met" if goal.met else "**missed**"
        lines.append(f"| {goal.name} | {goal.found:.3g} | {goal.limit:g} | {verdict} |")
    return "\n".join(lines)
