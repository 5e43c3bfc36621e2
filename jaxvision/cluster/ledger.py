"""What has been done: a small file for each run, beside the records.

A cluster may run a command twice: where a worker dies between its last act and its answer, where it
is only thought dead, and where somebody starts a series again. The second time finds the file, and
changes nothing.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from jaxvision.report import folders

FOLDER = ".done"  # below the folder of the records; git ignores it


def is_done(record: Path, made_by: dict[str, Any]) -> bool:
    """Whether the record is there as ``made_by`` made it: whole, and replaced by nobody since.

    Args:
      record: the directory of the record.
      made_by: what decides its content, as for ``note``: JSON values.
    """
    try:
        known = json.loads(_place(record).read_text(encoding="utf-8"))
        return known == made_by | {"record": _digest(record)}
    except (OSError, ValueError):
        return False


def note(record: Path, made_by: dict[str, Any]) -> None:
    """Keep in mind that ``made_by`` has made this record.

    Raises:
      OSError: the file system refuses, or there is no record.
    """
    known = made_by | {"record": _digest(record)}
    place = _place(record)
    place.parent.mkdir(parents=True, exist_ok=True)
    folders.write_file(place, f"{json.dumps(known, indent=1)}\n".encode())


def _place(record: Path) -> Path:
    return record.parent / FOLDER / f"{record.name}.json"


def _digest(record: Path) -> str:
    """Return the digest of ``record.json``, which holds that of the arrays."""
    return hashlib.sha256((record / "record.json").read_bytes()).hexdigest()
