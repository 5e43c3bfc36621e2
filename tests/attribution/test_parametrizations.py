"""Codes and pictures: inverses, spectra and colors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from jaxvision.attribution.parametrizations import (
    SOFTNESS,
    color_root,
    fourier,
    hartley,
    pixels,
    prior,
)
from jaxvision.types import UserError

RNG = np.random.default_rng(0)
COLORS = np.array(  # lucid's
    [
        [0.26, 0.09, 0.02],
        [0.27, 0.0, -0.05],
        [0.27, -0.09, 0.03],
    ]
)


def drawn(*shape):
    return np.float32(RNG.normal(size=shape))


def shares(*shape):
    return np.float32(RNG.uniform(0.05, 0.95, size=shape))


def logits_of(pictures):
    return np.log(pictures / (1 - pictures))


def test_hartley_is_orthogonal_and_its_own_inverse():
    x = drawn(2, 6, 5, 3)
    there = hartley(x)
    assert_allclose(hartley(there), x, atol=1e-5)
    assert_allclose(jnp.square(there).sum(), np.square(x).sum(), rtol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 12)])
def test_fourier_codes_and_pictures_are_inverses(height, width):
    waves = fourier(height, width, COLORS)
    codes = drawn(2, height, width, 3)
    pictures = waves.decode(codes)
    assert pictures.min() > 0
    assert pictures.max() < 1
    assert_allclose(waves.encode(pictures), codes, atol=5e-3)
    given = shares(2, height, width, 3)
    assert_allclose(waves.decode(waves.encode(given)), given, atol=1e-5)


def test_white_codes_have_the_stated_colors_and_spectrum():
    """Covariance in proportion to C C^T; amplitudes sqrt(2) / max(f, 1 / N) / 4 before colors."""
    waves = fourier(16, 16, COLORS)
    codes = drawn(600, 16, 16, 3)
    pictures = jax.jit(waves.decode)(codes)
    before = logits_of(np.asarray(pictures, np.float64))
    found = np.cov(before.reshape(-1, 3), rowvar=False)
    longest = np.linalg.norm(COLORS, axis=0).max()
    wanted = COLORS @ COLORS.T / longest**2
    scale = np.trace(found) / np.trace(wanted)
    assert_allclose(found / scale, wanted, atol=0.02)
    unmixed = before @ np.linalg.inv(COLORS / longest).T
    waves = np.asarray(hartley(np.float32(unmixed)))
    power = np.square(waves).mean((0, 3))
    frequency = np.maximum([0, 1, 4, 8], 1) / 16
    amplitude = np.sqrt(2) / frequency / SOFTNESS
    assert_allclose(power[[0, 1, 4, 8], 0], amplitude**2, rtol=0.12)


def test_the_root_of_colors_gives_their_covariance():
    images = RNG.integers(0, 256, size=(50, 6, 6, 3), dtype=np.uint8)
    images[..., 1] = images[..., 0] // 2
    root = color_root(images)
    values = images.reshape(-1, 3) / 255
    wanted = np.cov(values, rowvar=False, bias=True)
    assert_allclose(root @ root.T, wanted, atol=1e-12)
    gray = color_root(images[..., :1])
    assert_allclose(gray, [[(images[..., 0] / 255).std()]])


def test_pixels_are_differences_from_the_center_within_the_range():
    center = shares(4, 4, 1)
    made = pixels(center)
    far = made.project(7 + drawn(1, 4, 4, 1))
    assert_allclose(made.decode(far), 1.0, atol=1e-6)
    pictures = shares(3, 4, 4, 1)
    assert_allclose(made.decode(made.encode(pictures)), pictures, atol=1e-6)


def test_a_prior_keeps_codes_between_its_bounds():
    made = prior(lambda codes: 2 * codes, low=0.0, high=3.0)
    codes = np.float32([[-1.0, 2.0, 5.0]])
    assert_array_equal(made.project(codes), [[0.0, 2.0, 3.0]])
    assert_array_equal(made.decode(codes), [[-2.0, 4.0, 10.0]])


def gray(images):
    return np.repeat(images[..., :1], 3, axis=-1)


def blue_empty(images):
    return np.concatenate([images[..., :2], 0 * images[..., :1]], axis=-1)


@pytest.mark.parametrize("kept", [gray, blue_empty])
def test_colors_that_depend_on_each_other_have_waves(kept):
    images = kept(RNG.integers(0, 256, size=(50, 6, 6, 3), dtype=np.uint8))
    waves = fourier(6, 6, color_root(images))
    pictures = waves.decode(drawn(4, 6, 6, 3))
    # An empty channel has the sigmoid of 0.
    assert_allclose(pictures, kept(pictures - 0.5) + 0.5, atol=1e-6)
    assert_allclose(waves.decode(waves.encode(pictures)), pictures, atol=1e-5)


def test_one_color_cannot_be_decorrelated():
    with pytest.raises(UserError, match="the pictures have one color"):
        fourier(4, 4, np.zeros((3, 3)))


@pytest.mark.parametrize(("side", "line"), [(4.0, "a whole number"), (True, "a whole"), (0, "at")])
def test_a_side_that_is_no_number_of_pixels_is_refused(side, line):
    with pytest.raises(UserError, match=f"^height={side}: {line}"):
        fourier(side, 4, COLORS)
