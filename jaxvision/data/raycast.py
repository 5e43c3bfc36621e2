"""Pictures of textured solids: where each pixel's ray meets the solid, in closed form.

``cast`` finds the points, ``render`` looks the texture up there: bilinearly, so a picture is linear
in its texture, M t + b with M and b fixed by the view. Both take NumPy and JAX arrays, traced ones
too, and give back what they got.

A solid is convex, an intersection of a few intervals along the ray. Its frame is right-handed. The
camera looks along -z from a ``distance``; x points right, y up, and the picture shows half a unit
each way at distance 1. One ray goes through the middle of each pixel: edges are not smoothed.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxvision.types import Array

EXTENT = 0.5  # half of what the picture shows, at distance 1
CUBE, CYLINDER, BOARD = 0.65, 0.7, 0.9  # half a side; radius and half the height; half a side
AMBIENT = 0.55  # of the light; the rest comes from a lamp
LAMP = (1 / 3, 2 / 3, 2 / 3)  # the way to it as the camera sees it, of length 1
NUMBERS = 9  # that decide a view
_TINY = 1e-9


class View(NamedTuple):
    """How B solids are seen.

    Attributes:
      turn: [B, 3, 3], from the solid's frame to the camera's.
      distance: [B], of the camera from the middle of the picture.
      shift: [B, 2], of the solid, to the right and up.
      background: [B, 3], a color.
    """

    turn: Array
    distance: Array
    shift: Array
    background: Array


class Hits(NamedTuple):
    """What the rays of S x S pixels meet, each [B, S, S].

    Attributes:
      found: bool, the solid rather than the background.
      u: place in the texture, from 0 to 1 along its columns.
      v: along its rows.
      shade: light that the point reflects, from ``AMBIENT`` to 1.
    """

    found: Array
    u: Array
    v: Array
    shade: Array


class Vector(NamedTuple):
    """Coordinates, each an array; a ray's origin [B, 1, 1] or its way [B, S, S]."""

    x: Array
    y: Array
    z: Array

    def dot(self, other: "Vector") -> Array:
        """Return the scalar product."""
        return self.x * other.x + self.y * other.y + self.z * other.z

    def along(self, way: "Vector", reach: Array) -> "Vector":
        """Return the point at ``reach`` times ``way`` from here."""
        return Vector(
            self.x + reach * way.x,
            self.y + reach * way.y,
            self.z + reach * way.z,
        )


class Surface(NamedTuple):
    """What rays meet of one kind of solid: whether they do, the normal there, and u and v."""

    found: Array
    normal: Vector
    u: Array
    v: Array


def views(numbers: Array, solids: Array) -> View:
    """Return views from uniform numbers [B, ``NUMBERS``] in [0, 1) and kinds of solids int [B].

    The distribution of Athalye et al. 2018 (arXiv 1707.07397), table 6: distance 2.5 to 3, shift up
    to .05 each way, any rotation, a background of .1 to 1 in each channel. A board is turned away
    by at most 60 degrees: edge-on it shows nothing.
    """
    xp = numbers.__array_namespace__()
    least = xp.where(solids == list(SOLIDS).index("board"), 0.5, -1.0).astype(numbers.dtype)
    first, away, second, distance, right, up = numbers.T[:6]
    cosine = least + (1 - least) * away
    turn = _about_z(first) @ _about_y(cosine) @ _about_z(second)
    shift = xp.stack([right, up], 1)
    return View(
        turn=turn,
        distance=2.5 + 0.5 * distance,
        shift=0.1 * shift - 0.05,
        background=0.1 + 0.9 * numbers[:, 6:],
    )


def cast(solids: Array, view: View, size: int) -> Hits:
    """Return what B views show of solids, int [B] places in ``SOLIDS``, ``size`` pixels a side.

    All kinds are met and one is taken, so that the kinds may be traced. ``cast_one`` is faster
    where all are of one kind.
    """
    xp = view.distance.__array_namespace__()
    origin, way = _rays(view, size)
    surfaces = [meet(origin, way) for meet in SOLIDS.values()]
    chosen = solids[:, None, None]

    def choose(*each: Array) -> Array:
        found = each[0]
        for kind, other in enumerate(each[1:], start=1):
            found = xp.where(chosen == kind, other, found)
        return found

    normals = [surface.normal for surface in surfaces]
    surface = Surface(
        found=choose(*[surface.found for surface in surfaces]),
        normal=Vector(*[choose(*parts) for parts in zip(*normals, strict=True)]),
        u=choose(*[surface.u for surface in surfaces]),
        v=choose(*[surface.v for surface in surfaces]),
    )
    return _lit(surface, view)


def cast_one(solid: str, view: View, size: int) -> Hits:
    """Return what B views show of one kind of solid, of ``SOLIDS``."""
    return _lit(SOLIDS[solid](*_rays(view, size)), view)


def _lit(surface: Surface, view: View) -> Hits:
    """Return a surface in the light of the lamp."""
    xp = view.distance.__array_namespace__()
    lamp = _turned_back(view.turn, [xp.full_like(view.distance, part) for part in LAMP])
    facing = xp.maximum(surface.normal.dot(lamp), 0.0)
    shade = AMBIENT + (1 - AMBIENT) * facing
    return Hits(
        surface.found,
        xp.clip(surface.u, 0.0, 1.0),
        xp.clip(surface.v, 0.0, 1.0),
        xp.minimum(shade, 1.0),
    )


def render(textures: Array, hits: Hits, background: Array) -> Array:
    """Return pictures [B, S, S, C] of textures [B, H, W, C] before a background [B, C]."""
    xp = textures.__array_namespace__()
    seen = hits.shade[..., None] * look_up(textures, hits.u, hits.v)
    return xp.where(hits.found[..., None], seen, background[:, None, None])


def look_up(textures: Array, u: Array, v: Array) -> Array:
    """Return textures [B, H, W, C] at u and v [B, S, S] in [0, 1], bilinearly: [B, S, S, C].

    0 and 1 are the middles of the first and the last texel.
    """
    xp = textures.__array_namespace__()
    count, height, width, channels = textures.shape
    row, below = _between(v, height)
    column, beside = _between(u, width)
    first = height * width * xp.arange(count, dtype=np.int32)
    place = first[:, None, None] + width * row + column
    flat = textures.reshape(-1, channels)

    def texels(down: int, right: int) -> Array:
        return xp.take(flat, place + (width * down + right), axis=0, mode="clip")

    upper = (1 - beside) * texels(0, 0) + beside * texels(0, 1)
    lower = (1 - beside) * texels(1, 0) + beside * texels(1, 1)
    return (1 - below) * upper + below * lower


def _between(share: Array, count: int) -> tuple[Array, Array]:
    """Return the texel before a place, and how far the place is beyond it, [..., 1]."""
    xp = share.__array_namespace__()
    place = share * (count - 1)
    before = xp.clip(xp.floor(place), 0, count - 2)
    return before.astype(np.int32), (place - before)[..., None]


def _rays(view: View, size: int) -> tuple[Vector, Vector]:
    """Return origins [B, 1, 1] and ways [B, S, S] of the rays, in the solids' frames."""
    xp = view.distance.__array_namespace__()
    middles = (xp.arange(size, dtype=np.float32) + 0.5) / size
    across = EXTENT * (2 * middles - 1)
    right = xp.broadcast_to(across[None, None, :], (1, size, size))
    up = xp.broadcast_to(-across[None, :, None], (1, size, size))
    way = _turned_back(view.turn, [right, up, -xp.ones_like(right)])
    camera = [-view.shift[:, 0], -view.shift[:, 1], view.distance]
    return _turned_back(view.turn, camera), way


def _turned_back(turn: Array, seen: list[Array]) -> Vector:
    """Return a vector, given as the camera sees it, in the frames of the solids."""
    parts = [part[:, None, None] if part.ndim == 1 else part for part in seen]
    columns = [
        sum(turn[:, row, column, None, None] * parts[row] for row in range(3))
        for column in range(3)
    ]
    return Vector(*columns)


def _sphere(origin: Vector, way: Vector) -> Surface:
    """Return where rays meet a ball of radius 1; u is the longitude, v the latitude."""
    xp = way.z.__array_namespace__()
    near, far = _round(origin.dot(origin) - 1, origin.dot(way), way.dot(way))
    point = origin.along(way, near)
    height = xp.clip(point.z, -1.0, 1.0)
    return Surface(near < far, point, _longitude(point), xp.arccos(height) / math.pi)


def _cylinder(origin: Vector, way: Vector) -> Surface:
    """Return where rays meet an upright cylinder: the texture goes around it, and on both ends."""
    xp = way.z.__array_namespace__()
    flat = Vector(way.x, way.y, xp.zeros_like(way.z))
    inside = origin.x**2 + origin.y**2 - CYLINDER**2
    wall, beyond = _round(inside, origin.dot(flat), flat.dot(flat))
    lid, floor = _slab(origin.z, way.z, CYLINDER)
    near = xp.maximum(wall, lid)
    point = origin.along(way, near)
    on_wall = wall > lid
    zero = xp.zeros_like(near)
    around = Vector(point.x / CYLINDER, point.y / CYLINDER, zero)
    end = Vector(zero, zero, -xp.sign(way.z))
    return Surface(
        near < xp.minimum(beyond, floor),
        _either(on_wall, around, end),
        xp.where(on_wall, _longitude(point), _share(point.x, CYLINDER)),
        xp.where(on_wall, _share(point.z, CYLINDER), _share(point.y, CYLINDER)),
    )


def _cube(origin: Vector, way: Vector) -> Surface:
    """Return where rays meet a cube, whose faces bear the whole texture each."""
    xp = way.z.__array_namespace__()
    slabs = [_slab(start, step, CUBE) for start, step in zip(origin, way, strict=True)]
    nears = [near for near, _ in slabs]
    near = xp.maximum(xp.maximum(nears[0], nears[1]), nears[2])
    far = xp.minimum(xp.minimum(slabs[0][1], slabs[1][1]), slabs[2][1])
    point = origin.along(way, near)
    x, y, z = (_share(part, CUBE) for part in point)
    on_x = nears[0] == near
    on_y = nears[1] == near
    on_z = ~on_x & ~on_y
    faces = (on_x, on_y & ~on_x, on_z)
    normal = Vector(
        *[xp.where(on, -xp.sign(step), 0.0) for on, step in zip(faces, way, strict=True)]
    )
    return Surface(near < far, normal, xp.where(on_x, y, x), xp.where(on_z, y, z))


def _board(origin: Vector, way: Vector) -> Surface:
    """Return where rays meet a square of no thickness."""
    xp = way.z.__array_namespace__()
    point = origin.along(way, -origin.z / _not_zero(way.z))
    inside = (xp.abs(point.x) < BOARD) & (xp.abs(point.y) < BOARD)
    zero = xp.zeros_like(point.x)
    normal = Vector(zero, zero, -xp.sign(way.z))
    return Surface(inside, normal, _share(point.x, BOARD), _share(point.y, BOARD))


SOLIDS: dict[str, Callable[[Vector, Vector], Surface]] = {
    "sphere": _sphere,
    "cylinder": _cylinder,
    "cube": _cube,
    "board": _board,
}


def _round(offset: Array, slope: Array, square: Array) -> tuple[Array, Array]:
    """Return the interval of t where square t^2 + 2 slope t + offset is negative; empty if none."""
    xp = slope.__array_namespace__()
    square = xp.maximum(square, _TINY)
    inside = slope**2 - square * offset
    root = xp.sqrt(xp.maximum(inside, 0.0))
    return (-slope - root) / square, (-slope + root) / square


def _slab(start: Array, step: Array, half: float) -> tuple[Array, Array]:
    """Return the interval of t where a coordinate is within ``half`` of 0."""
    xp = step.__array_namespace__()
    step = _not_zero(step)
    one = (-half - start) / step
    other = (half - start) / step
    return xp.minimum(one, other), xp.maximum(one, other)


def _not_zero(step: Array) -> Array:
    xp = step.__array_namespace__()
    return xp.where(xp.abs(step) < _TINY, _TINY, step)


def _either(condition: Array, one: Vector, other: Vector) -> Vector:
    xp = condition.__array_namespace__()
    return Vector(*[xp.where(condition, a, b) for a, b in zip(one, other, strict=True)])


def _longitude(point: Vector) -> Array:
    xp = point.x.__array_namespace__()
    return xp.arctan2(point.y, point.x) / (2 * math.pi) + 0.5


def _share(coordinate: Array, half: float) -> Array:
    """Return where a coordinate lies between -half and half, from 0 to 1."""
    return (coordinate / half + 1) / 2


def _about_z(share: Array) -> Array:
    """Return rotations [B, 3, 3] about z by shares [B] of a full turn."""
    xp: Any = share.__array_namespace__()
    angle = 2 * math.pi * share
    cosine, sine = xp.cos(angle), xp.sin(angle)
    zero, one = xp.zeros_like(share), xp.ones_like(share)
    return _matrix([[cosine, -sine, zero], [sine, cosine, zero], [zero, zero, one]])


def _about_y(cosine: Array) -> Array:
    """Return rotations [B, 3, 3] about y by angles of these cosines [B], from 0 to half a turn."""
    xp: Any = cosine.__array_namespace__()
    sine = xp.sqrt(xp.maximum(1 - cosine**2, 0.0))
    zero, one = xp.zeros_like(cosine), xp.ones_like(cosine)
    return _matrix([[cosine, zero, sine], [zero, one, zero], [-sine, zero, cosine]])


def _matrix(rows: list[list[Array]]) -> Array:
    """Return matrices [B, 3, 3] from their entries [B]."""
    xp: Any = rows[0][0].__array_namespace__()
    return xp.stack([xp.stack(row, -1) for row in rows], -2)
