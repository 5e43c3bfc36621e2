"""Contested claims on one page: what each side says, and what the records measured.

The words of a dispute are data that the caller brings; numbers and verdicts are read from records.
"""

import dataclasses
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from jaxvision.report import words
from jaxvision.report.entries import Entry, link
from jaxvision.report.judgement import Judgement, counted
from jaxvision.report.markdown import escape

TITLE = "Contested claims"
_INTRO = (
    "Papers disagree with one another, with their own tables, and with what one measures. Each "
    "question here has two sides. Below stand the claims of our experiments that bear on it, with "
    "the letter of the side that each of them speaks for, their verdicts, and the numbers of every "
    "record that has them. A sentence in bold type says what it comes to at this scale; it is "
    "printed only while the records bear it out."
)
_SCALE = (
    "The records are those of small nets. Which data and how many nets (n) stands in each row; "
    "the record's page has the rest. A claim that is not run needs a larger set, and its row says "
    "which."
)
_WIDTH = 110
_LETTERS = "ABCDEFGH"


@dataclasses.dataclass(frozen=True)
class Cited:
    """A claim of an experiment, by its id."""

    experiment: str
    claim: str


@dataclasses.dataclass(frozen=True)
class Side:
    """What one side says.

    Attributes:
      source: who says it, and where.
      says: in a sentence.
      tests: claims that speak for it where they are reproduced.
    """

    source: str
    says: str
    tests: tuple[Cited, ...] = ()


@dataclasses.dataclass(frozen=True)
class Dispute:
    """A question with several answers.

    Attributes:
      question: in a sentence.
      sides: in the order in which they were heard.
      beside: further claims that bear on it.
      answer: what it comes to at our scale; "" leaves that to the reader.
      upheld: claims that the answer states: each experiment's own record must reproduce them, and
        no other may contradict them.
      refuted: claims whose contradiction it states, likewise.
    """

    question: str
    sides: tuple[Side, ...]
    beside: tuple[Cited, ...] = ()
    answer: str = ""
    upheld: tuple[Cited, ...] = ()
    refuted: tuple[Cited, ...] = ()

    @property
    def tests(self) -> list[Cited]:
        """All claims that bear on it."""
        return [*(test for side in self.sides for test in side.tests), *self.beside]


@dataclasses.dataclass(frozen=True)
class Row:
    """A claim as one record judges it; ``letter`` is that of its side, "" where it has none."""

    letter: str
    entry: Entry
    judged: Judgement


Records = Mapping[str, Sequence[Entry]]  # by experiment; the one that bears its name comes first


def cited(experiment: str, *claims: str) -> tuple[Cited, ...]:
    """Return claims of one experiment."""
    return tuple(Cited(experiment, claim) for claim in claims)


def page(disputes: Mapping[str, Sequence[Dispute]], entries: Sequence[Entry], results: str) -> str:
    """Return the page; a dispute of which no record has a claim is left out.

    Args:
      disputes: title of a part -> its disputes.
      entries: all records.
      results: the folder of the records, as the page links it.
    """
    records = by_experiment(entries)
    told = {part: [one for one in some if rows(one, records)] for part, some in disputes.items()}
    told = {part: some for part, some in told.items() if some}
    parts = [f"# {TITLE}", *map(_wrapped, (_INTRO, _SCALE))]
    parts.append(_overview([one for some in told.values() for one in some], records))
    for part, some in told.items():
        parts.append(f"## {escape(part)}")
        for one in some:
            parts += _dispute(one, records, results)
    return "\n\n".join(parts) + "\n"


def is_page(text: str) -> bool:
    """Return whether a text is one that ``page`` made."""
    return text.startswith(f"# {TITLE}\n")


def by_experiment(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Return the readable records of each experiment; the one that bears its name comes first."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.record is not None:
            found.setdefault(entry.record.experiment, []).append(entry)
    return {
        name: sorted(some, key=lambda entry: entry.name != name) for name, some in found.items()
    }


def rows(dispute: Dispute, records: Records) -> list[Row]:
    """Return what every record says of the dispute's claims.

    Where one record has run a claim, those that have not are left out.
    """
    return [*_of_sides(dispute, records), *_rows("", dispute.beside, records)]


def borne_out(dispute: Dispute, records: Records) -> bool:
    """Return whether the answer's claims came out as it says.

    In their experiments' own records; and no other record of these has them the other way round.
    """
    upheld = [_verdicts(test, records) for test in dispute.upheld]
    refuted = [_verdicts(test, records) for test in dispute.refuted]
    return all(
        found.own == told and opposite not in found.others
        for some, told, opposite in (
            (upheld, "reproduced", "contradicted"),
            (refuted, "contradicted", "reproduced"),
        )
        for found in some
    )


class _Verdicts(NamedTuple):
    """Of a claim: by the record that bears its experiment's name, "" if none, and by others."""

    own: str
    others: list[str]


def _verdicts(test: Cited, records: Records) -> _Verdicts:
    own, others = "", []
    for entry in records.get(test.experiment, ()):
        for one in entry.judgements:
            if one.id == test.claim and entry.name == test.experiment:
                own = one.verdict
            elif one.id == test.claim:
                others.append(one.verdict)
    return _Verdicts(own, others)


def _of_sides(dispute: Dispute, records: Records) -> Iterator[Row]:
    for letter, side in zip(_LETTERS, dispute.sides, strict=False):
        yield from _rows(letter, side.tests, records)


def _rows(letter: str, tests: Sequence[Cited], records: Records) -> Iterator[Row]:
    for test in tests:
        found = [
            Row(letter, entry, one)
            for entry in records.get(test.experiment, ())
            for one in entry.judgements
            if one.id == test.claim
        ]
        run = [row for row in found if row.judged.verdict != "not run"]
        yield from run or found[:1]


def _overview(disputes: Sequence[Dispute], records: Records) -> str:
    """Return the questions with how the claims of each side came out."""
    lines = ["| question | claims of the sides |", "|---|---|"]
    for dispute in disputes:
        found = list(_of_sides(dispute, records))
        told = []
        for letter, side in zip(_LETTERS, dispute.sides, strict=False):
            judged = [row.judged for row in found if row.letter == letter]
            told.append(f"{escape(_who(side))}: {counted(judged) or 'no claim'}")
        place = f"[{escape(dispute.question)}](#{_slug(dispute.question)})"
        lines.append(f"| {place} | {' <br>'.join(told)} |")
    return "\n".join(lines)


def _dispute(dispute: Dispute, records: Records, results: str) -> list[str]:
    parts = [f"### {escape(dispute.question)}"]
    said = []
    for letter, side in zip(_LETTERS, dispute.sides, strict=False):
        alone = "" if side.tests else " (It has no claim of its own here.)"
        text = f"- **{letter}. {escape(side.source)}:** {escape(side.says)}{alone}"
        said.append(_wrapped(text, indent="  "))
    parts.append("\n".join(said))
    if dispute.answer and borne_out(dispute, records):
        parts.append(_wrapped(f"**{escape(dispute.answer)}**"))
    parts.append(_table(rows(dispute, records), results))
    return parts


def _table(found: Sequence[Row], results: str) -> str:
    lines = ["| side | verdict | claim | measured | record |", "|---|---|---|---|---|"]
    for row in found:
        one = row.judged
        told = [escape(text) for text in (one.measured(), one.note) if text]
        place = f"[{escape(row.entry.name)}]({results}/{link(row.entry.name, 'README.md')})"
        cells = (
            row.letter,
            f"{words.MARKS[one.verdict]} **{one.verdict}**",
            f"{escape(one.sentence)} *({escape(one.source)})*",
            " <br>".join(told),
            f"{place} <br>{escape(_data(row.entry))}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _data(entry: Entry) -> str:
    """Return the sets of a record with the number of images that nets could learn from."""
    sets = entry.record.provenance.get("data", [])
    told = [f"{one['name']}, {one['train']:,} training images" for one in sets]
    return "; ".join(dict.fromkeys(told)) or "no data"


def _who(side: Side) -> str:
    """Return the source without its number and the place in it."""
    return re.split("[,;(]", side.source, maxsplit=1)[0].strip()


def _slug(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
