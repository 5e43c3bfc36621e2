"""The gallery as Markdown: an index, a page for each record, and a table for the front page."""

import html
import re
from collections.abc import Sequence

from jaxvision.report import words
from jaxvision.report.entries import Entry, Listed, link
from jaxvision.report.judgement import MARKS_KEY, Judgement, counted, marked

BEGIN, END = "<!-- experiments: begin -->", "<!-- experiments: end -->"


def index(entries: Sequence[Entry], results: str, disputed: str = "") -> str:
    """Return the index: totals, then the figures by theme, with what their records contradict.

    Args:
      entries: in order.
      results: the name of the folder, beside the index, that holds the records.
      disputed: where the page of contested claims lies, seen from the index; "" where it is not.
    """
    judgements = [judgement for entry in entries for judgement in entry.judgements]
    counts = words.totals(len(entries), len(judgements), counted(judgements))
    parts = [f"# {words.TITLE}", words.INTRO, f"{words.VERDICTS} {words.TIERS}", f"**{counts}**"]
    if disputed:
        parts.append(f"Where sources disagree: [contested claims]({disputed}).")
    theme = None
    for entry in entries:
        if entry.theme != theme:
            theme = entry.theme
            parts.append(f"## {escape(theme or words.NO_THEME).capitalize()}")
        parts += _in_index(entry, results)
    return "\n\n".join(parts) + "\n"


def is_index(content: bytes) -> bool:
    """Return whether a page is one that ``index`` made."""
    return content.startswith(f"# {words.TITLE}\n".encode())


def page(entry: Entry) -> str:
    """Return the page of one record, which lies beside it."""
    parts = [f"# {escape(entry.title)}", escape(entry.sentence)]
    if "figure.png" in entry.files:
        parts.append(f"![{escape(entry.title)}](figure.png)")
    parts += [fence(entry.record.command), f"**{counted(entry.judgements) or 'no claims'}**"]
    parts.append(_claims(entry.judgements))
    parts += [*map(escape, entry.made), f"{words.VERDICTS} {words.TIERS}"]
    links = _links(entry, "", "../../")
    parts.append(" · ".join([*links, "[all experiments](../../README.md)"]))
    return "\n\n".join(filter(None, parts)) + "\n"


def table(entries: Sequence[Entry], catalog: Sequence[Listed], results: str) -> str:
    """Return the table of experiments for the front page; names lead to their pages.

    Args:
      entries: of all records.
      catalog: whose order the rows have.
      results: the folder of the records, as the front page links it.
    """
    found = {entry.name: entry for entry in entries}
    rows = [f"| experiment | finding | {MARKS_KEY} | on other sets |", "|---|---|---|---|"]
    for one in catalog:
        name, verdicts = escape(one.name), "no record yet"
        if entry := found.get(one.name):
            verdicts = _marks(entry)
            name = f"[{name}]({results}/{link(one.name, 'README.md')})"
        others = [_beside(entry, one.name, results) for entry in entries if _is_of(entry, one.name)]
        rows.append(f"| {name} | {escape(one.sentence)} | {verdicts} | {', '.join(others)} |")
    return "\n".join(rows)


def _is_of(entry: Entry, experiment: str) -> bool:
    """Whether an entry is a further record of an experiment, ``EXPERIMENT-WORDS``."""
    return entry.name.startswith(f"{experiment}-")


def _beside(entry: Entry, experiment: str, results: str) -> str:
    """Return the name of a further record, which leads to its page, and its verdicts."""
    name = escape(entry.name.removeprefix(f"{experiment}-"))
    return f"[{name}]({results}/{link(entry.name, 'README.md')}) {_marks(entry)}"


def _marks(entry: Entry) -> str:
    if entry.record is None:
        return "damaged record"
    return marked(one.verdict for one in entry.judgements)


def with_table(text: str, rows: str) -> str:
    """Return a page with the rows between its two marks; as it is where it lacks them."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    return f"{before}{begin}\n{rows}\n{end}{after}" if end else text


def escape(text: str) -> str:
    """Escape ``text`` for a line of Markdown, inside a table as well."""
    line = html.escape(" ".join(str(text).split()), quote=False)
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", line)


def fence(text: str) -> str:
    """Return ``text`` as a block of code that it cannot end."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    marks = "`" * max(3, longest + 1)
    return f"{marks}\n{text}\n{marks}"


def _in_index(entry: Entry, results: str) -> list[str]:
    if entry.record is None:
        return [f"### {escape(entry.title)}", f"**Damaged:** {escape(entry.trouble)}"]
    path = link(results, entry.name)
    parts = [f"### [{escape(entry.title)}]({path}/README.md)", escape(entry.sentence)]
    if "figure.png" in entry.files:
        parts.append(f"[![{escape(entry.title)}]({path}/figure.png)]({path}/README.md)")
    parts.append(f"**{counted(entry.judgements) or 'no claims'}**")
    parts.append("\n".join(_contradicted(one) for one in entry.contradicted))
    parts += map(escape, entry.made)
    parts.append(" · ".join([f"[all claims]({path}/README.md)", *_links(entry, f"{path}/", "")]))
    return [part for part in parts if part]


def _contradicted(judgement: Judgement) -> str:
    told = [escape(judgement.sentence), escape(judgement.measured())]
    return f"- {words.MARKS['contradicted']} **contradicted**: {': '.join(filter(None, told))}"


def _links(entry: Entry, to_record: str, to_gallery: str) -> list[str]:
    found = [f"[{text}]({to_record}{file})" for file, text in words.FILES.items()]
    found = [one for one, file in zip(found, words.FILES, strict=True) if file in entry.files]
    if entry.source:
        found.append(f"[source]({to_gallery}{link(entry.source)})")
    return found


def _claims(judgements: Sequence[Judgement]) -> str:
    rows = ["| verdict | claim | measured | rule |", "|---|---|---|---|"]
    for one in judgements:
        claim = f"{escape(one.sentence)} <br>*{escape(one.source)}, {escape(one.tier)} tier*"
        told = [escape(text) for text in (one.measured(), one.note) if text]
        verdict = f"{words.MARKS[one.verdict]} **{one.verdict}**"
        rows.append(f"| {verdict} | {claim} | {' <br>'.join(told)} | {escape(one.rule)} |")
    return "\n".join(rows) if judgements else ""
