"""Configs: from a preset and the flags that were given, and back from a record."""

import dataclasses
import re
from types import ModuleType
from typing import Any

from absl import flags

from jaxvision import data
from jaxvision.data.locate import data_root
from jaxvision.report.changes import as_flag
from jaxvision.report.record import Record
from jaxvision.types import UserError

_OFTEN = ("mnist", "fashion_mnist", "cifar10", "cifar100", "svhn_cropped")
# A number after the last @ without px, or a negative one with it.
_NO_SIZE = re.compile(r"@(?:(\d{1,5})|[-+]\d+(?:px)?)$")


def make_config(experiment: ModuleType, preset: str, overrides: dict[str, Any]) -> Any:
    """Return the preset's config with every non-None override of a config field.

    A data set has one spelling, so that two spellings are one config.
    """
    names = {field.name for field in dataclasses.fields(experiment.Config)}
    given = {k: v for k, v in overrides.items() if k in names and v is not None}
    if "dataset" in given:
        _check_spelling(given["dataset"])
        _check_pixels(given["dataset"])
        given["dataset"] = data.spelled(given["dataset"])
    return dataclasses.replace(experiment.PRESETS[preset], **given)


def _check_spelling(name: str) -> None:
    """Refuse a well-known set that is written as papers do it, such as CIFAR-10.

    Raises:
      UserError: with its name here.
    """
    base = re.split("[:/@]", name)[0]
    if not base or (data_root() / base).exists():
        return
    for known in (*data.EMBEDDED, *_OFTEN):
        if base != known and _letters(base) == _letters(known):
            raise UserError(f"unknown data set {name!r}: did you mean {known}?")


def _letters(name: str) -> str:
    return re.sub("[-_]", "", name).lower()


def _check_pixels(name: str) -> None:
    """Refuse a number after the last @ that is not written as a size is.

    Raises:
      UserError: it would be looked for as a label.
    """
    found = _NO_SIZE.search(name)
    if found:
        example = found[1] or "64"
        raise UserError(f"--dataset={name!r}: a size is written @{example}px")


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


def check_as_measured(
    experiment: ModuleType, values: flags.FlagValues, config: Any, record: Record
) -> None:
    """Refuse flags that a record's run did not have: it is drawn as it was measured.

    Args:
      experiment: whose record it is.
      values: the command line's flags, of which those given are compared.
      config: made of them.
      record: to be drawn.

    Raises:
      UserError: one differs.
    """
    kept = dataclasses.asdict(make_config_from(experiment, record)) | {"preset": record.preset}
    asked = dataclasses.asdict(config) | {"preset": values.preset}
    for name, measured in kept.items():
        if values[name].present and asked[name] != measured:
            raise UserError(
                f"record {record.run_name} was measured with --{name}={as_flag(measured)}, and "
                f"--plot_only measures nothing: leave out --{name}, or run without --plot_only"
            )
