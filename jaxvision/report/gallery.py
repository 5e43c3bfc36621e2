"""The gallery: what every record says, as pages that are made from the records alone.

A web site (``index.html``, ``pages/``, ``claims.json``) lies beside the folder of the records. For
GitHub an index (``README.md``) lies there too, the page of each record in its directory, and the
front page of the repository gets a table. Where it has a page of contested claims in ``docs``, that
is written anew. Links among them are relative, so the folder can be moved or served as it is. Every
string is escaped.
"""

import argparse
import os
import pathlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from jaxvision import terminal
from jaxvision.report import contested, exchange, folders, markdown, webpage
from jaxvision.report.entries import collect, link
from jaxvision.report.lecture import Lecture
from jaxvision.types import UserError

DOCS = "docs"  # the folder of the page of contested claims, beside that of the experiments
_NO_LECTURE = Lecture()
# How a file that may be replaced is known; of scripts and style sheets only the names are ours.
_IS_OURS = {".html": webpage.is_ours, ".json": exchange.is_claims, ".csv": exchange.is_claims}


def pages(results: pathlib.Path, lecture: Lecture) -> dict[pathlib.Path, str]:
    """Return the text of every page: path -> text.

    Args:
      results: the folder of run directories.
      lecture: the experiments, in order, and what is said around them.
    """
    entries = collect(results, lecture.catalog)
    gallery = results.absolute().parent
    repository = gallery.parent
    disputed = repository / DOCS / "contested.md"
    is_disputed = contested.is_page(_text(disputed))
    page_of_disputes = os.path.relpath(disputed, gallery) if is_disputed else ""
    found = {results.parent / "README.md": markdown.index(entries, results.name, page_of_disputes)}
    found |= webpage.site(entries, results, lecture)
    for entry in entries:
        if entry.record is not None:
            found[results / entry.name / "README.md"] = markdown.page(entry)
    if is_disputed:
        found[disputed] = contested.page(
            lecture.disputes, entries, link("..", gallery.name, results.name)
        )
    front = repository / "README.md"
    text = _text(front)
    if markdown.BEGIN in text:
        rows = markdown.table(entries, lecture.catalog, link(gallery.name, results.name))
        found[front] = markdown.with_table(text, rows)
    return found


def write(results: str | os.PathLike, lecture: Lecture = _NO_LECTURE) -> list[pathlib.Path]:
    """Write the pages that have changed, remove those without a record; return the written.

    Raises:
      UserError: there is no record, they cannot be written, or one would replace a file that is
        not of the gallery.
    """
    _check_records(folders.place(results))
    results = pathlib.Path(results).expanduser()
    found = pages(results, lecture)
    _check_ours(results, found)
    written = []
    for path, text in found.items():
        content = text.encode(errors="replace")
        try:
            if not path.is_file() or path.is_symlink() or path.read_bytes() != content:
                path.parent.mkdir(exist_ok=True)
                folders.write_file(path, content)
                written.append(path)
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    for path in left_over(results, found):
        path.unlink(missing_ok=True)
    return written


def _check_records(results: pathlib.Path) -> None:
    """Refuse a folder without records: pages of none would replace those that are there."""
    if not results.is_dir():
        what = f"--results={results}: there is no such folder"
        raise UserError(f"{what}; run from the repository's root")
    if next(results.glob("*/record.json"), None) is None:
        what = f"--results={results}: no folder in it holds a record"
        raise UserError(f"{what}; run an experiment first")


def _check_ours(results: pathlib.Path, found: Iterable[pathlib.Path]) -> None:
    """Refuse to replace a file that has the name of a page and that no gallery made."""
    for path in found:
        is_ours = _IS_OURS.get(path.suffix)
        if path == results.parent / "README.md":
            is_ours = markdown.is_index
        if is_ours is None or path.is_symlink() or not path.is_file():
            continue
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}") from error
        if not is_ours(content):
            raise UserError(
                f"{path} was not made by the gallery, and would be replaced: move it, or give"
                " --results a folder within one of its own, such as experiments/results"
            )


def _text(path: pathlib.Path) -> str:
    """Return what a page says; "" where there is none, or it is not ours to read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def left_over(results: pathlib.Path, found: Mapping[pathlib.Path, str]) -> Iterator[pathlib.Path]:
    """Yield files of pages that this program made and whose records are gone.

    Args:
      results: the folder of run directories.
      found: what ``pages`` returned.
    """
    folder = results.parent / webpage.PAGES
    for path in sorted(folder.glob("*.html")):
        if path not in found and path.is_file() and webpage.is_ours(path.read_bytes()):
            yield from (path, path.with_suffix(".csv"))
    for path in sorted(folder.glob("figures/*.js")):
        if path not in found and path.is_file() and webpage.is_figure(path.read_bytes()):
            yield path


def main(argv: Sequence[str] | None = None, lecture: Lecture = _NO_LECTURE) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="gallery", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--results", default="experiments/results", help="folder of run directories"
    )
    options = parser.parse_args(argv)
    try:
        for path in write(options.results, lecture):
            print(f"wrote {terminal.one_line(str(path))}")
    except UserError as error:
        print(f"gallery: {terminal.one_line(str(error))}", file=sys.stderr)
        return 2
    return 0
