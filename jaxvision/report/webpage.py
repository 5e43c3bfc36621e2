"""The gallery as a web site: an index, a page an experiment, and a page of closed forms.

Static files with relative links, which work from a disk and without a network. All text is escaped
by the templates; the pages' policy lets no script run but their own.
"""

import functools
import itertools
import json
import pathlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jinja2

from jaxvision.report import exchange, panels, rules, views, words
from jaxvision.report.entries import Entry, link
from jaxvision.report.judgement import counted, counts, paper_of
from jaxvision.report.lecture import Lecture, Theme
from jaxvision.report.prose import kebab, papers, prose, sentence
from jaxvision.report.views import Figure, View

GENERATOR = "jaxvision gallery"
PAGES = "pages"  # the folder of all pages but the index
TEMPLATES = pathlib.Path(__file__).parent / "templates"
_ASSETS = ("gallery.css", "gallery.js")
_OF_EXPLORE = ("theory.js", "explore.js")
# file: lets browsers that treat a local page as having no origin use what lies beside it.
_POLICY = (
    "default-src 'none'; script-src 'self' file:; style-src 'self' file:; "
    "img-src 'self' file: data: blob:; base-uri 'none'; form-action 'none'"
)


class Section(NamedTuple):
    """A theme with those of its experiments that have records."""

    name: str
    theme: Theme
    views: Sequence[View]


def site(
    entries: Sequence[Entry], results: pathlib.Path, lecture: Lecture
) -> dict[pathlib.Path, str]:
    """Return the text of every file of the site: path -> text.

    Args:
      entries: all records, in order.
      results: the folder that holds them; the site lies beside it.
      lecture: what is told around them.
    """
    root = results.parent
    told = views.views(entries, lecture.catalog, root)
    figures = {entry.name: views.figure_of(entry, results) for entry in entries}
    files = {"figure_of": figures.get, "file": partial(link, results.name)}
    index = _index(entries, told, lecture)
    found = {
        root / "index.html": _fill("index.html", root="", **files, **index),
        root / "claims.json": exchange.claims_json(told, results.name),
    }
    for before, view, after in _with_neighbors(told):
        path = root / PAGES / f"{view.name}.html"
        around = {"theme": lecture.theme(view.theme), "before": before, "after": after}
        found[path] = _fill("experiment.html", root="../", view=view, **around, **files)
        found[path.with_suffix(".csv")] = exchange.claims_csv(view)
    for name, figure in figures.items():
        if figure is not None:
            found[root / PAGES / "figures" / f"{name}.js"] = _script(name, figure)
    assets = _ASSETS
    if lecture.bands is not None:
        bands = lecture.bands(results)
        found[root / "explore.html"] = _fill("explore.html", root="", bands=bands)
        assets += _OF_EXPLORE
    for name in assets:
        found[root / PAGES / name] = (TEMPLATES / name).read_text("utf-8")
    return found


def is_ours(page: bytes) -> bool:
    """Return whether a page is one that ``site`` has made."""
    return f'<meta name="generator" content="{GENERATOR}">'.encode() in page[:500]


def is_figure(script: bytes) -> bool:
    """Return whether a script is a figure that ``site`` has made."""
    return script.startswith(b"jaxvisionFigure(")


def _index(entries: Sequence[Entry], told: Sequence[View], lecture: Lecture) -> dict[str, Any]:
    """Return what the index shows."""
    judgements = [one for entry in entries for one in entry.judgements]
    opened = None
    if lecture.opening is not None:
        opened = next((view for view in told if view.name == lecture.opening.experiment), None)
    return {
        "opening": lecture.opening,
        "opened": opened,
        "totals": words.totals(len(entries), len(judgements)),
        "found": counts(one.verdict for one in judgements),
        "explore": lecture.bands is not None,
        "sections": _sections(told, lecture),
        "sources": sorted({paper_of(one.source) for one in judgements}),
        "damaged": [entry for entry in entries if entry.record is None],
    }


def _sections(told: Sequence[View], lecture: Lecture) -> list[Section]:
    """Return the themes in the order of their first experiment; other runs come last."""
    names = dict.fromkeys(view.theme for view in told)
    ordered = [*(name for name in names if name), *(name for name in names if not name)]
    return [
        Section(name, lecture.theme(name), [view for view in told if view.theme == name])
        for name in ordered
    ]


def _with_neighbors(told: Sequence[View]) -> Iterator[tuple[View | None, View, View | None]]:
    """Yield every experiment with the one before and the one after it."""
    return zip([None, *told], told, [*told[1:], None], strict=False)


def _script(name: str, figure: Figure) -> str:
    """Return panels as a script: pages from a disk may run one, and may read no other file."""
    cut = ",\n".join(json.dumps(panel) for panel in panels.cut(figure.text))
    return f"jaxvisionFigure({json.dumps(name)}, [\n{cut}\n]);\n"


def _fill(template: str, **values: Any) -> str:
    return _templates().get_template(template).render(values)


@functools.cache
def _templates() -> jinja2.Environment:
    """Return the templates, with what they call and what all of them show."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.policies["json.dumps_kwargs"] = {"allow_nan": False}  # strict JSON
    found.filters |= {
        "anchor": exchange.anchor,
        "counted": counted,
        "counts": counts,
        "kebab": kebab,
        "page": lambda view: link(PAGES, f"{view.name}.html"),
        "papers": papers,
        "prose": prose,
        "quoted": link,
        "sentence": sentence,
        "with": itertools.zip_longest,
    }
    found.globals |= {
        "generator": GENERATOR,
        "how": rules.HOW,
        "json": json.dumps,
        "policy": _POLICY,
        "words": words,
    }
    return found
