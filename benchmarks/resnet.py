"""Training throughput of ResNet-20 and ResNet-56 beside PyTorch, data and evaluation included.

``python -m benchmarks.resnet --torch_python=PATH`` (PATH as for ``benchmarks.run``). Everybody
holds the images as uint8 on the device, takes every batch of 128 from a random permutation, draws
pad-4 crops and flips anew, subtracts the mean and takes a step of SGD with momentum and decay.
After five steps everybody evaluates one batch more, as CIFAR-10 has five training images for each
of its test images. jaxvision is the library's own Trainer, a period in one program. PyTorch
augments by tensor operations (two random draws and one gather a batch) in channels_last memory,
which is its fast layout, with a fused optimizer and, on a CPU, an allocator that keeps its memory.

On a CPU all is float32: one run of jaxvision over all cores, then a run a core, as sweeps train. On
a GPU (``--device=gpu``, both libraries installed for it) there are float32 rows, TF32 off, and
bfloat16 rows (float32 parameters and batch statistics), PyTorch eager and under ``torch.compile``.

The loss of the first 128 images under the same weights must agree. FLOPs are those of the
multiply-adds of convolutions and the dense layer, forward times three for a training image and once
for one that is evaluated; the device's peak is the
better of both libraries' square matrix products in the row's number format, and utilization is
FLOPs a second over that peak. Compare within one run only.

Appends to ``benchmarks/resnet.json`` and prints Markdown.
"""

import argparse
import datetime
import os
import sys
import time
from collections.abc import Sequence

import numpy as np

from benchmarks import problems
from benchmarks.team import Team, append_result, pace, summary

NETS = ("resnet20", "resnet56")
IMAGES = 12_800
PERIOD = 5  # steps of one call of the Trainer, between two evaluations of one batch
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
    """Return floating-point operations a training image.

    Its step takes three times a forward pass, and a fifth of an image is evaluated for it.
    """
    return (3.0 + 1 / PERIOD) * problems.forward_flops(net)


def start_teams(torch_python: str, device: str) -> dict[str, Team]:
    """Start the processes that a device's cases need."""
    cores = len(os.sched_getaffinity(0))
    jax_worker = [sys.executable, "-m", "benchmarks.resnet_jax"]
    commands = {
        "torch": [torch_python, "-m", "benchmarks.resnet_torch"],
        "jax": [*jax_worker, "--devices=0"],
        "jax_devices": [*jax_worker, f"--devices={cores}"],
    }
    wanted = {name for name, _ in CASES[device].values()}
    return {name: Team(commands[name], cores) for name in sorted(wanted)}


def measure_peaks(teams: dict[str, Team], device: str) -> dict[str, float]:
    """Return the better library's FLOP/s in a matrix product, by number format."""
    formats = sorted({case.partition(":")[0] for _, case in CASES[device].values()})
    return {
        kind: max(team.prepare(f"peak:{kind}:{device}")["flops_per_s"] for team in teams.values())
        for kind in formats
    }


def prepare_row(
    teams: dict[str, Team], net: str, device: str, label: str, seconds: float
) -> dict[str, object]:
    """Prepare a case and return its row, without samples."""
    team, case = CASES[device][label]
    name = f"{net}:{device}:{case}"
    facts = teams[team].prepare(name)
    _, n = pace(teams[team], name, facts["units"], seconds)
    return facts | {
        "net": net,
        "label": label,
        "format": case.partition(":")[0],
        "team": team,
        "case": name,
        "n": n,
        "samples": [],
    }


def check_loss(row: dict, first: dict) -> None:
    """Raise unless the first loss is that of the net's first row; a NaN never is."""
    tolerance = TOLERANCE[row["format"]]
    if not abs(row["loss"] - first["loss"]) <= tolerance * first["loss"]:
        raise RuntimeError(
            f"{row['net']} {row['label']}: first loss {row['loss']}, torch's {first['loss']}"
        )


def measure(
    torch_python: str, device: str, nets: Sequence[str], rounds: int, seconds: float
) -> dict:
    """Return peaks in FLOP/s by number format and, per net and implementation, what was timed."""
    teams = start_teams(torch_python, device)
    peaks, table = measure_peaks(teams, device), {}
    for net in nets:
        for label in CASES[device]:
            row = table[f"{net} {label}"] = prepare_row(teams, net, device, label, seconds)
            check_loss(row, next(r for r in table.values() if r["net"] == net))
            print(f"  {net} {label}: ready", file=sys.stderr, flush=True)
    for _ in range(rounds):
        for row in table.values():
            time.sleep(0.25)  # threads of the case before may still spin
            row["samples"].append(teams[row["team"]].sample(row["case"], row["n"]))
    for team in teams.values():
        team.close()
    for row in table.values():
        found = summary(row["samples"])
        rate = problems.BATCH[row["net"]] / (found["ms"] / 1e3)  # n counts batches, of every run
        used = rate * flops(row["net"]) / peaks[row["format"]]
        row |= {"clean": found["clean"], "images_per_s": rate, "utilization": used}
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
    found = measure(
        options.torch_python, options.device, options.nets, options.rounds, options.seconds
    )
    results = {"started": started, "device": options.device} | found
    append_result("resnet", results)
    print(markdown(results))


if __name__ == "__main__":
    main()
