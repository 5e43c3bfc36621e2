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


def draw(count: int, seed: int, part: int, frames: int, side: int) -> Clips:
    """Draw clips; clip i does not depend on ``count``, and goes in direction ``i % 8``.

    Args:
      count: N.
      seed: not negative.
      part: not negative; each part of a seed is an independent sequence of clips.
      frames: T.
      side: H and W.
    """

    def uniform(name: str, *shape: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        entropy = seed, part, zlib.crc32(name.encode())
        bits = np.random.Philox(np.random.SeedSequence(entropy))
        # Only a bit generator's raw words are promised to stay the same in later numpy versions.
        words = bits.random_raw(count * math.prod(shape)) >> np.uint64(11)
        return low + (high - low) * (words * 2.0**-53).reshape(count, *shape)

    radii = uniform("radius", low=_RADIUS[0] * side, high=_RADIUS[1] * side)
    travel = uniform("speed", low=_SPEED[0] * side, high=_SPEED[1] * side)
    directions = np.arange(count, dtype=np.int32) % DIRECTIONS
    centers = _centers(directions, travel, radii, uniform("place", 2), frames, side)
    outline = (3 * uniform("outline")).astype(int)
    distances = _distances(outline, radii, centers, side)
    ground = 0.2 + 0.6 * uniform("ground", 3)
    still = ground[:, None, None] + _TEXTURE * _texture(uniform("texture", _CELLS, _CELLS, 3), side)
    colors = _contrasting(ground, uniform("color", 3), uniform("side", 3))
    coverage = np.clip(0.5 - distances, 0, 1)[..., None]
    pictures = coverage * colors[:, None, None, None] + (1 - coverage) * still[:, None]
    levels = np.rint(255 * np.clip(pictures, 0, 1)).astype(np.uint8)
    return Clips(levels, distances < 0, directions, centers)


def _centers(
    directions: np.ndarray,
    travel: np.ndarray,
    radii: np.ndarray,
    places: np.ndarray,
    frames: int,
    side: int,
) -> np.ndarray:
    """Return the way of each center [N, T, 2], which keeps the object within the frame."""
    angles = 2 * np.pi / DIRECTIONS * directions
    headings = np.stack([np.sin(angles), np.cos(angles)], axis=1)
    ways = travel[:, None] * headings
    edge = radii[:, None]
    low = edge + np.maximum(-ways, 0)
    high = side - edge - np.maximum(ways, 0)
    starts = low + places * (high - low)
    times = np.linspace(0, 1, frames)[None, :, None]
    return starts[:, None] + times * ways[:, None]


def _distances(
    outline: np.ndarray, radii: np.ndarray, centers: np.ndarray, side: int
) -> np.ndarray:
    """Return signed distances [N, T, H, W] in pixels, of outlines within the circle of a radius."""
    grid = np.arange(side) + 0.5
    rows = np.abs(grid[None, None, :, None] - centers[..., 0, None, None])
    columns = np.abs(grid[None, None, None, :] - centers[..., 1, None, None])
    radius = radii[:, None, None, None]
    kind = outline[:, None, None, None]
    half = math.sqrt(0.5)
    disk = np.hypot(rows, columns) - radius
    square = np.maximum(rows, columns) - half * radius
    diamond = half * (rows + columns - radius)
    return np.select([kind == 0, kind == 1], [disk, square], diamond)


def _texture(cells: np.ndarray, side: int) -> np.ndarray:
    """Return values of cells [N, c, c, 3] between 0 and 1 as smooth pictures around 0."""
    count = cells.shape[1]
    places = (np.arange(side) + 0.5) / side * (count - 1)
    low = np.minimum(places.astype(int), count - 2)
    share = places - low
    smooth = share * share * (3 - 2 * share)
    weights = np.zeros((side, count))
    weights[np.arange(side), low] = 1 - smooth
    weights[np.arange(side), low + 1] = smooth
    return np.einsum("yi,xj,nijc->nyxc", weights, weights, cells - 0.5)


def _contrasting(ground: np.ndarray, color: np.ndarray, toss: np.ndarray) -> np.ndarray:
    """Return colors [N, 3] that lie on one side of the ground's in each channel, and apart."""
    below = ground - _CONTRAST
    above = ground + _CONTRAST
    darker = color * np.maximum(below, 0)
    lighter = 1 - color * np.maximum(1 - above, 0)
    is_lighter = np.where(above > 1, False, np.where(below < 0, True, toss < 0.5))
    return np.where(is_lighter, lighter, darker)
