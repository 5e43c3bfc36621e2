"""The gallery: what every record says, as ``README.md`` and as a static page ``index.html``.

Both are made from ``<results>/*/record.json`` alone and hold relative links only, so the folder can
be moved or served as it is. Every string is escaped. ``python -m jaxvision.report.gallery``.
"""

import argparse
import base64
import hashlib
import html
import os
import pathlib
import re
import sys
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from jaxvision.report import record as records
from jaxvision.report.claims import Judgement, measured
from jaxvision.report.record import Record
from jaxvision.types import UserError

_TITLE = "jaxvision: experiments and their verdicts"
_INTRO = (
    "Every figure is one command. Every claim has a rule that was fixed before the run, and every "
    "run says whether it upheld the claim. Estimates come with their 90 % interval over seeds; "
    "p-values of one paper's claims are corrected for their number."
)
_MARKS = {"reproduced": "✓", "contradicted": "✗", "inconclusive": "?", "not run": "–"}
_STYLE = """
:root { color-scheme: light dark; --text: #1b1b1b; --page: #fff; --soft: #5a5a5a; --line: #d8d8d8;
  --link: #005a8e; --good: #00694d; --bad: #a83f00; --open: #6b5200; }
@media (prefers-color-scheme: dark) { :root { --text: #e8e8e8; --page: #16181a; --soft: #a8a8a8;
  --line: #3a3d40; --link: #7cc4f0; --good: #4fd1a5; --bad: #ff9a5c; --open: #e8c75a; } }
body { margin: 0 auto; max-width: 56rem; padding: 1rem; color: var(--text); background: var(--page);
  font: 1.05rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
a { color: var(--link); }
h2 { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1.5rem; }
img { width: 100%; height: auto; background: #fff; border-radius: 4px; }
ul.claims { list-style: none; padding: 0; }
ul.claims li { margin: 1rem 0; padding-left: 0.8rem; border-left: 4px solid var(--line); }
ul.claims li.reproduced { border-color: var(--good); }
ul.claims li.contradicted { border-color: var(--bad); }
ul.claims li.inconclusive { border-color: var(--open); }
.verdict { font-weight: 700; }
.reproduced .verdict { color: var(--good); }
.contradicted .verdict { color: var(--bad); }
.inconclusive .verdict { color: var(--open); }
.small { color: var(--soft); font-size: 0.9rem; }
pre { overflow-x: auto; padding: 0.6rem; border: 1px solid var(--line); border-radius: 4px; }
"""


class Entry(NamedTuple):
    """One run of the gallery: its record, or why there is none."""

    name: str
    title: str
    record: Record | None
    judgements: list[Judgement]
    figure: str | None  # relative link
    trouble: str


def collect(results: pathlib.Path, titles: Mapping[str, str]) -> list[Entry]:
    """Read every record below ``results``: in the order of ``titles``, then by name.

    Args:
      results: the folder of run directories; need not exist.
      titles: experiment -> title. An experiment without a record is left out.
    """
    names = {path.parent.name for path in results.glob("*/record.json")}
    # A save that died between its two renames left '.name.old', which load puts back; any other
    # hidden folder is an unfinished one.
    parked = {name[1:].removesuffix(".old") for name in names if re.fullmatch(r"\..*\.old", name)}
    names = {name for name in names if not name.startswith(".")} | parked
    entries = [_entry(results, name, titles) for name in sorted(names)]
    place = {name: i for i, name in enumerate(titles)}

    def order(entry: Entry) -> tuple[int, str]:
        experiment = entry.record.experiment if entry.record else entry.name
        return place.get(experiment, len(place)), entry.name

    return sorted(entries, key=order)


def write(
    results: str | os.PathLike, titles: Mapping[str, str] | None = None
) -> list[pathlib.Path]:
    """Write ``README.md`` and ``index.html`` beside ``results``; return their paths.

    Raises:
      UserError: they cannot be written.
    """
    results = pathlib.Path(results)
    entries = collect(results, titles or {})
    pages = {"README.md": markdown(entries), "index.html": page(entries)}
    written = []
    for name, text in pages.items():
        path = results.parent / name
        fresh = path.with_name(f".{name}.new")
        try:
            fresh.write_bytes(text.encode(errors="replace"))
            fresh.replace(path)
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror or error}") from error
        written.append(path)
    return written


def markdown(entries: Sequence[Entry]) -> str:
    """Return the gallery as Markdown."""
    parts = [f"# {_TITLE}", _INTRO]
    for entry in entries:
        parts.append(f"## {_md(entry.title)}")
        if entry.record is None:
            parts.append(f"**Damaged:** {_md(entry.trouble)}")
            continue
        if entry.figure:
            parts.append(f"![{_md(entry.title)}]({entry.figure})")
        parts.append(_fence(entry.record.command))
        parts.append(_md(entry.record.origin()))
        rows = ["| verdict | claim | measured | rule |", "|---|---|---|---|"]
        for j in entry.judgements:
            claim = f"{_md(j.sentence)} <br>*{_md(j.source)}, {_md(j.tier)} tier*"
            found = " <br>".join(_md(text) for text in (measured(j), j.note) if text)
            rows.append(
                f"| {_MARKS[j.verdict]} **{j.verdict}** | {claim} | {found} | {_md(j.rule)} |"
            )
        if entry.judgements:
            parts.append("\n".join(rows))
    return "\n\n".join(parts) + "\n"


def page(entries: Sequence[Entry]) -> str:
    """Return the gallery as one HTML page: no script, own style only, relative links only."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    # file: lets browsers that treat a local page as having no origin show the local figures.
    policy = f"default-src 'self'; img-src 'self' file:; style-src 'sha256-{digest}'"
    head = [
        "<!doctype html>",
        '<html lang="en">',
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html.escape(_TITLE)}</title>",
        f"<style>{_STYLE}</style>",
        f"<h1>{html.escape(_TITLE)}</h1>",
        f"<p>{html.escape(_INTRO)}</p>",
    ]
    links = [
        f'<li><a href="#{_anchor(entry)}">{html.escape(entry.title)}</a></li>' for entry in entries
    ]
    nav = ["<nav><ul>", *links, "</ul></nav>"] if links else []
    body = [line for entry in entries for line in _section(entry)]
    return "\n".join([*head, *nav, *body, "</html>"]) + "\n"


def main(argv: Sequence[str] | None = None, titles: Mapping[str, str] | None = None) -> int:
    """Run the command; return its exit code. ``titles``: experiment -> title, in gallery order."""
    parser = argparse.ArgumentParser(prog="gallery", description="Write README.md and index.html.")
    parser.add_argument(
        "--results", default="experiments/results", help="folder of run directories"
    )
    options = parser.parse_args(argv)
    try:
        if not pathlib.Path(options.results).parent.is_dir():
            raise UserError(
                f"--results={options.results}: no such place; run from the repository's root"
            )
        for path in write(options.results, titles):
            print(f"wrote {path}")
    except UserError as error:
        print(f"gallery: {error}", file=sys.stderr)
        return 2
    return 0


def _entry(results: pathlib.Path, name: str, titles: Mapping[str, str]) -> Entry:
    try:
        records.run_directory(results, name)
        record = records.load(results / name)
        judgements = [_judgement(claim) for claim in record.claims]
    except UserError as error:
        return Entry(name, titles.get(name, name), None, [], None, str(error))
    title = titles.get(record.experiment, record.experiment)
    if name != record.experiment:
        title = f"{title} ({name})"
    figure = results / name / "figure.png"
    link = urllib.parse.quote(f"{results.name}/{name}/figure.png") if figure.is_file() else None
    return Entry(name, title, record, judgements, link, "")


def _judgement(claim: dict) -> Judgement:
    try:
        judgement = Judgement(**claim)
        _MARKS[judgement.verdict], measured(judgement)
    except (TypeError, ValueError, KeyError) as error:
        raise UserError(
            "a claim of this record cannot be read; run the experiment again"
        ) from error
    return judgement


def _section(entry: Entry) -> Iterator[str]:
    escape = html.escape
    yield f'<section id="{_anchor(entry)}">'
    yield f"<h2>{escape(entry.title)}</h2>"
    if entry.record is None:
        yield f'<p><span class="verdict">Damaged:</span> {escape(entry.trouble)}</p></section>'
        return
    if entry.figure:
        alt = escape(f"Figure: {entry.title}")
        yield f'<a href="{entry.figure}"><img src="{entry.figure}" alt="{alt}" loading="lazy"></a>'
    yield f"<pre><code>{escape(entry.record.command)}</code></pre>"
    yield f'<p class="small">{escape(entry.record.origin())}</p>'
    yield '<ul class="claims">'
    for j in entry.judgements:
        yield f'<li class="{j.verdict.replace(" ", "-")}">'
        yield f'<span class="verdict">{_MARKS[j.verdict]} {j.verdict}</span> {escape(j.sentence)}'
        details = [measured(j), j.rule, j.note, f"{j.source}, {j.tier} tier"]
        yield f'<div class="small">{escape(" · ".join(filter(None, details)))}</div></li>'
    yield "</ul></section>"


def _anchor(entry: Entry) -> str:
    return html.escape(urllib.parse.quote(entry.name))


def _md(text: str) -> str:
    """Escape ``text`` for a line of Markdown, inside a table as well."""
    line = html.escape(" ".join(str(text).split()), quote=False)
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", line)


def _fence(text: str) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


if __name__ == "__main__":
    sys.exit(main())
