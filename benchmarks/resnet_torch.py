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


class Training:
    """A net that trains and is evaluated as ``benchmarks.resnet`` says.

    Args:
      net: of ``problems.RESNET_BLOCKS``.
      place: ``cpu`` or ``gpu``.
      kind: ``float32`` or ``bfloat16``; parameters and batch statistics are float32.
      compiled: whether by ``torch.compile``.
    """

    def __init__(self, net: str, place: str, kind: str, compiled: bool) -> None:
        self.device = torch.device("cuda" if place == "gpu" else "cpu")
        self.rounded = kind == "bfloat16"
        self.batch = problems.BATCH[net]
        module = torch_worker.build(net)
        self.module = module.to(self.device, memory_format=torch.channels_last)
        self.trained = torch.compile(self.module) if compiled else self.module
        images, labels = resnet.images_and_labels()
        # As stored, [N, H, W, C]: the permuted view is channels_last.
        self.images = torch.tensor(images).to(self.device).permute(0, 3, 1, 2)
        self.labels = torch.tensor(labels).long().to(self.device)
        self.mean = self.images.to(torch.float32).mean(0)
        self.optimizer = torch.optim.SGD(
            self.module.parameters(),
            problems.RATE[net],
            problems.MOMENTUM,
            weight_decay=resnet.WEIGHT_DECAY,
            fused=True,
        )

    def inputs(self, rows: torch.Tensor | slice) -> torch.Tensor:
        """Return float32 inputs [B, C, H, W]."""
        return self.images[rows].to(torch.float32) - self.mean

    def logits_of(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits in float32."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.rounded):
            logits = self.trained(inputs)
        return logits.float()

    def step(self, rows: torch.Tensor) -> None:
        """Train on these images."""
        self.optimizer.zero_grad()
        logits = self.logits_of(augment(self.inputs(rows)))
        F.cross_entropy(logits, self.labels[rows]).backward()
        self.optimizer.step()

    def first_loss(self) -> float:
        """Return the loss of the first images under the weights at hand, by their own moments."""
        first = slice(self.batch)
        with torch.no_grad():
            return F.cross_entropy(self.logits_of(self.inputs(first)), self.labels[first]).item()

    def evaluate(self) -> tuple[float, float]:
        """Return loss and number of errors of one batch."""
        first = slice(self.batch)
        self.module.eval()
        with torch.no_grad():
            logits, labels = self.logits_of(self.inputs(first)), self.labels[first]
            found = F.cross_entropy(logits, labels).item(), (logits.argmax(1) != labels).sum()
        self.module.train()
        return found[0], found[1].item()

    def run(self, n: int) -> None:
        """Train on n batches, evaluating as often as everybody does."""
        order = torch.randperm(resnet.IMAGES, device=self.device)
        for i in range(n):
            first = i % (resnet.IMAGES // self.batch) * self.batch
            self.step(order[first : first + self.batch])
            if i % resnet.PERIOD == resnet.PERIOD - 1:
                self.evaluate()
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def prepare(name: str) -> Case:
    """Build a case and train one period."""
    net, place, kind, *rest = name.split(":")
    if net == "peak":
        return peak(place, kind)
    training = Training(net, place, kind, bool(rest))
    loss = training.first_loss()
    training.run(resnet.PERIOD)
    return training.run, {"units": resnet.PERIOD, "loss": loss}


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
