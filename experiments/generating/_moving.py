"""Drawn clips of one object that moves over a still background, with exact masks.

The object (a disk, a square or a diamond) is a signed distance: negative inside. One distance gives
the antialiased edge (coverage falls from 1 to 0 within one pixel) and the exact mask. It goes
straight on at constant speed in one of eight directions and stays within the frame. The background
is a smooth texture, drawn once a clip.
"""

import math
import zlib
from typing import NamedTuple

import numpy as np

DIRECTIONS = 8  # steps of 45 degrees
_RADIUS = (0.14, 0.19)  # of the frame's shorter side
_SPEED = (0.5, 0.62)  # of the frame's shorter side, over the whole clip
_GROUND = (0.2, 0.8)  # of a background's mean, of 1
_CELLS = 3  # along each side of the background's texture
_TEXTURE = 0.35  # strength of it, of 1
_CONTRAST = 0.45  # least difference of object and mean background in each channel, of 1


class Clips(NamedTuple):
    """N clips.

    Attributes:
      frames: uint8 [N, T, H, W, 3].
      masks: bool [N, T, H, W], True on the object's pixels: their centers lie in it.
      directions: int32 [N], multiples of 45 degrees from larger columns towards larger rows.
      centers: float64 [N, T, 2], row and column of the object's center in pixels (pixel i covers
        [i, i + 1]).
    """

    frames: np.ndarray
    masks: np.ndarray
    directions: np.ndarray
    centers: np.ndarray

    def rows(self, rows: slice) -> "Clips":
        """Return some of the clips."""
        return Clips(*(leaf[rows] for leaf in self))


class _Draws(NamedTuple):
    """Uniform numbers in named streams, a row for each clip."""

    count: int
    seed: int
    part: int

    def __call__(
        self,
        name: str,
        *shape: int,
    ) -> np.ndarray:
        """Return float64 [count, *shape] from 0 to 1."""
        code = zlib.crc32(name.encode())
        entropy = np.random.SeedSequence((self.seed, self.part, code))
        bits = np.random.Philox(entropy)
        # Only a bit generator's raw words are promised to stay the same in later numpy versions.
        words = bits.random_raw(self.count * math.prod(shape))
        upper = words >> np.uint64(11)
        uniform = upper * 2.0**-53
        return uniform.reshape(self.count, *shape)


def draw(
    count: int,
    seed: int,
    part: int,
    frames: int,
    side: int,
) -> Clips:
    """Draw clips; clip i does not depend on ``count``, and goes in direction ``i % 8``.

    Args:
      count: N.
      seed: not negative.
      part: not negative; each part of a seed is an independent sequence of clips.
      frames: T.
      side: H and W.
    """
    draws = _Draws(count, seed, part)
    directions = np.arange(count, dtype=np.int32) % DIRECTIONS
    radii = side * _between(_RADIUS, draws("radius"))
    travel = side * _between(_SPEED, draws("speed"))
    centers = _centers(
        _ways(directions, travel),
        radii,
        draws("place", 2),
        frames,
        side,
    )
    outline = np.floor(3 * draws("outline"))
    distances = _distances(outline, radii, centers, side)
    ground = _between(_GROUND, draws("ground", 3))
    colors = _contrasting(ground, draws("color", 3), draws("side", 3))
    cells = draws("texture", _CELLS, _CELLS, 3)
    still = _channels(ground) + _TEXTURE * _texture(cells, side)
    levels = _composed(distances, colors, still)
    return Clips(levels, distances < 0, directions, centers)


def _between(limits: tuple[float, float], share: np.ndarray) -> np.ndarray:
    low, high = limits
    return low + (high - low) * share


def _channels(values: np.ndarray) -> np.ndarray:
    """Return values [N, 3] for pictures [N, H, W, 3]."""
    return values[:, None, None]


def _ways(directions: np.ndarray, travel: np.ndarray) -> np.ndarray:
    """Return how far each object gets over its clip, rows and columns in pixels [N, 2]."""
    angles = 2 * np.pi / DIRECTIONS * directions
    rows = travel * np.sin(angles)
    columns = travel * np.cos(angles)
    return np.stack([rows, columns], axis=1)


def _centers(
    ways: np.ndarray,
    radii: np.ndarray,
    places: np.ndarray,
    frames: int,
    side: int,
) -> np.ndarray:
    """Return each object's center [N, T, 2], drawn so that it stays within the frame."""
    edge = radii[:, None]
    low = edge + np.maximum(-ways, 0)
    high = side - edge - np.maximum(ways, 0)
    starts = _between((low, high), places)
    times = np.linspace(0, 1, frames)
    gone = times[:, None] * ways[:, None]
    return starts[:, None] + gone


def _distances(
    outline: np.ndarray,
    radii: np.ndarray,
    centers: np.ndarray,
    side: int,
) -> np.ndarray:
    """Return signed distances [N, T, H, W] in pixels, of outlines within the circle of a radius."""
    grid = np.arange(side) + 0.5
    away = np.abs(grid - centers[..., None])  # [N, T, 2, side]
    rows = away[:, :, 0, :, None]
    columns = away[:, :, 1, None, :]
    kind, radius = (values.reshape(-1, 1, 1, 1) for values in (outline, radii))
    half = math.sqrt(0.5)
    disk = np.hypot(rows, columns) - radius
    square = np.maximum(rows, columns) - half * radius
    diamond = half * (rows + columns - radius)
    kinds = [kind == 0, kind == 1]
    return np.select(kinds, [disk, square], diamond)


def _texture(cells: np.ndarray, side: int) -> np.ndarray:
    """Return values of cells [N, c, c, 3] between 0 and 1 as smooth pictures around 0."""
    count = cells.shape[1]
    pixels = np.arange(side)
    places = (pixels + 0.5) * (count - 1) / side
    low = np.minimum(places.astype(int), count - 2)
    share = places - low
    smooth = share**2 * (3 - 2 * share)
    weights = np.zeros((side, count))
    weights[pixels, low] = 1 - smooth
    weights[pixels, low + 1] = smooth
    return np.einsum("yi,xj,nijc->nyxc", weights, weights, cells - 0.5)


def _contrasting(
    ground: np.ndarray,
    color: np.ndarray,
    toss: np.ndarray,
) -> np.ndarray:
    """Return colors [N, 3] that lie on one side of the ground's in each channel, and apart."""
    below = ground - _CONTRAST
    above = ground + _CONTRAST
    darker = color * np.maximum(below, 0)
    lighter = 1 - color * np.maximum(1 - above, 0)
    only_darker = above > 1
    only_lighter = below < 0
    is_lighter = ~only_darker & (only_lighter | (toss < 0.5))
    return np.where(is_lighter, lighter, darker)


def _composed(
    distances: np.ndarray,
    colors: np.ndarray,
    still: np.ndarray,
) -> np.ndarray:
    """Return pictures uint8 [N, T, H, W, 3] of objects before still backgrounds."""
    coverage = np.clip(0.5 - distances, 0, 1)[..., None]
    objects = coverage * _channels(colors)[:, None]
    behind = (1 - coverage) * still[:, None]
    shades = np.clip(objects + behind, 0, 1)
    return np.rint(255 * shades).astype(np.uint8)
