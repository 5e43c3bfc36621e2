"""PyTorch's side, eager. Case names: ``net`` or ``net:channels_last``."""

import os
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks import problems
from benchmarks.worker import Case, keep_freed_memory, serve


class Block(nn.Module):
    """ResNet block with the parameter-free shortcut (option A)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.stride = 1 if inputs == width else 2
        self.conv1 = nn.Conv2d(inputs, width, 3, self.stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.extra = width - inputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [B, C, H, W] to the block's output."""
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        shortcut = x[:, :, :: self.stride, :: self.stride]
        return F.relu(y + F.pad(shortcut, (0, 0, 0, 0, 0, self.extra)))


def build(net: str) -> nn.Module:
    """Return the module with the kernels of ``problems``."""
    kernels = problems.kernels(net)
    if net == "mlp":
        layers = []
        for kernel in kernels:
            layers += [nn.Linear(*kernel.shape), nn.ReLU()]
        module = nn.Sequential(*layers[:-1])
    elif net in problems.RESNET_BLOCKS:
        layers, last = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()], 16
        for width in problems.RESNET_WIDTHS:
            for _ in range(problems.RESNET_BLOCKS[net]):
                layers.append(Block(last, width))
                last = width
        module = nn.Sequential(*layers, *head(last))
    else:
        layers = []
        for kernel in kernels[:-1]:
            layers += [nn.Conv2d(kernel.shape[2], kernel.shape[3], 3, 1, 1), nn.ReLU()]
        module = nn.Sequential(*layers, *head(kernels[-1].shape[0]))
    weighted = [m for m in module.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    for layer, kernel in zip(weighted, kernels, strict=True):
        axes = (3, 2, 0, 1) if kernel.ndim == 4 else (1, 0)
        layer.weight.data = torch.tensor(kernel.transpose(axes).copy())
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return module


def head(width: int) -> list[nn.Module]:
    """Average pool and the dense layer of the logits."""
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, problems.CLASSES)]


def prepare(name: str, searches: bool = True) -> Case:
    """Build a case and take six steps, then choose the number of threads that is fastest.

    ``searches``: else it stays with one a core.
    """
    net, _, layout = name.partition(":")
    module = build(net)
    images, labels = problems.batch(net)
    images = torch.tensor(problems.inputs(images)).permute(0, 3, 1, 2).contiguous()
    labels = torch.tensor(labels).long()
    if net == "mlp":
        images = images.flatten(1)
    if layout == "channels_last":
        module = module.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        module.parameters(), problems.RATE[net], momentum=problems.MOMENTUM, fused=True
    )

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(module(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    torch.set_num_threads(cores())
    losses = [step().item() for _ in range(problems.PERIOD)]
    threads = fastest_threads(step) if searches else cores()

    def run(n: int) -> None:
        torch.set_num_threads(threads)
        for _ in range(n):
            step()

    return run, {"units": 1, "losses": losses, "threads": threads}


def cores() -> int:
    """Cores of this process."""
    return len(os.sched_getaffinity(0))


def fastest_threads(step: Callable[[], object], count: int = 3) -> int:
    """Return the number of threads that suits a step; a second one makes small steps slower."""

    def seconds(threads: int) -> float:
        torch.set_num_threads(threads)
        step()
        start = time.perf_counter()
        for _ in range(count):
            step()
        return time.perf_counter() - start

    return min(range(1, cores() + 1), key=lambda threads: min(seconds(threads), seconds(threads)))


if __name__ == "__main__":
    keep_freed_memory()
    if len(sys.argv) > 1:  # measure a start: the first steps, then out
        prepare(sys.argv[1], searches=False)
    else:
        serve(prepare)
