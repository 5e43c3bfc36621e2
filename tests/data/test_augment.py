"""Augmentation against a search over every crop, its distribution, and the statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxvision.data.augment import (
    channel_statistics,
    normalize,
    pad_crop_flip,
    per_pixel_mean,
    shrink,
)


def every_crop(image: np.ndarray, pad: int) -> dict[bytes, tuple[int, int, bool]]:
    """Return all crops of the padded image and of its mirror, by their bytes."""
    h, w, _ = image.shape
    crops = {}
    for flip in (False, True):
        padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
        for y in range(2 * pad + 1):
            for x in range(2 * pad + 1):
                crop = padded[y : y + h, x : x + w]
                crops[(crop[:, ::-1] if flip else crop).tobytes()] = (y, x, flip)
    return crops


# Compiled, because op by op each new shape compiles a dozen little programs.
augment = jax.jit(pad_crop_flip, static_argnums=2)


def random_images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("pad, shape", [(4, (9, 7, 3)), (1, (4, 4, 1)), (6, (8, 8, 2))])
def test_each_output_is_a_crop_and_all_are_equally_likely(pad, shape):
    image = random_images(*shape)
    count = 50 * 2 * (2 * pad + 1) ** 2
    out = np.asarray(augment(jax.random.key(3), np.tile(image, (count, 1, 1, 1)), pad))
    crops = every_crop(image, pad)
    drawn = [crops[crop.tobytes()] for crop in out]  # a KeyError is an output that is no crop
    frequency = np.unique(drawn, axis=0, return_counts=True)[1]
    assert len(frequency) == len(crops)
    assert stats.chisquare(frequency).pvalue > 1e-3
    assert stats.binomtest(sum(flip for *_, flip in drawn), count).pvalue > 1e-3


def test_each_image_gets_a_crop_of_its_own_picture():
    images = random_images(64, 8, 8, 3)
    out = np.asarray(augment(jax.random.key(0), images))
    for image, crop in zip(images, out, strict=True):
        assert crop.tobytes() in every_crop(image, 4)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_type_and_shape_stay(dtype):
    images = random_images(5, 8, 6, 3).astype(dtype)
    out = augment(jax.random.key(0), images)
    assert out.shape == images.shape and out.dtype == dtype


def test_no_padding_leaves_only_the_flip():
    images = random_images(40, 5, 5, 1)
    out = np.asarray(augment(jax.random.key(1), images, pad=0))
    same = (out == images).all((1, 2, 3))
    mirrored = (out == images[:, :, ::-1]).all((1, 2, 3))
    assert (same | mirrored).all() and same.any() and mirrored.any()


def test_the_key_alone_decides():
    images = random_images(32, 8, 8, 3)
    first = augment(jax.random.key(7), images)
    np.testing.assert_array_equal(first, augment(jax.random.key(7), images))
    assert (np.asarray(augment(jax.random.key(8), images)) != first).any()


def test_the_same_crops_under_jit_vmap_and_scan():
    images = random_images(16, 8, 8, 3)
    keys = jax.random.split(jax.random.key(0), 3)
    one_by_one = np.stack([pad_crop_flip(key, images) for key in keys])
    vmap = jax.jit(jax.vmap(pad_crop_flip, (0, None)))
    scan = jax.jit(lambda keys, x: jax.lax.scan(lambda c, k: (c, pad_crop_flip(k, x)), 0, keys)[1])
    np.testing.assert_array_equal([augment(key, images) for key in keys], one_by_one)
    np.testing.assert_array_equal(vmap(keys, images), one_by_one)
    np.testing.assert_array_equal(scan(keys, jnp.asarray(images)), one_by_one)


def test_channel_statistics_are_the_definition():
    images = random_images(1500, 4, 5, 3)  # more than one block
    mean, std = channel_statistics(images)
    np.testing.assert_allclose(mean, images.mean((0, 1, 2), dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(std, images.std((0, 1, 2), dtype=np.float64), rtol=1e-6)
    assert mean.dtype == std.dtype == np.float32
    reordered = channel_statistics(images[::-1])
    np.testing.assert_array_equal((mean, std), reordered)


def test_normalized_channels_have_mean_zero_and_deviation_one():
    images = random_images(300, 6, 6, 3)
    images[..., 1] //= 7
    out = np.asarray(normalize(jnp.asarray(images), *channel_statistics(images)), np.float64)
    np.testing.assert_allclose(out.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(out.std((0, 1, 2)), 1, atol=1e-5)


def test_a_constant_channel_becomes_zero_not_nan():
    images = np.full((3, 2, 2, 1), 200, np.uint8)
    np.testing.assert_array_equal(normalize(jnp.asarray(images), *channel_statistics(images)), 0)


@pytest.mark.parametrize("count", [1, 256, 257, 1000])
def test_per_pixel_mean_is_exact_for_any_number_of_images(count):
    """Brightest images would be the first to overflow a sum."""
    images = random_images(count, 3, 2, 1)
    np.testing.assert_array_equal(
        per_pixel_mean(images), np.mean(images, 0, np.float64).astype(np.float32)
    )
    np.testing.assert_array_equal(per_pixel_mean(np.full_like(images, 255)), 255)


def test_per_pixel_mean_centers_every_pixel():
    images = random_images(50, 4, 4, 3)
    out = np.asarray(normalize(jnp.asarray(images), per_pixel_mean(images)))
    assert out.dtype == np.float32
    np.testing.assert_allclose(out.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(out[0] - out[1], images[0].astype(float) - images[1], atol=1e-4)


def test_shrink_averages_squares_and_cuts_off_the_rest():
    images = np.arange(2 * 5 * 4 * 3, dtype=np.float32).reshape(2, 5, 4, 3)
    found = np.asarray(shrink(images, 2))
    assert found.shape == (2, 2, 2, 3)
    np.testing.assert_allclose(found[1, 0, 1], images[1, :2, 2:].mean((0, 1)))
    np.testing.assert_array_equal(shrink(images, 1), images)
