"""PyTorch's side of ``benchmarks.recipe``: trains what a folder says, prints JSON.

Without a folder it is a worker, whose case is one.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks import problems
from benchmarks.resnet_torch import augment
from benchmarks.worker import Case, keep_freed_memory, serve

EVALUATED = 128  # images at once
BIAS_RATE = 64  # of Nesterov's SGD, over the rate of all else
LOGIT_SCALE = 1 / 9


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


class Whitened(nn.Module):
    """The net of ``jaxvision.models.whitened``, from the numbers that ours starts from.

    Args:
      arrays: the whitening kernel and parameters by name, kernels HWIO and [I, O].
      blocks: of two convolutions each.
    """

    def __init__(self, arrays: dict[str, np.ndarray], blocks: int) -> None:
        super().__init__()
        whitening = torch_kernel(arrays["batch_stats/whitening"])
        self.register_buffer("whitening", whitening)
        self.layers = nn.ModuleList()
        for i in range(1, 2 * blocks + 1):
            kernel = torch_kernel(arrays[f"params/conv{i}/kernel"])
            width, inputs = kernel.shape[:2]
            conv = nn.Conv2d(inputs, width, 3, padding=1, bias=False)
            conv.weight.data = kernel
            norm = nn.BatchNorm2d(width)
            self.layers.append(nn.ModuleList([conv, norm]))
        kernel = torch_kernel(arrays["params/logits/kernel"])
        classes, inputs = kernel.shape
        self.logits = nn.Linear(inputs, classes, bias=False)
        self.logits.weight.data = kernel

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [B, C, H, W] to logits."""
        x = F.conv2d(x, self.whitening)
        for i, (conv, norm) in enumerate(self.layers):
            x = conv(F.relu(x))
            is_pooled = i % 2 == 0
            x = F.max_pool2d(x, 2) if is_pooled else x
            x = norm(x)
        largest = F.relu(x).amax((2, 3))
        return LOGIT_SCALE * self.logits(largest)


def torch_kernel(kernel: np.ndarray) -> torch.Tensor:
    """Return a kernel with PyTorch's order of axes, a copy."""
    axes = (3, 2, 0, 1) if kernel.ndim == 4 else (1, 0)
    return torch.tensor(kernel.transpose(axes).copy())


def build(spec: dict, arrays: dict[str, np.ndarray]) -> nn.Module:
    """Return the spec's net, with the weights of the arrays."""
    if spec["net"] != "whitened":
        raise SystemExit(f"PyTorch's side has whitened nets alone, not {spec['net']}")
    blocks = len(spec["sizes"]["widths"])
    module = Whitened(arrays, blocks)
    return module.to(memory_format=torch.channels_last)


def make_optimizer(module: nn.Module, spec: dict) -> torch.optim.Optimizer:
    """Nesterov's SGD: decay of kernels alone, and fast biases.

    A group's ``share`` is what its rate is multiplied by.
    """
    if spec["optimizer"] != "nesterov_sgd":
        raise SystemExit(f"PyTorch's side has nesterov_sgd alone, not {spec['optimizer']}")
    kernels, biases, scales = [], [], []
    for layer in module.modules():
        for name, parameter in layer.named_parameters(recurse=False):
            if parameter.ndim > 1:
                kernels.append(parameter)
            elif name == "bias":
                biases.append(parameter)
            else:
                scales.append(parameter)
    groups = [
        {"params": kernels, "weight_decay": spec["weight_decay"], "share": 1},
        {"params": scales, "weight_decay": 0.0, "share": 1},
        {"params": biases, "weight_decay": 0.0, "share": BIAS_RATE},
    ]
    return torch.optim.SGD(
        groups,
        spec["learning_rate"],
        problems.MOMENTUM,
        nesterov=True,
        fused=True,
    )


def error_of(module: nn.Module, test: Data, mirrored: bool = False) -> float:
    """Return the fraction of test images that are wrong.

    ``mirrored`` adds the logits of their mirror images.
    """
    wrong = 0
    module.eval()
    with torch.no_grad():
        for rows in torch.arange(len(test.labels)).split(EVALUATED):
            inputs = test.inputs(rows)
            logits = module(inputs)
            if mirrored:
                logits += module(inputs.flip(3))
            wrong += (logits.argmax(1) != test.labels[rows]).sum().item()
    module.train()
    return wrong / len(test.labels)


def step(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    train: Data,
    spec: dict,
    number: int,
    rows: torch.Tensor,
    pad: int,
) -> torch.Tensor:
    """Take a step of a given number on the images of these rows; return its loss."""
    for group in optimizer.param_groups:
        group["lr"] = group["share"] * problems.recipe_rate(spec, number)
    inputs = train.inputs(rows)
    inputs = augment(inputs, pad) if pad else inputs
    optimizer.zero_grad()
    smoothing = spec["label_smoothing"]
    loss = F.cross_entropy(module(inputs), train.labels[rows], label_smoothing=smoothing)
    loss.backward()
    optimizer.step()
    return loss


def train_epoch(
    module: nn.Module, optimizer: torch.optim.Optimizer, train: Data, spec: dict, first: int
) -> None:
    """Train for an epoch from step ``first`` on, or to the last step."""
    batch = spec["batch_size"]
    steps = min(len(train.labels) // batch, spec["steps"] - first)
    order = torch.randperm(len(train.labels))[: steps * batch]
    for i, rows in enumerate(order.split(batch)):
        step(module, optimizer, train, spec, first + i, rows, spec["pad"])


def load(folder: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """Return the spec and the arrays of a folder, once random numbers and threads are set."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    return json.loads((folder / "spec.json").read_text()), dict(np.load(folder / "data.npz"))


def prepare(folder: str) -> Case:
    """Take the first steps on images as they are stored, then be ready to be timed."""
    spec, arrays = load(Path(folder))
    train, batch = Data(arrays, ""), spec["batch_size"]
    module = build(spec, arrays)
    optimizer = make_optimizer(module, spec)
    losses = []
    for i, rows in enumerate(torch.arange(problems.PERIOD * batch).split(batch)):
        losses.append(step(module, optimizer, train, spec, i, rows, 0).item())

    def run(n: int) -> None:
        order = torch.randperm(len(train.labels))[: n * batch]
        for i, rows in enumerate(order.split(batch)):
            step(module, optimizer, train, spec, problems.PERIOD + i, rows, spec["pad"])

    return run, {"units": 1, "losses": losses}


def main(folder: Path) -> None:
    """Train and print test errors by epoch and seconds."""
    spec, arrays = load(folder)
    train, test = Data(arrays, ""), Data(arrays, "test_")
    module = build(spec, arrays)
    optimizer = make_optimizer(module, spec)
    errors, start, done = [], time.perf_counter(), 0
    while done < spec["steps"]:
        train_epoch(module, optimizer, train, spec, done)
        done = min(done + len(train.labels) // spec["batch_size"], spec["steps"])
        errors.append(error_of(module, test))
        seconds = time.perf_counter() - start
        line = f"PyTorch: step {done} of {spec['steps']}, test error {errors[-1]:.3f}"
        print(f"{line}, {seconds:.0f} s", file=sys.stderr, flush=True)
    found = {
        "test_error": errors[-1],
        "mirrored_error": error_of(module, test, mirrored=True),
        "seconds": seconds,
        "errors": errors,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    keep_freed_memory()
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        serve(prepare)
