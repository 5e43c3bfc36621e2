"""What the web pages show of an experiment: all its records, their claims side by side."""

import collections
import dataclasses
import pathlib
import re
from collections.abc import Sequence

from jaxvision.report import about, panels, rules
from jaxvision.report.about import About
from jaxvision.report.changes import changed_flags
from jaxvision.report.entries import Entry, Listed
from jaxvision.report.judgement import ORDER, Judgement, paper_of
from jaxvision.report.panels import Panel

_SIZE = re.compile(r'viewBox="0 0 ([0-9.]+) ([0-9.]+)"')


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure whose panels can be taken out.

    Attributes:
      text: the SVG.
      width: points.
      height: points.
      panels: in reading order.
    """

    text: str
    width: float
    height: float
    panels: Sequence[Panel]


@dataclasses.dataclass(frozen=True)
class Row:
    """One claim, as every record judges it.

    Attributes:
      stated: as the first record that has it states it.
      results: a judgement for every record of the experiment; None where it lacks the claim.
    """

    stated: Judgement
    results: Sequence[Judgement | None]

    @property
    def first(self) -> str:
        """The verdict that a reader should see first."""
        found = [one.verdict for one in self.results if one]
        return min(found, key=ORDER.index)

    @property
    def words(self) -> str:
        """The rule in sentences."""
        return rules.in_words(self.stated)


@dataclasses.dataclass(frozen=True)
class View:
    """An experiment with its records, or a run of something that no catalog has.

    Attributes:
      name: of its page.
      title: what it is called.
      theme: "" where the catalog does not have it.
      sentence: what was found.
      source: its file, relative to the gallery's folder; "" where it is not there.
      about: what that file says.
      entries: its records; the one that bears its name comes first.
    """

    name: str
    title: str
    theme: str
    sentence: str
    source: str
    about: About
    entries: Sequence[Entry]

    @property
    def labels(self) -> dict[str, str]:
        """Name of a record -> what tells it apart: its data set or, of one set, its flags."""
        sets = {one.name: str(one.record.config.get("dataset", one.name)) for one in self.entries}
        same = collections.Counter(sets.values())
        flags = {one.name: changed_flags(one.record) for one in self.entries}
        return {
            name: flags[name] if same[data] > 1 and flags[name] else data
            for name, data in sets.items()
        }

    @property
    def judgements(self) -> list[Judgement]:
        """The claims of all its records."""
        return [one for entry in self.entries for one in entry.judgements]

    @property
    def rows(self) -> list[Row]:
        """Its claims, those first that a record contradicts."""
        found = [{one.id: one for one in entry.judgements} for entry in self.entries]
        stated: dict[str, Judgement] = {}
        for judgements in found:
            stated = judgements | stated
        rows = [Row(one, [judged.get(id) for judged in found]) for id, one in stated.items()]
        return sorted(rows, key=lambda row: ORDER.index(row.first))

    @property
    def told(self) -> list[list[str]]:
        """Verdict and paper of its claims, every pair once: what the index filters by."""
        pairs = {(one.verdict, paper_of(one.source)) for one in self.judgements}
        return sorted(map(list, pairs))


def views(entries: Sequence[Entry], catalog: Sequence[Listed], root: pathlib.Path) -> list[View]:
    """Return the experiments that have a record, in the order of the entries.

    Args:
      entries: in order, the damaged left out of sight here.
      catalog: whose names are pages; other runs have a page each.
      root: the folder of the gallery, to which sources are relative.
    """
    listed = {one.name: one for one in catalog}
    grouped: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.record is not None:
            known = entry.record.experiment in listed
            name = entry.record.experiment if known else entry.name
            grouped.setdefault(name, []).append(entry)
    return [_view(name, found, listed.get(name), root) for name, found in grouped.items()]


def _view(name: str, found: list[Entry], known: Listed | None, root: pathlib.Path) -> View:
    ordered = sorted(found, key=lambda entry: entry.name != name)
    first = ordered[0]
    told = about.read(root / first.source) if first.source else About()
    return View(
        name=name,
        title=known.title if known else first.title,
        theme=first.theme,
        sentence=first.sentence,
        source=first.source,
        about=told,
        entries=ordered,
    )


def figure_of(entry: Entry, results: pathlib.Path) -> Figure | None:
    """Return a record's figure; None where it does not tell its panels."""
    if "figure.svg" not in entry.files:
        return None
    try:
        text = (results / entry.name / "figure.svg").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    told, size = panels.read(text), _SIZE.search(text)
    return Figure(text, float(size[1]), float(size[2]), told) if told and size else None
