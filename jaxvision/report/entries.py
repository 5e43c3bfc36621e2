"""What the gallery shows of each run: its record, and what the catalog says of its experiment."""

import dataclasses
import pathlib
import re
import urllib.parse
from collections.abc import Sequence
from typing import Protocol

from jaxvision.report import folders, provenance
from jaxvision.report import record as records
from jaxvision.report.changes import as_flag, changed_flags
from jaxvision.report.judgement import Judgement, by_verdict
from jaxvision.report.record import Record
from jaxvision.types import UserError

_SHOWN = ("figure.png", "figure.svg", "animation.gif", "record.json", "arrays.npz")


class Listed(Protocol):
    """An experiment of the catalog."""

    name: str
    theme: str
    title: str
    sentence: str
    claims: Sequence[str]
    contradicts: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Entry:
    """One run of the gallery.

    Attributes:
      name: of the run's directory.
      theme: of its experiment; "" where the catalog does not have that.
      title: what it is called: a run of other flags than the preset's names them.
      sentence: what was found; "" where the record does not bear all that the catalog says.
      record: None where it cannot be read.
      judgements: the contradicted first.
      files: those of its directory that can be linked.
      source: the experiment's file, relative to the gallery's folder; "" where it is not there.
      trouble: why there is no record.
    """

    name: str
    theme: str
    title: str
    sentence: str
    record: Record | None
    judgements: Sequence[Judgement]
    files: Sequence[str]
    source: str
    trouble: str

    @property
    def contradicted(self) -> list[Judgement]:
        """The claims that the run contradicts."""
        return [one for one in self.judgements if one.verdict == "contradicted"]

    @property
    def made(self) -> list[str]:
        """Data, set-up (the config as flags) and origin of the record, a line each."""
        if self.record is None:
            return []
        data = provenance.data_line(self.record.provenance)
        flags = [f"--{name}={as_flag(value)}" for name, value in self.record.config.items()]
        return [
            f"Data: {data}" if data else "",
            f"Set-up: {' '.join(flags)}" if flags else "",
            f"Made: {self.record.origin()}",
        ]


def collect(results: pathlib.Path, catalog: Sequence[Listed]) -> list[Entry]:
    """Read every record below ``results``: in the order of the catalog, then by name.

    Whatever is wrong with a record is told in its entry.

    Args:
      results: the folder of run directories; need not exist.
      catalog: an experiment without a record is left out.
    """
    names = {path.parent.name for path in results.glob("*/record.json")}
    # A save that died between its two renames left '.name.old', which load puts back; any other
    # hidden folder is an unfinished one.
    parked = {name[1:].removesuffix(".old") for name in names if re.fullmatch(r"\..*\.old", name)}
    names = {name for name in names if not name.startswith(".")} | parked
    listed = {one.name: one for one in catalog}
    place = {name: i for i, name in enumerate(listed)}
    entries = [_entry(results, name, listed) for name in sorted(names)]

    def order(entry: Entry) -> int:
        experiment = entry.record.experiment if entry.record else entry.name
        return place.get(experiment, len(place))

    return sorted(entries, key=order)


def _finding(known: Listed, record: Record) -> str:
    """Return the catalog's sentence; nothing, where the record does not bear all that it states."""
    stated = dict.fromkeys(known.claims, "reproduced")
    stated |= dict.fromkeys(known.contradicts, "contradicted")
    borne_out = all(record.verdicts.get(name) == verdict for name, verdict in stated.items())
    return known.sentence if borne_out else ""


def link(*parts: str) -> str:
    """Return a relative link to a file, for HTML and Markdown."""
    return urllib.parse.quote("/".join(parts), errors="surrogateescape")


def _entry(results: pathlib.Path, name: str, listed: dict[str, Listed]) -> Entry:
    try:
        directory = records.run_directory(results, name)
        record = records.load(directory)
    except UserError as error:
        known = listed.get(name)
        title = known.title if known else name
        theme = known.theme if known else ""
        trouble = str(error).replace(str(folders.place(results) / name), name)  # pages may move
        return Entry(name, theme, title, "", None, (), (), "", trouble)
    known = listed.get(record.experiment)
    title = known.title if known else record.experiment
    source = f"{known.theme}/{known.name}.py" if known else ""
    return Entry(
        name=name,
        theme=known.theme if known else "",
        title=title if name == record.experiment else f"{title} ({changed_flags(record) or name})",
        sentence=_finding(known, record) if known else "",
        record=record,
        judgements=by_verdict(Judgement(**claim) for claim in record.claims),
        files=[file for file in _SHOWN if (directory / file).is_file()],
        source=source if (results.parent / source).is_file() else "",
        trouble="",
    )
