"""Where a record goes, and what it is called there: refused before the run, not after it."""

import contextlib
import dataclasses
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from absl import flags

from jaxvision import runtime
from jaxvision.cli.parsing import name_of
from jaxvision.longrun.workdir import config_hash
from jaxvision.report import folders
from jaxvision.report import record as records
from jaxvision.report.changes import run_title, same_set_up
from jaxvision.types import UserError

ROOT = Path(__file__).resolve().parents[2]
RUNS = "runs"  # below the working directory; git ignores it


def place(flag: str, text: str) -> Path:
    """Return the whole path that a flag names, whether something is there or not.

    Raises:
      UserError: the path is empty or cannot be followed; the line names the flag.
    """
    if not text:
        raise UserError(f"--{flag} must not be empty: name a directory")
    try:
        return folders.place(text)
    except UserError as error:
        raise UserError(f"--{flag}={error}") from error


def record_directory(experiment: ModuleType, values: flags.FlagValues, config: Any) -> Path:
    """Return the directory of the record of a run with this config; creates nothing.

    An untouched ``cpu`` preset in a checkout is the experiment's own record, which git tracks. All
    others go to ``runs`` below the working directory, or where ``--results`` says.

    Raises:
      UserError: the place or the name cannot be used.
    """
    given = changed_beside(values)
    default = default_run_name(experiment, values.preset, config, given)
    name = default if values.run_name is None else values.run_name
    if values.results is not None:
        root = place("results", values.results)
    elif name == default == name_of(experiment) and _in_checkout(experiment):
        root = own_record(experiment).parent
    else:
        root = place("results", RUNS)
    return records.run_directory(root, name)


def own_record(experiment: ModuleType) -> Path:
    """Return where the record of the experiment's untouched cpu preset lies in a checkout."""
    return ROOT / "experiments" / "results" / name_of(experiment)


def default_run_name(
    experiment: ModuleType, preset: str, config: Any, beside: dict[str, Any] | None = None
) -> str:
    """Return the directory name of a run that was given none.

    The ``cpu`` preset untouched is the experiment's own record; anything else gets a name of its
    own, so that trying a flag never replaces it. ``beside``: see ``changed_beside``.
    """
    name = name_of(experiment)
    if config == experiment.PRESETS[preset] and not beside:
        return name if preset == "cpu" else f"{name}-{preset}"
    return f"{name}-{preset}-{config_hash(dataclasses.asdict(config) | (beside or {}))}"


def changed_beside(values: flags.FlagValues) -> dict[str, Any]:
    """Return what is set beside the config and may change the numbers or the data."""
    found = {
        "--claim": values.claim,
        "--data_dir": values.data_dir and str(place("data_dir", values.data_dir)),
        "--data_devices": values.data_devices if values.data_devices > 1 else None,
        "--num_processes": values.num_processes if (values.num_processes or 1) > 1 else None,
        "--native": values.native if values.native != "auto" else None,
        "JAXVISION_DISABLE": ",".join(sorted(runtime.disabled())),
    }
    return {name: value for name, value in found.items() if value}


def check_writable(directory: Path) -> None:
    """Fail before the run, not after it, where its record could not be written.

    Raises:
      UserError: it could not.
    """
    parent = directory.parent
    try:
        while not parent.exists():
            parent = parent.parent
        with tempfile.TemporaryDirectory(prefix=".jaxvision-", dir=parent):
            pass
    except OSError as error:
        what = f"cannot write to {parent} ({error.strerror})"
        raise UserError(f"{what}: choose another directory with --results") from error


def check_free(
    experiment: ModuleType,
    values: flags.FlagValues,
    config: Any,
    directory: Path,
    command: str,
) -> None:
    """Fail before the run where its record would replace anything but a run of the same set-up.

    A name of our own says what the set-up is, so only one that the user gave is compared.

    Raises:
      UserError: the folder holds files and no record, or the record of another run.
    """
    other = "choose another --run_name or --results"
    if records.is_occupied(directory):
        raise UserError(f"{directory} holds files and no record of a run: {other}")
    try:
        there = records.load(directory)
    except UserError:  # there is none, or it is damaged
        return
    if there.experiment != name_of(experiment):
        raise UserError(f"{directory} holds a record of {there.experiment}: {other}")
    own_name = default_run_name(experiment, values.preset, config, changed_beside(values))
    asked = dataclasses.replace(
        there, preset=values.preset, config=dataclasses.asdict(config), command=command
    )
    if directory.name != own_name and not same_set_up(there, records.as_stored(asked)):
        raise UserError(
            f"{directory} holds another run, {run_title(there)!r}: {other}, or remove that folder"
        )


def shown(path: Path) -> str:
    """Return the path as the user may type it: relative where it is below the working directory."""
    with contextlib.suppress(OSError, ValueError):  # that directory was removed; it lies elsewhere
        path = path.relative_to(Path.cwd())
    return str(path)


def _in_checkout(experiment: ModuleType) -> bool:
    """Whether the experiment is one of a clone of the repository, not of an installed wheel."""
    file = Path(experiment.__file__).resolve()
    return file.is_relative_to(ROOT / "experiments") and (ROOT / "pyproject.toml").is_file()
