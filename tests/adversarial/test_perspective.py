"""Homographies: their corners, their inverses, and how far a straightened picture lies off."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision import runtime
from jaxvision.adversarial import perspective
from jaxvision.adversarial.perspective import homography, landing, straightened

SQUARE = np.float32([[0, 0], [1, 0], [1, 1], [0, 1]])
RNG = np.random.default_rng(0)
OFFSETS = RNG.uniform(-0.1, 0.1, (3, 4, 2)).astype(np.float32)
NONE = np.zeros((3, 4, 2), np.float32)
IMAGES = RNG.uniform(size=(3, 9, 12, 2)).astype(np.float32)

pulled = runtime.jit(straightened, static_argnums=3)


def mapped(maps, points):
    lifted = np.concatenate([points, np.ones((*points.shape[:-1], 1))], -1)
    found = np.einsum("bij,bpj->bpi", maps, lifted)
    return found[..., :2] / found[..., 2:]


def displaced(corners, missed):
    """Return how far pixels of 9 x 12 come from elsewhere, (down, across)."""
    rows, columns = (np.asarray(places) for places in landing(corners, missed, 9, 12))
    return rows - np.arange(9)[None, :, None], columns - np.arange(12)[None, None]


def test_corners_land_where_the_offsets_say():
    points = np.broadcast_to(SQUARE, (3, 4, 2))
    found = mapped(homography(OFFSETS), points)
    np.testing.assert_allclose(found, SQUARE + OFFSETS, atol=1e-6)


def test_straight_lines_stay_straight():
    middle = np.broadcast_to(np.float32([[0.2, 0.3], [0.5, 0.4], [0.8, 0.5]]), (3, 3, 2))
    first, second, third = np.moveaxis(mapped(homography(OFFSETS), middle), 1, 0)
    side, other = second - first, third - first
    np.testing.assert_allclose(side[:, 0] * other[:, 1], side[:, 1] * other[:, 0], atol=1e-6)


def test_without_offsets_nothing_moves_to_the_bit():
    np.testing.assert_array_equal(homography(NONE), np.broadcast_to(np.eye(3), (3, 3, 3)))
    np.testing.assert_array_equal(pulled(IMAGES, NONE, NONE, 2), IMAGES)


def test_the_adjugate_is_an_inverse():
    maps = homography(OFFSETS)
    points = RNG.uniform(size=(3, 5, 2))
    there = mapped(maps, points)
    np.testing.assert_allclose(mapped(perspective._inverse(maps), there), points, atol=1e-5)


def test_a_picture_whose_corners_are_found_comes_back_to_its_place():
    for way in displaced(OFFSETS, NONE):
        np.testing.assert_allclose(way, 0, atol=1e-4)


def test_corners_missed_by_half_a_pixel_leave_a_residual_of_that_order():
    """At a corner what it is missed by; a picture twisted by all four may be off by more inside."""
    sides = np.float32([11, 8])
    missed = RNG.choice([-0.5, 0.5], (200, 4, 2)).astype(np.float32) / sides
    corners = RNG.uniform(-0.03, 0.03, (200, 4, 2)).astype(np.float32)
    down, across = (np.abs(way) for way in displaced(corners, missed))
    assert max(down.max(), across.max()) < 1.3
    assert max(down.mean(), across.mean()) < 0.4
    np.testing.assert_allclose(down[:, 0, 0], 0.5, atol=0.08)


def test_two_samplings_are_those_of_a_ramp():
    """A ramp is its own bilinear interpolation: its values tell where pixels come from."""
    down, across = np.mgrid[:20, :24].astype(np.float32)
    ramp = np.broadcast_to(np.stack([down, across], -1), (3, 20, 24, 2))
    small = OFFSETS / 4
    found = pulled(ramp, small, small / 5, 3)
    rows, columns = landing(small, small / 5, 20, 24)
    inside = (slice(None), slice(2, -2), slice(2, -2))
    np.testing.assert_allclose(found[..., 0][inside], rows[inside], atol=0.01)
    np.testing.assert_allclose(found[..., 1][inside], columns[inside], atol=0.01)


def test_what_is_constant_stays_so():
    gray = jnp.full((3, 9, 12, 1), 0.37)
    np.testing.assert_allclose(pulled(gray, OFFSETS / 4, OFFSETS / 9, 3), 0.37, atol=1e-6)


def test_the_result_can_be_differentiated_by_corners():
    gradient = jax.jit(jax.grad(lambda c: straightened(IMAGES, c, c / 4, 3).sum()))(OFFSETS / 9)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0
