"""Measure a step of 32 small GANs beside PyTorch, in one run, the sides taking turns.

``python -m benchmarks.ring --torch_python=PATH``, PATH as for ``benchmarks.run``. The GANs are
those of ``mode_collapse``: a ring of 8 in the plane, nets of two layers of 64, a batch of 128,
Adam, the discriminator before the generator; 8 seeds times 4 settings of rate and beta1. Ours are
one program for all 32, spread over the cores; PyTorch takes their steps eagerly, one after the
other, as a script with loops over seeds and settings does, with one thread, a fused optimizer and
an allocator that keeps freed memory. Each side draws its weights and points for itself: the first
losses must agree roughly, 2 ln 2 for the discriminator.

Appends to ``benchmarks/ring.json`` and prints Markdown. Compare ratios of one run, nothing else.
"""

import argparse
import datetime
import itertools
import math
import os
import sys

from benchmarks import duel
from benchmarks.tables import Goal
from benchmarks.team import append_result, machine

OURS, EAGER = "jaxvision", "PyTorch"
CASE = "ring"
SEEDS = range(8)
SETTINGS = tuple(itertools.product((1e-3, 1e-4), (0.5, 0.9)))  # discriminator's rate, beta1
RATE = 1e-3  # the generator's
BATCH, CODES, WIDTH, MODES = 128, 8, 64, 8
RADIUS, DEVIATION = 2.0, 0.02
INPUT_SCALE, SLOPE = 0.5, 0.01  # of the discriminator's input, and of leaky ReLU
MOST_OF_TORCH = 0.2  # what the project promises: our time over PyTorch's
START = 2 * math.log(2)
ROUGH = 0.6  # He's weights do not begin at zero


def check(case: str, ours: dict, theirs: dict) -> None:
    """Raise where the discriminators' mean first losses are not about 2 ln 2."""
    for side in (ours, theirs):
        if not abs(side["loss"] - START) < ROUGH:
            raise RuntimeError(f"{case}: the first loss is {side['loss']}, not about {START:.3f}")


def measure(torch_python: str, rounds: int) -> duel.Results:
    """Return per side: ms a step of all 32, the first loss, and the samples."""
    cores = len(os.sched_getaffinity(0))
    commands = {
        OURS: [sys.executable, "-m", "benchmarks.ring_jax"],
        EAGER: [torch_python, "-m", "benchmarks.ring_torch"],
    }
    return duel.measure({CASE: (OURS, EAGER)}, commands, rounds, cores, check)


def markdown(results: duel.Results) -> str:
    """Return the table of times, with the ratio and the goal."""
    ratio = duel.ratios(results, OURS, EAGER)[CASE]
    sides = results[CASE]
    goal = Goal("ring, 8 seeds x 4 settings, batch 128", ratio, MOST_OF_TORCH)
    verdict = "met" if goal.met else "**missed**"
    clean = sum(side["clean"] for side in sides.values())
    samples = sum(len(side["samples"]) for side in sides.values())
    times = " | ".join(f"{sides[side]['ms']:.3g}" for side in (OURS, EAGER))
    return "\n".join(
        [
            f"| step of 32 GANs, ms | {OURS} | {EAGER} | ratio | limit | | clean |",
            "|---|" + "---|" * 6,
            f"| {goal.name} | {times} | {ratio:.3f} | {goal.limit:g} | {verdict} "
            f"| {clean}/{samples} |",
        ]
    )


def main() -> None:
    """Parse the command line, measure, append, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--torch_python", required=True, help="interpreter that has PyTorch")
    parser.add_argument("--rounds", type=int, default=7, help="samples of each side")
    options = parser.parse_args()
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    results = measure(options.torch_python, options.rounds)
    ratios = duel.ratios(results, OURS, EAGER)
    entry = {"started": started, "machine": machine(), "cases": results, "ratios": ratios}
    append_result("ring", entry)
    print(markdown(results))


if __name__ == "__main__":
    main()
