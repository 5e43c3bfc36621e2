"""PyTorch's side, eager. Case names: ``net`` or ``net:channels_last``."""

import os
import sys

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks import problems
from benchmarks.worker import serve


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


def prepare(name: str) -> tuple:
    """Build a case and take six steps."""
    net, _, layout = name.partition(":")
    module = build(net)
    images, labels = (torch.tensor(a) for a in problems.batch(net))
    if images.ndim == 4:
        images = images.permute(0, 3, 1, 2).contiguous()
    if layout:
        module = module.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(module.parameters(), problems.RATE[net], momentum=problems.MOMENTUM)

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(module(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    losses = [step().item() for _ in range(6)]
    return lambda n: [step() for _ in range(n)], {"losses": losses}


if __name__ == "__main__":
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    if len(sys.argv) > 1:  # measure a start: one step, then out
        prepare(sys.argv[1])
    else:
        serve(prepare)
