"""Procedural pictures of ten shapes, the pictures behind the data set ``shapes``.

A shape is a signed distance: negative inside, in units of the object's radius. One distance gives
both the antialiased edge (coverage falls from 1 to 0 within one pixel) and the exact mask.
Everything else (pose, colors, background, clutter) is drawn in the same way for every class, so
only the outline tells the classes apart.
"""

import math
import zlib

import numpy as np

from jaxvision.data.dataset import Dataset

SIZE = 32  # pixels along each side
_RADIUS = (8.5, 13.5)  # pixels, of the circle around the object; it always lies within the picture
_CONTRAST = 0.25  # least difference of object and background in each channel, of 1
_CLUTTER = 5  # dots and strokes in each picture
_NOISE = {3: 0.25, 6: 0.2, 12: 0.1}  # background noise: cells along each side, greatest strength
_BLOCK = 250  # pictures drawn at once: small enough for the processor's cache

_CENTERS = np.arange(SIZE, dtype=np.float32) + 0.5  # pixel i covers [i, i + 1]


def _box(x, y, half_x, half_y, at_x=0.0, at_y=0.0):
    return np.maximum(np.abs(x - at_x) - half_x, np.abs(y - at_y) - half_y)


def _disk(x, y, radius, at_x=0.0, at_y=0.0):
    return np.hypot(x - at_x, y - at_y) - radius


def _triangle(x, y):
    return np.maximum(np.float32(np.sqrt(0.75)) * np.abs(x) + 0.5 * y, -y) - 0.5


def _star(x, y, inner=0.42):
    # Folded into one tenth of the plane, the outline is one line from a tip to a notch.
    tenth = np.float32(np.pi / 5)
    angle = np.abs((np.arctan2(y, x) + tenth) % (2 * tenth) - tenth)
    radius = np.hypot(x, y)
    notch = inner * np.cos(tenth), inner * np.sin(tenth)
    length = np.hypot(1 - notch[0], notch[1])
    normal = np.float32(notch[1] / length), np.float32((1 - notch[0]) / length)
    return (radius * np.cos(angle) - 1) * normal[0] + radius * np.sin(angle) * normal[1]


def _crescent(x, y):
    return np.maximum(_disk(x, y, 0.95), -_disk(x, y, 0.75, at_x=0.5))


def _corner(x, y):
    return np.minimum(_box(x, y, 0.7, 0.23, at_y=0.47), _box(x, y, 0.23, 0.7, at_x=0.47))


def _dumbbell(x, y):
    ends = _disk(np.abs(x), y, 0.37, at_x=0.62)
    return np.minimum(ends, _box(x, y, 0.62, 0.13))


# Signed distances, each within the unit circle.
_SHAPES = {
    "disk": lambda x, y: _disk(x, y, 0.9),
    "ring": lambda x, y: np.abs(_disk(x, y, 0.72)) - 0.22,
    "square": lambda x, y: _box(x, y, 0.7, 0.7),
    "triangle": _triangle,
    "cross": lambda x, y: np.minimum(_box(x, y, 0.95, 0.27), _box(x, y, 0.27, 0.95)),
    "star": _star,
    "crescent": _crescent,
    "bar": lambda x, y: _box(x, y, 0.95, 0.23),
    "corner": _corner,
    "dumbbell": _dumbbell,
}
CLASS_NAMES = tuple(_SHAPES)


def draw(count: int, seed: int, part: int = 0) -> Dataset:
    """Draw ``count`` pictures; picture i shows class ``i % 10`` and does not depend on ``count``.

    Args:
      count: how many.
      seed: not negative.
      part: not negative; each part of a seed is an independent sequence of pictures.

    Returns:
      images uint8 [count, 32, 32, 3], labels int32 [count], masks bool [count, 32, 32].
    """
    draws = _Draws(seed, part)
    images = np.empty((count, SIZE, SIZE, 3), np.uint8)
    masks = np.empty((count, SIZE, SIZE), bool)
    labels = np.arange(count, dtype=np.int32) % len(_SHAPES)
    for start in range(0, count, _BLOCK):
        block = slice(start, min(start + _BLOCK, count))
        images[block], masks[block] = _pictures(draws, labels[block])
    return Dataset(images, labels, masks)


class _Draws:
    """Uniform numbers in named streams; each stream gives every picture its own next row."""

    def __init__(self, seed: int, part: int) -> None:
        self._seed = seed, part
        self._streams: dict[str, np.random.Philox] = {}

    def __call__(self, name: str, n: int, *shape: int, low=0.0, high=1.0) -> np.ndarray:
        """Return float32 [n, *shape], uniform between ``low`` and ``high``."""
        if name not in self._streams:
            entropy = (*self._seed, zlib.crc32(name.encode()))
            self._streams[name] = np.random.Philox(np.random.SeedSequence(entropy))
        # Only a bit generator's raw words are promised to stay the same in later numpy versions.
        words = self._streams[name].random_raw(n * math.prod(shape))
        uniform = (words >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)
        return np.float32(low) + np.float32(high - low) * uniform.reshape(n, *shape)


def _pictures(draws: _Draws, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a block of pictures and masks: the object over the clutter over the background."""
    n = len(labels)
    ground = draws("ground", n, 3)
    # Half a turn more or less in each channel: far from the ground, and uniform like it.
    color = (ground + draws("turn", n, 3, low=_CONTRAST, high=1 - _CONTRAST)) % 1
    picture = _background(draws, ground)
    _add_clutter(draws, picture)
    distance = _object_distance(draws, labels)
    shade = 1 + draws("shade", n, 1, 1, high=0.3) * _waves(draws, "object waves", n)
    _paint(picture, distance, color, shade)
    return np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8), distance < 0


def _paint(picture, distance, color, shade=None) -> None:
    """Blend a color [n, 3] into pictures [n, 32, 32, 3], given signed distances in pixels."""
    coverage = np.clip(0.5 - distance, 0, 1)
    for channel in range(3):
        paint = color[:, channel, None, None]
        plane = picture[..., channel]
        plane += coverage * ((paint if shade is None else paint * shade) - plane)


def _background(draws: _Draws, ground: np.ndarray) -> np.ndarray:
    """Return [n, 32, 32, 3]: a color under noise of three scales and waves, of random strengths."""
    n = len(ground)
    picture = np.broadcast_to(ground[:, None, None, :], (n, SIZE, SIZE, 3)).copy()
    for cells, strength in _NOISE.items():
        noise = draws(f"noise {cells}", n, cells, cells * 3, low=-1, high=1)
        noise *= draws(f"strength {cells}", n, 1, 1, high=strength)
        lift = _interpolation(cells)
        wide = (lift @ noise).reshape(n, SIZE, cells, 3)
        picture += lift @ wide
    waves = _waves(draws, "ground waves", n)[..., None]
    waves *= draws("ground waves strength", n, 1, 1, 1, high=0.15)
    picture += waves * draws("ground waves color", n, 1, 1, 3, low=-1)
    grain = draws("grain", n, SIZE, SIZE, 1, low=-1)
    picture += grain * draws("grain strength", n, 1, 1, 1, high=0.06)
    return picture


def _interpolation(cells: int) -> np.ndarray:
    """Return [32, cells], the linear interpolation from ``cells`` points to the pixels."""
    at = _CENTERS / SIZE * (cells - 1)
    return np.clip(1 - np.abs(at[:, None] - np.arange(cells, dtype=np.float32)), 0, None)


def _waves(draws: _Draws, name: str, n: int) -> np.ndarray:
    """Return stripes [n, 32, 32] between -1 and 1, of random direction, width and phase."""
    direction = draws(f"{name} direction", n, 1, 1, high=np.pi)
    frequency = 2 * np.float32(np.pi) / draws(f"{name} length", n, 1, 1, low=3, high=16)
    phase = draws(f"{name} phase", n, 1, 1, high=2 * np.pi)
    along = np.cos(direction) * _CENTERS + np.sin(direction) * _CENTERS[:, None]
    return np.sin(frequency * along + phase)


def _add_clutter(draws: _Draws, picture: np.ndarray) -> None:
    """Paint dots and strokes, thinner and shorter than every object, anywhere."""
    n = len(picture)
    for i in range(_CLUTTER):
        at = draws(f"clutter {i} at", n, 2, 1, 1, high=SIZE)
        angle = draws(f"clutter {i} angle", n, 1, 1, high=np.pi)
        half_length = draws(f"clutter {i} length", n, 1, 1, low=0, high=3.5)
        half_width = draws(f"clutter {i} width", n, 1, 1, low=0.5, high=1.25)
        x, y = _turned(at, angle)
        beyond = np.maximum(np.abs(x) - half_length, 0)
        _paint(picture, np.hypot(beyond, y) - half_width, draws(f"clutter {i} color", n, 3))


def _object_distance(draws: _Draws, labels: np.ndarray) -> np.ndarray:
    """Return signed distances [n, 32, 32] in pixels to outlines in random poses."""
    n = len(labels)
    radius = draws("radius", n, 1, 1, low=_RADIUS[0], high=_RADIUS[1])
    margin = radius[:, None] + 0.5
    at = margin + draws("at", n, 2, 1, 1) * (SIZE - 2 * margin)
    x, y = _turned(at, draws("angle", n, 1, 1, high=2 * np.pi))
    distance = np.empty((n, SIZE, SIZE), np.float32)
    for label, shape in enumerate(_SHAPES.values()):
        mine = labels == label
        distance[mine] = radius[mine] * shape(x[mine] / radius[mine], y[mine] / radius[mine])
    return distance


def _turned(at: np.ndarray, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels' coordinates [n, 32, 32] seen from ``at`` [n, 2, 1, 1], axes turned."""
    dx, dy = _CENTERS - at[:, 0], _CENTERS[:, None] - at[:, 1]
    cos, sin = np.cos(angle), np.sin(angle)
    return cos * dx + sin * dy, cos * dy - sin * dx
