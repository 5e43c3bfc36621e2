"""PyTorch's side of ``benchmarks.gan``: a step a call."""

import argparse
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks import gan
from benchmarks.worker import Case, keep_freed_memory, serve


def generator(width: int) -> nn.Sequential:
    """Return the generator of 32x32 images; output_padding makes 5x5 kernels double the size."""
    layers = [nn.Unflatten(1, (4 * width, 4, 4))]
    channels = [4 * width, 2 * width, width, 3]
    for place, (inputs, outputs) in enumerate(pairwise(channels)):
        layers.append(nn.ConvTranspose2d(inputs, outputs, 5, 2, 2, output_padding=1, bias=False))
        if place < 2:
            layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
    units = 4 * width * 16
    dense = [nn.Linear(gan.CODES, units, bias=False), nn.BatchNorm1d(units), nn.ReLU()]
    return nn.Sequential(*dense, *layers, nn.Tanh())


def discriminator(width: int) -> nn.Sequential:
    """Return the discriminator."""
    layers = []
    channels = [3, width, 2 * width, 4 * width]
    for place, (inputs, outputs) in enumerate(pairwise(channels)):
        layers.append(nn.Conv2d(inputs, outputs, 5, 2, 2, bias=False))
        if place:
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(nn.LeakyReLU(0.2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * width * 16, 1, bias=False))


def prepare(case: str, channels_last: bool) -> Case:
    """Draw the weights and take a step."""
    torch.manual_seed(0)
    width = gan.CASES[case].width
    nets = generator(width), discriminator(width)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for net in nets:
        for weight in net.parameters():
            if weight.ndim > 1:
                nn.init.normal_(weight, 0, 0.02)
        net.to(memory_format=layout)
    paint, judge = nets
    optimizers = [
        torch.optim.Adam(net.parameters(), gan.RATE, (gan.BETA1, 0.999), fused=True) for net in nets
    ]
    real = 2 * torch.rand(gan.BATCH, 3, gan.SIDE, gan.SIDE) - 1
    real = real.to(memory_format=layout)

    def step() -> torch.Tensor:
        fake = paint(torch.randn(gan.BATCH, gan.CODES))
        optimizers[1].zero_grad()
        loss = F.softplus(-judge(real)).mean() + F.softplus(judge(fake.detach())).mean()
        loss.backward()
        optimizers[1].step()
        optimizers[0].zero_grad()
        fake = paint(torch.randn(gan.BATCH, gan.CODES))
        for weight in judge.parameters():
            weight.requires_grad_(False)
        F.softplus(-judge(fake)).mean().backward()
        for weight in judge.parameters():
            weight.requires_grad_(True)
        optimizers[0].step()
        return loss.detach()

    first = float(step())

    def run(n: int) -> None:
        for _ in range(n):
            step()

    return run, {"loss": first}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--channels_last", action="store_true")
    options = parser.parse_args()
    keep_freed_memory()
    serve(lambda case: prepare(case, options.channels_last))
