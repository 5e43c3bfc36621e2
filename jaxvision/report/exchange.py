"""Claims, verdicts and evidence for other tools: JSON by a schema, and CSV for a spreadsheet.

``claims.schema.json`` beside this module is the schema, docs/claims.md explains it. A change that a
reader could trip over gets a new ``FORMAT``.
"""

import csv
import io
import json
import math
import urllib.parse
from collections.abc import Sequence
from typing import Any

from jaxvision.report.entries import Entry, link
from jaxvision.report.judgement import ORDER, Judgement, paper_of
from jaxvision.report.views import View

FORMAT = "jaxvision claims 1"
CONFIDENCE = 0.9  # of every interval: see stats
_EVIDENCE = ("estimate", "low", "high", "n", "p", "p_adjusted", "smallest_effect")
_MADE = ("commit", "dirty", "started", "wall_time_s", "device", "device_count", "versions")
_COLUMNS = (
    *("record", "experiment", "id", "verdict", "tier", "source", "sentence", "rule"),
    *_EVIDENCE,
    "note",
)


def claims_json(views: Sequence[View], results: str) -> str:
    """Return every claim of every record, as ``claims.schema.json`` has it.

    Args:
      views: all experiments.
      results: the name of the folder, beside the file, that holds the records.
    """
    records = [_record(view, entry, results) for view in views for entry in view.entries]
    verdicts = [claim["verdict"] for record in records for claim in record["claims"]]
    totals = {"records": len(records), "claims": len(verdicts)}
    totals |= {verdict: verdicts.count(verdict) for verdict in ORDER}
    told = {"format": FORMAT, "totals": totals, "records": records}
    return json.dumps(_finite(told), indent=1, allow_nan=False) + "\n"


def claims_csv(view: View) -> str:
    """Return the claims of an experiment as CSV, a row for every claim of every record."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for entry in view.entries:
        for one in entry.judgements:
            known = one.to_dict() | {"record": entry.name, "experiment": entry.record.experiment}
            writer.writerow([_cell(known[name]) for name in _COLUMNS])
    return text.getvalue()


def is_claims(content: bytes) -> bool:
    """Return whether a file is one that ``claims_json`` or ``claims_csv`` made."""
    head = content[:100]
    return b'"format": "jaxvision claims' in head or head.startswith(b"record,experiment,id,")


def anchor(judgement: Judgement) -> str:
    """Return the name of a claim's place on its page, quoted for an address."""
    return "claim-" + urllib.parse.quote(judgement.id, safe="", errors="surrogateescape")


def _record(view: View, entry: Entry, results: str) -> dict[str, Any]:
    record = entry.record
    known = record.provenance
    page = link("pages", f"{view.name}.html")
    return {
        "record": entry.name,
        "experiment": record.experiment,
        "theme": view.theme,
        "title": view.title,
        "finding": view.sentence,
        "preset": record.preset,
        "command": record.command,
        "config": record.config,
        "data": known.get("data", []),
        "made": {name: known[name] for name in _MADE if name in known},
        "page": page,
        "files": [link(results, entry.name, file) for file in entry.files],
        "claims": [_claim(one, page) for one in entry.judgements],
    }


def _claim(one: Judgement, page: str) -> dict[str, Any]:
    evidence = {name: getattr(one, name) for name in _EVIDENCE}
    return {
        "id": one.id,
        "address": f"{page}#{anchor(one)}",
        "source": one.source,
        "paper": paper_of(one.source),
        "sentence": one.sentence,
        "tier": one.tier,
        "rule": {"text": one.rule, **(one.criterion or {})},
        "verdict": one.verdict,
        "evidence": {**evidence, "confidence": CONFIDENCE},
        "note": one.note,
    }


def _finite(value: Any) -> Any:
    """Return JSON values with None for every number that JSON does not have."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cell(value: Any) -> Any:
    """Return what a spreadsheet shows as it is: text is no formula, what is no number is empty."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
    return _finite(value)
