"""Measure a step under two Python environments, such as two versions of JAX, taking turns.

``python -m benchmarks.stacks --other_python=PATH``, PATH the interpreter of an environment that
``make venv PYTHON=python3.12`` made in another clone. Both run this tree, and train the nets of
``benchmarks.run`` as it does: ResNet-20 one run on all cores, the others 8 seeds over the cores.
The first losses must agree.

Appends to ``benchmarks/stacks.json`` and prints Markdown. Compare ratios of one run, nothing else.
"""

import argparse
import datetime
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks import problems
from benchmarks.cases import ours, teams
from benchmarks.duel import PAUSE
from benchmarks.run import all_cores, check_losses
from benchmarks.tables import NAMES, Goal
from benchmarks.team import append_result, machine, pace, summary

HERE, OTHER = "here", "other"
ALIKE = 1.05  # what the project promises: the newer stack's time over the older one's

Rows = dict[str, dict[str, dict]]  # net -> side -> facts, ``samples`` and ``ms``


def version(python: str) -> str:
    """Return the version of JAX that an interpreter imports."""
    code = "import jax; print(jax.__version__)"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def measure(other_python: str, nets: Sequence[str], rounds: int, seconds: float) -> Rows:
    """Return per net and side: ms a step and seed, facts, and the samples.

    Raises:
      RuntimeError: the losses of the first steps differ.
    """
    pythons = {HERE: sys.executable, OTHER: other_python}
    cores = all_cores()
    rows = {}
    for net, _, team, name in ours(nets):
        running = {
            side: teams({team}, "", cores, jax_python=python)[team]
            for side, python in pythons.items()
        }
        sides = {side: its.prepare(name) for side, its in running.items()}
        check_losses(net, sides[OTHER]["losses"], {HERE: sides[HERE]})
        for side, facts in sides.items():
            _, n = pace(running[side], name, facts["units"], seconds)
            facts |= {"n": n, "samples": []}
        for _ in range(rounds):
            for side, facts in sides.items():
                time.sleep(PAUSE)  # threads of the side before may still spin
                facts["samples"].append(running[side].sample(name, facts["n"]))
        for its in running.values():
            its.close()
        for facts in sides.values():
            facts |= summary(facts["samples"], cores)
        rows[net] = sides
        print(f"  {net}: measured", file=sys.stderr, flush=True)
    return rows


def markdown(rows: Rows, versions: dict[str, str]) -> str:
    """Return the table."""
    lines = [
        f"| a step, ms | jax {versions[HERE]} | jax {versions[OTHER]} | ratio | limit | | clean |",
        "|---|---|---|---|---|---|---|",
    ]
    for net, sides in rows.items():
        here, other = (sides[side]["ms"] for side in (HERE, OTHER))
        goal = Goal(NAMES[net], other / here, ALIKE)
        clean = sum(side["clean"] for side in sides.values())
        samples = sum(len(side["samples"]) for side in sides.values())
        lines.append(
            f"| {goal.name} | {here:.3g} | {other:.3g} | {goal.found:.2f} | {goal.limit:g} "
            f"| {'met' if goal.met else '**missed**'} | {clean}/{samples} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, measure, append, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--other_python", required=True, help="interpreter of another environment")
    parser.add_argument("--nets", nargs="+", choices=problems.NETS, default=problems.NETS)
    parser.add_argument("--rounds", type=int, default=9, help="samples of each side")
    parser.add_argument("--seconds", type=float, default=0.7, help="length of a sample")
    options = parser.parse_args()
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    versions = {HERE: version(sys.executable), OTHER: version(options.other_python)}
    rows = measure(options.other_python, options.nets, options.rounds, options.seconds)
    entry = {"started": started, "machine": machine(), "jax": versions, "nets": rows}
    append_result("stacks", entry)
    print(markdown(rows, versions))


if __name__ == "__main__":
    main()
