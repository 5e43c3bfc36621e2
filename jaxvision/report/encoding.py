"""The two files of a record as bytes: strict JSON under a seal, and arrays in a zip file."""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

LARGEST = 1 << 30  # bytes of all arrays, unpacked: a file may claim any number
_SEAL = "sha256"
_SEALED = re.compile(rf'"{_SEAL}": "([0-9a-f]{{64}})"'.encode())
_UNSEALED = f'"{_SEAL}": ""'.encode()


def encode(value: Any) -> Any:
    """Turn ``value`` into strict JSON; a float that is not finite becomes ``{"float": "nan"}``.

    Raises:
      TypeError, ValueError: it holds what could not be read back.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else {"float": repr(float(value))}
    if isinstance(value, dict):
        if value.keys() == {"float"} or any(not isinstance(key, str) for key in value):
            raise ValueError(f"keys of a record must be strings, and not 'float' alone: {value}")
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    if hasattr(value, "tolist"):  # numpy and jax arrays and scalars
        return encode(value.tolist())
    raise TypeError(f"a record cannot hold a {type(value).__name__}: {value!r}")


def decode(value: Any) -> Any:
    """Undo ``encode``."""
    if isinstance(value, dict):
        if value.keys() == {"float"}:
            return float(value["float"])
        return {key: decode(item) for key, item in value.items()}
    return [decode(item) for item in value] if isinstance(value, list) else value


def seal(kind: str, fields: Mapping[str, Any]) -> bytes:
    """Return the fields as a JSON file that holds its own hash.

    Args:
      kind: what file it is, and of which version; it comes first.
      fields: see ``encode``.
    """
    values = encode({"format": kind, _SEAL: "", **fields})
    body = (json.dumps(values, indent=1, allow_nan=False) + "\n").encode()
    digest = hashlib.sha256(body).hexdigest()
    return body.replace(_UNSEALED, f'"{_SEAL}": "{digest}"'.encode(), 1)


def unseal(kind: str, text: bytes) -> dict[str, Any]:
    """Return the fields of a JSON file, without its kind and its hash.

    Args:
      kind: what file it must be, and of which version.
      text: the file.

    Raises:
      ValueError: it is of another kind, or a bit of it has changed.
    """
    try:
        fields = decode(json.loads(text))
    except (TypeError, RecursionError) as error:
        raise ValueError("no JSON that a record could be") from error
    if not isinstance(fields, dict) or fields.pop("format", None) != kind:
        raise ValueError("another format")
    found = _SEALED.search(text)
    body = _SEALED.sub(_UNSEALED, text, count=1)
    if found is None or found[1].decode() != hashlib.sha256(body).hexdigest():
        raise ValueError("wrong checksum")
    if fields.pop(_SEAL, None) != found[1].decode():
        raise ValueError("the hash of another field")
    return fields


def pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Pack as ``np.savez_compressed``, but any name is legal and equal arrays give equal bytes.

    Raises:
      TypeError: an array holds neither numbers nor booleans.
    """
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


def unpack(packed: bytes) -> dict[str, np.ndarray]:
    """Return the arrays of a zip file.

    Raises:
      ValueError: it is no such file, or is larger than ``LARGEST``.
    """
    try:
        with np.load(io.BytesIO(packed), allow_pickle=False) as archive:
            if sum(entry.file_size for entry in archive.zip.infolist()) > LARGEST:
                raise ValueError(f"more than {LARGEST} bytes")
            arrays = {name: archive[name] for name in archive.files}
    # What zipfile and numpy make of foreign bytes is any error at all.
    except Exception as error:
        raise ValueError(f"no arrays: {error}") from error
    if not all(isinstance(a, np.ndarray) and a.dtype.kind in "biufc" for a in arrays.values()):
        raise ValueError("arrays of neither numbers nor booleans")
    return arrays


def same_arrays(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    """Return whether all arrays agree in name, type, shape and every bit."""
    if one.keys() != other.keys():
        return False
    return all(_bits(one[name]) == _bits(other[name]) for name in one)


def _bits(array: np.ndarray) -> tuple[np.dtype, tuple[int, ...], bytes]:
    return array.dtype, array.shape, array.tobytes()
