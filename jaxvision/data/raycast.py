"""Pictures of textured solids: where each pixel's ray meets the solid, in closed form.

``cast`` finds the points, ``render`` looks the texture up there: bilinearly, so a picture is linear
in its texture, M t + b with M and b fixed by the view. Both take NumPy and JAX arrays, traced ones
too, and give back what they got.

The camera looks along -z from a ``distance``; x points right, y up, and the picture shows half a
unit each way at distance 1. One ray goes through the middle of each pixel: edges are not smoothed.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from jaxvision.data.surfaces import SOLIDS, Surface, Vector
from jaxvision.types import Array

EXTENT = 0.5  # half of what the picture shows, at distance 1
AMBIENT = 0.55  # of the light; the rest comes from a lamp
LAMP = (1 / 3, 2 / 3, 2 / 3)  # the way to it as the camera sees it, of length 1
NUMBERS = 9  # that decide a view


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


def views(numbers: Array, solids: Array) -> View:
    """Return views from uniform numbers [B, ``NUMBERS``] in [0, 1) and kinds of solids int [B].

    The distribution of Athalye et al. 2018 (arXiv 1707.07397), table 6: distance 2.5 to 3, shift up
    to .05 each way, any rotation, a background of .1 to 1 in each channel. A board is turned away
    by at most 60 degrees: edge-on it shows nothing.
    """
    xp = numbers.__array_namespace__()
    is_board = solids == list(SOLIDS).index("board")
    least = xp.where(is_board, 0.5, -1.0)
    least = least.astype(numbers.dtype)
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

    founds, normals, us, vs = zip(*surfaces, strict=True)
    normal = [choose(*parts) for parts in zip(*normals, strict=True)]
    surface = Surface(
        found=choose(*founds),
        normal=Vector(*normal),
        u=choose(*us),
        v=choose(*vs),
    )
    return _lit(surface, view)


def cast_one(solid: str, view: View, size: int) -> Hits:
    """Return what B views show of one kind of solid, of ``SOLIDS``."""
    origin, way = _rays(view, size)
    surface = SOLIDS[solid](origin, way)
    return _lit(surface, view)


def _lit(surface: Surface, view: View) -> Hits:
    """Return a surface in the light of the lamp."""
    xp = view.distance.__array_namespace__()
    everywhere = [xp.full_like(view.distance, part) for part in LAMP]
    lamp = _turned_back(view.turn, everywhere)
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
    shade = hits.shade[..., None]
    found = hits.found[..., None]
    seen = shade * look_up(textures, hits.u, hits.v)
    return xp.where(found, seen, background[:, None, None])


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
        beyond = width * down + right
        return xp.take(flat, place + beyond, axis=0, mode="clip")

    upper = (1 - beside) * texels(0, 0) + beside * texels(0, 1)
    lower = (1 - beside) * texels(1, 0) + beside * texels(1, 1)
    return (1 - below) * upper + below * lower


def _between(share: Array, count: int) -> tuple[Array, Array]:
    """Return the texel before a place, and how far the place is beyond it, [..., 1]."""
    xp = share.__array_namespace__()
    place = share * (count - 1)
    before = xp.floor(place)
    before = xp.clip(before, 0, count - 2)
    beyond = place - before
    return before.astype(np.int32), beyond[..., None]


def _rays(view: View, size: int) -> tuple[Vector, Vector]:
    """Return origins [B, 1, 1] and ways [B, S, S] of the rays, in the solids' frames."""
    xp = view.distance.__array_namespace__()
    pixels = xp.arange(size, dtype=np.float32)
    middles = (pixels + 0.5) / size
    across = EXTENT * (2 * middles - 1)
    shape = (1, size, size)
    right = xp.broadcast_to(across[None, None, :], shape)
    up = xp.broadcast_to(-across[None, :, None], shape)
    ahead = -xp.ones_like(right)
    way = _turned_back(view.turn, [right, up, ahead])
    moved = -view.shift
    camera = [moved[:, 0], moved[:, 1], view.distance]
    origin = _turned_back(view.turn, camera)
    return origin, way


def _turned_back(turn: Array, seen: list[Array]) -> Vector:
    """Return a vector, given as the camera sees it, in the frames of the solids."""
    right, up, back = (part[:, None, None] if part.ndim == 1 else part for part in seen)
    rows = turn[..., None, None]

    def along(axis: int) -> Array:
        x = rows[:, 0, axis] * right
        y = rows[:, 1, axis] * up
        z = rows[:, 2, axis] * back
        return x + y + z

    return Vector(along(0), along(1), along(2))


def _about_z(share: Array) -> Array:
    """Return rotations [B, 3, 3] about z by shares [B] of a full turn."""
    xp: Any = share.__array_namespace__()
    angle = 2 * math.pi * share
    cosine = xp.cos(angle)
    sine = xp.sin(angle)
    zero = xp.zeros_like(share)
    one = xp.ones_like(share)
    return _matrix(
        [cosine, -sine, zero],
        [sine, cosine, zero],
        [zero, zero, one],
    )


def _about_y(cosine: Array) -> Array:
    """Return rotations [B, 3, 3] about y by angles of these cosines [B], from 0 to half a turn."""
    xp: Any = cosine.__array_namespace__()
    sine = xp.sqrt(xp.maximum(1 - cosine**2, 0.0))
    zero = xp.zeros_like(cosine)
    one = xp.ones_like(cosine)
    return _matrix(
        [cosine, zero, sine],
        [zero, one, zero],
        [-sine, zero, cosine],
    )


def _matrix(*rows: list[Array]) -> Array:
    """Return matrices [B, 3, 3] from their entries [B]."""
    xp: Any = rows[0][0].__array_namespace__()
    stacked = [xp.stack(row, -1) for row in rows]
    return xp.stack(stacked, -2)
