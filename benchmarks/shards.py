"""What a split batch costs: a step in fixed shards, and over several devices, against a plain one.

    python -m benchmarks.shards --rounds=5

Every layout gets the cores of this process as single-threaded devices. The clocks take turns; the
table shows the median milliseconds a step and the ratio to the first row.
"""

import argparse
from functools import partial

import numpy as np

from jaxvision import runtime

BATCH, PERIOD = 128, 2


def trainers() -> dict:
    """Return ``{name: trainer}`` of ResNet-20, batch 128, 32x32 images."""
    from jaxvision.data import Dataset, load
    from jaxvision.data.augment import normalize, pad_crop_flip
    from jaxvision.models.layers import apply_function
    from jaxvision.models.resnet import cifar_resnet
    from jaxvision.parallel.mesh import make_mesh
    from jaxvision.training.fit import Trainer
    from jaxvision.training.optimizers import sgd
    from jaxvision.training.step import Task

    def preprocess(images, key):
        images = images if key is None else pad_crop_flip(key, images)
        return normalize(images, np.float32(120.0), np.float32(64.0))

    data = load("shapes")
    train = Dataset(data.train.images[:1024], data.train.labels[:1024])
    task = Task(apply_function(cifar_resnet(20)), partial(sgd, 1e-4), preprocess)
    layouts = {
        "one device": (1, None),
        "one device, 2 shards (statistics of 64)": (1, 2),
        "one device, 8 shards": (1, 8),
    }
    cores = runtime.usable_cores()
    if cores > 1:
        layouts[f"{cores} devices"] = (cores, None)
        layouts[f"{cores} devices, 8 shards"] = (cores, 8)
    return {
        name: Trainer(
            task, train, data.test, BATCH, PERIOD, "map", mesh=make_mesh(1, devices), shards=shards
        )
        for name, (devices, shards) in layouts.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5, help="times that all are measured")
    rounds = parser.parse_args().rounds
    runtime.configure(cpu_devices=runtime.usable_cores())
    from jaxvision.models.drawing import initialize_runs
    from jaxvision.models.resnet import cifar_resnet
    from jaxvision.random import stream
    from jaxvision.training.fit import Runs

    variables = initialize_runs(cifar_resnet(20), stream(0, "init")[None], (32, 32, 3))
    hyper = {name: np.ones(1, np.float32) for name in ("learning_rate", "train_biases")}
    runs = Runs(variables, np.zeros(1, np.int32), {n: 0.01 * v for n, v in hyper.items()})
    clocks = {name: trainer.stopwatch(runs) for name, trainer in trainers().items()}
    times = [[clock() for clock in clocks.values()] for _ in range(rounds)]
    seconds = np.array(times) / PERIOD  # [rounds, layouts]
    for name, ms, ratios in zip(
        clocks, 1000 * seconds.T, (seconds / seconds[:, :1]).T, strict=True
    ):
        low, middle, high = np.percentile(ratios, [0, 50, 100])
        print(f"{name:42} {np.median(ms):7.0f} ms  {middle:.2f} ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
