"""PyTorch's side of ``benchmarks.ring``: a step of every GAN, one after the other."""

import itertools
import math
from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks import ring
from benchmarks.worker import Case, keep_freed_memory, serve


def net(sizes: tuple[int, ...]) -> nn.Sequential:
    """Return a dense net of He's weights and biases of zero."""
    layers = []
    for inputs, outputs in pairwise(sizes):
        layer = nn.Linear(inputs, outputs)
        nn.init.normal_(layer.weight, 0, math.sqrt(2 / inputs))
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.LeakyReLU(ring.SLOPE)]
    return nn.Sequential(*layers[:-1])


def stepper(seed: int, rate: float, momentum: float) -> Callable[[], torch.Tensor]:
    """Return a function that takes a step of one GAN and returns the discriminator's loss."""
    torch.manual_seed(seed)
    paint = net((ring.CODES, ring.WIDTH, ring.WIDTH, 2))
    judge = net((2, ring.WIDTH, ring.WIDTH, 1))
    betas = (momentum, 0.999)
    generator = torch.optim.Adam(paint.parameters(), ring.RATE, betas, fused=True)
    discriminator = torch.optim.Adam(judge.parameters(), rate, betas, fused=True)
    angles = 2 * math.pi * torch.arange(ring.MODES) / ring.MODES
    centers = ring.RADIUS * torch.stack([angles.cos(), angles.sin()], 1)
    weights = list(judge.parameters())

    def step() -> torch.Tensor:
        which = torch.randint(ring.MODES, (ring.BATCH,))
        real = centers[which] + ring.DEVIATION * torch.randn(ring.BATCH, 2)
        fake = paint(torch.randn(ring.BATCH, ring.CODES)).detach()
        discriminator.zero_grad()
        of_real, of_fake = judge(ring.INPUT_SCALE * real), judge(ring.INPUT_SCALE * fake)
        loss = F.softplus(-of_real).mean() + F.softplus(of_fake).mean()
        loss.backward()
        discriminator.step()
        generator.zero_grad()
        for weight in weights:
            weight.requires_grad_(False)
        fake = paint(torch.randn(ring.BATCH, ring.CODES))
        F.softplus(-judge(ring.INPUT_SCALE * fake)).mean().backward()
        for weight in weights:
            weight.requires_grad_(True)
        generator.step()
        return loss.detach()

    return step


def prepare(case: str) -> Case:
    """Draw the weights of all GANs and take a step of each."""
    del case
    rows = itertools.product(ring.SEEDS, ring.SETTINGS)
    steps = [stepper(seed, *setting) for seed, setting in rows]
    first = sum(float(step()) for step in steps) / len(steps)

    def run(n: int) -> None:
        for _ in range(n):
            for step in steps:
                step()

    return run, {"loss": first}


if __name__ == "__main__":
    keep_freed_memory()
    torch.set_num_threads(1)  # the faster: nets of 64 units are no work for two
    serve(prepare)
