"""torchattacks' side of ``benchmarks.searches``. Case names as on ours."""

import numpy as np
import torch
import torchattacks
from torch import nn

from benchmarks.searches import CANDIDATES, GENERATIONS, problem
from benchmarks.worker import Case, keep_freed_memory, serve


class Net(nn.Module):
    """The net: images [B, 1, H, W] in [0, 1] -> logits [B, 10]."""

    def __init__(self, kernels: list[np.ndarray]) -> None:
        super().__init__()
        self.kernels = nn.ParameterList([torch.from_numpy(kernel) for kernel in kernels])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Apply the layers."""
        x = images.flatten(1) - 0.5
        for kernel in self.kernels[:-1]:
            x = torch.relu(x @ kernel)
        return x @ self.kernels[-1]


def prepare(name: str) -> Case:
    """Build the net, search once, and return how to do it again."""
    _, size, count = name.split(":")
    kernels, images = problem(size, int(count))
    module = Net(kernels).eval().requires_grad_(False)
    images = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    labels = module(images).argmax(1)
    # All candidates of a generation in one batch: as fast as it goes.
    attack = torchattacks.OnePixel(
        module, pixels=1, steps=GENERATIONS, popsize=CANDIDATES, inf_batch=CANDIDATES
    )
    np.random.seed(0)  # its evolution draws from numpy's global stream
    success = (module(attack(images, labels)).argmax(1) != labels).float().mean()

    def run(n: int) -> None:
        for _ in range(n):
            attack(images, labels)

    return run, {"success": float(success)}


if __name__ == "__main__":
    keep_freed_memory()
    serve(prepare)
