"""Finding the directory of a prepared set, or saying in one line why there is none."""

import dataclasses
import difflib
import os
import re
from pathlib import Path
from typing import Any

from jaxvision.data.embedded import EMBEDDED
from jaxvision.data.names import SetName
from jaxvision.types import UserError


def data_root(data_dir: str | None = None) -> Path:
    """Return the directory of prepared sets: the argument, ``$TFDS_DATA_DIR`` or TFDS's default."""
    chosen = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(os.path.expanduser(chosen))


def below(name: SetName, root: Path) -> SetName:
    """Return a path that lies below the data directory as the name that it has there."""
    if not name.is_path:
        return name
    path, top = (os.path.abspath(each) for each in (name.directory(root), root))
    if not path.startswith(f"{top}{os.sep}"):
        return name
    inside = dataclasses.replace(name, base=path[len(top) + 1 :])
    # Such a name would mean something else: an embedded set, or again a path.
    if inside.base in EMBEDDED or inside.is_path:
        return name
    return inside


def find(name: SetName, root: Path) -> Path:
    """Return the directory that holds the files of one version of the set.

    Raises:
      UserError: there is no such set or version, or the set comes in several forms.
      OSError: too long a name, a directory that must not be read.
    """
    if not name.base:
        raise _missing(name, root)
    base = name.directory(root)
    if _is_version(base) and not name.version:
        return base
    versions = _versions(base)
    fitting = [path for path in versions if name.fits(path.name)]
    if fitting:
        return max(fitting, key=_numbers)
    if versions:
        there = ", ".join(path.name for path in sorted(versions, key=_numbers))
        raise UserError(
            f"the data set {name.base!r} has no prepared version {name.version} in {base}; there"
            f" is {there}: name that one, or {_how_to_prepare(name)}"
        )
    configs = [child for child in _children(base) if _versions(child)]
    if len(configs) == 1:
        return find(dataclasses.replace(name, base=str(configs[0].absolute())), root)
    if configs:
        forms = (dataclasses.replace(name, base=f"{name.base}/{c.name}") for c in configs)
        names = ", ".join(repr(str(form)) for form in forms)
        raise UserError(f"the data set {name.base!r} comes in several forms, name one: {names}")
    if base.is_dir():
        raise _unfinished(base)
    raise _missing(name, root)


def is_prepared(directory: Path) -> bool:
    """Say whether a directory holds a version of a set that TFDS prepared, or of its configs."""
    if not os.path.isdir(directory):
        return False
    if _is_version(directory) or _versions(directory):
        return True
    return any(_versions(child) for child in _children(directory))


def tensorflow_datasets() -> Any:
    """Import TensorFlow Datasets, late: it is slow and only prepared sets need it."""
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise UserError(
            f"this data set needs TensorFlow Datasets ({error}): pip install tensorflow-datasets"
            " array_record importlib_resources pillow"
        ) from error
    return tensorflow_datasets


def _is_version(directory: Path) -> bool:
    return (directory / "dataset_info.json").is_file()


def _versions(directory: Path) -> list[Path]:
    """Return the finished versions that a directory holds."""
    every = SetName("")
    numbered = (child for child in _children(directory) if every.fits(child.name))
    return [child for child in numbered if _is_version(child)]


def _numbers(version: Path) -> list[int]:
    return [int(number) for number in version.name.split(".")]


def _children(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []


def _unfinished(directory: Path) -> UserError:
    """Tell a set whose preparation was interrupted from a folder of something else."""
    inside = [child.name for child in _children(directory)]
    if any(re.match(r"\d+\.\d+\.\d+", child) for child in inside):
        return UserError(
            f"{str(directory)!r} holds no finished version of a data set: prepare it again"
        )
    arrays = [child for child in inside if child.lower().endswith(".npz")]
    hint = f"; did you mean {str(directory / arrays[0])!r}?" if arrays else ""
    return UserError(
        f"{str(directory)!r} holds no images in class folders, no Parquet files and no prepared set"
        f"{hint}"
    )


def _nothing_there(name: SetName, root: Path) -> UserError:
    """Return the line about a path where nothing is."""
    path = name.directory(root)
    as_written = Path(os.path.expanduser(str(name)))
    hint = ""
    if as_written != path and as_written.exists():
        hint = ": its own name ends in what names a version, a label or a size here; rename it"
    elif not path.is_absolute():
        hint = f", looked for from {Path.cwd()}"
    return UserError(f"unknown data set {str(name)!r}: nothing is at {str(path)!r}{hint}")


def _missing(name: SetName, root: Path) -> UserError:
    """Tell an unprepared set from a name nobody knows."""
    if name.is_path:
        return _nothing_there(name, root)
    first = name.base.split("/")[0]
    if name.base and os.path.exists(name.base):
        return UserError(
            f"unknown data set {str(name)!r}: of what lies in this directory say './{name}'"
        )
    known = tensorflow_datasets().list_builders(with_community_datasets=False)
    if first in known:
        return UserError(
            f"the data set {str(name)!r} is not prepared in {root}: {_how_to_prepare(name)}, or"
            " point --data_dir or TFDS_DATA_DIR at the directory that holds it"
        )
    prepared = [child.name for child in _children(root) if child.is_dir()]
    near = difflib.get_close_matches(first, [*EMBEDDED, *prepared, *known], n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UserError(
        f"unknown data set {str(name)!r}: {hint}Without a download there are {', '.join(EMBEDDED)};"
        f" image-classification sets of TensorFlow Datasets work after `make data-<name>`"
        f" (looked in {root})"
    )


def _how_to_prepare(name: SetName) -> str:
    # A pattern rule of make cannot carry the slash of a config.
    plain = str(name) == name.base and "/" not in name.base
    command = "make data-" if plain else "python -m jaxvision.data.prepare "
    return f"run `{command}{dataclasses.replace(name, label='', size=0)}`"
