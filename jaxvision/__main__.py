"""What there is to run: ``python -m jaxvision``."""

import sys

from experiments.__main__ import USAGE, listing
from jaxvision import terminal

OTHERS = """\
  python -m experiments.catalog gallery     the pages of all records
  python -m jaxvision.data.prepare NAME     prepare an image set of TensorFlow Datasets
  python -m jaxvision.recipes NAME          train a net by a recipe, such as cifar10_fast
  python -m jaxvision.launch -n 2 -- ...    run a command as two processes"""


def main(arguments: list[str]) -> int:
    """Print it; return 2 where something else was asked for."""
    if arguments and arguments != ["--help"]:
        print(f"error: nothing runs by this name; {USAGE}", file=sys.stderr)
        return 2
    print(f"{USAGE}\n\n{listing()}\n\nbeside them:\n\n{OTHERS}")
    return 0


if __name__ == "__main__":
    with terminal.until_unread():
        sys.exit(main(sys.argv[1:]))
