"""Measure attacks that search, beside torchattacks and ART on the same nets, in one run.

``python -m benchmarks.searches --torch_python=PATH`` where PATH is an interpreter with what
``benchmarks/requirements-torch.txt`` lists. All take turns and have all cores. One pixel is
searched by differential evolution with the budget of its paper (400 candidates, 100 generations) on
both sides; torchattacks rounds that down to a multiple of a candidate's numbers. One perturbation
for all images is added up from DeepFool's steps, five times over the images at most. Nets are ReLU
MLPs of random weights, labels their own answers; images are random ones, of every two the one that
the net is surest of and the one that it is least sure of. All end with success, so the rates stand
beside the times, and a side that fails more often takes longer. What no other library has is timed
alone. Times are wall times of one call, compilation apart; the median of the clean samples (see
``benchmarks.team``). Compare ratios of one run, nothing else.

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

OURS, TORCHATTACKS, ART = "jaxvision", "torchattacks", "ART"
OTHER = "the other library"
CANDIDATES, GENERATIONS = 400, 100
EPSILON, PASSES, WANTED, DEEPFOOL_STEPS = 0.1, 5, 0.8, 10  # of one perturbation for all images
SHARPNESS, DRAWN = 10.0, 400
SIZES = {  # side of the gray images, and units of the net's layers
    "digits": (8, (64, 128, 128, 10)),
    "mnist": (28, (784, 256, 256, 10)),
}


class Case(NamedTuple):
    """What is timed.

    Attributes:
      label: in tables.
      rival: the other library that runs it, "" where none has it.
    """

    label: str
    rival: str = ""

    @property
    def sides(self) -> tuple[str, ...]:
        """Who runs it."""
        return (OURS, self.rival) if self.rival else (OURS,)


CASES = {
    "evolution:digits:2": Case("one pixel by evolution, 2 images of 8x8", TORCHATTACKS),
    "evolution:mnist:2": Case("one pixel by evolution, 2 images of 28x28", TORCHATTACKS),
    "universal:mnist:100": Case("one perturbation for 100 images of 28x28", ART),
    "every:digits:8": Case("all 256 levels of every pixel, 8 images of 8x8"),
    "corners:mnist:2": Case("black and white at every pixel, 2 images of 28x28"),
    "elites:digits:1": Case("fooling images of 8x8, pixels, 200 generations of 200"),
    "painted:digits:1": Case("fooling images of 8x8, CPPNs, 200 generations of 200"),
}
SUCCESS = 0.5  # ours may succeed less often by so much: one image of two
MOST_OF_TORCHATTACKS = 0.05  # what the project promises


def problem(size: str, count: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the weights [I, O] of a net's layers and images [B, H, W, 1], the same everywhere.

    The net is as sure as a trained one. Of many random images half are those that it is surest of,
    which one pixel may not fool, and half those that it is least sure of.
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
    by_lead = np.argsort(logits[:, -2] - logits[:, -1])
    hard, easy = by_lead[: -(-count // 2)], by_lead[len(by_lead) - count // 2 :]
    return kernels, images[np.concatenate([hard, easy])]


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
        ART: [torch_python, "-m", "benchmarks.searches_torch"],
    }
    asked = {case: CASES[case].sides for case in cases}
    return duel.measure(asked, commands, rounds, cores, check)


def ratios(results: duel.Results) -> dict[str, float]:
    """Return our time over the other library's, by case."""
    return duel.ratios(_against_the_other(results), OURS, OTHER)


def _against_the_other(results: duel.Results) -> duel.Results:
    """Return the results with one name for whichever library a case has beside ours."""
    return {
        case: {OURS if side == OURS else OTHER: result for side, result in sides.items()}
        for case, sides in results.items()
    }


def markdown(results: duel.Results) -> str:
    """Return the tables of times and of goals."""
    labels = {
        name: f"{case.label} ({case.rival})" if case.rival else case.label
        for name, case in CASES.items()
    }
    goals = [
        Goal(labels[case], ratio, MOST_OF_TORCHATTACKS)
        for case, ratio in ratios(results).items()
        if CASES[case].rival == TORCHATTACKS
    ]
    return duel.markdown(_against_the_other(results), labels, "search", (OURS, OTHER), goals)


def main() -> None:
    """Parse the command line, measure, append, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--torch_python", required=True, help="interpreter that has the others")
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
