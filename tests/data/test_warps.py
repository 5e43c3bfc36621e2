"""Warps: exact poses, scipy's interpolation, linearity, transposes, derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxvision.data import warps
from jaxvision.data.warps import Pose

# As a step does it: one program in place of some forty operations, each of which compiles.
warp = jax.jit(warps.warp, static_argnames=("padding", "size"))
sample_at = jax.jit(warps.sample_at, static_argnames="padding")
PADDINGS = {"zero": "grid-constant", "edge": "nearest", "reflect": "mirror", "wrap": "grid-wrap"}
RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(3, 6, 5, 2)).astype(np.float32)
SQUARE = RNG.uniform(size=(2, 7, 7, 1)).astype(np.float32)
POSE = Pose(down=0.7, right=-1.3, turn=25.0, scale=1.2)


@pytest.mark.parametrize("padding", PADDINGS)
def test_the_pose_of_nothing_is_the_image_to_the_bit(padding):
    np.testing.assert_array_equal(warp(IMAGES, Pose(), padding), IMAGES)


@pytest.mark.parametrize("side", [6, 7])
@pytest.mark.parametrize("quarters", [1, 2, 3, -1])
def test_quarter_turns_are_those_of_numpy(side, quarters):
    """About (N - 1) / 2: about N / 2 the picture would move by a pixel and lose a row."""
    images = RNG.uniform(size=(2, side, side, 1)).astype(np.float32)
    turned = warp(images, Pose(turn=90.0 * quarters))
    np.testing.assert_allclose(turned, np.rot90(images, quarters, (1, 2)), atol=1e-6)


@pytest.mark.parametrize(("padding", "first"), [("zero", 0.0), ("edge", 0.0)])
def test_doubling_puts_half_pixels_between(padding, first):
    line = np.arange(4, dtype=np.float32).reshape(1, 1, 4, 1)
    doubled = warp(line, Pose(scale=2.0), padding, size=(1, 8))[0, 0, :, 0]
    last = 3.0 if padding == "edge" else 2.25  # a quarter of the black beyond
    expected = [first, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, last]
    np.testing.assert_allclose(doubled, expected, atol=1e-6)


@pytest.mark.parametrize(("shift", "axis"), [(Pose(down=2.0), 1), (Pose(right=2.0), 2)])
def test_whole_shifts_go_down_and_right(shift, axis):
    np.testing.assert_array_equal(warp(IMAGES, shift, "wrap"), np.roll(IMAGES, 2, axis))
    black = np.roll(IMAGES, 2, axis)
    black[(slice(None),) * axis + (slice(2),)] = 0
    np.testing.assert_array_equal(warp(IMAGES, shift), black)


def test_a_larger_frame_shows_black_around_the_picture():
    framed = warp(IMAGES, Pose(), size=(10, 9))
    np.testing.assert_array_equal(framed, np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0))))


@pytest.mark.parametrize("padding", PADDINGS)
def test_places_are_those_of_scipy(padding):
    rows, columns = RNG.uniform(-9, 14, size=(2, 3, 4, 4)).astype(np.float32)
    found = sample_at(IMAGES, rows, columns, padding)
    for image, at_rows, at_columns, values in zip(IMAGES, rows, columns, found, strict=True):
        for channel in range(2):
            places = np.stack([at_rows, at_columns])
            wanted = ndimage.map_coordinates(
                image[..., channel], places, order=1, mode=PADDINGS[padding]
            )
            np.testing.assert_allclose(values[..., channel], wanted, atol=1e-5)


def test_one_row_mirrors_itself():
    line = IMAGES[:, :1]
    np.testing.assert_allclose(warp(line, Pose(down=0.4), "reflect"), line, atol=1e-6)


def test_every_image_has_its_own_pose():
    poses = Pose(down=jnp.array([0.0, 1.5, -1.0]), turn=jnp.array([0.0, 30.0, 200.0]))
    together = warp(IMAGES, poses)
    for i, (down, turn) in enumerate(zip(poses.down, poses.turn, strict=True)):
        alone = warp(IMAGES[i : i + 1], Pose(down=down, turn=turn))
        np.testing.assert_allclose(together[i], alone[0], atol=1e-6)


@pytest.mark.parametrize("padding", PADDINGS)
def test_warps_are_linear_and_meet_their_transposes(padding):
    def moved(images):
        return warp(images, POSE, padding)

    x, y = (jnp.array(RNG.normal(size=SQUARE.shape), jnp.float32) for _ in range(2))
    np.testing.assert_allclose(moved(2 * x - 3 * y), 2 * moved(x) - 3 * moved(y), atol=1e-5)
    (back,) = jax.linear_transpose(moved, x)(y)
    np.testing.assert_allclose(jnp.vdot(moved(x), y), jnp.vdot(x, back), rtol=1e-4)


def test_the_transpose_of_a_shift_on_a_torus_is_the_shift_back():
    (back,) = jax.linear_transpose(lambda x: warp(x, Pose(down=2.0), "wrap"), SQUARE)(SQUARE)
    np.testing.assert_allclose(back, warp(SQUARE, Pose(down=-2.0), "wrap"), atol=1e-6)


@pytest.mark.parametrize("part", Pose._fields)
def test_derivatives_by_the_pose_are_slopes(part):
    weights = jnp.array(RNG.normal(size=SQUARE.shape), jnp.float32)

    def total(value):
        return jnp.vdot(weights, warp(SQUARE, POSE._replace(**{part: value})))

    at, step = getattr(POSE, part), 1e-2
    slope = (total(at + step) - total(at - step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(total)(at), slope, rtol=0.05, atol=0.02)
