"""Ray-cast solids: silhouettes in closed form, pictures linear in the texture, the transpose."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.data import raycast, surfaces
from jaxvision.data.raycast import SOLIDS, View, cast, cast_one, look_up, render, views
from jaxvision.data.warps import sample_at

RNG = np.random.default_rng(0)
KINDS = np.arange(4, dtype=np.int32)
VIEWS = views(RNG.random((4, raycast.NUMBERS), np.float32), KINDS)
BLACK = np.zeros((4, 3), np.float32)


def facing(distance, shift=(0.0, 0.0)):
    """Return the view of one solid that is not turned."""
    return View(
        turn=np.eye(3, dtype=np.float32)[None],
        distance=np.float32([distance]),
        shift=np.float32([shift]),
        background=BLACK[:1],
    )


def textures(side=8):
    return RNG.random((4, side, side, 3), np.float32)


AREAS = {
    "sphere": lambda d: math.pi / (d**2 - 1),
    "cylinder": lambda d: math.pi * (surfaces.CYLINDER / (d - surfaces.CYLINDER)) ** 2,
    "cube": lambda d: (2 * surfaces.CUBE / (d - surfaces.CUBE)) ** 2,
    "board": lambda d: (2 * surfaces.BOARD / d) ** 2,
}


@pytest.mark.parametrize("distance", [2.6, 4.0])
@pytest.mark.parametrize("solid", SOLIDS)
def test_silhouettes_have_their_areas(solid, distance):
    """A ball of radius 1 is a disc of pi / (d^2 - 1); the near end of the others hides the rest."""
    hits = cast_one(solid, facing(distance), 300)
    assert hits.found.mean() == pytest.approx(AREAS[solid](distance), rel=0.02)


def test_a_shift_moves_the_silhouette_by_its_perspective():
    found = cast_one("board", facing(2.0, shift=(0.1, -0.04)), 200).found[0]
    rows, columns = np.nonzero(found)
    middle = np.array([columns.mean() - 99.5, 99.5 - rows.mean()]) / 200
    np.testing.assert_allclose(middle, [0.05, -0.02], atol=0.002)


def test_a_cylinder_from_the_side_is_as_wide_as_its_tangents():
    """Turned by 90 degrees about y, its axis lies along x: r / sqrt(d^2 - r^2) up and down."""
    numbers = np.zeros((1, raycast.NUMBERS), np.float32)
    numbers[0, 1:6] = 0.5  # cosine 0, distance 2.75, no shift
    view = views(numbers, np.array([1]))
    rows = cast_one("cylinder", view, 400).found[0, :, 200]
    radius = surfaces.CYLINDER
    half = radius / math.sqrt(2.75**2 - radius**2)
    assert rows.mean() == pytest.approx(2 * half, abs=0.006)


def test_pictures_are_linear_in_the_texture():
    """At a black background; elsewhere they are affine."""
    hits = cast(KINDS, VIEWS, 32)
    one, other = textures(), textures()
    mixed = render(0.3 * one - 1.7 * other, hits, BLACK)
    apart = 0.3 * render(one, hits, BLACK) - 1.7 * render(other, hits, BLACK)
    np.testing.assert_allclose(mixed, apart, atol=1e-6)
    gray = render(0 * one, hits, VIEWS.background)
    np.testing.assert_allclose(gray[0, 0, 0], VIEWS.background[0])


def test_the_gradient_is_the_transpose():
    """<w, M t> = <M' w, t>, and M' is that of the matrix of one-texel textures."""
    hits = jax.tree.map(lambda part: jnp.asarray(part[:1]), cast(KINDS, VIEWS, 8))
    texture = jnp.asarray(textures(4)[:1, ..., :1])
    black = jnp.zeros((1, 1))
    weights = jnp.asarray(RNG.normal(size=(1, 8, 8, 1)), jnp.float32)
    picture, back = jax.vjp(lambda texture: render(texture, hits, black), texture)
    (gradient,) = back(weights)
    np.testing.assert_allclose(jnp.vdot(weights, picture), jnp.vdot(gradient, texture), rtol=1e-5)
    of_each = [
        render(
            unit.reshape(1, 4, 4, 1), jax.tree.map(np.asarray, hits), np.zeros((1, 1), np.float32)
        )
        for unit in np.eye(16, dtype=np.float32)
    ]
    matrix = np.stack([picture.ravel() for picture in of_each])
    np.testing.assert_allclose(gradient.ravel(), matrix @ np.ravel(weights), atol=1e-5)


def test_traced_pictures_are_those_of_numpy():
    """All kinds at once and compiled, against each kind alone."""
    numbers = RNG.random((4, raycast.NUMBERS), np.float32)
    painted = textures()

    @jax.jit
    def traced(numbers, kinds, painted):
        view = views(numbers, kinds)
        return render(painted, cast(kinds, view, 16), view.background)

    view = views(numbers, KINDS)
    for row, solid in enumerate(SOLIDS):
        alone = View(*[part[row : row + 1] for part in view])
        hits = cast_one(solid, alone, 16)
        picture = render(painted[row : row + 1], hits, alone.background)
        apart = np.abs(traced(numbers, KINDS, painted)[row] - picture[0]).max(-1)
        assert (apart > 1e-4).sum() <= 2  # rays that graze an edge round to either side


def test_textures_are_looked_up_between_texels():
    painted = textures()
    u, v = RNG.random((2, 4, 5, 5), np.float32)
    expected = sample_at(painted, 7 * v, 7 * u, "edge")
    np.testing.assert_allclose(look_up(painted, u, v), expected, atol=1e-6)
    corner = np.ones((4, 1, 1), np.float32)
    np.testing.assert_array_equal(look_up(painted, corner, corner)[:, 0, 0], painted[:, -1, -1])


def test_a_ball_striped_by_latitude_looks_alike_however_it_is_turned():
    bands = np.broadcast_to(RNG.random((1, 8, 1, 3), np.float32), (3, 8, 8, 3))
    numbers = np.full((3, raycast.NUMBERS), 0.4, np.float32)
    numbers[:, 2] = [0.0, 0.3, 0.9]  # a turn about the ball's own axis
    kinds = np.zeros(3, np.int32)
    view = views(numbers, kinds)
    pictures = render(bands, cast_one("sphere", view, 16), view.background)
    np.testing.assert_allclose(
        pictures[1:], np.broadcast_to(pictures[0], (2, 16, 16, 3)), atol=2e-3
    )


def test_a_facing_board_is_lit_evenly():
    hits = cast_one("board", facing(2.0), 16)
    np.testing.assert_allclose(hits.shade, 0.55 + 0.45 * 2 / 3, rtol=1e-5)
    assert math.hypot(*raycast.LAMP) == pytest.approx(1)


def test_views_are_rotations_within_the_paper_s_ranges():
    numbers = RNG.random((200, raycast.NUMBERS), np.float32)
    view = views(numbers, np.full(200, 3))
    eye = np.broadcast_to(np.eye(3), (200, 3, 3))
    np.testing.assert_allclose(view.turn @ view.turn.swapaxes(1, 2), eye, atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(view.turn), 1, atol=1e-5)
    assert view.turn[:, 2, 2].min() >= 0.5  # a board's normal, within 60 degrees of the camera
    assert 2.5 <= view.distance.min() <= view.distance.max() <= 3
    assert np.abs(view.shift).max() <= 0.05
    assert view.background.min() >= 0.1
    anyhow = views(numbers, np.zeros(200))
    assert anyhow.turn[:, 2, 2].min() < -0.9
