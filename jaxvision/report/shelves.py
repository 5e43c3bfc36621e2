"""Where records lie, how one is found by its name, and what is said of each in a list."""

import argparse
import dataclasses
import difflib
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from jaxvision import terminal
from jaxvision.report import folders
from jaxvision.report import record as records
from jaxvision.report.changes import changed_flags
from jaxvision.report.judgement import MARKS_KEY, marked
from jaxvision.report.record import Record
from jaxvision.types import UserError

_HEAD = ("run", "changed", "claims", "device", "date")


@dataclasses.dataclass(frozen=True)
class Found:
    """A directory that holds a record.

    Attributes:
      directory: of the record.
      record: None where it cannot be read.
      trouble: why it cannot.
    """

    directory: Path
    record: Record | None
    trouble: str = ""

    def is_called(self, word: str) -> bool:
        """Whether the name of the directory or of the experiment has the word in it."""
        experiment = self.record.experiment if self.record else ""
        return word in self.directory.name or word.replace("-", "_") in experiment


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` whose refusals are ``UserError``s."""

    def error(self, message: str) -> NoReturn:
        """Raise ``UserError``."""
        raise UserError(f"{message}; {self.prog} --help shows what there is")


def roots_of(results: str | None, own: Path) -> list[Path]:
    """Return the folders of records: the one that is named, or those of ``runs`` and ``own``."""
    if results is not None:
        return [folders.place(results)]
    return [folders.place("runs"), own]


def main(arguments: Sequence[str], own: Path) -> int:
    """List the runs; return the exit code.

    Args:
      arguments: of ``python -m experiments runs``.
      own: the folder of the records that come with the experiments.
    """
    parser = Parser("python -m experiments runs", description="List the runs that there are.")
    parser.add_argument("names", nargs="*", help="only runs or experiments with one in their name")
    parser.add_argument("--results", help="folder of records [default: runs, experiments/results]")
    try:
        options = parser.parse_args(arguments)
        kept = _called(options.names, roots_of(options.results, own))
    except UserError as error:
        print(f"error: {terminal.one_line(str(error))}", file=sys.stderr)
        return 2
    by_root: dict[Path, list[Found]] = {}
    for one in kept:
        by_root.setdefault(one.directory.parent, []).append(one)
    for root, there in by_root.items():
        print(f"{terminal.one_line(str(root))}:\n{listed(there)}\n")
    unit = "run" if len(kept) == 1 else "runs"
    print(f"{len(kept)} {unit}. {MARKS_KEY}")
    return 0


def _called(names: Sequence[str], roots: Sequence[Path]) -> list[Found]:
    """Return the records with one of the names, all where there is none.

    Raises:
      UserError: there is no such record.
    """
    found = collect(roots)
    kept = [one for one in found if not names or any(map(one.is_called, names))]
    if not kept:
        where = " and ".join(map(str, roots))
        named = f" called {' or '.join(names)}" if names else ""
        raise UserError(f"there is no run{named} in {where}{_meant(names, found)}")
    return kept


def _meant(names: Sequence[str], found: Sequence[Found]) -> str:
    """Return the run or experiment that may be meant; "" where none is near."""
    known = {each.directory.name for each in found}
    known |= {each.record.experiment for each in found if each.record}
    for name in names:
        close = difflib.get_close_matches(name, sorted(known), 1)
        if close:
            return f": did you mean {close[0]}?"
    return ""


def collect(roots: Sequence[Path]) -> list[Found]:
    """Return every record right below the roots, the newest last.

    A folder without ``record.json``, and one that begins with a dot, is none.
    """
    paths = []
    for root in roots:
        files = sorted(root.glob("[!.]*/record.json"))
        paths += [file.parent.resolve() for file in files]
    found = [_read(path) for path in dict.fromkeys(paths)]
    return sorted(found, key=_started)


def find(name: str, roots: Sequence[Path]) -> Found:
    """Return the record of that name: a path, or a directory below one of the roots.

    Raises:
      UserError: there is none, it cannot be read, or several roots have one.
    """
    path = folders.place(name)
    if os.sep in name or (path / "record.json").is_file():
        candidates = [path]
    else:
        candidates = [root / name for root in roots]
    there = [each for each in candidates if (each / "record.json").is_file()]
    if len(there) > 1:
        listed = " and ".join(map(str, there))
        raise UserError(f"there are {listed}: say which by its path")
    if not there:
        known = [found.directory.name for found in collect(roots)]
        close = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise UserError(f"there is no run {name!r}: {hint}`python -m experiments runs` lists them")
    found = _read(there[0])
    if found.record is None:
        raise UserError(found.trouble)
    return found


def listed(found: Sequence[Found], width: int | None = None) -> str:
    """Return a line for each record: name, changed flags, verdicts, device, date.

    Args:
      found: in order.
      width: columns; None asks the terminal. What does not fit is cut off the changed flags.
    """
    rows = [_row(each) for each in found if each.record is not None]
    lines = _columns([_HEAD, *rows], width) if rows else []
    broken = [terminal.one_line(each.trouble) for each in found if each.record is None]
    return "\n".join([*lines, *broken])


def _columns(rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Return the rows as lines of aligned cells; the second column gives way."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    gaps = 2 * (len(widths) - 1)
    width = width or shutil.get_terminal_size((120, 24)).columns
    others = sum(widths) - widths[1]
    widths[1] = max(len(_HEAD[1]), min(widths[1], width - gaps - others))
    lines = []
    for row in rows:
        cells = [_cut(cell, its).ljust(its) for cell, its in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    return lines


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _row(found: Found) -> tuple[str, ...]:
    record = found.record
    preset = "" if record.preset == "cpu" else f"--preset={record.preset}"
    changed = " ".join(filter(None, [preset, changed_flags(record)]))
    known = record.provenance
    cells = (
        found.directory.name,
        changed,
        marked(record.verdicts.values()),
        str(known.get("device", "")),
        str(known.get("started", ""))[:10],
    )
    return tuple(map(terminal.one_line, cells))


def _started(found: Found) -> str:
    return str(found.record.provenance.get("started", "")) if found.record else ""


def _read(directory: Path) -> Found:
    try:
        return Found(directory, records.load(directory))
    except UserError as error:
        return Found(directory, None, str(error))
