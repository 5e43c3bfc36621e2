"""Measure a whole sweep: 24 runs of one net by the Trainer, by PyTorch and by plain Flax.

``python -m benchmarks.sweep --torch_python=PATH``, PATH as for ``benchmarks.run``. The sweep is
that of ``experiments.he_init`` (Xavier and He, three rates each, four seeds; digits, batch 16, SGD
with momentum and weight decay) on its 30-layer nets. jaxvision trains all runs with one program on
single-threaded devices, its steps in a scan; PyTorch (eager, both layouts, one thread or two,
whichever is faster) and plain Flax (unrolled layers, one jitted step, compiled once) train one run
after the other. As that time is proportional to the number of runs, a sample of theirs takes two
of the 24.

Everybody starts from the same weights, sees the same batches, evaluates 128 test images before and
after each period and keeps every loss; the first six losses of two runs, one of each initializer,
must agree to 2e-3. What is timed: wall time per run and step on two cores, compilation, drawing the
weights and reading the data apart; median of the clean samples (see ``benchmarks.run``). Who starts
one PyTorch process on each core gains up to a factor of two over the figure given here.

Appends to ``benchmarks/sweep.json`` and prints Markdown.
"""

import argparse
import datetime
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import chain, cycle

from benchmarks.team import Team, append_result, summary
from benchmarks.worker import Case

CORES = 2
BATCH = 16
PERIOD = 55
STEPS = 2 * PERIOD
TEST_IMAGES = 128
WEIGHT_DECAY = 5e-4
MOMENTUM = 0.9
POOLED = 5  # the conv net halves its maps before this layer
# (initializer, rate, seed) of every run; a Xavier run and a He run in turn.
RATES = {"xavier": (0.003, 0.01, 0.03), "he": (0.0003, 0.001, 0.003)}
RUNS = [(init, RATES[init][i], seed) for i in range(3) for seed in range(4) for init in RATES]
CHECKED = 6  # losses of the first two runs that must agree ...
TOLERANCE = 2e-3  # ... relative to their size
NETS = ("mlp", "conv")


def make_case(train: Callable[[list[int]], list], at_once: int) -> Case:
    """Return what ``worker.serve`` needs; ``train(runs)`` returns the losses of each run, [T]."""
    seconds = []
    for _ in range(2):
        start = time.process_time()
        losses = train(list(range(at_once)))
        seconds.append(time.process_time() - start)
    order = cycle(range(len(RUNS)))

    def run(n: int) -> None:
        for _ in range(n // (STEPS * at_once)):
            train([next(order) for _ in range(at_once)])

    return run, {
        "losses": [[float(loss) for loss in losses[r][:CHECKED]] for r in range(2)],
        "first_cpu_s": seconds[0] - seconds[1],
        "n": STEPS * at_once,
    }


def check(label: str, losses: list[list[float]], reference: list[list[float]]) -> None:
    """Raise unless the losses are those of jaxvision; a NaN never is."""
    for ours, theirs in zip(chain(*reference), chain(*losses), strict=True):
        if not abs(ours - theirs) <= TOLERANCE * abs(ours):
            raise RuntimeError(f"{label}: losses {losses}, jaxvision: {reference}")


def measure(options: argparse.Namespace, folder: str) -> dict[str, dict]:
    """Return per net and implementation: ms per run and step, and how they came about."""
    jax_worker = [sys.executable, "-m", "benchmarks.sweep_jax", "--mode"]
    commands = {
        "jaxvision": [*jax_worker, "jaxvision"],
        "flax": [*jax_worker, "flax"],
        "torch": [options.torch_python, "-m", "benchmarks.sweep_torch"],
    }
    workers = {name: Team(command, CORES) for name, command in commands.items()}
    results = {net: {} for net in NETS}
    for net in NETS:
        layouts = ("NCHW", "channels_last") if net == "conv" else ("",)
        cases = [("jaxvision", net), ("flax", net), *(("torch", f"{net}:{x}") for x in layouts)]
        for name, case in cases:  # jaxvision first: it leaves weights and batches in the folder
            label = f"{name} {case.partition(':')[2]}".strip()
            facts = workers[name].prepare(case, folder=folder)
            results[net][label] = facts | {"worker": name, "case": case, "samples": []}
            check(f"{net} {label}", facts["losses"], results[net]["jaxvision"]["losses"])
            print(f"  {net} {label}: ready", file=sys.stderr, flush=True)
    for _ in range(options.rounds):
        for result in (result for table in results.values() for result in table.values()):
            time.sleep(0.25)  # threads of the case before may still spin
            worker = workers[result["worker"]]
            result["samples"].append(worker.sample(result["case"], result["n"]))
    for worker in workers.values():
        worker.close()
    for result in (result for table in results.values() for result in table.values()):
        result |= summary(result["samples"])
    return results


def ratios(table: dict[str, dict]) -> dict[str, float]:
    """Return jaxvision's time over the better PyTorch's and over Flax's."""
    torch = min(result["ms"] for result in table.values() if result["worker"] == "torch")
    ours = table["jaxvision"]["ms"]
    return {"ours / torch": ours / torch, "ours / flax": ours / table["flax"]["ms"]}


def markdown(results: dict[str, dict]) -> str:
    """Return the tables."""
    lines = [
        f"{len(RUNS)} runs of {STEPS} steps, wall time on {CORES} cores; 'first call' is what it "
        "costs more than the second\n",
        "| net | implementation | ms per run and step | first call, CPU-s | clean |",
        "|---|---|---|---|---|",
    ]
    for net, table in results.items():
        lines += [
            f"| {net} | {label} | {r['ms']:.3f} | {r['first_cpu_s']:.1f} | "
            f"{r['clean']}/{len(r['samples'])} |"
            for label, r in table.items()
        ]
    lines += ["\n| net | ours / torch (best layout) | ours / flax |", "|---|---|---|"]
    for net, table in results.items():
        found = ratios(table)
        lines.append(f"| {net} | {found['ours / torch']:.3f} | {found['ours / flax']:.3f} |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, measure, append, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--torch_python", required=True, help="interpreter that has PyTorch")
    parser.add_argument("--rounds", type=int, default=3, help="samples of every case")
    options = parser.parse_args()
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    with tempfile.TemporaryDirectory() as folder:
        results = measure(options, folder)
    entry = {
        "started": started,
        "nets": results,
        "ratios": {net: ratios(table) for net, table in results.items()},
    }
    append_result("sweep", entry)
    print(markdown(results))


if __name__ == "__main__":
    main()
