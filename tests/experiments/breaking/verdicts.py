"""What an experiment says of numbers that a test has made or broken."""

import dataclasses
from types import ModuleType
from typing import Any

from jaxvision.report.claims import judge
from jaxvision.report.record import Record, as_stored


def verdicts(
    experiment: ModuleType,
    config: Any,
    numbers: dict,
    arrays: dict,
) -> dict[str, str]:
    """Return each claim's verdict on a record of these numbers."""
    name = experiment.__name__
    fields = dataclasses.asdict(config)
    record = Record(name, "cpu", "broken", "a test", fields, numbers, arrays, [], {})
    found = judge(experiment.claims(config), as_stored(record))
    return {claim.id: claim.verdict for claim in found}
