"""PyTorch's side of ``benchmarks.phase``: one training after the other."""

import os
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.phase import CHECKED, CHECKED_STEPS, DEPTHS, STEPS
from benchmarks.worker import Case, keep_freed_memory, serve


def prepare(case: str, folder: str) -> Case:
    """Build the nets and train the checked ones."""
    arrays = np.load(f"{folder}/phase{case.partition(':')[2]}.npz")
    data = {name: torch.tensor(value) for name, value in arrays.items()}
    rate = float(data["rate"])

    def build(depth: int) -> nn.Sequential:
        width = data["hidden_kernel"].shape[-1]
        layers = [nn.Linear(data["images"].shape[1], width)]
        for _ in range(depth - 2):
            layers += [nn.Tanh(), nn.Linear(width, width)]
        return nn.Sequential(*layers, nn.Tanh(), nn.Linear(width, data["output_kernel"].shape[1]))

    nets = {depth: build(depth) for depth in DEPTHS}

    def train_one(depth: int, steps: int = STEPS) -> list[float]:
        net = nets[depth]
        dense = [layer for layer in net if isinstance(layer, nn.Linear)]
        with torch.no_grad():
            for l, layer in enumerate(dense):
                part = "input" if l == 0 else "output" if l == depth - 1 else "hidden"
                kernel, bias = data[f"{part}_kernel"], data[f"{part}_bias"]
                layer.weight.copy_((kernel[l - 1] if part == "hidden" else kernel).T)
                layer.bias.copy_(bias[l - 1] if part == "hidden" else bias)
        optimizer = torch.optim.SGD(net.parameters(), rate, fused=True)
        losses = []
        for rows in data["rows"][:steps]:
            optimizer.zero_grad()
            logits, labels = net(data["images"][rows]), data["labels"][rows]
            loss = F.cross_entropy(logits, labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses).tolist()

    def seconds(threads: int) -> float:
        torch.set_num_threads(threads)
        start = time.perf_counter()
        train_one(DEPTHS[-1], steps=10)
        return time.perf_counter() - start

    seconds(1)  # what the first steps of a process cost more
    # A second thread makes steps this small slower on some machines: PyTorch gets what suits it.
    threads = min(range(1, len(os.sched_getaffinity(0)) + 1), key=seconds)
    torch.set_num_threads(threads)

    def run(n: int) -> None:
        for i in range(n):
            train_one(DEPTHS[i % len(DEPTHS)])

    losses = [train_one(depth, CHECKED_STEPS) for depth in CHECKED]
    return run, {"losses": losses, "threads": threads, "trainings": len(DEPTHS)}


if __name__ == "__main__":
    keep_freed_memory()
    serve(prepare)
