"""PyTorch's side of ``benchmarks.phase``: one training after the other."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.phase import CHECKED, CHECKED_STEPS, DEPTHS, STEPS
from benchmarks.torch_worker import fastest_threads
from benchmarks.worker import Case, keep_freed_memory, serve


class Trainings:
    """Nets of all depths, and the weights and batches that a file holds for them."""

    def __init__(self, path: str) -> None:
        self.data = {name: torch.tensor(value) for name, value in np.load(path).items()}
        self.nets = {depth: self.build(depth) for depth in DEPTHS}

    def build(self, depth: int) -> nn.Sequential:
        """Return the net of a depth."""
        width = self.data["hidden_kernel"].shape[-1]
        layers = [nn.Linear(self.data["images"].shape[1], width)]
        for _ in range(depth - 2):
            layers += [nn.Tanh(), nn.Linear(width, width)]
        classes = self.data["output_kernel"].shape[1]
        return nn.Sequential(*layers, nn.Tanh(), nn.Linear(width, classes))

    def start(self, depth: int) -> nn.Sequential:
        """Return the net of a depth with its first weights."""
        net = self.nets[depth]
        dense = [layer for layer in net if isinstance(layer, nn.Linear)]
        with torch.no_grad():
            for l, layer in enumerate(dense):
                part = "input" if l == 0 else "output" if l == depth - 1 else "hidden"
                kernel, bias = self.data[f"{part}_kernel"], self.data[f"{part}_bias"]
                layer.weight.copy_((kernel[l - 1] if part == "hidden" else kernel).T)
                layer.bias.copy_(bias[l - 1] if part == "hidden" else bias)
        return net

    def train(self, depth: int, steps: int = STEPS) -> list[float]:
        """Train a net and return its losses."""
        net, data = self.start(depth), self.data
        optimizer = torch.optim.SGD(net.parameters(), float(data["rate"]), fused=True)
        losses = []
        for rows in data["rows"][:steps]:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(data["images"][rows]), data["labels"][rows])
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses).tolist()


def prepare(case: str, folder: str) -> Case:
    """Build the nets and train the checked ones."""
    trainings = Trainings(f"{folder}/phase{case.partition(':')[2]}.npz")
    threads = fastest_threads(lambda: trainings.train(DEPTHS[-1], steps=3))
    torch.set_num_threads(threads)

    def run(n: int) -> None:
        for i in range(n):
            trainings.train(DEPTHS[i % len(DEPTHS)])

    losses = [trainings.train(depth, CHECKED_STEPS) for depth in CHECKED]
    return run, {"losses": losses, "threads": threads, "trainings": len(DEPTHS)}


if __name__ == "__main__":
    keep_freed_memory()
    serve(prepare)
