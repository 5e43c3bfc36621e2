"""PyTorch's side of ``benchmarks.regular``: one run after the other. Case names as on JAX's."""

import argparse
import time
from itertools import cycle, pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks import regular
from benchmarks.worker import Case, keep_freed_memory, serve

# Runs of a sample, one at each level: where nothing is dropped PyTorch draws no masks.
AT_ONCE = len(regular.KEEPS)


def build(net: str, sizes: list[int]) -> nn.Sequential:
    """Return the net: dropout before every weight layer, or batch norm before every ReLU."""
    layers = [nn.Dropout(0.0)] if net == "dropout" else []
    for inputs, outputs in pairwise(sizes[:-1]):
        if net == "dropout":
            layers += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(0.0)]
        else:
            layers += [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(*sizes[-2:], bias=net == "dropout"))


def start(module: nn.Sequential, kernels: list[torch.Tensor], keep: float) -> None:
    """Give a net its weights at the start and its probabilities of dropping."""
    dense = [layer for layer in module if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        for layer, kernel in zip(dense, kernels, strict=True):
            layer.weight.copy_(kernel.T)
            if layer.bias is not None:
                layer.bias.zero_()
    for layer in module:
        if isinstance(layer, nn.BatchNorm1d):
            layer.reset_parameters()
    dropouts = [layer for layer in module if isinstance(layer, nn.Dropout)]
    for place, layer in enumerate(dropouts):
        layer.p = 1 - (regular.keep_input(keep) if place == 0 else keep)


def prepare(case: str, folder: str, threads: int | None = None) -> Case:
    """Build the net and train the checked runs."""
    net, _, width = case.partition(":")
    data = {name: torch.tensor(x) for name, x in np.load(f"{folder}/{net}{width}.npz").items()}
    for name in ("images", "test_images"):
        data[name] = (data[name].float() - data["mean"]) / data["std"]
    kernels = [data[f"kernel{layer}"] for layer in range(3)]
    module = build(net, [kernels[0].shape[1], *(kernel.shape[2] for kernel in kernels)])

    def evaluate() -> tuple[torch.Tensor, torch.Tensor]:
        module.eval()
        with torch.no_grad():
            logits = module(data["test_images"])
        module.train()
        wrong = logits.argmax(1) != data["test_labels"]
        return F.cross_entropy(logits, data["test_labels"]), wrong.float().mean()

    def train_one(run: int, steps: int = regular.STEPS) -> list[float]:
        level, seed = regular.RUNS[run]
        start(module, [kernel[seed] for kernel in kernels], regular.KEEPS[level])
        rate = regular.RATES[level] if net == "batch_norm" else regular.LEARNING_RATE
        parameters = module.parameters()
        optimizer = torch.optim.SGD(parameters, rate, momentum=regular.MOMENTUM, fused=True)
        losses, tests = [], [evaluate()]
        for step, rows in enumerate(data["rows"][seed, :steps], start=1):
            optimizer.zero_grad()
            loss = F.cross_entropy(module(data["images"][rows]), data["labels"][rows])
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
            if step % regular.PERIOD == 0:
                tests.append(evaluate())
        return torch.stack(losses).tolist()

    def seconds(threads: int) -> float:
        torch.set_num_threads(threads)
        before = time.perf_counter()
        train_one(len(regular.RUNS) - 1, steps=20)
        return time.perf_counter() - before

    first = time.process_time()
    seconds(1)  # what the first steps of a process cost more
    first = time.process_time() - first
    # A second thread makes steps this small slower on some machines: PyTorch gets what suits it.
    chosen = threads or min((1, regular.CORES), key=seconds)
    torch.set_num_threads(chosen)
    losses = [train_one(run, regular.CHECKED_STEPS) for run in regular.CHECKED]
    order = cycle(sorted(range(len(regular.RUNS)), key=lambda run: regular.RUNS[run][::-1]))

    def run(n: int) -> None:
        for _ in range(n // regular.STEPS):
            train_one(next(order))

    facts = {"losses": losses, "threads": chosen, "n": AT_ONCE * regular.STEPS}
    return run, facts | {"first_cpu_s": max(0.0, first - seconds(chosen))}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, help="as many; else what is faster")
    options = parser.parse_args()
    keep_freed_memory()
    serve(lambda case, folder: prepare(case, folder, options.threads))
