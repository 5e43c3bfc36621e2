"""captum's sides of ``benchmarks.attribution``. Case names as on ours."""

import argparse
import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from captum.attr import GuidedBackprop, Occlusion, Saliency
from torch import Tensor, nn

from benchmarks import attribution
from benchmarks.attribution import CENTER, COLORS, PENALTY, RATE, STEPS, STRIDE, WINDOW, Problem
from benchmarks.torch_worker import cores
from benchmarks.worker import Case, keep_freed_memory, serve


class Batching(NamedTuple):
    """How much is computed at once.

    Attributes:
      images: of a call.
      windows: of an evaluation, times the images.
      threads: of PyTorch; a second one makes small calls slower.
    """

    images: int
    windows: int = 1
    threads: int = 1

    def __str__(self) -> str:
        windows = f", windows: {self.windows}" if self.windows > 1 else ""
        return f"images: {self.images}{windows}, threads: {self.threads}"


ONE_BY_ONE = (Batching(1),)
MANY = tuple(Batching(images) for images in (16, 64, 256, 1000))
BATCHINGS = {
    "occlusion": (
        Batching(16),
        Batching(16, windows=4),
        Batching(8, windows=32),
        Batching(1, windows=64),
        Batching(1, windows=169),
    ),
    "guided": MANY,
    "saliency": MANY,
    "pictures": (Batching(20),),
}
# Images on which batchings are tried; all of them where calls are short.
TRIED = {"occlusion": 16}
TRIED_ONE_BY_ONE = 8


class Net(nn.Module):
    """The net: images [B, C, H, W] in [0, 1] -> logits [B, K]; every ReLU is a module of its own.

    captum's guided backpropagation hooks into modules, and ReLUs that are functions stay as they
    are without a word.
    """

    def __init__(self, given: Problem) -> None:
        super().__init__()
        *kernels, last = given.kernels
        layers = []
        for kernel, pooled in zip(kernels, attribution.POOLED, strict=True):
            layers.append(nn.Conv2d(*kernel.shape[2:], 3, padding=1))
            layers[-1].weight.data = torch.tensor(kernel.transpose(3, 2, 0, 1).copy())
            if pooled:
                layers.append(nn.MaxPool2d(2))
            layers.append(nn.ReLU())
        dense = nn.Linear(*last.shape)
        channels = kernels[-1].shape[-1]
        by_channel = last.reshape(-1, channels, last.shape[1]).transpose(2, 1, 0)
        dense.weight.data = torch.tensor(by_channel.reshape(last.shape[::-1]))
        self.layers = nn.Sequential(*layers, nn.Flatten(), dense)
        weighted = [layer for layer in self.layers if isinstance(layer, nn.Conv2d | nn.Linear)]
        for layer, bias in zip(weighted, given.biases, strict=True):
            layer.bias.data = torch.tensor(bias)

    def forward(self, images: Tensor) -> Tensor:
        """Apply the layers."""
        return self.layers(images - CENTER)


# Images, classes, windows an evaluation -> maps or pictures, channels first.
Method = Callable[[Tensor, Tensor, int], Tensor]


def methods(module: nn.Module) -> dict[str, Method]:
    """Return captum's methods by name, and the loop that makes pictures."""
    covering, guided, gradient = Occlusion(module), GuidedBackprop(module), Saliency(module)
    window, stride = (COLORS, WINDOW, WINDOW), (COLORS, STRIDE, STRIDE)

    def occlusion(images: Tensor, classes: Tensor, windows: int) -> Tensor:
        return covering.attribute(
            images,
            window,
            stride,
            baselines=CENTER,
            target=classes,
            perturbations_per_eval=windows,
        )[:, 0]

    return {
        "occlusion": occlusion,
        "guided": lambda images, classes, _: guided.attribute(images, target=classes),
        "pictures": lambda images, classes, _: ascend(module, images, classes),
        "saliency": lambda images, classes, _: gradient.attribute(images, target=classes).amax(1),
    }


def ascend(module: nn.Module, start: Tensor, classes: Tensor) -> Tensor:
    """Return class pictures."""
    pictures = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([pictures], RATE, fused=True)
    for _ in range(STEPS):
        optimizer.zero_grad()
        scores = module(pictures).gather(1, classes[:, None])
        penalty = (pictures - CENTER).square().sum() / 2
        (PENALTY * penalty - scores.sum()).backward()
        optimizer.step()
        with torch.no_grad():
            pictures.clamp_(0, 1)
    return pictures.detach()


def by_pieces(method: Method, images: Tensor, classes: Tensor, batching: Batching) -> Tensor:
    """Return what a method makes of all images, so many a call."""
    torch.set_num_threads(batching.threads)
    size = batching.images
    pairs = zip(images.split(size), classes.split(size), strict=True)
    return torch.cat([method(*pair, batching.windows) for pair in pairs]).detach()


def fastest(call: Callable[[Batching], object], batchings: Sequence[Batching]) -> Batching:
    """Return the batching, threads included, with which a call takes least, of two tries each."""

    def seconds(batching: Batching) -> float:
        start = time.perf_counter()
        call(batching)
        return time.perf_counter() - start

    tried = [
        batching._replace(threads=threads)
        for batching in batchings
        for threads in range(1, cores() + 1)
    ]
    if len(tried) == 1:
        return tried[0]
    return min(tried, key=lambda batching: min(seconds(batching), seconds(batching)))


def prepare(name: str, folder: str, one_by_one: bool) -> Case:
    """Build a case, choose its batching, run it once."""
    case, _, count = name.partition(":")
    given = attribution.problem(int(count))
    layout = torch.contiguous_format if one_by_one else torch.channels_last
    module = Net(given).eval().requires_grad_(False).to(memory_format=layout)
    shown = attribution.first_pictures(given.images) if case == "pictures" else given.images
    images = torch.tensor(shown).permute(0, 3, 1, 2).contiguous(memory_format=layout)
    classes = torch.tensor(given.classes)
    made = functools.partial(by_pieces, methods(module)[case])
    tried = TRIED_ONE_BY_ONE if one_by_one else TRIED.get(case)
    few = functools.partial(made, images[:tried], classes[:tried])
    batching = fastest(few, ONE_BY_ONE if one_by_one else BATCHINGS[case])
    found = made(images, classes, batching)

    def run(n: int) -> None:
        for _ in range(n):
            made(images, classes, batching)

    facts = {"batching": str(batching)}
    if case == "pictures":
        score = module(found).gather(1, classes[:, None]).mean()
        return run, facts | {"steps": STEPS, "pictures": len(found), "score": float(score)}
    path = Path(folder, f"{case}_{'one' if one_by_one else 'many'}.npy")
    np.save(path, channels_last(found.numpy()))
    return run, facts | {"maps": str(path)}


def channels_last(maps: np.ndarray) -> np.ndarray:
    """Return maps [B, C, H, W] in our order, and others as they are."""
    return maps.transpose(0, 2, 3, 1) if maps.ndim == 4 else maps


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", help="where maps are left")
    parser.add_argument("--one_by_one", action="store_true", help="an image a call")
    options = parser.parse_args()
    keep_freed_memory()
    serve(lambda name: prepare(name, options.folder, options.one_by_one))
