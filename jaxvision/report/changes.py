"""What a run does otherwise than its preset, in the words that a user would type."""

import itertools
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxvision.report.record import Record

# Flags that are no field of the config and change the numbers, or how many of them there are.
_BESIDE = ("claim", "data_dir", "data_devices", "native")


def changed_flags(record: Record) -> str:
    """Return the flags that a run was given beside its preset, as '--width=8 --dataset=mnist'.

    "" for an untouched preset. They are those of the record's command, each with the value that the
    record holds; flags that say where it lies or what is shown meanwhile are left out.
    """
    return " ".join(f"--{name}={value}" for name, value in _changes(record).items())


def run_title(record: Record) -> str:
    """Return what a run is called: experiment, preset unless it is 'cpu', changed flags."""
    preset = "" if record.preset == "cpu" else f"--preset={record.preset}"
    return " ".join(filter(None, [record.experiment, preset, changed_flags(record)]))


def same_set_up(one: Record, other: Record) -> bool:
    """Return whether two runs of an experiment measure the same: preset, config, flags beside."""
    if (one.preset, one.config) != (other.preset, other.config):
        return False
    beside = [
        {name: value for name, value in _changes(record).items() if name in _BESIDE}
        for record in (one, other)
    ]
    return beside[0] == beside[1]


def as_flag(value: Any) -> str:
    """Return a config's value as it is typed after the flag's ``=``."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _changes(record: Record) -> dict[str, str]:
    """Return name -> value, the last one where a flag was given twice."""
    try:
        words = shlex.split(record.command)
    except ValueError:  # the record of a program of its own: any text
        return {}
    return dict(_flags(words, record.config))


def _flags(words: Sequence[str], config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for word, after in itertools.pairwise([*words, ""]):
        if not word.startswith("-"):
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if name in config:
            yield name, as_flag(config[name])
        elif config.get(name.removeprefix("no")) is False:  # --noaugment
            yield name.removeprefix("no"), "False"
        elif name in _BESIDE:
            yield name, value if equals else after
