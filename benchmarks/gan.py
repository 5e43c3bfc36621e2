"""Measure a step of DCGAN beside PyTorch, in one run, the sides taking turns.

``python -m benchmarks.gan --torch_python=PATH``, PATH as for ``benchmarks.run``. The nets are those
that the authors of DCGAN released for 32x32 images, the discriminator's step before the generator's
as in their code, Adam, a batch of 64. Ours are calls of several steps, as a scan makes them;
PyTorch takes a step a call, with a fused optimizer and an allocator that keeps freed memory, in its
usual layout of memory and in channels_last. Weights and images are random and drawn by each side
for itself: the first losses must agree roughly, 2 ln 2 for the discriminator.

Appends to ``benchmarks/gan.json`` and prints Markdown. Compare ratios of one run, nothing else.
"""

import argparse
import datetime
import math
import os
import sys
from typing import NamedTuple

from benchmarks import duel
from benchmarks.tables import Goal
from benchmarks.team import append_result, machine

OURS, EAGER, CHANNELS_LAST = "jaxvision", "PyTorch", "PyTorch, channels_last"
BATCH = 64
SIDE, CODES = 32, 100
RATE, BETA1 = 5e-4, 0.5
MOST_OF_TORCH = 1.6  # what the project promises: our time over the faster of the two
START = 2 * math.log(2)  # the discriminator's loss where it cannot tell
ROUGH = 0.3


class Case(NamedTuple):
    """A pair of nets.

    Attributes:
      label: in tables.
      width: channels at the images' side.
    """

    label: str
    width: int


CASES = {
    "dcgan16": Case("DCGAN 32x32, 16 channels first, batch 64", 16),
    "dcgan64": Case("DCGAN 32x32 as released for SVHN, batch 64", 64),
}
SIDES = (OURS, EAGER, CHANNELS_LAST)


def check(case: str, side: str, loss: float) -> None:
    """Raise where a discriminator's first loss is not about that of one that cannot tell."""
    if not abs(loss - START) < ROUGH:
        raise RuntimeError(f"{case}, {side}: the first loss is {loss}, not about {START:.3f}")


def measure(torch_python: str, rounds: int, cases: tuple[str, ...]) -> duel.Results:
    """Return per case and side: ms a step, the first loss, and the samples."""
    cores = len(os.sched_getaffinity(0))
    torch = [torch_python, "-m", "benchmarks.gan_torch"]
    commands = {
        OURS: [sys.executable, "-m", "benchmarks.gan_jax"],
        EAGER: torch,
        CHANNELS_LAST: [*torch, "--channels_last"],
    }
    results = duel.measure(dict.fromkeys(cases, SIDES), commands, rounds, cores, _unchecked)
    for case, sides in results.items():
        for side, result in sides.items():
            check(case, side, result["loss"])
    return results


def _unchecked(case: str, ours: dict, theirs: dict) -> None:
    """Let ``duel`` check nothing: there are three sides."""


def ratios(results: duel.Results) -> dict[str, float]:
    """Return our time over the faster of PyTorch's layouts, by case."""
    return {
        case: sides[OURS]["ms"] / min(sides[EAGER]["ms"], sides[CHANNELS_LAST]["ms"])
        for case, sides in results.items()
    }


def markdown(results: duel.Results) -> str:
    """Return the table of times, with ratios and the goal."""
    lines = [f"| step, ms | {' | '.join(SIDES)} | ratio | limit | | clean |", "|---|" + "---|" * 7]
    for case, ratio in ratios(results).items():
        sides = results[case]
        times = " | ".join(f"{sides[side]['ms']:.3g}" for side in SIDES)
        goal = Goal(CASES[case].label, ratio, MOST_OF_TORCH)
        verdict = "met" if goal.met else "**missed**"
        clean = sum(result["clean"] for result in sides.values())
        samples = sum(len(result["samples"]) for result in sides.values())
        numbers = f"{ratio:.2f} | {goal.limit:g} | {verdict} | {clean}/{samples}"
        lines.append(f"| {goal.name} | {times} | {numbers} |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, measure, append, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--torch_python", required=True, help="interpreter that has PyTorch")
    parser.add_argument("--rounds", type=int, default=7, help="samples of every case")
    parser.add_argument("--cases", nargs="+", choices=tuple(CASES), default=tuple(CASES))
    options = parser.parse_args()
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    results = measure(options.torch_python, options.rounds, tuple(options.cases))
    entry = {"started": started, "machine": machine(), "cases": results}
    append_result("gan", entry | {"ratios": ratios(results)})
    print(markdown(results))


if __name__ == "__main__":
    main()
