"""Procedural pictures of ten shapes, the pictures behind the data set ``shapes``.

A shape is a signed distance: negative inside, in units of the object's radius. One distance gives
both the antialiased edge (coverage falls from 1 to 0 within one pixel) and the exact mask.
Everything else (pose, colors, background, clutter) is drawn in the same way for every class, so
only the outline tells the classes apart.
"""

import math
import zlib
from typing import NamedTuple

import numpy as np

from jaxvision.data.dataset import Dataset

SIZE = 32  # pixels along each side
_CONTRAST = 0.25  # least difference of object and background in each channel, of 1
_CLUTTER = 5  # dots and strokes in each picture
_NOISE = {3: 0.25, 6: 0.2, 12: 0.1}  # background noise: cells along each side, greatest strength
_BLOCK = 250  # pictures drawn at once: small enough for the processor's cache


class Geometry(NamedTuple):
    """How large things are.

    Attributes:
      radius: least and greatest, in pixels, of the circle around the object, which always lies
        within the picture.
      clutter: size of dots and strokes, 1 beside large objects.
    """

    radius: tuple[float, float]
    clutter: float


LARGE = Geometry(radius=(8.5, 13.5), clutter=1.0)
SMALL = Geometry(radius=(4.0, 6.0), clutter=0.5)  # most leave the picture's center free

_CENTERS = np.arange(SIZE, dtype=np.float32) + 0.5  # pixel i covers [i, i + 1]


def _box(x, y, half_x, half_y, at_x=0.0, at_y=0.0):
    beyond_x = np.abs(x - at_x) - half_x
    beyond_y = np.abs(y - at_y) - half_y
    return np.maximum(beyond_x, beyond_y)


def _disk(x, y, radius, at_x=0.0, at_y=0.0):
    return np.hypot(x - at_x, y - at_y) - radius


def _ring(x, y):
    return np.abs(_disk(x, y, 0.72)) - 0.22


def _square(x, y):
    return _box(x, y, 0.7, 0.7)


def _bar(x, y):
    return _box(x, y, 0.95, 0.23)


def _cross(x, y):
    lying = _box(x, y, 0.95, 0.27)
    standing = _box(x, y, 0.27, 0.95)
    return np.minimum(lying, standing)


def _triangle(x, y):
    slope = np.float32(np.sqrt(0.75))
    sides = slope * np.abs(x) + 0.5 * y
    return np.maximum(sides, -y) - 0.5


def _star(x, y, inner=0.42):
    # Folded into one tenth of the plane, the outline is one line from a tip to a notch.
    tenth = np.float32(np.pi / 5)
    turned = np.arctan2(y, x) + tenth
    angle = np.abs(turned % (2 * tenth) - tenth)
    radius = np.hypot(x, y)
    notch_x = inner * np.cos(tenth)
    notch_y = inner * np.sin(tenth)
    length = np.hypot(1 - notch_x, notch_y)
    normal_x = np.float32(notch_y / length)
    normal_y = np.float32((1 - notch_x) / length)
    beyond_tip = radius * np.cos(angle) - 1
    return beyond_tip * normal_x + radius * np.sin(angle) * normal_y


def _crescent(x, y):
    whole = _disk(x, y, 0.95)
    bite = _disk(x, y, 0.75, at_x=0.5)
    return np.maximum(whole, -bite)


def _corner(x, y):
    lying = _box(x, y, 0.7, 0.23, at_y=0.47)
    standing = _box(x, y, 0.23, 0.7, at_x=0.47)
    return np.minimum(lying, standing)


def _dumbbell(x, y):
    ends = _disk(np.abs(x), y, 0.37, at_x=0.62)
    handle = _box(x, y, 0.62, 0.13)
    return np.minimum(ends, handle)


# Signed distances, each within the unit circle.
_SHAPES = {
    "disk": lambda x, y: _disk(x, y, 0.9),
    "ring": _ring,
    "square": _square,
    "triangle": _triangle,
    "cross": _cross,
    "star": _star,
    "crescent": _crescent,
    "bar": _bar,
    "corner": _corner,
    "dumbbell": _dumbbell,
}
CLASS_NAMES = tuple(_SHAPES)


def draw(count: int, seed: int, part: int = 0, geometry: Geometry = LARGE) -> Dataset:
    """Draw ``count`` pictures; picture i shows class ``i % 10`` and does not depend on ``count``.

    Args:
      count: how many.
      seed: not negative.
      part: not negative; each part of a seed is an independent sequence of pictures.
      geometry: how large object and clutter are.

    Returns:
      images uint8 [count, 32, 32, 3], labels int32 [count], masks bool [count, 32, 32], poses
      float32 [count, 4].
    """
    draws = _Draws(seed, part)
    images = np.empty((count, SIZE, SIZE, 3), np.uint8)
    masks = np.empty((count, SIZE, SIZE), bool)
    poses = np.empty((count, 4), np.float32)
    labels = np.arange(count, dtype=np.int32) % len(_SHAPES)
    for start in range(0, count, _BLOCK):
        block = slice(start, min(start + _BLOCK, count))
        pictures, inside, pose = _pictures(draws, labels[block], geometry)
        images[block] = pictures
        masks[block] = inside
        poses[block] = pose
    return Dataset(images, labels, masks, poses)


class _Draws:
    """Uniform numbers in named streams; each stream gives every picture its own next row."""

    def __init__(self, seed: int, part: int) -> None:
        self._seed = seed, part
        self._streams: dict[str, np.random.Philox] = {}

    def __call__(
        self,
        name: str,
        n: int,
        *shape: int,
        low: float = 0.0,
        high: float = 1.0,
    ) -> np.ndarray:
        """Return float32 [n, *shape], uniform between ``low`` and ``high``."""
        if name not in self._streams:
            entropy = (*self._seed, zlib.crc32(name.encode()))
            seeds = np.random.SeedSequence(entropy)
            self._streams[name] = np.random.Philox(seeds)
        # Only a bit generator's raw words are promised to stay the same in later numpy versions.
        words = self._streams[name].random_raw(n * math.prod(shape))
        upper = (words >> np.uint64(40)).astype(np.float32)
        uniform = (upper * np.float32(2**-24)).reshape(n, *shape)
        return np.float32(low) + np.float32(high - low) * uniform


def _pictures(
    draws: _Draws, labels: np.ndarray, geometry: Geometry
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a block of pictures, masks and poses: the object over clutter over background."""
    n = len(labels)
    ground = draws("ground", n, 3)
    # Half a turn more or less in each channel: far from the ground, and uniform like it.
    turn = draws("turn", n, 3, low=_CONTRAST, high=1 - _CONTRAST)
    color = (ground + turn) % 1
    picture = _background(draws, ground)
    _add_clutter(draws, picture, geometry.clutter)
    distance, pose = _object_distance(draws, labels, geometry.radius)
    depth = draws("shade", n, 1, 1, high=0.3)
    shade = 1 + depth * _waves(draws, "object waves", n)
    _paint(picture, distance, color, shade)
    bright = 255 * np.clip(picture, 0, 1)
    return np.rint(bright).astype(np.uint8), distance < 0, pose


def _paint(picture, distance, color, shade=None) -> None:
    """Blend a color [n, 3] into pictures [n, 32, 32, 3], given signed distances in pixels."""
    coverage = np.clip(0.5 - distance, 0, 1)
    for channel in range(3):
        paint = color[:, channel, None, None]
        if shade is not None:
            paint = paint * shade
        plane = picture[..., channel]
        plane += coverage * (paint - plane)


def _background(draws: _Draws, ground: np.ndarray) -> np.ndarray:
    """Return [n, 32, 32, 3]: a color under noise of three scales and waves, of random strengths."""
    n = len(ground)
    everywhere = ground[:, None, None, :]
    picture = np.broadcast_to(everywhere, (n, SIZE, SIZE, 3)).copy()
    for cells, strength in _NOISE.items():
        noise = draws(f"noise {cells}", n, cells, cells * 3, low=-1, high=1)
        noise *= draws(f"strength {cells}", n, 1, 1, high=strength)
        lift = _interpolation(cells)
        wide = (lift @ noise).reshape(n, SIZE, cells, 3)
        picture += lift @ wide
    waves = _waves(draws, "ground waves", n)[..., None]
    waves *= draws("ground waves strength", n, 1, 1, 1, high=0.15)
    color = draws("ground waves color", n, 1, 1, 3, low=-1)
    picture += waves * color
    grain = draws("grain", n, SIZE, SIZE, 1, low=-1)
    strength = draws("grain strength", n, 1, 1, 1, high=0.06)
    picture += grain * strength
    return picture


def _interpolation(cells: int) -> np.ndarray:
    """Return [32, cells], the linear interpolation from ``cells`` points to the pixels."""
    at = _CENTERS / SIZE * (cells - 1)
    points = np.arange(cells, dtype=np.float32)
    away = np.abs(at[:, None] - points)
    return np.clip(1 - away, 0, None)


def _waves(draws: _Draws, name: str, n: int) -> np.ndarray:
    """Return stripes [n, 32, 32] between -1 and 1, of random direction, width and phase."""
    direction = draws(f"{name} direction", n, 1, 1, high=np.pi)
    length = draws(f"{name} length", n, 1, 1, low=3, high=16)
    frequency = 2 * np.float32(np.pi) / length
    phase = draws(f"{name} phase", n, 1, 1, high=2 * np.pi)
    along_x = np.cos(direction) * _CENTERS
    along_y = np.sin(direction) * _CENTERS[:, None]
    along = along_x + along_y
    return np.sin(frequency * along + phase)


def _add_clutter(draws: _Draws, picture: np.ndarray, size: float) -> None:
    """Paint dots and strokes, thinner and shorter than every object, anywhere."""
    n = len(picture)
    for i in range(_CLUTTER):
        at = draws(f"clutter {i} at", n, 2, 1, 1, high=SIZE)
        angle = draws(f"clutter {i} angle", n, 1, 1, high=np.pi)
        half_length = draws(f"clutter {i} length", n, 1, 1, low=0, high=3.5 * size)
        half_width = draws(f"clutter {i} width", n, 1, 1, low=0.5 * size, high=1.25 * size)
        x, y = _turned(at, angle)
        beyond = np.maximum(np.abs(x) - half_length, 0)
        distance = np.hypot(beyond, y) - half_width
        color = draws(f"clutter {i} color", n, 3)
        _paint(picture, distance, color)


def _object_distance(
    draws: _Draws, labels: np.ndarray, radii: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return signed distances [n, 32, 32] in pixels to outlines in random poses, and those."""
    n = len(labels)
    least, greatest = radii
    radius = draws("radius", n, 1, 1, low=least, high=greatest)
    margin = radius[:, None] + 0.5
    room = SIZE - 2 * margin
    at = margin + draws("at", n, 2, 1, 1) * room
    angle = draws("angle", n, 1, 1, high=2 * np.pi)
    x, y = _turned(at, angle)
    distance = np.empty((n, SIZE, SIZE), np.float32)
    for label, shape in enumerate(_SHAPES.values()):
        mine = labels == label
        unit = radius[mine]
        distance[mine] = unit * shape(x[mine] / unit, y[mine] / unit)
    row, column = at[:, 1, 0, 0], at[:, 0, 0, 0]
    pose = np.stack([row, column, radius[:, 0, 0], angle[:, 0, 0]], axis=1)
    return distance, pose


def _turned(at: np.ndarray, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels' coordinates [n, 32, 32] seen from ``at`` [n, 2, 1, 1], axes turned."""
    dx = _CENTERS - at[:, 0]
    dy = _CENTERS[:, None] - at[:, 1]
    cos = np.cos(angle)
    sin = np.sin(angle)
    return cos * dx + sin * dy, cos * dy - sin * dx
