"""PyTorch's side of ``benchmarks.resnet``.

Case names: ``net:device:format[:compiled]`` and ``peak:format:device``.
"""

import os
import time

import torch
import torch.nn.functional as F

from benchmarks import problems, resnet, torch_worker
from benchmarks.worker import Case, keep_freed_memory, serve

PAD = 4


def augment(images: torch.Tensor, pad: int = PAD) -> torch.Tensor:
    """Shift each of the images [B, C, H, W] by up to ``pad`` pixels, flip half; channels_last."""
    b, _, h, w = images.shape
    device = images.device
    shifts = torch.randint(0, 2 * pad + 1, (b, 2), device=device)
    flips = torch.rand(b, 1, device=device) < 0.5
    rows = shifts[:, :1] + torch.arange(h, device=device)
    columns = shifts[:, 1:] + torch.arange(w, device=device)
    columns = torch.where(flips, columns.flip(1), columns)
    padded = F.pad(images, (pad,) * 4)
    batch = torch.arange(b, device=device)[:, None, None]
    # Index arrays apart from each other put their axes first: [B, H, W, C], which is channels_last.
    return padded[batch, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def prepare(name: str) -> Case:
    """Build a case and train one period."""
    net, place, kind, *rest = name.split(":")
    if net == "peak":
        return peak(place, kind)
    device = torch.device("cuda" if place == "gpu" else "cpu")
    module = torch_worker.build(net).to(device, memory_format=torch.channels_last)
    trained = torch.compile(module) if rest else module
    images, labels = resnet.images_and_labels()
    # As stored, [N, H, W, C]: the permuted view is channels_last.
    images = torch.tensor(images).to(device).permute(0, 3, 1, 2)
    labels = torch.tensor(labels).long().to(device)
    mean = images.to(torch.float32).mean(0)
    optimizer = torch.optim.SGD(
        module.parameters(),
        problems.RATE[net],
        problems.MOMENTUM,
        weight_decay=resnet.WEIGHT_DECAY,
        fused=True,
    )
    batch = problems.BATCH[net]

    def loss_of(inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=kind == "bfloat16"):
            logits = trained(inputs)
        return F.cross_entropy(logits.float(), targets)

    def step(rows: torch.Tensor) -> None:
        inputs = augment(images[rows].to(torch.float32) - mean)
        optimizer.zero_grad()
        loss_of(inputs, labels[rows]).backward()
        optimizer.step()

    def evaluate() -> list[torch.Tensor]:
        module.eval()
        with torch.no_grad():
            with torch.autocast(device.type, torch.bfloat16, enabled=kind == "bfloat16"):
                logits = trained(images[:batch].to(torch.float32) - mean).float()
            wrong = (logits.argmax(1) != labels[:batch]).sum()
            found = [F.cross_entropy(logits, labels[:batch]), wrong]
        module.train()
        return [value.item() for value in found]

    def run(n: int) -> None:
        order = torch.randperm(resnet.IMAGES, device=device)
        for i in range(n):
            first = i % (resnet.IMAGES // batch) * batch
            step(order[first : first + batch])
            if i % resnet.PERIOD == resnet.PERIOD - 1:
                evaluate()
        if device.type == "cuda":
            torch.cuda.synchronize()

    with torch.no_grad():
        loss = loss_of(images[:batch].to(torch.float32) - mean, labels[:batch]).item()
    run(resnet.PERIOD)
    return run, {"units": resnet.PERIOD, "loss": loss}


def peak(kind: str, place: str) -> Case:
    """Measure FLOP/s of a square matrix product, the best of ten."""
    size = 8192 if place == "gpu" else 2048
    device = "cuda" if place == "gpu" else "cpu"
    a = torch.ones(size, size, dtype=getattr(torch, kind), device=device)
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        (a @ a)[0, 0].item()  # waits
        seconds.append(time.perf_counter() - start)
    return lambda n: None, {"flops_per_s": 2 * size**3 / min(seconds)}


if __name__ == "__main__":
    keep_freed_memory()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.backends.cudnn.allow_tf32 = False  # float32 means float32, as on JAX's side
    torch.backends.cudnn.benchmark = True
    serve(prepare)
