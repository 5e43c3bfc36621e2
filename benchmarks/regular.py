"""Measure a sweep of regularized nets: 48 runs by the Trainer, and by PyTorch one after the other.

``python -m benchmarks.regular --torch_python=PATH``, PATH as for ``benchmarks.run``. The nets are
ReLU MLPs with two hidden layers on images of MNIST's size and number (random ones: nothing is
downloaded): with dropout, eight seeds at six probabilities of keeping a unit, and with batch norm,
eight seeds at six learning rates. SGD with momentum. Three cases take turns:

* jaxvision: all runs with one program, on one single-threaded device a core;
* PyTorch (eager, fused SGD), one run after the other, one thread or two, whichever is faster;
* two single-threaded PyTorch processes, one a core: what a careful user would start.

Everybody starts from the same weights, sees the same batches, evaluates ``TEST_IMAGES`` images
before and after each period and keeps every loss. The first losses of the first run, which drops
nothing, must agree, and the mean of the last run's roughly: its masks are drawn otherwise. What is
timed: wall time per run and step on two cores, compilation, drawing the weights and reading the
data apart; median of the clean samples (see ``benchmarks.run``).

Appends to ``benchmarks/regular.json`` and prints Markdown.
"""

import argparse
import datetime
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain

from benchmarks.run import Worker, append_result

CORES = 2
NETS = ("dropout", "batch_norm")
WIDTHS = (64, 256)
BATCH = 100
PERIOD = 50
STEPS = 2 * PERIOD
IMAGES = 60_000
TEST_IMAGES = 1000
MOMENTUM = 0.9
SEEDS = 8
KEEPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)  # with dropout, at rate LEARNING_RATE
RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # with batch norm
LEARNING_RATE = 0.03
RUNS = tuple((level, seed) for level in range(len(KEEPS)) for seed in range(SEEDS))
CHECKED = (0, len(RUNS) - 1)  # runs whose first losses are compared:
CHECKED_STEPS = 6
EXACT, ROUGH = 2e-3, 0.15  # each of the first run's, and the mean of the last run's
# What the project promises: the most that jaxvision's time may be of another's.
GOALS = {"torch": 0.2, "torches": 0.35}
LABELS = {
    "jaxvision": "jaxvision, all runs side by side",
    "torch": "PyTorch, one by one",
    "torches": "PyTorch, two processes of one thread",
}


def keep_input(keep: float) -> float:
    """Return the probability of keeping a pixel: half as many are dropped as hidden units."""
    return (1 + keep) / 2


def check(label: str, losses: list[list[float]], reference: list[list[float]]) -> None:
    """Raise unless the losses of the checked runs are those of jaxvision; a NaN never is."""
    (ours, our_last), (theirs, their_last) = reference, losses
    pairs = [(one, other, EXACT) for one, other in zip(ours, theirs, strict=True)]
    pairs.append((statistics.mean(our_last), statistics.mean(their_last), ROUGH))
    for one, other, tolerance in pairs:
        if not abs(one - other) <= tolerance * abs(one):
            raise RuntimeError(f"{label}: losses {losses}, jaxvision: {reference}")


def measure(options: argparse.Namespace, folder: str) -> dict[str, dict]:
    """Return per 'net:width case': ms per run and step and how they came about."""
    own = [sys.executable, "-m", "benchmarks.regular_jax"]
    torch = [options.torch_python, "-m", "benchmarks.regular_torch"]
    single = [*torch, "--threads=1"]
    groups = {
        "jaxvision": [Worker(own, CORES)],
        "torch": [Worker(torch, CORES)],
        "torches": [Worker(["taskset", "-c", str(c), *single], CORES) for c in range(CORES)],
    }
    results = {}
    for case in (f"{net}:{width}" for net in options.nets for width in options.widths):
        for name, workers in groups.items():  # jaxvision first: it leaves weights and batches
            for worker in workers:
                facts = worker.ask(prepare=case, folder=folder)
                reference = results.get(f"{case} jaxvision", facts)["losses"]
                check(f"{case} {name}", facts["losses"], reference)
            results[f"{case} {name}"] = facts | {"group": name, "case": case, "samples": []}
            print(f"  {case} {name}: ready", file=sys.stderr, flush=True)
    with ThreadPoolExecutor(CORES) as pool:
        for _ in range(options.rounds):
            for result in results.values():
                time.sleep(0.25)  # threads of the case before may still spin
                result["samples"].append(take_sample(pool, groups[result["group"]], result))
    for worker in chain(*groups.values()):
        worker.close()
    for result in results.values():
        clean = [s["ms"] for s in result["samples"] if s["foreign"] < 0.12]
        result["clean"] = len(clean)
        result["ms"] = statistics.median(clean or [s["ms"] for s in result["samples"]])
    return results


def take_sample(pool: ThreadPoolExecutor, workers: list[Worker], result: dict) -> dict:
    """Time a case in all of its processes at once; together they take ``ms`` a run and step."""
    sample = partial(Worker.sample, case=result["case"], n=result["n"])
    found = list(pool.map(sample, workers))
    # Two processes each see the other as foreign: what is left is the stranger's.
    foreign = min(s["foreign"] for s in found) - (len(found) - 1)
    return {"ms": 1e3 / sum(1 / s["wall"] for s in found), "foreign": foreign}


def ratios(results: dict[str, dict]) -> dict[str, float]:
    """Return, for every case of PyTorch, jaxvision's time over its time."""
    return {
        label: results[f"{result['case']} jaxvision"]["ms"] / result["ms"]
        for label, result in results.items()
        if result["group"] != "jaxvision"
    }


def markdown(results: dict[str, dict]) -> str:
    """Return the table."""
    lines = [
        f"{len(RUNS)} runs of {STEPS} steps, batch {BATCH}, wall time on {CORES} cores; 'first "
        "call' is what it costs more than the second\n",
        "| net:width | case | ms per run and step | jaxvision / case | goal | first call, CPU-s | "
        "clean |",
        "|---|---|---|---|---|---|---|",
    ]
    found = ratios(results)
    for label, result in results.items():
        goal = GOALS.get(result["group"])
        ratio = f"{found[label]:.2f}" if label in found else ""
        met = "" if goal is None else f"{goal:g}: {'met' if found[label] <= goal else 'missed'}"
        lines.append(
            f"| {result['case']} | {LABELS[result['group']]} | {result['ms']:.3f} | {ratio} | "
            f"{met} | {result['first_cpu_s']:.1f} | {result['clean']}/{len(result['samples'])} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, measure, append, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--torch_python", required=True, help="interpreter that has PyTorch")
    parser.add_argument("--rounds", type=int, default=5, help="samples of every case")
    parser.add_argument("--nets", nargs="+", choices=NETS, default=NETS)
    parser.add_argument("--widths", nargs="+", type=int, default=WIDTHS)
    options = parser.parse_args()
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    with tempfile.TemporaryDirectory() as folder:
        results = measure(options, folder)
    append_result("regular", {"started": started, "cases": results, "ratios": ratios(results)})
    print(markdown(results))


if __name__ == "__main__":
    main()
