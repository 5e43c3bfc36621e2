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
from typing import NamedTuple

import numpy as np

from benchmarks import duel
from benchmarks.tables import Goal
from benchmarks.team import append_result, machine

OURS, TORCHATTACKS = "jaxvision", "torchattacks"
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


def check(case: str, ours: dict, theirs: dict) -> None:
    """Raise where our side fails much more often: a fast search that finds nothing is none."""
    if ours["success"] < theirs["success"] - SUCCESS:
        raise RuntimeError(f"{case}: ours succeeds {ours['success']}, theirs {theirs['success']}")


def measure(torch_python: str, rounds: int, cases: tuple[str, ...]) -> duel.Results:
    """Return per case and side: ms a call, facts, and the samples."""
    cores = len(os.sched_getaffinity(0))
    commands = {
        OURS: [sys.executable, "-m", "benchmarks.searches_jax"],
        TORCHATTACKS: [torch_python, "-m", "benchmarks.searches_torch"],
    }
    asked = {case: CASES[case].sides for case in cases}
    return duel.measure(asked, commands, rounds, cores, check)


def ratios(results: duel.Results) -> dict[str, float]:
    """Return our time over the other side's, by case."""
    return duel.ratios(results, OURS, TORCHATTACKS)


def markdown(results: duel.Results) -> str:
    """Return the tables of times and of goals."""
    labels = {name: case.label for name, case in CASES.items()}
    goals = [
        Goal(f"{labels[case]} / torchattacks", ratio, MOST_OF_TORCHATTACKS)
        for case, ratio in ratios(results).items()
    ]
    return duel.markdown(results, labels, "search", BOTH, goals)


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
