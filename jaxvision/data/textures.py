"""Ten kinds of textures in two random colors: what tells the classes of ``solids`` apart.

A texture is a weight from 0 to 1 between a dark and a light color at every texel, a function of
uniform numbers. Colors are drawn alike for all classes, and so are solids and views: only the
pattern says what is seen. It is coarse enough to be seen at a third of the texture's resolution.
"""

import math
from collections.abc import Callable

import numpy as np

SIDE = 64  # texels
NUMBERS = 76  # that decide a texture: 6 of colors, 6 of the pattern, 64 of cells
_DARKEST, _LIGHTEST = 0.35, 0.65  # most of a dark color's channels, least of a light one's
_CELLS = 8  # a side

Grid = np.ndarray  # [1, SIDE] or [1, SIDE, 1], places from 0 to 1


def paint(label: int, numbers: np.ndarray) -> np.ndarray:
    """Return float32 [n, SIDE, SIDE, 3] in [0, 1] of one class, from numbers [n, NUMBERS]."""
    dark = _DARKEST * numbers[:, None, None, :3]
    light = _LIGHTEST + (1 - _LIGHTEST) * numbers[:, None, None, 3:6]
    middles = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE
    pattern = list(PATTERNS.values())[label]
    parts = [part[:, None, None] for part in numbers[:, 6:12].T]
    cells = numbers[:, 12:].reshape(-1, _CELLS, _CELLS)
    weight = pattern(middles[None, None, :], middles[None, :, None], parts, cells)[..., None]
    return dark + (light - dark) * weight.astype(np.float32)


def _checks(x: Grid, y: Grid, parts: list, cells: np.ndarray) -> np.ndarray:
    del cells
    pitch = _between(parts[0], 2.5, 4)
    return _sharp(_wave(pitch * x + parts[1]) * _wave(pitch * y + parts[2]))


def _stripes(x: Grid, y: Grid, parts: list, cells: np.ndarray) -> np.ndarray:
    del cells
    along = _along(x, y, parts[0])
    return _sharp(_wave(_between(parts[1], 3, 5.5) * along + parts[2]))


def _dots(x: Grid, y: Grid, parts: list, cells: np.ndarray) -> np.ndarray:
    del cells
    pitch = _between(parts[0], 3, 4.5)
    away = np.hypot(_from_middle(pitch * x + parts[1]), _from_middle(pitch * y + parts[2]))
    return _sharp(3 * (_between(parts[3], 0.26, 0.36) - away))


def _rings(x: Grid, y: Grid, parts: list, cells: np.ndarray) -> np.ndarray:
    del cells
    away = np.hypot(x - _between(parts[0], 0.3, 0.7), y - _between(parts[1], 0.3, 0.7))
    return _sharp(_wave(_between(parts[2], 4, 6) * away + parts[3]))


def _grid(x: Grid, y: Grid, parts: list, cells: np.ndarray) -> np.ndarray:
    del cells
    pitch = _between(parts[0], 3, 4.5)
    beside = np.abs(_from_middle(pitch * x + parts[1]))
    above = np.abs(_from_middle(pitch * y + parts[2]))
    return _sharp(4 * (_between(parts[3], 0.12, 0.18) - np.minimum(beside, above)))


def _zigzag(x: Grid, y: Grid, parts: list, cells: np.ndarray) -> np.ndarray:
    del cells
    bend = np.abs(_from_middle(_between(parts[0], 2, 3.5) * x + parts[1]))
    return _sharp(_wave(_between(parts[2], 3, 4.5) * y + 2.4 * bend + parts[3]))


def _spokes(x: Grid, y: Grid, parts: list, cells: np.ndarray) -> np.ndarray:
    del cells
    down = y - _between(parts[0], 0.4, 0.6)
    angle = np.arctan2(down, x - _between(parts[1], 0.4, 0.6))
    count = np.floor(_between(parts[2], 4, 7))
    return _sharp(_wave(count * angle / (2 * math.pi) + parts[3]))


def _clouds(x: Grid, y: Grid, parts: list, cells: np.ndarray) -> np.ndarray:
    del y, parts
    return np.clip(0.5 + 1.3 * (_smooth(x, cells) - 0.5), 0, 1)


def _blots(x: Grid, y: Grid, parts: list, cells: np.ndarray) -> np.ndarray:
    del y, parts
    return _sharp(4 * (_smooth(x, cells) - 0.5))


def _fade(x: Grid, y: Grid, parts: list, cells: np.ndarray) -> np.ndarray:
    del cells
    return 0.5 + 0.5 * _wave(_between(parts[1], 0.8, 1.6) * _along(x, y, parts[0]) + parts[2])


PATTERNS: dict[str, Callable[[Grid, Grid, list, np.ndarray], np.ndarray]] = {
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


def _between(share: np.ndarray, low: float, high: float) -> np.ndarray:
    return low + (high - low) * share


def _wave(turns: np.ndarray) -> np.ndarray:
    return np.sin(2 * math.pi * turns)


def _along(x: Grid, y: Grid, turn: np.ndarray) -> np.ndarray:
    """Return the coordinate along a direction, a share of a full turn."""
    angle = 2 * math.pi * turn
    return np.cos(angle) * x + np.sin(angle) * y


def _from_middle(place: np.ndarray) -> np.ndarray:
    """Return where a place lies in its cell, from -.5 to .5."""
    return place % 1 - 0.5


def _sharp(value: np.ndarray) -> np.ndarray:
    """Return 0 and 1 by the sign of a value, but for a narrow ramp between."""
    return np.clip(0.5 + 3 * value, 0, 1)


def _smooth(x: Grid, cells: np.ndarray) -> np.ndarray:
    """Return numbers of cells interpolated to all texels, [n, SIDE, SIDE]."""
    points = np.arange(_CELLS, dtype=np.float32)
    away = np.abs(x.ravel()[:, None] * (_CELLS - 1) - points)
    lift = np.clip(1 - away, 0, None)
    return lift @ cells @ lift.T
