"""The gallery as one HTML page: no script, a style of its own, relative links only."""

import base64
import hashlib
import html
from collections.abc import Iterator, Sequence

from jaxvision.report import words
from jaxvision.report.entries import Entry, link
from jaxvision.report.judgement import Judgement, counted

_STYLE = """
:root { color-scheme: light dark; --text: #1b1b1b; --page: #fff; --soft: #5a5a5a; --line: #d8d8d8;
  --link: #005a8e; --good: #00694d; --bad: #a83f00; --open: #6b5200; }
@media (prefers-color-scheme: dark) { :root { --text: #e8e8e8; --page: #16181a; --soft: #a8a8a8;
  --line: #3a3d40; --link: #7cc4f0; --good: #4fd1a5; --bad: #ff9a5c; --open: #e8c75a; } }
body { margin: 0 auto; max-width: 56rem; padding: 1rem; color: var(--text); background: var(--page);
  font: 1.05rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
a { color: var(--link); }
h2 { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1.5rem; }
h3 { margin-top: 2.5rem; }
img { width: 100%; height: auto; background: #fff; border-radius: 4px; }
summary { cursor: pointer; color: var(--link); }
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


def page(entries: Sequence[Entry], results: str) -> str:
    """Return the page.

    Args:
      entries: in order.
      results: the name of the folder, beside the page, that holds the records.
    """
    body = [line for entry in entries for line in _section(entry, results)]
    return "\n".join([*_head(), *_totals(entries), *_contents(entries), *body, "</html>"]) + "\n"


def _head() -> Iterator[str]:
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    # file: lets browsers that treat a local page as having no origin show the local figures.
    policy = f"default-src 'self'; img-src 'self' file:; style-src 'sha256-{digest}'"
    yield "<!doctype html>"
    yield '<html lang="en">'
    yield '<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{html.escape(words.TITLE)}</title>"
    yield f"<style>{_STYLE}</style>"
    yield f"<h1>{html.escape(words.TITLE)}</h1>"


def _totals(entries: Sequence[Entry]) -> Iterator[str]:
    judgements = [judgement for entry in entries for judgement in entry.judgements]
    counts = words.totals(len(entries), len(judgements), counted(judgements))
    for text in (words.INTRO, words.VERDICTS, words.TIERS):
        yield f"<p>{html.escape(text)}</p>"
    yield f"<p><strong>{html.escape(counts)}</strong></p>"


def _contents(entries: Sequence[Entry]) -> Iterator[str]:
    if not entries:
        return
    yield "<nav><ul>"
    for entry in entries:
        found = counted(entry.judgements) if entry.record else "damaged"
        title = f'<a href="#{_anchor(entry)}">{html.escape(entry.title)}</a>'
        theme = html.escape(entry.theme or words.NO_THEME)
        yield f'<li>{title} <span class="small">{theme}: {html.escape(found)}</span></li>'
    yield "</ul></nav>"


def _section(entry: Entry, results: str) -> Iterator[str]:
    yield f'<section id="{_anchor(entry)}">'
    yield f"<h2>{html.escape(entry.title)}</h2>"
    if entry.record is None:
        trouble = html.escape(entry.trouble)
        yield f'<p><span class="verdict">Damaged:</span> {trouble}</p></section>'
        return
    yield f"<p>{html.escape(entry.sentence)}</p>"
    yield from _figure(entry, results)
    yield f"<p><strong>{html.escape(counted(entry.judgements) or 'no claims')}</strong></p>"
    yield from _claims(entry.contradicted)
    others = entry.judgements[len(entry.contradicted) :]
    if others:
        yield f"<details><summary>{html.escape(counted(others))}</summary>"
        yield from _claims(others)
        yield "</details>"
    yield f"<pre><code>{html.escape(entry.record.command)}</code></pre>"
    yield from (f'<p class="small">{html.escape(line)}</p>' for line in entry.made if line)
    yield f'<p class="small">{" · ".join(_links(entry, results))}</p>'
    yield "</section>"


def _figure(entry: Entry, results: str) -> Iterator[str]:
    if "figure.png" in entry.files:
        large = "figure.svg" if "figure.svg" in entry.files else "figure.png"
        image = html.escape(link(results, entry.name, "figure.png"))
        alt = html.escape(f"Figure: {entry.title}")
        yield f'<a href="{html.escape(link(results, entry.name, large))}">'
        yield f'<img src="{image}" alt="{alt}" loading="lazy"></a>'


def _links(entry: Entry, results: str) -> Iterator[str]:
    for file, text in words.FILES.items():
        if file in entry.files:
            yield f'<a href="{html.escape(link(results, entry.name, file))}">{text}</a>'
    if entry.source:
        yield f'<a href="{html.escape(link(entry.source))}">source</a>'


def _claims(judgements: Sequence[Judgement]) -> Iterator[str]:
    if not judgements:
        return
    yield '<ul class="claims">'
    for one in judgements:
        verdict = f'<span class="verdict">{words.MARKS[one.verdict]} {one.verdict}</span>'
        details = [one.measured(), one.rule, one.note, f"{one.source}, {one.tier} tier"]
        yield f'<li class="{one.verdict.replace(" ", "-")}">'
        yield f"{verdict} {html.escape(one.sentence)}"
        yield f'<div class="small">{html.escape(" · ".join(filter(None, details)))}</div></li>'
    yield "</ul>"


def _anchor(entry: Entry) -> str:
    return html.escape(link(entry.name))
