"""Config fields as absl flags: how a value is read, checked and refused with a reason."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_origin

from absl import flags

from jaxvision.types import UserError

# Of a whole number that names no bound of its own. Nets of more units, steps or images end in want
# of memory, often in a C++ abort; the sum of two of them is an int32 too.
LARGEST_WHOLE = 10**6
LEVELS = 255  # steps of a pixel's byte
LARGEST_FLOAT32 = float.fromhex("0x1.fffffep+127")  # what is above is infinite on the device


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
      high: inclusive upper bound, likewise. None: ``LARGEST_WHOLE``, or what float32 holds.
      choices: the legal values of a str, or of every str in a tuple.
    """
    return dataclasses.field(
        default=default, metadata={"help": help, "low": low, "high": high, "choices": choices}
    )


def define(
    field: dataclasses.Field, values: flags.FlagValues, *, may_be_empty: bool = False
) -> None:
    """Define the flag of a field made by ``flagged``; its default is None: the preset's.

    ``may_be_empty``: a tuple may be given without a value, which leaves out a part of the run.
    """
    default, meta = field.default, field.metadata
    legal = [_bounds(meta)] if _bounds(meta) else []
    legal += ["nothing: left out"] if may_be_empty else []
    bounds = f" ({'; '.join(legal)})" if legal else ""
    text = f"{meta['help']}{bounds} [cpu default: {_shown(default)}]"
    common = {"default": None, "help": text, "flag_values": values}
    if get_origin(field.type) is tuple:
        kind, serializer = get_args(field.type)[0], flags.CsvListSerializer(",")
        parser = _TupleParser(kind, meta, may_be_empty)
        flags.DEFINE(parser, field.name, serializer=serializer, **common)
    elif field.type is bool:
        flags.DEFINE_boolean(field.name, **common)
    else:
        flags.DEFINE(_OneParser(field.type, meta), field.name, **common)


def define_whole(
    name: str, default: int | None, help: str, low: int, high: int, values: flags.FlagValues
) -> None:
    """Define a flag that is no config field, read like one: a whole number, low to high."""
    meta = {"low": low, "high": high, "choices": None}
    flags.DEFINE(
        _OneParser(int, meta),
        name,
        default=None if default is None else str(default),
        help=f"{help} (from {low} to {high})",
        flag_values=values,
    )


def check(config: Any) -> None:
    """Hold every field of a config against its bounds, as its flag does.

    An empty tuple passes: it says that a part is left out.

    Raises:
      UserError: a value is out of bounds or of another type; the line names the flag.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        several = get_origin(field.type) is tuple
        kind = get_args(field.type)[0] if several else field.type
        try:
            for item in value if several else (value,):
                _hold(kind, field.metadata, item)
        except ValueError as error:
            raise UserError(f"--{field.name}: {error}") from error


def _shown(default: Any) -> str:
    several = default if isinstance(default, tuple) else (default,)
    return ",".join(map(_as_typed, several))


def _as_typed(value: Any) -> str:
    """Return a value as one would type it: steps of a pixel as fractions, 2/255."""
    if isinstance(value, float) and len(str(value)) > 10:
        step = round(value * LEVELS)
        if step and step / LEVELS == value:
            return f"{step}/{LEVELS}"
    return str(value)


def _number(text: str) -> float:
    """Return a number, or the quotient of two: 2/255."""
    above, slash, below = text.partition("/")
    return float(above) / float(below) if slash else float(text)


def _bounds(meta: Mapping[str, Any]) -> str:
    """Return the legal values in words, for the help and for refusals; "" where all are."""
    low, high, choices = meta["low"], meta["high"], meta["choices"]
    if choices is not None:
        return f"one of {', '.join(choices)}"
    if low is None:
        return "" if high is None else f"at most {high}"
    return f"at least {low}" if high is None else f"from {low} to {high}"


def _hold(kind: type, meta: Mapping[str, Any], value: Any) -> None:
    """Raise ValueError, with a reason, where a value of the right kind is not legal."""
    low, high, choices = meta["low"], meta["high"], meta["choices"]
    if not isinstance(value, _ACCEPTED[kind]):
        raise ValueError(f"{value!r} is not {_ARTICLE[kind]}")
    told = repr(str(value).removesuffix(".0"))
    if kind is float and not math.isfinite(value):
        raise ValueError(f"{told} is not a finite number")
    if (low is not None and value < low) or (high is not None and value > high):
        raise ValueError(f"{told} must be {_bounds(meta)}")
    if kind is int and high is None and abs(value) > LARGEST_WHOLE:
        raise ValueError(f"{told} is too large: at most {LARGEST_WHOLE}")
    if kind is float and abs(value) > LARGEST_FLOAT32:
        raise ValueError(f"{told} is too large: float32 ends at 3.4e38")
    if choices is not None and value not in choices:
        raise ValueError(f"{told} is none of {', '.join(choices)}")
    if kind is str and not value:
        raise ValueError("it must not be empty")


_ARTICLE = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
_ACCEPTED = {int: int, float: (int, float), str: str, bool: bool}


class _OneParser(flags.ArgumentParser):
    """Reads one value from text; absl shows the reason of its ValueErrors."""

    def __init__(self, kind: type, meta: Mapping[str, Any]) -> None:
        self._kind, self._meta = kind, meta

    def parse(self, argument: str) -> Any:
        try:
            read = _number if self._kind is float else self._kind
            value = read(argument.strip())
        except (ValueError, ZeroDivisionError):
            raise ValueError(f"{_short(argument)} is not {_ARTICLE[self._kind]}") from None
        _hold(self._kind, self._meta, value)
        return value


class _TupleParser(_OneParser):
    """Reads values between commas."""

    def __init__(self, kind: type, meta: Mapping[str, Any], may_be_empty: bool) -> None:
        super().__init__(kind, meta)
        self._may_be_empty = may_be_empty

    def parse(self, argument: str) -> tuple:
        if self._may_be_empty and not argument.strip():
            return ()
        values = tuple(super(_TupleParser, self).parse(item) for item in argument.split(","))
        if len(set(values)) < len(values):
            raise ValueError(f"{_short(argument)} names a value twice")
        return values


def _short(text: str) -> str:
    return repr(text) if len(text) <= 80 else f"{text[:60]!r}..."


def check_periods(config: Any, *flags: str) -> None:
    """Raise UserError unless each of the config's ``flags`` is a multiple of its ``period``."""
    for flag in flags:
        if (steps := getattr(config, flag)) % config.period:
            raise UserError(f"--{flag}={steps} must be a multiple of --period={config.period}")


def seeds_of(config: Any) -> range:
    """Return the seeds that a config's fields ``first_seed`` and ``seeds`` say."""
    return range(config.first_seed, config.first_seed + config.seeds)


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
