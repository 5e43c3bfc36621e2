"""``--claim``: the run of what one claim needs."""

import difflib
import inspect
from collections.abc import Collection, Mapping
from types import ModuleType
from typing import Any

from jaxvision import progress as progress_lib
from jaxvision.cli.parsing import name_of
from jaxvision.report.claims import Claim
from jaxvision.types import UserError

LIST = "list"  # in place of an id


def listed(experiment: ModuleType, config: Any) -> str:
    """Return the claims of a set-up, an id and its sentence a line."""
    claims = experiment.claims(config)
    width = max((len(claim.id) for claim in claims), default=0)
    return "\n".join(f"{claim.id:{width}}  {claim.sentence}" for claim in claims)


def find(experiment: ModuleType, config: Any, id: str) -> Claim:
    """Return the claim of that id.

    Raises:
      UserError: there is none, or the set-up lacks what it needs.
    """
    claims = {claim.id: claim for claim in experiment.claims(config)}
    if id not in claims:
        near = difflib.get_close_matches(id, claims, 1)
        hint = f"did you mean {near[0]}? There are" if near else "there are"
        name = name_of(experiment)
        raise UserError(f"--claim: {name} has no claim {id!r}: {hint} {', '.join(claims)}")
    claim = claims[id]
    if claim.not_run:
        raise UserError(f"--claim={id} cannot be run with this set-up: {claim.not_run}")
    return claim


def rows(experiment: ModuleType, claim: Claim) -> dict[str, Any]:
    """Return what ``measure`` is called with for this claim: its tables without the other rows.

    A table is the first argument of ``measure`` whose default is a mapping, and an argument
    ``parts``, a tuple of names. Nothing where the claim names no rows: then all is measured, and a
    note says so.

    Raises:
      ValueError: the claim names rows that there are not (a mistake of the experiment).
    """
    if claim.needs is None:
        progress_lib.note(f"claim {claim.id} needs the whole experiment: all of it is run")
        return {}
    tables = tables_of(experiment)
    known = {row for table in tables.values() for row in table}
    if missing := set(claim.needs) - known:
        names = " or ".join(tables)
        raise ValueError(
            f"claim {claim.id!r} needs {sorted(missing)}, which are no rows of {names}"
        )
    kept = {name: _only(table, claim.needs) for name, table in tables.items()}
    told = [_told(name, table, kept[name]) for name, table in tables.items()]
    progress_lib.note(f"claim {claim.id} needs {', and '.join(told)}")
    return kept


def tables_of(experiment: ModuleType) -> dict[str, Mapping[str, Any] | tuple[str, ...]]:
    """Return the tables whose rows ``measure`` can leave out, by the name of the argument.

    Raises:
      ValueError: there is none, or two have a row of one name.
    """
    parameters = inspect.signature(experiment.measure).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    mappings = [name for name, default in defaults.items() if isinstance(default, Mapping)]
    tables = {name: defaults[name] for name in mappings[:1]}
    if "parts" in defaults:
        tables["parts"] = defaults["parts"]
    if not tables:
        raise ValueError(f"{name_of(experiment)} has no table, and claims that name its rows")
    rows = [row for table in tables.values() for row in table]
    if len(set(rows)) < len(rows):
        raise ValueError(f"{name_of(experiment)} has two rows of one name: {sorted(rows)}")
    return tables


def _only(
    table: Mapping[str, Any] | tuple[str, ...], needs: tuple[str, ...]
) -> Mapping[str, Any] | tuple[str, ...]:
    """Return the table with the rows that are needed."""
    if isinstance(table, Mapping):
        return {row: value for row, value in table.items() if row in needs}
    return tuple(row for row in table if row in needs)


def _told(name: str, table: Collection[str], kept: Collection[str]) -> str:
    """Return in words what is kept of a table."""
    if not kept:
        return f"no {name}"
    return f"{len(kept)} of the {len(table)} {name}: {', '.join(kept)}"
