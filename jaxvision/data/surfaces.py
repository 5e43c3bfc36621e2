"""Where rays meet solids, in closed form: a ball, a cylinder, a cube and a board.

A solid is convex, an intersection of a few intervals along the ray. What is not a place on a solid
has some place all the same; ``found`` says which to believe. Arrays may be NumPy's or JAX's.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from jaxvision.types import Array

CUBE, CYLINDER, BOARD = 0.65, 0.7, 0.9  # half a side; radius and half the height; half a side
_TINY = 1e-9


class Vector(NamedTuple):
    """Coordinates, each an array; a ray's origin [B, 1, 1] or its way [B, S, S]."""

    x: Array
    y: Array
    z: Array

    def dot(self, other: "Vector") -> Array:
        """Return the scalar product."""
        x = self.x * other.x
        y = self.y * other.y
        z = self.z * other.z
        return x + y + z

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


def _sphere(origin: Vector, way: Vector) -> Surface:
    """Return where rays meet a ball of radius 1; u is the longitude, v the latitude."""
    xp = way.z.__array_namespace__()
    near, far = _round(
        offset=origin.dot(origin) - 1,
        slope=origin.dot(way),
        square=way.dot(way),
    )
    point = origin.along(way, near)
    height = xp.clip(point.z, -1.0, 1.0)
    return Surface(
        found=near < far,
        normal=point,
        u=_longitude(point),
        v=xp.arccos(height) / math.pi,
    )


def _cylinder(origin: Vector, way: Vector) -> Surface:
    """Return where rays meet an upright cylinder: the texture goes around it, and on both ends."""
    xp = way.z.__array_namespace__()
    flat = Vector(way.x, way.y, xp.zeros_like(way.z))
    wall, beyond = _round(
        offset=origin.x**2 + origin.y**2 - CYLINDER**2,
        slope=origin.dot(flat),
        square=flat.dot(flat),
    )
    lid, floor = _slab(origin.z, way.z, CYLINDER)
    near = xp.maximum(wall, lid)
    point = origin.along(way, near)
    on_wall = wall > lid
    zero = xp.zeros_like(near)
    around = Vector(point.x, point.y, zero)
    outward = Vector(*[part / CYLINDER for part in around])
    end = Vector(zero, zero, -xp.sign(way.z))
    x, y, z = (_share(part, CYLINDER) for part in point)
    return Surface(
        found=near < xp.minimum(beyond, floor),
        normal=_either(on_wall, outward, end),
        u=xp.where(on_wall, _longitude(point), x),
        v=xp.where(on_wall, z, y),
    )


def _cube(origin: Vector, way: Vector) -> Surface:
    """Return where rays meet a cube, whose faces bear the whole texture each."""
    xp = way.z.__array_namespace__()
    near_x, far_x = _slab(origin.x, way.x, CUBE)
    near_y, far_y = _slab(origin.y, way.y, CUBE)
    near_z, far_z = _slab(origin.z, way.z, CUBE)
    near = xp.maximum(near_x, near_y)
    near = xp.maximum(near, near_z)
    far = xp.minimum(far_x, far_y)
    far = xp.minimum(far, far_z)
    point = origin.along(way, near)
    x, y, z = (_share(part, CUBE) for part in point)
    on_x = near_x == near
    on_y = ~on_x & (near_y == near)
    on_z = ~on_x & ~on_y
    normal = Vector(
        xp.where(on_x, -xp.sign(way.x), 0.0),
        xp.where(on_y, -xp.sign(way.y), 0.0),
        xp.where(on_z, -xp.sign(way.z), 0.0),
    )
    return Surface(
        found=near < far,
        normal=normal,
        u=xp.where(on_x, y, x),
        v=xp.where(on_z, y, z),
    )


def _board(origin: Vector, way: Vector) -> Surface:
    """Return where rays meet a square of no thickness."""
    xp = way.z.__array_namespace__()
    reach = -origin.z / _not_zero(way.z)
    point = origin.along(way, reach)
    within_x = xp.abs(point.x) < BOARD
    within_y = xp.abs(point.y) < BOARD
    zero = xp.zeros_like(point.x)
    return Surface(
        found=within_x & within_y,
        normal=Vector(zero, zero, -xp.sign(way.z)),
        u=_share(point.x, BOARD),
        v=_share(point.y, BOARD),
    )


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
    near = (-slope - root) / square
    far = (-slope + root) / square
    return near, far


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
    return Vector(
        xp.where(condition, one.x, other.x),
        xp.where(condition, one.y, other.y),
        xp.where(condition, one.z, other.z),
    )


def _longitude(point: Vector) -> Array:
    xp = point.x.__array_namespace__()
    angle = xp.arctan2(point.y, point.x)
    return angle / (2 * math.pi) + 0.5


def _share(coordinate: Array, half: float) -> Array:
    """Return where a coordinate lies between -half and half, from 0 to 1."""
    return (coordinate / half + 1) / 2
