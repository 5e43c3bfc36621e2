"""Run an experiment by its name, list the runs, compare two of them."""

import contextlib
import difflib
import gc
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

from experiments import why_none_can_run
from experiments.catalog import CATALOG, module_name
from jaxvision import terminal

USAGE = """\
usage: python -m experiments NAME [--help] [--preset=tiny] [--FLAG=VALUE ...]
       python -m experiments runs [WORD ...]
       python -m experiments compare RUN RUN
       python -m experiments exps [--help]     all of them, on many processes or hosts"""
COMMANDS = ("runs", "compare", "exps")
RESULTS = Path(__file__).with_name("results")


def listing() -> str:
    """Return the names of all experiments with what each found, a line each."""
    return "\n".join(f"  {entry.name:22} {entry.sentence}" for entry in CATALOG)


def module_of(name: str) -> ModuleType | None:
    """Return the module of an experiment; None where the catalog has none of that name."""
    known = name in {entry.name for entry in CATALOG}
    return importlib.import_module(module_name(name)) if known else None


def main(arguments: list[str]) -> int:
    """Answer the command that ``arguments`` are, or say in a line why nothing is run."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"{USAGE}\n\n{listing()}")
        return 0
    names = [entry.name for entry in CATALOG]
    name = arguments[0].replace("-", "_")
    if name not in (*names, *COMMANDS):
        near = difflib.get_close_matches(name, [*names, *COMMANDS], 1)
        hint = f"did you mean {near[0]}?" if near else "python -m experiments --help lists them"
        print(f"error: there is no experiment {arguments[0]!r}: {hint}", file=sys.stderr)
        return 2
    if why := why_none_can_run():
        print(f"error: {why}", file=sys.stderr)
        return 2
    with imports_kept():
        answer = answer_of(name)
    return answer(arguments[1:])


def answer_of(name: str) -> Callable[[list[str]], int]:
    """Import what carries out a command; it takes the words after the name, returns an exit code.

    Imported here: listings and refusals must not wait for jax, and need nothing installed.
    """
    if name == "exps":
        from experiments import exps

        return exps.main
    if name == "runs":
        from jaxvision.report import shelves

        return lambda words: shelves.main(words, RESULTS)
    if name == "compare":
        from jaxvision.cli import compare

        return lambda words: compare.main(words, RESULTS, module_of)
    from jaxvision import cli

    minutes = next(entry.minutes for entry in CATALOG if entry.name == name)
    module = importlib.import_module(module_name(name))

    def run(words: list[str]) -> int:
        cli.main(module, [sys.argv[0], *words], minutes)
        return 0

    return run


@contextlib.contextmanager
def imports_kept() -> Iterator[None]:
    """Import without a search for garbage, and leave what was imported out of every later one.

    Modules stay for good, and searching them took a third of the time to a run's first word.
    """
    searching = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if searching:
            gc.enable()


if __name__ == "__main__":
    with terminal.until_unread():
        sys.exit(main(sys.argv[1:]))
