"""PyTorch's side of ``benchmarks.recipe``: trains what a folder says, prints JSON."""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks import problems, torch_worker
from benchmarks.resnet_torch import augment
from benchmarks.worker import keep_freed_memory

EVALUATED = 128  # images at once


class Data:
    """Images uint8 [N, C, H, W] in channels_last memory, their labels, and their inputs."""

    def __init__(self, arrays: dict[str, np.ndarray], prefix: str) -> None:
        self.images = torch.tensor(arrays[f"{prefix}images"]).permute(0, 3, 1, 2)
        self.labels = torch.tensor(arrays[f"{prefix}labels"]).long()
        self.low, self.span = (
            torch.tensor(arrays[name]).permute(2, 0, 1) for name in ("low", "span")
        )

    def inputs(self, rows: torch.Tensor) -> torch.Tensor:
        """Return float32 inputs [B, C, H, W]."""
        return self.low + self.span * self.images[rows].to(torch.float32)


def make_optimizer(module: nn.Module, spec: dict) -> torch.optim.Optimizer:
    """SGD with momentum whose decay is of kernels alone."""
    kernels = [m.weight for m in module.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    known = {id(kernel) for kernel in kernels}
    others = [p for p in module.parameters() if id(p) not in known]
    groups = [
        {"params": kernels, "weight_decay": spec["weight_decay"]},
        {"params": others, "weight_decay": 0.0},
    ]
    rate = spec["learning_rate"]
    return torch.optim.SGD(groups, rate, momentum=problems.MOMENTUM, fused=True)


def error_of(module: nn.Module, test: Data) -> float:
    """Return the fraction of test images that are wrong."""
    wrong = 0
    module.eval()
    with torch.no_grad():
        for rows in torch.arange(len(test.labels)).split(EVALUATED):
            wrong += (module(test.inputs(rows)).argmax(1) != test.labels[rows]).sum().item()
    module.train()
    return wrong / len(test.labels)


def train_epoch(
    module: nn.Module, optimizer: torch.optim.Optimizer, train: Data, spec: dict, first: int
) -> None:
    """Train for an epoch from step ``first`` on, or to the last step."""
    batch = spec["batch_size"]
    steps = min(len(train.labels) // batch, spec["steps"] - first)
    order = torch.randperm(len(train.labels))[: steps * batch]
    for i, rows in enumerate(order.split(batch)):
        for group in optimizer.param_groups:
            group["lr"] = problems.recipe_rate(spec, first + i)
        inputs = train.inputs(rows)
        inputs = augment(inputs, spec["pad"]) if spec["pad"] else inputs
        optimizer.zero_grad()
        logits = module(inputs)
        smoothing = spec["label_smoothing"]
        F.cross_entropy(logits, train.labels[rows], label_smoothing=smoothing).backward()
        optimizer.step()


def main(folder: Path) -> None:
    """Train and print test errors by epoch and seconds."""
    spec = json.loads((folder / "spec.json").read_text())
    arrays = dict(np.load(folder / "data.npz"))
    if spec["net"] != "resnet" or spec["sizes"] != {"depth": 20, "width": 16}:
        raise SystemExit(f"PyTorch's side has ResNet-20 of width 16 alone, not {spec}")
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    train, test = Data(arrays, ""), Data(arrays, "test_")
    module = torch_worker.build("resnet20").to(memory_format=torch.channels_last)
    optimizer = make_optimizer(module, spec)
    errors, start, step = [], time.perf_counter(), 0
    while step < spec["steps"]:
        train_epoch(module, optimizer, train, spec, step)
        step = min(step + len(train.labels) // spec["batch_size"], spec["steps"])
        errors.append(error_of(module, test))
        seconds = time.perf_counter() - start
        line = f"PyTorch: step {step} of {spec['steps']}, test error {errors[-1]:.3f}"
        print(f"{line}, {seconds:.0f} s", file=sys.stderr, flush=True)
    print(json.dumps({"test_error": errors[-1], "seconds": seconds, "errors": errors}))


if __name__ == "__main__":
    keep_freed_memory()
    main(Path(sys.argv[1]))
