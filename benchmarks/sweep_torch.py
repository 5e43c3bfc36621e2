"""PyTorch's side of ``benchmarks.sweep``. Case names: ``mlp:``, ``conv:NCHW``, and so on."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.sweep import MOMENTUM, PERIOD, POOLED, STEPS, WEIGHT_DECAY, make_case
from benchmarks.torch_worker import fastest_threads
from benchmarks.worker import Case, keep_freed_memory, serve


class Circular(nn.Conv2d):
    """A convolution on a torus; wrapping by ``cat`` is faster than ``padding_mode="circular"``."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [B, C, H, W] to [B, O, H, W]."""
        size = self.kernel_size[0]
        before, after = (size - 1) // 2, size // 2
        for axis in (2, 3):
            first, last = x.narrow(axis, 0, after), x.narrow(axis, x.shape[axis] - before, before)
            x = torch.cat([last, x, first] if before else [x, first], axis)
        return F.conv2d(x, self.weight, self.bias)


class Pyramid(nn.Module):
    """Max pooling of 4x4 maps into 4x4, 2x2 and 1x1 cells, cell by cell as the library has it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [B, C, 4, 4] to [B, 21 C]."""
        pooled = (x, F.max_pool2d(x, 2), F.max_pool2d(x, 4))
        return torch.cat([y.permute(0, 2, 3, 1).flatten(1) for y in pooled], 1)


def build(shapes: list[tuple[int, ...]]) -> nn.Sequential:
    """Return the net whose kernels (HWIO and [I, O]) have these shapes."""
    layers = []
    for l, shape in enumerate(shapes):
        if l == POOLED and len(shape) == 4:
            layers.append(nn.MaxPool2d(2))
        if l > 0:
            layers.append(nn.ReLU())
        if len(shape) == 4:
            layers.append(Circular(*shape[2:], shape[0]))
            continue
        if l == 0 or len(shapes[l - 1]) == 4:
            layers.append(nn.Flatten() if l == 0 else Pyramid())
        layers.append(nn.Linear(*shape))
    return nn.Sequential(*layers)


class Training:
    """One net that trains the runs of a sweep, one after the other, from what a folder holds."""

    def __init__(self, net: str, layout: str, folder: str) -> None:
        data = dict(np.load(Path(folder) / f"{net}.npz"))
        self.kernels = [data[f"kernel{l}"] for l in range(30)]
        self.rates = data["rates"]
        memory = {"channels_last": torch.channels_last}.get(layout, torch.contiguous_format)
        module = build([kernel.shape[1:] for kernel in self.kernels])
        self.module = module.to(memory_format=memory)
        self.rows, self.labels, self.test_labels = (
            torch.tensor(data[name]) for name in ("rows", "labels", "test_labels")
        )
        self.images, self.test_images = (
            torch.tensor(data[name]).permute(0, 3, 1, 2).contiguous(memory_format=memory)
            for name in ("images", "test_images")
        )

    def start(self, run: int) -> None:
        """Give the net the first weights of a run."""
        weighted = [m for m in self.module if isinstance(m, (nn.Conv2d, nn.Linear))]
        with torch.no_grad():
            for layer, kernel in zip(weighted, self.kernels, strict=True):
                axes = (3, 2, 0, 1) if kernel.ndim == 5 else (1, 0)
                layer.weight.copy_(torch.tensor(kernel[run].transpose(axes).copy()))
                layer.bias.zero_()

    def evaluate(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return loss and error of the test images."""
        with torch.no_grad():
            logits = self.module(self.test_images)
        wrong = logits.argmax(1) != self.test_labels
        return F.cross_entropy(logits, self.test_labels), wrong.float().mean()

    def train(self, run: int, steps: int = STEPS) -> list[float]:
        """Train a run and return its losses."""
        self.start(run)
        optimizer = torch.optim.SGD(
            self.module.parameters(),
            float(self.rates[run]),
            momentum=MOMENTUM,
            weight_decay=WEIGHT_DECAY,
            fused=True,
        )
        losses, tests = [], [self.evaluate()]
        for step in range(steps):
            rows = self.rows[run, step]
            optimizer.zero_grad()
            loss = F.cross_entropy(self.module(self.images[rows]), self.labels[rows])
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
            if (step + 1) % PERIOD == 0:
                tests.append(self.evaluate())
        return torch.stack(losses).tolist()


def prepare(name: str, folder: str) -> Case:
    """Build the net and train two runs."""
    net, _, layout = name.partition(":")
    training = Training(net, layout, folder)
    threads = fastest_threads(lambda: training.train(0, steps=1))

    def train(runs: list[int]) -> list[list[float]]:
        torch.set_num_threads(threads)
        return [training.train(run) for run in runs]

    run, facts = make_case(train, at_once=2)
    return run, facts | {"threads": threads}


if __name__ == "__main__":
    keep_freed_memory()
    serve(prepare)
