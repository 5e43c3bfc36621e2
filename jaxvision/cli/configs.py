"""Configs: from a preset and the flags that were given, and back from a record."""

import dataclasses
from types import ModuleType
from typing import Any

from jaxvision import data
from jaxvision.report.record import Record
from jaxvision.types import UserError


def make_config(experiment: ModuleType, preset: str, overrides: dict[str, Any]) -> Any:
    """Return the preset's config with every non-None override of a config field.

    A data set has one spelling, so that two spellings are one config.
    """
    names = {field.name for field in dataclasses.fields(experiment.Config)}
    given = {k: v for k, v in overrides.items() if k in names and v is not None}
    if "dataset" in given:
        given["dataset"] = data.spelled(given["dataset"])
    return dataclasses.replace(experiment.PRESETS[preset], **given)


def make_config_from(experiment: ModuleType, record: Record) -> Any:
    """Return the config a record was made with.

    Raises:
      UserError: the experiment's fields have changed since.
    """
    tuples = {k: tuple(v) if isinstance(v, list) else v for k, v in record.config.items()}
    try:
        return experiment.Config(**tuples)
    except TypeError as error:
        raise UserError(
            f"record {record.run_name} was made by another version of {record.experiment} "
            f"({error}); run the experiment again"
        ) from error
