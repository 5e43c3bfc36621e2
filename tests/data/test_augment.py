"""Augmentation against a search over every crop, its distribution, and the statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxvision.data.augment import (
    normalize,
    pad_crop_flip,
    per_pixel_mean,
    shrink,
    standardizer,
    turned,
)
from jaxvision.data.dataset import Dataset
from jaxvision.types import UserError


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

    def keys():
        return jax.random.split(jax.random.key(0), 3)

    one_by_one = np.stack([pad_crop_flip(key, images) for key in keys()])
    vmap = jax.jit(jax.vmap(pad_crop_flip, (0, None)))
    scan = jax.jit(lambda keys, x: jax.lax.scan(lambda c, k: (c, pad_crop_flip(k, x)), 0, keys)[1])
    np.testing.assert_array_equal([augment(key, images) for key in keys()], one_by_one)
    np.testing.assert_array_equal(vmap(keys(), images), one_by_one)
    np.testing.assert_array_equal(scan(keys(), jnp.asarray(images)), one_by_one)


def test_normalize_is_its_formula():
    images = random_images(30, 6, 5, 3)
    mean, std = np.float32([10, 20, 30]), np.float32([2, 4, 8])
    wanted = (images.astype(np.float64) - mean) / std
    np.testing.assert_allclose(normalize(jnp.asarray(images), mean, std), wanted, rtol=1e-6)


def test_standardized_training_images_have_mean_zero_at_every_pixel_and_one_scale():
    images = random_images(300, 6, 5, 3)
    images[..., 1] //= 7  # channels keep their proportions: one scale for all
    preprocess = standardizer(Dataset(images, np.arange(300, dtype=np.int32) % 2))
    out = np.asarray(preprocess(jnp.asarray(images), None), np.float64)
    np.testing.assert_allclose(out.mean(0), 0, atol=1e-5)
    assert out.std() == pytest.approx(1, abs=1e-5)
    assert out[..., 0].std() > 5 * out[..., 1].std()
    assert preprocess(jnp.asarray(images), jax.random.key(0)).dtype == jnp.float32


def test_the_scale_of_a_set_that_is_stored_by_class_is_that_of_the_shuffled_set():
    """One class in ten is blank: the first 5,000 of the sorted images would show 5 classes."""
    labels = np.repeat(np.arange(10), 600).astype(np.int32)
    images = np.random.default_rng(0).integers(0, 256, (6000, 3, 2, 1), np.uint8)
    images[labels < 5] = 128
    order = np.random.default_rng(1).permutation(6000)
    one, other = np.full((1, 3, 2, 1), 129, np.uint8), np.full((1, 3, 2, 1), 128, np.uint8)

    def scale(data):
        preprocess = standardizer(data)
        return 1 / float((preprocess(one, None) - preprocess(other, None))[0, 0, 0, 0])

    stored = Dataset(images, labels)
    shuffled = Dataset(images[order], labels[order])
    assert scale(stored) == pytest.approx(scale(shuffled), rel=5e-3)
    true = np.std(images - images.mean(0))
    assert scale(stored) == pytest.approx(true, rel=5e-3)


def test_images_that_are_all_alike_are_one_line():
    blank = np.full((8, 3, 3, 1), 200, np.uint8)
    with pytest.raises(UserError, match=r"^the training images are all alike"):
        standardizer(Dataset(blank, np.arange(8, dtype=np.int32) % 2))


@pytest.mark.parametrize("count", [1, 256, 257, 1000])
def test_per_pixel_mean_is_exact_for_any_number_of_images(count):
    """Brightest images would be the first to overflow a sum."""
    images = random_images(count, 3, 2, 1)
    np.testing.assert_array_equal(
        per_pixel_mean(images), np.mean(images, 0, np.float64).astype(np.float32)
    )
    np.testing.assert_array_equal(per_pixel_mean(np.full_like(images, 255)), 255)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint16", "int32", "bool"])
def test_images_of_other_types_are_standardized_too(dtype):
    """Users bring pixels in [0, 1], or already centered: sums in uint16 cut them to whole ones."""
    pixels = random_images(300, 3, 2, 1)
    by_kind = {"f": pixels / 255, "b": pixels > 127}
    images = by_kind.get(np.dtype(dtype).kind, pixels.astype("int32") * 257).astype(dtype)
    for shown in (images, images.astype("float32") - 0.7):
        exact = np.mean(shown, 0, np.float64)
        np.testing.assert_array_equal(per_pixel_mean(shown), exact.astype(np.float32))
        scaled = standardizer(Dataset(shown, np.arange(300) % 3))(jnp.asarray(shown), None)
        np.testing.assert_allclose(np.mean(scaled, 0), 0, atol=2e-6)
        np.testing.assert_allclose(np.std(scaled), 1, rtol=1e-4)


def test_per_pixel_mean_centers_every_pixel():
    images = random_images(50, 4, 4, 3)
    out = np.asarray(normalize(jnp.asarray(images), per_pixel_mean(images)))
    assert out.dtype == np.float32
    np.testing.assert_allclose(out.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(out[0] - out[1], images[0].astype(float) - images[1], atol=1e-4)


def test_turned_images_are_turned_by_all_angles_up_to_the_most():
    """A bright pixel to the right of the middle tells its image's angle."""
    images = np.zeros((300, 11, 11, 1), np.uint8)
    images[:, 5, 8] = 255
    found = np.asarray(turned(jax.random.key(0), images, 40.0))[..., 0]
    rows, columns = np.mgrid[:11, :11] - 5
    up, right = (-rows * found).sum((1, 2)), (columns * found).sum((1, 2))
    angles = np.degrees(np.arctan2(up, right))
    assert -42 < angles.min() < -37
    assert 37 < angles.max() < 42
    assert stats.kstest(angles, stats.uniform(-40, 80).cdf).pvalue > 0.01
    np.testing.assert_array_equal(turned(jax.random.key(0), images, 0.0), images)


def test_shrink_averages_squares_and_cuts_off_the_rest():
    images = np.arange(2 * 5 * 4 * 3, dtype=np.float32).reshape(2, 5, 4, 3)
    found = np.asarray(shrink(images, 2))
    assert found.shape == (2, 2, 2, 3)
    np.testing.assert_allclose(found[1, 0, 1], images[1, :2, 2:].mean((0, 1)))
    np.testing.assert_array_equal(shrink(images, 1), images)
