"""Config fields as absl flags: how a value is read, checked and refused with a reason."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, get_args, get_origin

from absl import flags

from jaxvision.types import UserError

# The sum of two, such as a first seed and a number of seeds, is an int32 too.
_LARGEST = 10**9


def flagged(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] | None = None,
) -> Any:
    """Return a dataclass field that becomes an absl flag.

    Args:
      default: a bool, int, float, str, or a tuple of ints, floats or strs.
      help: one line for ``--help``, with the unit.
      low: inclusive lower bound of a number, or of every number in a tuple.
      high: inclusive upper bound, likewise.
      choices: the legal values of a str, or of every str in a tuple.
    """
    return dataclasses.field(
        default=default, metadata={"help": help, "low": low, "high": high, "choices": choices}
    )


def define(field: dataclasses.Field, values: flags.FlagValues) -> None:
    """Define the flag of a field made by ``flagged``; its default is None: the preset's."""
    default, meta = field.default, field.metadata
    bounds = f" ({_bounds(meta)})" if _bounds(meta) else ""
    text = f"{meta['help']}{bounds} [cpu default: {_shown(default)}]"
    common = {"default": None, "help": text, "flag_values": values}
    if get_origin(field.type) is tuple:
        kind, parser = get_args(field.type)[0], flags.CsvListSerializer(",")
        flags.DEFINE(_TupleParser(_checked(kind, meta)), field.name, serializer=parser, **common)
    elif field.type is bool:
        flags.DEFINE_boolean(field.name, **common)
    else:
        flags.DEFINE(_OneParser(_checked(field.type, meta)), field.name, **common)


def _shown(default: Any) -> str:
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _bounds(meta: dict[str, Any]) -> str:
    """Return the legal values in words, for the help and for refusals; "" where all are."""
    low, high, choices = meta["low"], meta["high"], meta["choices"]
    if choices is not None:
        return f"one of {', '.join(choices)}"
    if low is None:
        return "" if high is None else f"at most {high}"
    return f"at least {low}" if high is None else f"from {low} to {high}"


def _checked(kind: type, meta: dict[str, Any]) -> Callable[[str], Any]:
    """Return a parser of one value that raises ValueError with a reason."""
    low, high, choices = meta["low"], meta["high"], meta["choices"]

    def parse(text: str) -> Any:
        try:
            value = kind(text.strip())
        except ValueError:
            raise ValueError(f"{text!r} is not {_ARTICLE[kind]}") from None
        if kind is float and not math.isfinite(value):
            raise ValueError(f"{text!r} is not a finite number")
        if (low is not None and value < low) or (high is not None and value > high):
            raise ValueError(f"{text!r} must be {_bounds(meta)}")
        if kind is int and abs(value) > _LARGEST:
            raise ValueError(f"{text!r} is too large: at most {_LARGEST}")
        if choices is not None and value not in choices:
            raise ValueError(f"{text!r} is none of {', '.join(choices)}")
        if kind is str and not value:
            raise ValueError("it must not be empty")
        return value

    return parse


_ARTICLE = {int: "a whole number", float: "a number", str: "text"}


class _OneParser(flags.ArgumentParser):
    def __init__(self, parse: Callable[[str], Any]) -> None:
        self._parse = parse

    def parse(self, argument: Any) -> Any:
        return self._parse(argument)


class _TupleParser(_OneParser):
    def parse(self, argument: Any) -> tuple:
        values = tuple(self._parse(item) for item in argument.split(","))
        if len(set(values)) < len(values):
            raise ValueError(f"{argument!r} names a value twice")
        return values


def check_periods(config: Any, *flags: str) -> None:
    """Raise UserError unless each of the config's ``flags`` is a multiple of its ``period``."""
    for flag in flags:
        if (steps := getattr(config, flag)) % config.period:
            raise UserError(f"--{flag}={steps} must be a multiple of --period={config.period}")


def disjoint_seeds(first: int, count: int, tuning: int) -> tuple[range, range]:
    """Return the seeds of a comparison and those, from 1000, that choose its rates.

    Raises:
      UserError: they have one in common.
    """
    seeds, others = range(first, first + count), range(1000, 1000 + tuning)
    if first < others.stop and seeds.stop > others.start:
        raise UserError(
            f"seeds {first} to {seeds[-1]} meet {others.start} to {others[-1]}, which choose the"
            " rates: take others by --first_seed"
        )
    return seeds, others
