"""Measure maps and class pictures beside captum on the same net, in one run, taking turns.

``python -m benchmarks.attribution --torch_python=PATH`` where PATH is an interpreter with PyTorch
and captum. Three sides, all with all cores:

* jaxvision: each call is one compiled program, all images at once;
* captum at its best: channels_last memory, and as many images a call, windows an evaluation and
  threads as are fastest of those that are tried; one window an evaluation is among them;
* captum as its tutorials show it: one image a call, every argument by default; only the number of
  threads is chosen, too.

captum has no class pictures. There its sides are a loop in PyTorch, with fused Adam: all pictures
as one batch, and one picture after the other.

The net is that of the experiments in ``seeing``, five 3x3 convolutions on 32x32 images, its weights
random; PyTorch's ReLUs are modules, as captum's guided backpropagation sees no others. Windows are
those that fit exactly, since captum shrinks the last one. Maps must agree, and pictures must be
equally liked after as many steps of as many, before anything is timed. Times are wall times of one
call, compilation apart; the median of the clean samples (see ``benchmarks.team``). Compare ratios
of one run, nothing else. On a busy machine ``taskset -c 0`` before the command measures one core,
by its CPU time.

Appends to ``benchmarks/attribution.json`` and prints Markdown.
"""

import argparse
import datetime
import itertools
import os
import sys
import tempfile
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmarks import duel
from benchmarks.tables import Goal
from benchmarks.team import append_result, machine

OURS, BATCHED, DEFAULTS = "jaxvision", "captum, best batching", "captum, defaults"
SIDES = (OURS, BATCHED, DEFAULTS)
SIZE, COLORS, CLASSES = 32, 3, 10
CHANNELS = (16, 16, 32, 32, 64)
POOLED = (False, True, False, True, True)
CENTER = 0.5  # is taken from pixels, covers windows, and is what pictures start near
WINDOW, STRIDE = 8, 2
STEPS, RATE, PENALTY = 100, 0.01, 0.01  # of class pictures
CASES = {
    "occlusion:200": f"occlusion, 200 images, window {WINDOW}, stride {STRIDE}",
    "guided:1000": "guided backpropagation, 1,000 images",
    "saliency:1000": "saliency, 1,000 images",
    "pictures:20": f"20 class pictures, {STEPS} steps",
}
SAME_MAPS = 1e-4  # norm of a map's difference, of the map's
TURNED = 0.02  # share of images in which a unit may be so near to 0 that rounding turns it
SAME_SCORE = 0.05
# What the project promises: the most that our time may be of theirs.
MOST = {BATCHED: 0.5, DEFAULTS: 0.05}


class Problem(NamedTuple):
    """What is explained.

    Attributes:
      kernels: of the convolutions, [3, 3, I, O] each, and of the logits, [I, K]; rows of the last
        are in the order of [H, W, C].
      biases: [O] each.
      images: [B, H, W, C] in [0, 1].
      classes: [B].
    """

    kernels: list[np.ndarray]
    biases: list[np.ndarray]
    images: np.ndarray
    classes: np.ndarray


def problem(count: int) -> Problem:
    """Return the net and ``count`` images, the same in every process."""
    rng = np.random.default_rng(0)
    shapes = [(3, 3, *pair) for pair in itertools.pairwise((COLORS, *CHANNELS))]
    side = SIZE // 2 ** sum(POOLED)
    shapes.append((side * side * CHANNELS[-1], CLASSES))

    def drawn(shape: tuple[int, ...], variance: float) -> np.ndarray:
        return np.float32(rng.normal(size=shape) * np.sqrt(variance))

    kernels = [drawn(shape, 2 / np.prod(shape[:-1])) for shape in shapes]
    biases = [drawn(shape[-1:], 0.01) for shape in shapes]
    images = rng.random((count, SIZE, SIZE, COLORS), np.float32)
    return Problem(kernels, biases, images, np.arange(count) % CLASSES)


def first_pictures(images: np.ndarray) -> np.ndarray:
    """Return where class pictures start: gray and a hundredth of an image."""
    return np.float32(CENTER + 0.01 * (images - CENTER))


def check(case: str, ours: dict, theirs: dict) -> None:
    """Raise where the two sides did not find the same."""
    if "maps" in ours:
        check_maps(case, np.load(ours["maps"]), np.load(theirs["maps"]))
        return
    for name in ("steps", "pictures"):
        if ours[name] != theirs[name]:
            raise RuntimeError(f"{case}: our {name} are {ours[name]}, theirs {theirs[name]}")
    if not abs(ours["score"] - theirs["score"]) <= SAME_SCORE * abs(ours["score"]):
        raise RuntimeError(f"{case}: our score is {ours['score']}, theirs {theirs['score']}")


def check_maps(case: str, ours: np.ndarray, theirs: np.ndarray) -> None:
    """Raise where more than a few maps are not the same; a NaN never is."""
    if ours.shape != theirs.shape:
        raise RuntimeError(f"{case}: our maps are {ours.shape}, theirs {theirs.shape}")
    one, other = (maps.reshape(len(maps), -1) for maps in (ours, theirs))
    apart = np.linalg.norm(one - other, axis=1) / np.linalg.norm(one, axis=1)
    is_same = apart <= SAME_MAPS
    if is_same.mean() < 1 - TURNED:
        raise RuntimeError(f"{case}: maps of {1 - is_same.mean():.1%} of the images differ")


def measure(torch_python: str, rounds: int, cases: Sequence[str], folder: str) -> duel.Results:
    """Return per case and side: ms a call, facts, and the samples; maps are left in a folder."""
    cores = len(os.sched_getaffinity(0))
    torch = [torch_python, "-m", "benchmarks.attribution_torch"]
    commands = {
        OURS: [sys.executable, "-m", "benchmarks.attribution_jax", folder],
        BATCHED: [*torch, folder],
        DEFAULTS: [*torch, folder, "--one_by_one"],
    }
    results = duel.measure(dict.fromkeys(cases, SIDES), commands, rounds, cores, check)
    for side in itertools.chain.from_iterable(sides.values() for sides in results.values()):
        side.pop("maps", None)
    return results


def ratios(results: duel.Results) -> dict[str, dict[str, float]]:
    """Return our time over theirs, by their side and case."""
    return {side: duel.ratios(results, OURS, side) for side in MOST}


def markdown(results: duel.Results) -> str:
    """Return the tables of times and of goals."""
    lines = [f"| ms | {' | '.join(SIDES)} | batching | clean |", "|---|---|---|---|---|---|"]
    for case, sides in results.items():
        times = [f"{sides[side]['ms']:.3g}" for side in SIDES]
        clean = sum(result["clean"] for result in sides.values())
        samples = sum(len(result["samples"]) for result in sides.values())
        row = [CASES[case], *times, sides[BATCHED]["batching"], f"{clean}/{samples}"]
        lines.append(f"| {' | '.join(row)} |")
    lines += ["", "| goal | reached | limit | |", "|---|---|---|---|"]
    for side, by_case in ratios(results).items():
        for case, ratio in by_case.items():
            goal = Goal(f"{CASES[case]} / {side}", ratio, MOST[side])
            verdict = "met" if goal.met else "**missed**"
            lines.append(f"| {goal.name} | {goal.found:.3g} | {goal.limit:g} | {verdict} |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, measure, append, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--torch_python", required=True, help="interpreter that has captum")
    parser.add_argument("--rounds", type=int, default=5, help="samples of every case")
    parser.add_argument("--cases", nargs="+", choices=tuple(CASES), default=tuple(CASES))
    options = parser.parse_args()
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    with tempfile.TemporaryDirectory() as folder:
        results = measure(options.torch_python, options.rounds, options.cases, folder)
    entry = {"started": started, "machine": machine(), "cases": results}
    append_result("attribution", entry | {"ratios": ratios(results)})
    print(markdown(results))


if __name__ == "__main__":
    main()
