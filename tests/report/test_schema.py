"""Types of values that were read from JSON."""

import dataclasses
from typing import Any, Literal, Required, TypedDict

import pytest

from jaxvision.report.schema import fits


@dataclasses.dataclass
class Point:
    x: float
    name: str = ""


class Note(TypedDict, total=False):
    text: Required[str]
    lines: list[int]


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (1, int, True),
        (True, int, False),
        (True, bool, True),
        (1, float, True),
        (1.5, int, False),
        (None, float | None, True),
        ("1", float | None, False),
        ("a", Literal["a", "b"], True),
        ("c", Literal["a", "b"], False),
        ([], Literal["a", "b"], False),
        ([1, 2], list[int], True),
        ([1, "2"], list[int], False),
        ({}, list[int], False),
        ({"a": [1]}, dict[str, list[int]], True),
        ({"a": 1}, dict[str, list[int]], False),
        ({"a": None}, dict[str, Any], True),
        ({"x": 1}, Point, True),
        ({"x": 1, "name": None}, Point, False),
        ({"x": 1, "y": 2}, Point, False),
        ({"name": "a"}, Point, False),
        ([1], Point, False),
        ({"text": "a", "more": 1}, Note, True),
        ({"text": "a", "lines": ["1"]}, Note, False),
        ({"lines": [1]}, Note, False),
        (None, Note, False),
    ],
)
def test_a_value_fits_its_type_or_does_not(value, kind, expected):
    assert fits(value, kind) is expected
