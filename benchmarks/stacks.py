"""Measure a step under two Python environments, such as two versions of JAX, taking turns.

``python -m benchmarks.stacks --other_python=PATH``, PATH the interpreter of an environment that
``make venv PYTHON=python3.12`` made in another clone. Both run this tree, and train the nets of
``benchmarks.run`` as it does: ResNet-20 one run on all cores, the others 8 seeds over the cores.
The first losses must agree.

Appends to ``benchmarks/stacks.json`` and prints Markdown. Compare ratios of one run, nothing else.
"""

import argparse
import datetime
import os
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np

from benchmarks import problems
from benchmarks.cases import SEEDS
from benchmarks.duel import PAUSE
from benchmarks.tables import NAMES, Goal
from benchmarks.team import Team, append_result, machine, summary

HERE, OTHER = "here", "other"
ALIKE = 1.05  # what the project promises: the newer stack's time over the older one's
TOLERANCE = 2e-3  # of first losses, relative

Rows = dict[str, dict[str, dict]]  # net -> side -> facts, ``samples`` and ``ms``


def version(python: str) -> str:
    """Return the version of JAX that an interpreter imports."""
    code = "import jax; print(jax.__version__)"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def case_of(net: str) -> str:
    """Return what a worker knows a net's runs by."""
    return f"{net}:{1 if net == 'resnet20' else SEEDS}"


def team_of(python: str, net: str, cores: int) -> Team:
    """Start the process that trains a net, its runs laid out as ``benchmarks.run`` does."""
    devices = 0 if net == "resnet20" else cores
    command = [python, "-m", "benchmarks.jax_worker", f"--devices={devices}"]
    return Team(command, cores)


def check(net: str, here: dict, other: dict) -> None:
    """Raise where the losses of the first steps differ."""
    if not np.allclose(here["losses"], other["losses"], rtol=TOLERANCE):
        raise RuntimeError(f"{net}: losses {here['losses']} here, {other['losses']} there")


def measure(other_python: str, nets: Sequence[str], rounds: int, seconds: float) -> Rows:
    """Return per net and side: ms a step and seed, facts, and the samples."""
    pythons = {HERE: sys.executable, OTHER: other_python}
    cores = len(os.sched_getaffinity(0))
    rows = {}
    for net in nets:
        teams = {side: team_of(python, net, cores) for side, python in pythons.items()}
        sides = {side: team.prepare(case_of(net)) for side, team in teams.items()}
        check(net, sides[HERE], sides[OTHER])
        for side, facts in sides.items():
            once = teams[side].sample(case_of(net), facts["units"])["wall"] * facts["units"]
            facts |= {"n": facts["units"] * max(1, round(seconds / once)), "samples": []}
        for _ in range(rounds):
            for side, facts in sides.items():
                time.sleep(PAUSE)  # threads of the side before may still spin
                facts["samples"].append(teams[side].sample(case_of(net), facts["n"]))
        for team in teams.values():
            team.close()
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
