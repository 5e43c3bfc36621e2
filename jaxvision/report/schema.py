"""Whether values that were read from JSON are of the types that the code relies on."""

import dataclasses
import types
import typing
from typing import Any, Literal, Union


def fits(value: Any, kind: Any) -> bool:
    """Return whether a value read from JSON is of a type.

    Args:
      value: of dicts with strings as keys, lists, strings, numbers, booleans and None.
      kind: a class of these, a union of them, ``Literal``, ``list[...]``, ``dict[str, ...]`` or
        ``Any``. Of a dataclass the value is a dict with a key for each field that has no default,
        and for nothing but fields; of a ``TypedDict`` one with the required keys and any others.
    """
    origin, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in arguments)
    if origin is Literal:
        return isinstance(value, str) and value in arguments
    if origin is list:
        return isinstance(value, list) and all(fits(item, arguments[0]) for item in value)
    if dataclasses.is_dataclass(origin):
        return _fits_dataclass(value, origin)
    if typing.is_typeddict(origin):
        return _fits_typed_dict(value, origin)
    if origin is dict:
        return isinstance(value, dict) and all(fits(item, arguments[1]) for item in value.values())
    return _fits_class(value, origin)


def _fits_class(value: Any, kind: type) -> bool:
    """Hold a value against a class; True is no number, and a whole number may stand for a float."""
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _fits_dataclass(value: Any, kind: type) -> bool:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    if not isinstance(value, dict) or not value.keys() <= fields.keys():
        return False
    missing = fields.keys() - value.keys()
    if any(fields[name].default is dataclasses.MISSING for name in missing):
        return False
    return all(fits(item, hints[name]) for name, item in value.items())


def _fits_typed_dict(value: Any, kind: type) -> bool:
    hints = typing.get_type_hints(kind)
    if not isinstance(value, dict) or not value.keys() >= kind.__required_keys__:
        return False
    return all(fits(item, hints[name]) for name, item in value.items() if name in hints)
