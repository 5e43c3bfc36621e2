"""torchattacks' and ART's side of ``benchmarks.searches``. Case names as on ours."""

import numpy as np
import torch
import torchattacks
from art.attacks.evasion import UniversalPerturbation
from art.estimators.classification import PyTorchClassifier
from torch import nn

from benchmarks.searches import (
    CANDIDATES,
    DEEPFOOL_STEPS,
    EPSILON,
    GENERATIONS,
    PASSES,
    WANTED,
    problem,
)
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
    search, size, count = name.split(":")
    kernels, images = problem(size, int(count))
    module = Net(kernels).eval()
    images = images.transpose(0, 3, 1, 2).copy()
    return universal(module, images) if search == "universal" else one_pixel(module, images)


def one_pixel(module: Net, images: np.ndarray) -> Case:
    """Return torchattacks' search for a pixel, all candidates of a generation in one batch."""
    module.requires_grad_(False)
    images = torch.from_numpy(images)
    labels = module(images).argmax(1)
    attack = torchattacks.OnePixel(
        module, pixels=1, steps=GENERATIONS, popsize=CANDIDATES, inf_batch=CANDIDATES
    )
    np.random.seed(0)  # its evolution draws from numpy's global stream
    success = (module(attack(images, labels)).argmax(1) != labels).float().mean()

    def run(n: int) -> None:
        for _ in range(n):
            attack(images, labels)

    return run, {"success": float(success)}


def universal(module: Net, images: np.ndarray) -> Case:
    """Return ART's perturbation for all images, added up from DeepFool's steps."""
    classifier = PyTorchClassifier(
        module,
        loss=nn.CrossEntropyLoss(),
        input_shape=images.shape[1:],
        nb_classes=10,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    attack = UniversalPerturbation(
        classifier,
        attacker="deepfool",
        attacker_params={"max_iter": DEEPFOOL_STEPS, "epsilon": 0.02, "verbose": False},
        delta=1 - WANTED,
        max_iter=PASSES,
        eps=EPSILON,
        norm=np.inf,
        verbose=False,
    )

    def run(n: int) -> None:
        for _ in range(n):
            attack.generate(images)

    run(1)
    return run, {"success": float(attack.fooling_rate)}


if __name__ == "__main__":
    keep_freed_memory()
    serve(prepare)
