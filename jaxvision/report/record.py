"""A run's record on disk: written whole or not at all, checked when it is read.

A record directory holds ``record.json`` (what was run, numbers, claims, provenance), ``arrays.npz``
and the figure, as ``figure.png`` and ``figure.svg``, perhaps with an ``animation.gif``. Measuring
writes it, drawing only reads it.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxvision.report import encoding, folders, provenance
from jaxvision.report.judgement import Judgement
from jaxvision.report.schema import fits
from jaxvision.types import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_KIND = "jaxvision record"
FORMAT = f"{_KIND} 2"
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
PAGE = "README.md"  # the gallery's page of a record lies beside it and outlives a redrawing
_OURS = ("record.json", "arrays.npz", "figure.png", "figure.svg", "animation.gif")


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """Everything a figure and a verdict are made from.

    Attributes:
      experiment: name of the experiment, as in ``experiments/<theme>/<name>.py``.
      preset: name of the preset the config began from.
      run_name: name of the record's directory.
      command: the command that made it.
      config: the config's fields.
      numbers: nested dict of JSON values; numpy values and tuples become numbers and lists.
      arrays: name -> array of numbers or booleans.
      claims: judged claims, ``Judgement.to_dict()`` each.
      provenance: see ``provenance.Known``.
    """

    experiment: str
    preset: str
    run_name: str
    command: str
    config: dict[str, Any]
    numbers: dict[str, Any]
    arrays: dict[str, np.ndarray]
    claims: list[dict[str, Any]]
    provenance: dict[str, Any]

    @property
    def verdicts(self) -> dict[str, str]:
        """The verdicts by claim."""
        return {claim["id"]: claim["verdict"] for claim in self.claims}

    def origin(self) -> str:
        """Return seeds (also of parts), preset, device, commit, date and duration in one line."""
        known, seeds = self.provenance, self.config.get("seeds")
        apart = [(name, n) for name, n in self.config.items() if name.endswith("_seeds")]
        seconds, earlier = known.get("wall_time_s"), known.get("earlier", [])
        parts = [
            f"n = {seeds} seeds" if seeds is not None else "",
            *(f"{n} {name.replace('_', ' ')}" for name, n in apart),
            f"preset {self.preset}",
            provenance.line(known),
            f"{seconds:.0f} s" if isinstance(seconds, int | float) else "",
        ]
        origin = ", ".join(filter(None, parts))
        if earlier:
            first = f"{', '.join(earlier[0]['differs'])}: {provenance.line(earlier[0])}"
            origin += f"; begun with other {first}"
            origin += f" (and {len(earlier) - 1} more)" if len(earlier) > 1 else ""
        return origin


# The fields of record.json and their kinds; the arrays lie beside it.
_FIELDS = {
    "experiment": str,
    "preset": str,
    "run_name": str,
    "command": str,
    "config": dict[str, Any],
    "numbers": dict[str, Any],
    "claims": list[Judgement],
    "provenance": provenance.Known,
}


def run_directory(root: str | os.PathLike, run_name: str) -> pathlib.Path:
    """Return the directory of the run ``run_name`` right below ``root``; creates nothing.

    Raises:
      UserError: the root cannot be followed, the name could lead elsewhere, or something that is no
        directory has it.
    """
    if not RUN_NAME.fullmatch(run_name) or ".." in run_name:
        legal = "1 to 64 letters, digits, '_', '-' or single '.', a letter or digit first"
        raise UserError(f"run name {run_name!r}: use {legal}")
    root = folders.place(root)
    directory = root / run_name
    if directory.is_symlink():
        raise UserError(f"run name {run_name!r}: {directory} is a link; take another name")
    if directory.exists() and not directory.is_dir():
        raise UserError(f"run name {run_name!r}: {directory} is a file; take another name")
    return directory


def as_stored(record: Record) -> Record:
    """Return the record as ``load`` will read it: JSON numbers and lists, numpy arrays.

    A verdict on it is the verdict that any later reader comes to.

    Raises:
      TypeError, ValueError: as ``save``.
    """
    told = encoding.encode([record.config, record.numbers])
    config, numbers = encoding.decode(json.loads(json.dumps(told)))
    arrays = {name: np.asarray(array) for name, array in record.arrays.items()}
    return dataclasses.replace(record, config=config, numbers=numbers, arrays=arrays)


def save(
    record: Record,
    draw: Callable[[], "Figure"] | None,
    directory: str | os.PathLike,
    animate: Callable[[], bytes | None] | None = None,
) -> None:
    """Write the record, replacing the one at ``directory`` in one step.

    Files of others in its folder stay there. Where nothing has changed nothing is written. Where
    the figure cannot be drawn, or Ctrl-C ends its drawing, the record is written without it, and
    the error goes on.

    Args:
      record: what is written.
      draw: makes the figure; None: there is none.
      directory: where to; its parents are made.
      animate: makes a GIF beside the figure; None, or where it returns None: there is none.

    Raises:
      UserError: the file system refuses (full disk, no permission). The old record stays.
      TypeError, ValueError: the record holds what its format cannot (a mistake in the experiment).
    """
    directory = folders.place(directory)
    arrays = _packed(record, directory)
    fields = {"arrays_sha256": hashlib.sha256(arrays).hexdigest()}
    fields |= {name: getattr(record, name) for name in _FIELDS}
    files = {"record.json": encoding.seal(FORMAT, fields), "arrays.npz": arrays}
    try:
        pictures = _pictures(draw)
        if animate is not None and (gif := animate()) is not None:
            pictures["animation.gif"] = gif
    except Exception:
        _write_bare(directory, files)
        raise
    except KeyboardInterrupt:
        _write_bare(directory, files)
        raise KeyboardInterrupt("the record is kept; --plot_only draws the figure") from None
    _write(directory, files | pictures)


def load(directory: str | os.PathLike) -> Record:
    """Read and verify the record at ``directory``.

    Raises:
      UserError: it is missing, truncated, damaged or not a record that this version reads.
    """
    directory = folders.place(directory)
    try:
        text, packed = folders.read(directory, ["record.json", "arrays.npz"])
    except OSError as error:
        what = f"no whole record in {directory}: {error.strerror or error}"
        raise UserError(f"{what}; run the experiment first") from error
    try:
        fields = encoding.unseal(FORMAT, text)
        if fields.pop("arrays_sha256", None) != hashlib.sha256(packed).hexdigest():
            raise ValueError("arrays.npz has a wrong checksum")
        for name, kind in _FIELDS.items():
            if name not in fields or not fits(fields[name], kind):
                raise ValueError(f"{name!r} is not as it must be")
        return Record(arrays=encoding.unpack(packed), **{name: fields[name] for name in _FIELDS})
    except ValueError as error:
        what = f"{directory} holds a damaged or foreign record ({error})"
        raise UserError(f"{what}; run the experiment again") from error


def is_occupied(directory: pathlib.Path) -> bool:
    """Whether a folder holds files and no record, neither a whole one nor a damaged one.

    Raises:
      UserError: the folder cannot be read.
    """
    if not directory.exists():
        return False
    try:
        names = {path.name for path in directory.iterdir()} - {PAGE}
        if "record.json" not in names:
            return bool(names)
        text = (directory / "record.json").read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {directory}: {error.strerror or error}") from error
    return bool(text) and _KIND.encode() not in text


def _packed(record: Record, directory: pathlib.Path) -> bytes:
    """Return the arrays as a file: the one that is there, where it holds the same to the bit.

    Another machine's zlib packs the same arrays into other bytes.
    """
    packed = encoding.pack(record.arrays)
    try:
        (there,) = folders.read(directory, ["arrays.npz"])
        arrays = {name: np.asarray(array) for name, array in record.arrays.items()}
        return there if encoding.same_arrays(encoding.unpack(there), arrays) else packed
    except (OSError, ValueError):
        return packed


def _pictures(draw: Callable[[], "Figure"] | None) -> dict[str, bytes]:
    if draw is None:
        return {}
    from jaxvision.report import plots  # matplotlib takes half a second to import

    figure = draw()
    return {"figure.png": plots.to_png(figure), "figure.svg": plots.to_svg(figure)}


def _write_bare(directory: pathlib.Path, files: dict[str, bytes]) -> None:
    """Write a record without a figure; where the same record lies there, so does its figure."""
    with contextlib.suppress(OSError):
        if folders.read(directory, list(files)) == list(files.values()):
            return
    _write(directory, files)


def _write(directory: pathlib.Path, files: dict[str, bytes]) -> None:
    try:
        folders.replace(directory, files, ours=_OURS)
    except OSError as error:
        what = f"cannot write the record to {directory}: {error.strerror or error}"
        raise UserError(f"{what}; mend this and run again (an older record stays whole)") from error
