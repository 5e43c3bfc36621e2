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
from collections.abc import Iterator, Mapping, Sequence

from jaxvision import terminal
from jaxvision.report import contested, folders, markdown, webpage
from jaxvision.report.entries import collect, link
from jaxvision.report.lecture import Lecture
from jaxvision.types import UserError

DOCS = "docs"  # the folder of the page of contested claims, beside that of the experiments
_NO_LECTURE = Lecture()


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
      UserError: they cannot be written, or the index would replace a page that is not its own.
    """
    index = folders.place(results).parent / "README.md"
    if index.is_file() and not index.is_symlink() and not markdown.is_index(index.read_bytes()):
        raise UserError(
            f"{index} is no index of records, and would be replaced: give --results a folder"
            " within one of its own, such as experiments/results"
        )
    found = pages(pathlib.Path(results).expanduser(), lecture)
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
    for path in left_over(pathlib.Path(results).expanduser(), found):
        path.unlink(missing_ok=True)
    return written


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
        if not folders.place(options.results).parent.is_dir():
            raise UserError(
                f"--results={options.results}: no such place; run from the repository's root"
            )
        for path in write(options.results, lecture):
            print(f"wrote {terminal.one_line(str(path))}")
    except UserError as error:
        print(f"gallery: {terminal.one_line(str(error))}", file=sys.stderr)
        return 2
    return 0
