"""The gallery: what every record says, as pages that are made from the records alone.

An index (``README.md``) and a static page (``index.html``) lie beside the folder of the records,
the page of each record (``README.md``) in its directory; the front page of the repository gets a
table. All hold relative links only, so the folder can be moved or served as it is. Every string is
escaped.
"""

import argparse
import contextlib
import os
import pathlib
import sys
from collections.abc import Sequence

from jaxvision import terminal
from jaxvision.report import folders, markdown, webpage
from jaxvision.report.entries import Listed, collect, link
from jaxvision.types import UserError


def pages(results: pathlib.Path, catalog: Sequence[Listed]) -> dict[pathlib.Path, str]:
    """Return the text of every page: path -> text.

    Args:
      results: the folder of run directories.
      catalog: the experiments, in order.
    """
    entries = collect(results, catalog)
    found = {
        results.parent / "README.md": markdown.index(entries, results.name),
        results.parent / "index.html": webpage.page(entries, results.name),
    }
    for entry in entries:
        if entry.record is not None:
            found[results / entry.name / "README.md"] = markdown.page(entry)
    front = results.absolute().parent.parent / "README.md"
    rows = markdown.table(entries, catalog, link(results.absolute().parent.name, results.name))
    with contextlib.suppress(OSError, UnicodeDecodeError):  # none there, or it is not ours
        text = front.read_text(encoding="utf-8")
        if markdown.BEGIN in text:
            found[front] = markdown.with_table(text, rows)
    return found


def write(results: str | os.PathLike, catalog: Sequence[Listed] = ()) -> list[pathlib.Path]:
    """Write the pages that have changed; return their paths.

    Raises:
      UserError: they cannot be written.
    """
    folders.place(results)
    written = []
    for path, text in pages(pathlib.Path(results).expanduser(), catalog).items():
        content = text.encode(errors="replace")
        try:
            if not path.is_file() or path.is_symlink() or path.read_bytes() != content:
                folders.write_file(path, content)
                written.append(path)
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    return written


def main(argv: Sequence[str] | None = None, catalog: Sequence[Listed] = ()) -> int:
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
        for path in write(options.results, catalog):
            print(f"wrote {terminal.one_line(str(path))}")
    except UserError as error:
        print(f"gallery: {terminal.one_line(str(error))}", file=sys.stderr)
        return 2
    return 0
