"""JPEG: its tables, Pillow's files, and a gradient that does not see the rounding."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxvision import runtime
from jaxvision.adversarial.jpeg import jpeg, tables
from jaxvision.types import UserError

COMPILED = runtime.jit(jpeg, static_argnames="halved")


def pillow(image, quality, halved=True):
    """Return an image [H, W, C] of levels as Pillow writes and reads it."""
    gray = image.shape[-1] == 1
    written = io.BytesIO()
    picture = Image.fromarray(image[..., 0] if gray else image)
    picture.save(written, "JPEG", quality=quality, subsampling=2 if halved else 0)
    read = np.asarray(Image.open(io.BytesIO(written.getvalue())), np.int32)
    return read.reshape(image.shape)


def ours(image, quality, halved=True):
    found = 255 * np.asarray(COMPILED(image[None] / np.float32(255), quality, halved=halved))[0]
    levels = np.rint(found)
    np.testing.assert_allclose(found, levels, atol=1e-4)  # a file holds whole ones
    return levels.astype(np.int32)


def picture(height, width, channels):
    """Waves of several directions under a little noise."""
    down, across = np.mgrid[:height, :width]
    rng = np.random.default_rng(0)
    waves = [np.sin(across / (3 + c) + down / (5 - c) + c) for c in range(channels)]
    levels = 127 + 100 * np.stack(waves, -1) + rng.normal(0, 8, (height, width, channels))
    return np.clip(levels, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("quality", "first", "total"),
    [(10, 80, 12560), (50, 16, 3688), (75, 8, 1858), (100, 1, 64)],
)
def test_the_tables_are_those_of_the_standard_at_every_quality(quality, first, total):
    luma = tables(quality).luma
    assert luma[0, 0] == first
    assert luma.sum() == total


@pytest.mark.parametrize("quality", [1, 10, 49, 50, 75, 95, 100])
def test_both_tables_are_those_that_pillow_writes(quality):
    written = io.BytesIO()
    Image.fromarray(picture(16, 16, 3)).save(written, "JPEG", quality=quality)
    luma, chroma = Image.open(io.BytesIO(written.getvalue())).quantization.values()
    found = tables(quality)
    assert sorted(np.ravel(found.luma)) == sorted(luma)  # files hold them along a zigzag
    assert sorted(np.ravel(found.chroma)) == sorted(chroma)


def test_several_qualities_have_several_tables():
    several = tables(np.array([10, 75]))
    for place, quality in enumerate((10, 75)):
        np.testing.assert_array_equal(several.chroma[place], tables(quality).chroma)


@pytest.mark.parametrize("quality", [0, 101, -5, 75.5, float("nan"), np.array([75, 200])])
def test_what_is_no_quality_is_refused(quality):
    with pytest.raises(UserError, match=r"whole numbers from 1 to 100$"):
        jpeg(np.zeros((1, 8, 8, 1), np.float32), quality)


@pytest.mark.parametrize("shape", [(8, 8, 1), (1, 8, 8, 2), (1, 8, 8, 4)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(ValueError, match=r"images are \[B, H, W, 1 or 3\]"):
        jpeg(np.zeros(shape, np.float32), 75)


def test_a_gray_block_is_pillow_s_to_the_level():
    block = picture(8, 8, 1)
    for quality in (10, 50, 75, 95, 100):
        apart = np.abs(ours(block, quality) - pillow(block, quality))
        assert apart.max() <= 1
        assert (apart > 0).mean() < 0.1


def test_flat_blocks_are_pillow_s():
    """Their strength often lies on the edge between two steps of the table, which must not tip."""
    levels = np.arange(0, 256, 5, dtype=np.uint8)
    for level in levels:
        block = np.full((8, 8, 1), level)
        np.testing.assert_array_equal(ours(block, 50), pillow(block, 50))


@pytest.mark.parametrize("halved", [True, False])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 31), (18, 21), (3, 4)])
def test_color_images_are_pillow_s_within_a_few_levels(height, width, halved):
    """Where a strength lies between two steps a file may fall to the other side of libjpeg's."""
    image = picture(height, width, 3)
    for quality in (10, 50, 75, 95):
        apart = np.abs(ours(image, quality, halved) - pillow(image, quality, halved))
        assert apart.mean() < 0.6
        assert np.quantile(apart, 0.95) <= 3


@pytest.mark.parametrize(("halved", "error"), [(True, 44), (False, 1)])
def test_stripes_of_a_pixel_keep_their_color_only_at_full_resolution(halved, error):
    stripes = np.empty((16, 16, 3), np.uint8)
    stripes[:, ::2] = (255, 127, 14)
    stripes[:, 1::2] = (214, 39, 40)
    assert np.abs(ours(stripes, 100, halved) - stripes).max() == error
    assert np.abs(pillow(stripes, 100, halved) - stripes.astype(int)).max() == error


def test_the_gradient_is_that_of_nothing_happening():
    """The transforms are inverse to one another, and rounding is not seen."""
    image = jnp.asarray(picture(12, 20, 3)[None] / np.float32(255))
    weights = jnp.asarray(np.random.default_rng(1).normal(size=image.shape), jnp.float32)
    for quality in (10, 90):
        found, back = jax.vjp(lambda x, q=quality: jpeg(x, q, halved=False), image)
        np.testing.assert_allclose(back(weights)[0], weights, atol=2e-5)
        assert np.abs(found - image).max() > 0.01


def test_half_the_resolution_spreads_color_alone():
    """A gray change stays where it is; of a red one 16 pixels have a share, and none is lost."""
    image = jnp.asarray(picture(16, 16, 3)[None] / np.float32(255))
    moved = jax.jit(lambda change: jax.jvp(lambda x: jpeg(x, 75), (image,), (change,))[1])
    nothing = jnp.zeros(image.shape)
    gray = nothing.at[0, 5, 6].set(1.0)
    np.testing.assert_allclose(moved(gray), gray, atol=1e-5)
    spread = moved(nothing.at[0, 5, 6, 0].set(1.0))[0]
    np.testing.assert_allclose(spread.sum((0, 1)), [1, 0, 0], atol=1e-4)
    assert (np.abs(spread) > 1e-4).any(-1).sum() == 16


def test_every_image_has_its_own_quality():
    images = np.stack([picture(8, 16, 3)] * 2) / np.float32(255)
    both = COMPILED(images, np.array([20, 90]))
    for place, quality in enumerate((20, 90)):
        np.testing.assert_array_equal(both[place], COMPILED(images[:1], quality)[0])
