"""The installed command: ``jaxvision he_init``, or ``python -m jaxvision he_init``."""

import sys

from experiments.__main__ import USAGE, listing
from experiments.__main__ import main as run_experiment
from jaxvision import terminal

OTHERS = """\
  python -m experiments.catalog gallery     the pages of all records
  python -m jaxvision.data.prepare NAME     prepare an image set of TensorFlow Datasets
  python -m jaxvision.recipes NAME          train a net by a recipe, such as cifar10_fast
  python -m jaxvision.launch -n 2 -- ...    run a command as two processes"""


def main(arguments: list[str]) -> int:
    """Run the experiment that ``arguments`` begin with; without one, print what there is to run."""
    if arguments and arguments[0] not in ("-h", "--help"):
        return run_experiment(arguments)
    print(f"{USAGE}\n\n{listing()}\n\nbeside them:\n\n{OTHERS}")
    return 0


def script() -> int:
    """Be the console script; returns the exit code."""
    with terminal.until_unread():
        return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(script())
