"""What runs can be compared by: numbers by name, one for each seed or one in all."""

import contextlib
import dataclasses
import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jaxvision.report import stats
from jaxvision.report.claims import Claim
from jaxvision.report.named import are_steps
from jaxvision.report.record import Record

Values = np.ndarray  # float64: [S], one for each seed, or [], one in all


@dataclasses.dataclass(frozen=True)
class Difference:
    """An outcome of one run less that of another, paired by seed.

    Attributes:
      interval: of the mean, 90 %.
      n: seeds that both have.
      p: two-sided; among several differences Holm's.
    """

    interval: stats.Interval
    n: int
    p: float


def of_claims(claims: Sequence[Claim], record: Record) -> dict[str, Values]:
    """Return the statistics of those claims that the record has measured, by id.

    One that an older version of the experiment has recorded otherwise is left out.
    """
    known = {claim["id"] for claim in record.claims if claim["estimate"] is not None}
    found = {}
    for claim in claims:
        if claim.id not in known:
            continue
        with contextlib.suppress(KeyError, IndexError):
            values = claim.statistic(record)
            found[claim.id] = np.asarray(values, np.float64)
    return found


def measured(record: Record) -> dict[str, Values]:
    """Return what the record holds for each seed, by the array's name, and its single numbers.

    Of an array with more axes than that of the seeds the last entry counts: the end of the training
    or the last layer.
    """
    counts = _seed_counts(record)
    shapes = {(count,) for count in counts}
    found = {}
    for name, array in record.arrays.items():
        by_seed = array.ndim and len(array) in counts and not are_steps(name)
        if _is_real(array) and array.size and by_seed:
            last = array.reshape(len(array), -1)[:, -1]
            found[name] = last.astype(np.float64)
    for name, value in _leaves(record.numbers):
        array = np.asarray(value)
        by_seed_or_one = array.ndim == 0 or array.shape in shapes
        if _is_real(array) and by_seed_or_one:
            found[name] = array.astype(np.float64)
    return found


def _is_real(array: np.ndarray) -> bool:
    return array.dtype.kind in "biuf"


def missing(name: str, known: Sequence[str]) -> str:
    """Return the line that refuses an outcome that there is not."""
    close = difflib.get_close_matches(name, known, 3)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return f"--outcome: there is no {name!r}: {hint}--outcome=list shows what there is"


def default(runs: Sequence[Record]) -> str:
    """Return the claim to show: the first whose verdicts differ, else whose numbers do.

    Where all are the same it is the first that is measured; "" where none is in any run.
    """
    verdicts: dict[str, set[str]] = {}
    numbers: dict[str, set[float]] = {}
    for record in runs:
        for claim in record.claims:
            if claim["estimate"] is None:
                continue
            verdicts.setdefault(claim["id"], set()).add(claim["verdict"])
            numbers.setdefault(claim["id"], set()).add(claim["estimate"])
    judged_apart = [name for name, found in verdicts.items() if len(found) > 1]
    apart = [name for name, found in numbers.items() if len(found) > 1]
    return next(iter([*judged_apart, *apart, *verdicts]), "")


def why_unpaired(one: Record, other: Record) -> str:
    """Return why the seeds of two runs cannot be paired; "" where they can."""
    first, second = (record.config.get("first_seed") for record in (one, other))
    if first is None or second is None:
        return "the experiment has no seeds"
    if first != second:
        return f"the runs begin with other seeds ({first} and {second})"
    return ""


def by_seed(record: Record, values: Values | None) -> bool:
    """Whether an outcome has one number for each seed."""
    return values is not None and values.ndim == 1 and len(values) in _seed_counts(record)


def difference(one: Values, other: Values) -> Difference:
    """Return ``other`` less ``one``, [S] each, over the seeds that both have."""
    n = min(len(one), len(other))
    values = other[:n] - one[:n]
    smaller = np.minimum(stats.greater_p(values), stats.less_p(values))
    both_sides = np.minimum(1.0, 2 * smaller)
    return Difference(stats.t_interval(values), n, float(both_sides))


def corrected(differences: Mapping[str, Difference]) -> dict[str, Difference]:
    """Return the differences with p-values that are corrected for their number (Holm)."""
    if not differences:
        return {}
    p_values = stats.holm([each.p for each in differences.values()])
    return {
        name: dataclasses.replace(each, p=p)
        for (name, each), p in zip(differences.items(), p_values, strict=True)
    }


def ends(means: Mapping[str, float]) -> tuple[str, str] | None:
    """Return the names of the lowest and of the highest mean; None where fewer than two are finite.

    A run that is not finite is never either of them, wherever it stands.
    """
    finite = [name for name, mean in means.items() if np.isfinite(mean)]
    if len(finite) < 2:
        return None
    lowest = min(finite, key=means.__getitem__)
    highest = max(finite, key=means.__getitem__)
    return lowest, highest


def _seed_counts(record: Record) -> set[int]:
    """Return how many seeds the run has, and parts of it."""
    counts = set()
    for name, value in record.config.items():
        if name.endswith("seeds") and isinstance(value, int):
            counts.add(value)
    return counts - {0}


def _leaves(numbers: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in numbers.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{name}/")
        elif isinstance(value, bool | int | float | list) and value != []:
            yield f"{above}{name}", value
