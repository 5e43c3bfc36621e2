"""The nets that are compared, as NumPy arrays: both frameworks start from the same numbers.

Kernels are HWIO and [I, O]. Nets: ``conv16`` and ``conv32`` (30 layers for 8x8 digits: 29 3x3
convolutions with biases, average pool, one dense layer), ``mlp`` (30 dense layers of 64 units) and
``resnet20`` (32x32 images, option A, batch normalization); ``benchmarks.resnet`` adds ``resnet56``.
SGD with momentum 0.9 everywhere.
"""

from typing import Any

import numpy as np

Array = Any  # of NumPy, or traced by JAX
DEPTH = 30
CLASSES = 10
RESNET_WIDTHS = (16, 32, 64)
RESNET_BLOCKS = {"resnet20": 3, "resnet56": 9}  # of each width
MOMENTUM = 0.9
PERIOD = 6  # steps of one call of jaxvision, and losses that everybody must agree on
BATCH = {"resnet20": 128, "conv32": 64, "conv16": 64, "mlp": 64}
RATE = {"resnet20": 0.1, "conv32": 0.01, "conv16": 0.01, "mlp": 0.01}
NETS = tuple(BATCH)
BATCH["resnet56"], RATE["resnet56"] = BATCH["resnet20"], RATE["resnet20"]


def kernels(net: str, depth: int = DEPTH) -> list[np.ndarray]:
    """Return He-normal kernels in depth order; the last is the dense layer of the logits."""
    rng = np.random.default_rng(0)
    if net == "mlp":
        shapes = [(64, 64)] * (depth - 1) + [(64, CLASSES)]
    elif net in RESNET_BLOCKS:
        shapes, last = [(3, 3, 3, 16)], 16
        for width in RESNET_WIDTHS:
            for _ in range(RESNET_BLOCKS[net]):
                shapes += [(3, 3, last, width), (3, 3, width, width)]
                last = width
        shapes.append((last, CLASSES))
    else:
        width = int(net.removeprefix("conv"))
        shapes = [(3, 3, 1, width)] + [(3, 3, width, width)] * (depth - 2) + [(width, CLASSES)]
    scales = [np.sqrt(2 / np.prod(shape[:-1])) for shape in shapes]
    draws = [rng.normal(size=shape) * scale for shape, scale in zip(shapes, scales, strict=True)]
    return [draw.astype(np.float32) for draw in draws]


def forward_flops(net: str) -> float:
    """Return floating-point operations of one image forward (a multiply-add counts two)."""
    total = 0
    for kernel in kernels(net):
        sides = {16: 32, 32: 16, 64: 8} if net in RESNET_BLOCKS else dict.fromkeys((16, 32), 8)
        positions = sides[kernel.shape[-1]] ** 2 if kernel.ndim == 4 else 1
        total += 2 * kernel.size * positions
    return float(total)


def step_flops(net: str) -> float:
    """Return those of a training step of a batch: three times its forward pass."""
    return 3 * BATCH[net] * forward_flops(net)


def batch(net: str) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 images [B, H, W, C] and labels int32 [B]: one batch, used again."""
    rng = np.random.default_rng(1)
    shape = (32, 32, 3) if net in RESNET_BLOCKS else (8, 8, 1)
    images = rng.integers(0, 256, (BATCH[net], *shape), np.uint8)
    return images, rng.integers(0, CLASSES, BATCH[net]).astype(np.int32)


def inputs(images: Array) -> Array:
    """Return images as float32 numbers of mean 0 and standard deviation 1, in either library."""
    return (images.astype(np.float32) - 127.5) / 73.9


def recipe_rate(spec: dict, step: int) -> float:
    """Return the rate of a step (from 0) of a ``nets.Spec`` with ``warm_up``, as plain numbers."""
    first, end = spec["warm_up"], spec["steps"]
    rising = min(1.0, (step + 1) / max(first, 1))
    share = min(max((step - first) / (end - first), 0.0), 1.0)
    return spec["learning_rate"] * rising * (1 + np.cos(np.pi * share)) / 2
