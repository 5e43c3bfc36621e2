"""Ten kinds of textures in two random colors: what tells the classes of ``solids`` apart.

A texture is a weight from 0 to 1 between a dark and a light color at every texel, a function of
uniform numbers. Colors are drawn alike for all classes, and so are solids and views: only the
pattern says what is seen. It is coarse enough to be seen at a third of the texture's resolution.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

SIDE = 64  # texels
NUMBERS = 76  # that decide a texture: 6 of colors, 6 of the pattern, 64 of cells
_DARKEST, _LIGHTEST = 0.35, 0.65  # most of a dark color's channels, least of a light one's
_CELLS = 8  # a side


class Pattern(NamedTuple):
    """Where the texels are, and the numbers of n patterns.

    Attributes:
      x: [1, 1, SIDE], places from 0 to 1.
      y: [1, SIDE, 1].
      numbers: six, each [n, 1, 1].
      cells: [n, cells, cells].
    """

    x: np.ndarray
    y: np.ndarray
    numbers: Sequence[np.ndarray]
    cells: np.ndarray

    def between(self, number: int, low: float, high: float) -> np.ndarray:
        """Return a number of each pattern, scaled to a range."""
        return low + (high - low) * self.numbers[number]


def paint(label: int, numbers: np.ndarray) -> np.ndarray:
    """Return float32 [n, SIDE, SIDE, 3] in [0, 1] of one class, from numbers [n, NUMBERS]."""
    colors = numbers[:, None, None, :6]
    dark = _DARKEST * colors[..., :3]
    light = _LIGHTEST + (1 - _LIGHTEST) * colors[..., 3:]
    middles = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE
    pattern = Pattern(
        x=middles[None, None, :],
        y=middles[None, :, None],
        numbers=numbers[:, 6:12].T[..., None, None],
        cells=numbers[:, 12:].reshape(-1, _CELLS, _CELLS),
    )
    weigh = list(PATTERNS.values())[label]
    weight = weigh(pattern)[..., None]
    return dark + (light - dark) * weight.astype(np.float32)


def _checks(pattern: Pattern) -> np.ndarray:
    pitch = pattern.between(0, 2.5, 4)
    across = _wave(pitch * pattern.x + pattern.numbers[1])
    down = _wave(pitch * pattern.y + pattern.numbers[2])
    return _sharp(across * down)


def _stripes(pattern: Pattern) -> np.ndarray:
    pitch = pattern.between(1, 3, 5.5)
    along = _along(pattern, pattern.numbers[0])
    return _sharp(_wave(pitch * along + pattern.numbers[2]))


def _dots(pattern: Pattern) -> np.ndarray:
    pitch = pattern.between(0, 3, 4.5)
    across = _from_middle(pitch * pattern.x + pattern.numbers[1])
    down = _from_middle(pitch * pattern.y + pattern.numbers[2])
    radius = pattern.between(3, 0.26, 0.36)
    return _sharp(3 * (radius - np.hypot(across, down)))


def _rings(pattern: Pattern) -> np.ndarray:
    across = pattern.x - pattern.between(0, 0.3, 0.7)
    down = pattern.y - pattern.between(1, 0.3, 0.7)
    pitch = pattern.between(2, 4, 6)
    away = np.hypot(across, down)
    return _sharp(_wave(pitch * away + pattern.numbers[3]))


def _grid(pattern: Pattern) -> np.ndarray:
    pitch = pattern.between(0, 3, 4.5)
    across = _from_middle(pitch * pattern.x + pattern.numbers[1])
    down = _from_middle(pitch * pattern.y + pattern.numbers[2])
    nearest = np.minimum(np.abs(across), np.abs(down))
    half_width = pattern.between(3, 0.12, 0.18)
    return _sharp(4 * (half_width - nearest))


def _zigzag(pattern: Pattern) -> np.ndarray:
    teeth = pattern.between(0, 2, 3.5)
    bend = np.abs(_from_middle(teeth * pattern.x + pattern.numbers[1]))
    pitch = pattern.between(2, 3, 4.5)
    return _sharp(_wave(pitch * pattern.y + 2.4 * bend + pattern.numbers[3]))


def _spokes(pattern: Pattern) -> np.ndarray:
    down = pattern.y - pattern.between(0, 0.4, 0.6)
    across = pattern.x - pattern.between(1, 0.4, 0.6)
    turns = np.arctan2(down, across) / (2 * math.pi)
    count = np.floor(pattern.between(2, 4, 7))
    return _sharp(_wave(count * turns + pattern.numbers[3]))


def _clouds(pattern: Pattern) -> np.ndarray:
    away = _smooth(pattern) - 0.5
    return np.clip(0.5 + 1.3 * away, 0, 1)


def _blots(pattern: Pattern) -> np.ndarray:
    away = _smooth(pattern) - 0.5
    return _sharp(4 * away)


def _fade(pattern: Pattern) -> np.ndarray:
    pitch = pattern.between(1, 0.8, 1.6)
    along = _along(pattern, pattern.numbers[0])
    return 0.5 + 0.5 * _wave(pitch * along + pattern.numbers[2])


PATTERNS: dict[str, Callable[[Pattern], np.ndarray]] = {
    "checks": _checks,
    "stripes": _stripes,
    "dots": _dots,
    "rings": _rings,
    "grid": _grid,
    "zigzag": _zigzag,
    "spokes": _spokes,
    "clouds": _clouds,
    "blots": _blots,
    "fade": _fade,
}


def _wave(turns: np.ndarray) -> np.ndarray:
    return np.sin(2 * math.pi * turns)


def _along(pattern: Pattern, turn: np.ndarray) -> np.ndarray:
    """Return the coordinate along a direction, a share of a full turn."""
    angle = 2 * math.pi * turn
    across = np.cos(angle) * pattern.x
    down = np.sin(angle) * pattern.y
    return across + down


def _from_middle(place: np.ndarray) -> np.ndarray:
    """Return where a place lies in its cell, from -.5 to .5."""
    return place % 1 - 0.5


def _sharp(value: np.ndarray) -> np.ndarray:
    """Return 0 and 1 by the sign of a value, but for a narrow ramp between."""
    return np.clip(0.5 + 3 * value, 0, 1)


def _smooth(pattern: Pattern) -> np.ndarray:
    """Return the numbers of cells interpolated to all texels, [n, SIDE, SIDE]."""
    places = (_CELLS - 1) * pattern.x.reshape(SIDE, 1)
    points = np.arange(_CELLS, dtype=np.float32)
    away = np.abs(places - points)
    lift = np.clip(1 - away, 0, None)
    return lift @ pattern.cells @ lift.T
