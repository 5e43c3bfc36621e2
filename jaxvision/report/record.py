"""A run's record on disk: written whole or not at all, checked when it is read.

A record directory holds ``record.json`` (what was run, numbers, claims, provenance), ``arrays.npz``
and ``figure.png``. Measuring writes it, drawing only reads it.
"""

import dataclasses
import errno
import hashlib
import io
import json
import os
import pathlib
import re
import shutil
import zipfile
import zlib
from typing import Any, get_origin

import numpy as np

from jaxvision.report import provenance
from jaxvision.types import UserError

FORMAT = "jaxvision record 1"
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """Everything a figure and a verdict are made from.

    Attributes:
      experiment: name of the experiment, as in ``experiments/<name>.py``.
      preset: name of the preset the config began from.
      run_name: name of the record's directory.
      command: the command that made it.
      config: the config's fields.
      numbers: nested dict of JSON values; numpy values and tuples become numbers and lists.
      arrays: name -> array of numbers or booleans.
      claims: judged claims, ``Judgement.to_dict()`` each.
      provenance: see ``provenance.describe``, and ``earlier``: what else made a part of it.
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
_FIELDS = {f.name: get_origin(f.type) or f.type for f in dataclasses.fields(Record)}
del _FIELDS["arrays"]


def run_directory(root: str | os.PathLike, run_name: str) -> pathlib.Path:
    """Return the directory of the run ``run_name`` right below ``root``; creates nothing.

    Raises:
      UserError: the name could lead elsewhere, or something that is no directory has it.
    """
    if not RUN_NAME.fullmatch(run_name) or ".." in run_name:
        legal = "1 to 64 letters, digits, '_', '-' or single '.', a letter or digit first"
        raise UserError(f"run name {run_name!r}: use {legal}")
    root = pathlib.Path(root).resolve()
    directory = root / run_name
    if directory.is_symlink() or directory.resolve().parent != root:
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
    config, numbers = _decode(json.loads(json.dumps(_encode([record.config, record.numbers]))))
    arrays = {name: np.asarray(array) for name, array in record.arrays.items()}
    return dataclasses.replace(record, config=config, numbers=numbers, arrays=arrays)


def save(record: Record, figure: Any | None, directory: str | os.PathLike) -> None:
    """Write the record, replacing the one at ``directory`` in one step.

    Everything is written and flushed to a sibling directory first. Then the old record is parked
    and the new one takes its place; a process that dies between these two renames leaves the old
    record parked, where ``load`` finds it. ``figure`` is a matplotlib Figure or None.

    Raises:
      UserError: the file system refuses (full disk, no permission). The old record stays.
      TypeError, ValueError: the record holds what its format cannot (a mistake in the experiment).
    """
    directory = pathlib.Path(directory)
    arrays = _npz(record.arrays)
    fields = {"format": FORMAT, "arrays_sha256": hashlib.sha256(arrays).hexdigest()}
    fields |= {name: getattr(record, name) for name in _FIELDS}
    text = json.dumps(_encode(fields), indent=1, allow_nan=False)
    files = {"record.json": (text + "\n").encode(), "arrays.npz": arrays}
    if figure is not None:
        from jaxvision.report import plots  # matplotlib takes half a second to import

        files["figure.png"] = plots.to_png(figure)
        files["figure.svg"] = plots.to_svg(figure)
    try:
        _replace(directory, files)
    except OSError as error:
        what = f"cannot write the record to {directory}: {error.strerror or error}"
        raise UserError(f"{what}; mend this and run again (an older record stays whole)") from error


def load(directory: str | os.PathLike) -> Record:
    """Read and verify the record at ``directory``.

    Raises:
      UserError: it is missing, truncated, damaged or not a record of this version.
    """
    directory = resolve(directory)
    try:
        text = (directory / "record.json").read_bytes()
        packed = (directory / "arrays.npz").read_bytes()
    except OSError as error:
        what = f"no whole record in {directory}: {error.strerror or error}"
        raise UserError(f"{what}; run the experiment first") from error
    damaged = UserError(f"{directory} holds a damaged or foreign record; run the experiment again")
    try:
        fields = _decode(json.loads(text))
    except (TypeError, ValueError, RecursionError) as error:
        raise damaged from error
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise damaged
    if any(not isinstance(fields.get(name), kind) for name, kind in _FIELDS.items()):
        raise damaged
    if fields.get("arrays_sha256") != hashlib.sha256(packed).hexdigest():
        raise UserError(f"{directory}/arrays.npz is damaged (wrong checksum); run it again")
    try:
        with np.load(io.BytesIO(packed), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise damaged from error
    return Record(arrays=arrays, **{name: fields[name] for name in _FIELDS})


def resolve(directory: str | os.PathLike) -> pathlib.Path:
    """Return ``directory``, first putting back a record that a dying ``save`` left parked."""
    directory = pathlib.Path(directory)
    parked = _parked(directory)
    if parked.is_dir() and not directory.exists():
        try:
            os.rename(parked, directory)
        except OSError:  # read-only, or another process was faster
            return directory if directory.exists() else parked
    return directory


def _replace(directory: pathlib.Path, files: dict[str, bytes]) -> None:
    """Make ``directory`` hold exactly ``files``, durably, with no half state in sight."""
    parent, parked = directory.parent, _parked(directory)
    fresh = parent / f".{directory.name}.new-{os.getpid()}"
    parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir()
        for name, content in files.items():
            with open(fresh / name, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        _sync(fresh)
        while not _exchange(fresh, directory, parked):
            pass  # a reader took us for dead
        _sync(parent)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(parked, ignore_errors=True)


def _exchange(fresh: pathlib.Path, directory: pathlib.Path, parked: pathlib.Path) -> bool:
    """Park the old record, put the new one in its place; False: a reader put the old one back."""
    if directory.exists():
        shutil.rmtree(parked, ignore_errors=True)  # older than the record that is in place
        os.rename(directory, parked)
    try:
        os.rename(fresh, directory)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST) and directory.is_dir():
            return False
        if parked.exists():
            os.rename(parked, directory)
        raise
    return True


def _parked(directory: pathlib.Path) -> pathlib.Path:
    # No run name begins with a dot, so no run can be called this.
    return directory.parent / f".{directory.name}.old"


def _sync(directory: pathlib.Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    """Pack as ``np.savez_compressed``, but any name is legal and equal arrays give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(arrays):
            array = np.asarray(arrays[name])
            if array.dtype.kind not in "biufc":
                raise TypeError(f"array {name!r}: cannot store dtype {array.dtype}")
            entry = zipfile.ZipInfo(f"{name}.npy")  # its date is a constant
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    return buffer.getvalue()


def _encode(value: Any) -> Any:
    """Turn ``value`` into strict JSON; a float that is not finite becomes ``{"float": "nan"}``."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else {"float": repr(float(value))}
    if isinstance(value, dict):
        if value.keys() == {"float"} or any(not isinstance(key, str) for key in value):
            raise ValueError(f"keys of a record must be strings, and not 'float' alone: {value}")
        return {key: _encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(item) for item in value]
    if hasattr(value, "tolist"):  # numpy and jax arrays and scalars
        return _encode(value.tolist())
    raise TypeError(f"a record cannot hold a {type(value).__name__}: {value!r}")


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"float"}:
            return float(value["float"])
        return {key: _decode(item) for key, item in value.items()}
    return [_decode(item) for item in value] if isinstance(value, list) else value
