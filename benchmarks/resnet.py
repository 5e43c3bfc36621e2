"""Training throughput of ResNet-20 and ResNet-56 beside PyTorch, data pipeline included.

``python -m benchmarks.resnet --torch_python=PATH`` (PATH as for ``benchmarks.run``). Everybody
holds the images as uint8 on the device, takes every batch of 128 from a random permutation, draws
pad-4 crops and flips anew, subtracts the mean and takes a step of SGD with momentum and decay: what
an epoch costs, evaluation apart. jaxvision is the library's own Trainer, a period in one program.
PyTorch augments by tensor operations (two random draws and one gather a batch) in channels_last
memory, which is its fast layout.

On a CPU all is float32: one run of jaxvision over all cores, then a run a core, as sweeps train. On
a GPU (``--device=gpu``, both libraries installed for it) there are float32 rows, TF32 off, and
bfloat16 rows (float32 parameters and batch statistics), PyTorch eager and under ``torch.compile``.

The loss of the first 128 images under the same weights must agree. FLOPs are those of the
multiply-adds of convolutions and the dense layer, forward times three; the device's peak is the
better of both libraries' square matrix products in the row's number format, and utilization is
FLOPs a second over that peak. Compare within one run only.

Appends to ``benchmarks/resnet.json`` and prints Markdown.
"""

import argparse
import datetime
import os
import statistics
import sys
import time

import numpy as np

from benchmarks import problems
from benchmarks.run import Worker, append_result

NETS = ("resnet20", "resnet56")
IMAGES = 12_800
PERIOD = 5  # steps of one call of the Trainer
WEIGHT_DECAY = 1e-4
# Implementation -> (worker, options of its case); {device: cases}.
CASES = {
    "cpu": {
        "torch channels_last": ("torch", "float32"),
        "jaxvision, one run": ("jax", "float32"),
        "jaxvision, a run a core": ("jax_devices", "float32"),
    },
    "gpu": {
        "torch channels_last": ("torch", "float32"),
        "torch channels_last, bfloat16": ("torch", "bfloat16"),
        "torch channels_last, bfloat16, compiled": ("torch", "bfloat16:compiled"),
        "jaxvision": ("jax", "float32"),
        "jaxvision, bfloat16": ("jax", "bfloat16"),
    },
}
TOLERANCE = {"float32": 2e-3, "bfloat16": 5e-2}


def images_and_labels() -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 images [N, 32, 32, 3] and labels [N]: random, the same for everybody."""
    rng = np.random.default_rng(2)
    images = rng.integers(0, 256, (IMAGES, 32, 32, 3), np.uint8)
    return images, rng.integers(0, problems.CLASSES, IMAGES).astype(np.int32)


def flops(net: str) -> float:
    """Return floating-point operations of one image's training step (a multiply-add counts two)."""
    sides = {16: 32, 32: 16, 64: 8}  # pixels along a side, by output channels
    total = 0
    for kernel in problems.kernels(net):
        positions = sides[kernel.shape[-1]] ** 2 if kernel.ndim == 4 else 1
        total += 2 * kernel.size * positions
    return 3.0 * total


def measure(options: argparse.Namespace) -> dict:
    """Return peaks in FLOP/s by number format and, per net and implementation, what was timed."""
    jax_worker = [sys.executable, "-m", "benchmarks.resnet_jax"]
    commands = {
        "torch": [options.torch_python, "-m", "benchmarks.resnet_torch"],
        "jax": [*jax_worker, "--devices=0"],
        "jax_devices": [*jax_worker, f"--devices={len(os.sched_getaffinity(0))}"],
    }
    wanted = {worker for worker, _ in CASES[options.device].values()}
    cores = len(os.sched_getaffinity(0))
    workers = {name: Worker(commands[name], cores) for name in sorted(wanted)}
    formats = sorted({case.partition(":")[0] for _, case in CASES[options.device].values()})
    peaks = {
        kind: max(
            worker.ask(prepare=f"peak:{kind}:{options.device}")["flops_per_s"]
            for worker in workers.values()
        )
        for kind in formats
    }
    table = {}
    for net in options.nets:
        for label, (worker, case) in CASES[options.device].items():
            name = f"{net}:{options.device}:{case}"
            facts = workers[worker].ask(prepare=name)
            kind = case.partition(":")[0]
            first = next((r["loss"] for r in table.values() if r["net"] == net), facts["loss"])
            if not abs(facts["loss"] - first) <= TOLERANCE[kind] * first:  # a NaN fails too
                raise RuntimeError(f"{net} {label}: first loss {facts['loss']}, torch's {first}")
            once = workers[worker].sample(name, facts["units"])["wall"] * facts["units"]
            n = facts["units"] * max(1, round(options.seconds / once))
            table[f"{net} {label}"] = facts | {
                "net": net,
                "label": label,
                "format": kind,
                "worker": worker,
                "case": name,
                "n": n,
                "samples": [],
            }
            print(f"  {net} {label}: ready", file=sys.stderr, flush=True)
    for _ in range(options.rounds):
        for result in table.values():
            time.sleep(0.25)  # threads of the case before may still spin
            sample = workers[result["worker"]].sample(result["case"], result["n"])
            result["samples"].append(sample)
    for worker in workers.values():
        worker.close()
    for result in table.values():
        clean = [s["wall"] for s in result["samples"] if s["foreign"] < 0.12]
        wall = statistics.median(clean or [s["wall"] for s in result["samples"]])
        rate = problems.BATCH[result["net"]] / wall  # n counts batches, of every run
        used = rate * flops(result["net"]) / peaks[result["format"]]
        result |= {"clean": len(clean), "images_per_s": rate, "utilization": used}
    return {"peaks": peaks, "rows": table}


def markdown(results: dict) -> str:
    """Return the table."""
    peaks = ", ".join(f"{name} {peak / 1e9:.0f} GFLOP/s" for name, peak in results["peaks"].items())
    lines = [
        f"{results['device']}, measured matmul peak: {peaks}\n",
        "| net | implementation | images/s | of PyTorch | utilization | clean |",
        "|---|---|---|---|---|---|",
    ]
    for row in results["rows"].values():
        base = results["rows"][f"{row['net']} torch channels_last"]["images_per_s"]
        lines.append(
            f"| {row['net']} | {row['label']} | {row['images_per_s']:.0f} | "
            f"{row['images_per_s'] / base:.2f} | {100 * row['utilization']:.1f} % | "
            f"{row['clean']}/{len(row['samples'])} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, measure, append, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--torch_python", required=True, help="interpreter that has PyTorch")
    parser.add_argument("--device", choices=tuple(CASES), default="cpu")
    parser.add_argument("--nets", nargs="+", choices=NETS, default=NETS)
    parser.add_argument("--rounds", type=int, default=4, help="samples of every case")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a sample")
    options = parser.parse_args()
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    results = {"started": started, "device": options.device} | measure(options)
    append_result("resnet", results)
    print(markdown(results))


if __name__ == "__main__":
    main()
