"""Recipes by name, and the command that trains one: ``python -m jaxvision.recipes NAME``.

Whoever needs the net in code writes ``trained(RECIPES[NAME], (0,))``. The command may be stopped
and started again: it goes on with the epoch it was in. Prepare the images once by
``make data-cifar10`` or ``make data-mnist``. ``python -m benchmarks.recipe`` trains a recipe for
CIFAR-10 beside PyTorch; what it reaches and how long it takes stands in ``benchmarks/README.md``.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence

import jax
import numpy as np

from jaxvision import nets, runtime, terminal
from jaxvision.arguments import check_whole
from jaxvision.longrun.stop import Stopped
from jaxvision.nets import Trained
from jaxvision.nets.spec import Spec
from jaxvision.report.shelves import Parser
from jaxvision.types import Array, PyTree, UserError

EPOCH = 50_000 // 500  # steps
TESTED = 500  # images at once
MOST_SEED = 10**9
MOST_NETS = 1000

# Rate, decay, smoothing and share of the warm-up are those of Jordan 2024 (arXiv 2404.00498), the
# rate for its momentum and batch size: what 500 images move is the same.
CIFAR10_FAST = Spec(
    "cifar10",
    "whitened",
    {"widths": (48, 128, 128)},
    learning_rate=0.5,
    steps=20 * EPOCH,
    initializer="torch_default",
    optimizer="nesterov_sgd",
    warm_up=20 * EPOCH // 4,
    weight_decay=1e-3,
    batch_size=500,
    pad=2,
    label_smoothing=0.2,
)

# Three times the work of an epoch: what width adds, more epochs of the narrow net do not.
CIFAR10_WIDE = dataclasses.replace(
    CIFAR10_FAST,
    sizes={"widths": (64, 256, 256)},
    steps=16 * EPOCH,
    warm_up=16 * EPOCH // 4,
)

# Two convolutions and two epochs are enough for MNIST.
MNIST_FAST = Spec(
    "mnist",
    "shallow",
    {"channels": (16, 32), "units": 64},
    learning_rate=0.003,
    steps=2000,
    optimizer="adam",
    warm_up=200,
    batch_size=64,
)
RECIPES = {
    "cifar10_fast": CIFAR10_FAST,
    "cifar10_wide": CIFAR10_WIDE,
    "mnist_fast": MNIST_FAST,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Train a recipe, unless it has been done, and print its test error; return the exit code."""
    try:
        chosen = _chosen(arguments)
        seeds = range(chosen.seed, chosen.seed + chosen.count)
        runtime.configure()  # one device of all cores: a net is trained after the other
        runtime.start()
        found = nets.trained(RECIPES[chosen.name], seeds, directory=chosen.nets, resumable=True)
    except UserError as error:
        print(f"error: {terminal.one_line(str(error))}", file=sys.stderr)
        return 2
    except Stopped as stopped:
        print(f"{stopped}\nto go on, give the same command again", file=sys.stderr)
        return stopped.exit_code
    # A net that has learned from mirror images knows both sides of a picture.
    doubled = mirrored_error(found) if RECIPES[chosen.name].pad else None
    for row, seed in enumerate(seeds):
        right = f"{1 - found.test_error[row]:.2%} of the test images"
        if doubled is not None:
            right += f" ({1 - doubled[row]:.2%} with their mirror images)"
        print(f"seed {seed}: {right}, {found.seconds[row] / 60:.1f} minutes")
    return 0


def _chosen(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line.

    Raises:
      UserError: there is no such recipe or flag, or a number is out of its bounds.
    """
    parser = Parser("python -m jaxvision.recipes", description=__doc__.split("\n")[0])
    parser.add_argument("name", choices=tuple(RECIPES))
    parser.add_argument("--seed", type=int, default=0, help="of the first net (default: 0)")
    parser.add_argument("--count", type=int, default=1, help="nets, on seeds that follow it")
    parser.add_argument("--nets", help="folder of trained nets (default: in the user's cache)")
    chosen = parser.parse_args(arguments)
    check_whole("--seed", chosen.seed, 0, MOST_SEED)
    check_whole("--count", chosen.count, 1, MOST_NETS)
    return chosen


def mirrored_error(found: Trained) -> np.ndarray:
    """Return test errors [R] of R nets where the logits of an image and its mirror image are added.

    So do Jordan (2024) and others report what a net reaches on CIFAR-10.
    """

    @runtime.jit
    def wrong(run: PyTree, images: Array, labels: Array) -> Array:
        inputs = found.preprocess(images, None)
        summed = 0
        for side in (inputs, inputs[:, :, ::-1]):
            summed += found.apply(run["params"], run["batch_stats"], side, train=False)[0]
        return (summed.argmax(-1) != labels).sum()

    test = found.data.test
    errors = []
    for row in range(len(found.test_error)):
        run = jax.tree.map(lambda leaf, row=row: leaf[row], found.variables)
        count = 0
        for first in range(0, len(test.labels), TESTED):
            some = slice(first, first + TESTED)
            count += int(wrong(run, test.images[some], test.labels[some]))
        errors.append(count / len(test.labels))
    return np.array(errors)


if __name__ == "__main__":
    with terminal.until_unread():
        sys.exit(main())
