"""Run an experiment by its name: ``python -m experiments he_init --preset=tiny``."""

import difflib
import importlib.util
import sys

from experiments.catalog import CATALOG, module_name


def main(arguments: list[str]) -> int:
    """Run the experiment that ``arguments`` begin with, or say in a line why none is run."""
    names = [entry.name for entry in CATALOG]
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: python -m experiments NAME [--help] [--preset=tiny] [--FLAG=VALUE ...]\n")
        print("\n".join(f"  {entry.name:22} {entry.sentence}" for entry in CATALOG))
        return 0
    name = arguments[0].replace("-", "_")
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
        print(f"error: there is no experiment {arguments[0]!r}: {hint}", file=sys.stderr)
        return 2
    if importlib.util.find_spec("jax") is None:
        print(
            f"error: {sys.executable} has no jax: run `make venv`, then .venv/bin/python",
            file=sys.stderr,
        )
        return 2
    # Imported here: the answers above must not wait for jax, and need nothing installed.
    from jaxvision import cli

    cli.main(importlib.import_module(module_name(name)), [sys.argv[0], *arguments[1:]])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
