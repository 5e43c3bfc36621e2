"""``--claim``: the run of what one claim needs."""

import difflib
import inspect
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from jaxvision import progress as progress_lib
from jaxvision.cli.parsing import name_of
from jaxvision.report.claims import Claim
from jaxvision.types import UserError


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
    """Return what ``measure`` is called with for this claim: its table without the other rows.

    The table is the first argument of ``measure`` whose default is a mapping. Nothing where the
    claim names no rows: then all is measured, and a note says so.

    Raises:
      ValueError: the claim names rows that there are not (a mistake of the experiment).
    """
    if claim.needs is None:
        progress_lib.note(f"claim {claim.id} needs the whole experiment: all of it is run")
        return {}
    name, table = _table(experiment)
    if missing := set(claim.needs) - set(table):
        raise ValueError(f"claim {claim.id!r} needs {sorted(missing)}, which are no rows of {name}")
    kept = {row: value for row, value in table.items() if row in claim.needs}
    told = f"{len(kept)} of the {len(table)} {name}: {', '.join(kept)}" if kept else f"no {name}"
    progress_lib.note(f"claim {claim.id} needs {told}")
    return {name: kept}


def _table(experiment: ModuleType) -> tuple[str, Mapping[str, Any]]:
    """Return the name and the default of the argument of ``measure`` that is its table."""
    for name, parameter in inspect.signature(experiment.measure).parameters.items():
        if isinstance(parameter.default, Mapping):
            return name, parameter.default
    raise ValueError(f"{name_of(experiment)} has no table, and claims that name its rows")
