"""Recipes by name, and the command that trains one: ``python -m jaxvision.recipes NAME``.

``CIFAR10_FAST`` gets 86.5 % of CIFAR-10's test images right after 20 epochs (one net, images that
were stored as JPEG), some half an hour of two quiet cores. ``python -m benchmarks.recipe`` trains
it beside PyTorch. Whoever needs the net in code writes ``trained(CIFAR10_FAST, (0,))``. The command
may be stopped and started again: it goes on with the epoch it was in. Prepare the images once by
``make data-cifar10``.
"""

import argparse
import sys
from collections.abc import Sequence

from jaxvision import nets, runtime, terminal
from jaxvision.longrun.stop import Stopped
from jaxvision.nets.spec import Spec
from jaxvision.types import UserError

EPOCH = 50_000 // 128  # steps: what is left over is seen in other epochs

# The net of He et al. 2016 on a short cycle of its rate (Smith and Topin 2017, arXiv 1708.07120),
# decay kept off biases and batch norm's scales, which it would pull to zero.
CIFAR10_FAST = Spec(
    "cifar10",
    "resnet",
    {"depth": 20, "width": 16},
    learning_rate=0.2,
    steps=20 * EPOCH,
    optimizer="momentum_sgd",
    warm_up=4 * EPOCH,
    weight_decay=5e-4,
    batch_size=128,
    pad=4,
    label_smoothing=0.1,
)
RECIPES = {"cifar10_fast": CIFAR10_FAST}


def main(arguments: Sequence[str] | None = None) -> int:
    """Train a recipe, unless it has been done, and print its test error; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m jaxvision.recipes", description=__doc__.split("\n")[0]
    )
    parser.add_argument("name", choices=tuple(RECIPES))
    parser.add_argument("--seed", type=int, default=0, help="of the first net (default: 0)")
    parser.add_argument("--count", type=int, default=1, help="nets, on seeds that follow it")
    parser.add_argument("--nets", help="folder of trained nets (default: in the user's cache)")
    chosen = parser.parse_args(arguments)
    runtime.configure()  # one device of all cores: a net is trained after the other
    seeds = range(chosen.seed, chosen.seed + chosen.count)
    try:
        runtime.start()
        found = nets.trained(RECIPES[chosen.name], seeds, directory=chosen.nets, resumable=True)
    except UserError as error:
        print(f"error: {terminal.one_line(str(error))}", file=sys.stderr)
        return 2
    except Stopped as stopped:
        print(f"{stopped}\nto go on, give the same command again", file=sys.stderr)
        return stopped.exit_code
    for seed, error, seconds in zip(seeds, found.test_error, found.seconds, strict=True):
        print(f"seed {seed}: {1 - error:.2%} of the test images, {seconds / 60:.1f} minutes")
    return 0


if __name__ == "__main__":
    with terminal.until_unread():
        sys.exit(main())
