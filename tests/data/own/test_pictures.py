"""Pixels of files that people bring, in any color mode and any way up."""

import numpy as np
import pytest
from PIL import Image

from jaxvision.data import load

COLORS = np.kron(
    np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8),
    np.ones((4, 4, 1), np.uint8),
)
GRAY = COLORS[..., 0]
# In the order of the EXIF standard; orientations 5 to 8 begin anew.
PLACES = {
    "top left": (0, 0),
    "top right": (0, -1),
    "bottom right": (-1, -1),
    "bottom left": (-1, 0),
}
ORIENTATIONS = list(enumerate([*PLACES, *PLACES], 1))


def only_image(top):
    """Return the one picture that all files of a set show."""
    splits = load(str(top))
    images = np.concatenate([splits.train.images, splits.test.images])
    assert (images == images[0]).all()
    return images[0]


@pytest.fixture
def shown(tmp_path, make_folder):
    """Return ``shown(file name, picture, ...)``: the pixels of a set of copies of a file."""

    def pixels(name, picture, **options):
        picture.save(tmp_path / name, **options)
        content = (tmp_path / name).read_bytes()
        files = {f"{k}/{i}-{name}": content for k in "ab" for i in range(2)}
        return only_image(make_folder(tmp_path / "mine", files))

    return pixels


NO_BLACK = np.zeros_like(GRAY)
PALETTE = Image.fromarray(COLORS).quantize(16)
SEE_THROUGH = np.dstack([COLORS, GRAY])
GRAY_SEE_THROUGH = np.dstack([GRAY, GRAY])
INK = np.dstack([255 - COLORS, NO_BLACK])
BITS = GRAY > 100
WIDE = GRAY.astype(np.uint16) * 256 + 77

# By the name of a file: what it keeps, and what it shows.
MODES = {
    "palette.png": (PALETTE, COLORS),
    "palette.gif": (PALETTE, COLORS),
    "gray_palette.png": (Image.fromarray(GRAY).convert("P"), GRAY),
    "alpha.png": (Image.fromarray(SEE_THROUGH), COLORS),
    "gray.png": (Image.fromarray(GRAY), GRAY),
    "gray_alpha.png": (Image.fromarray(GRAY_SEE_THROUGH, "LA"), GRAY),
    "ink.tiff": (Image.fromarray(INK, "CMYK"), COLORS),
    "one_bit.png": (Image.fromarray(BITS), 255 * BITS),
    "sixteen_bits.png": (Image.fromarray(WIDE), GRAY),
}


@pytest.mark.parametrize("name", MODES)
def test_a_file_shows_its_colors_in_as_many_channels_as_the_set_needs(shown, name):
    """Gray sets keep one channel, whatever mode keeps the gray; colors are three."""
    picture, wanted = MODES[name]
    found = shown(name, picture)
    assert found.shape[-1] == (1 if wanted.ndim == 2 else 3)
    np.testing.assert_array_equal(found.squeeze(), wanted)


def test_one_file_in_color_makes_the_set_one_of_colors(tmp_path, make_folder):
    files = {f"train/{k}/{i}.png": GRAY for k in "ab" for i in range(3)}
    top = make_folder(tmp_path / "m", files | {f"test/{k}/1.png": COLORS for k in "ab"})
    splits = load(str(top))
    np.testing.assert_array_equal(splits.train.images[0], np.dstack([GRAY] * 3))
    np.testing.assert_array_equal(splits.test.images[0], COLORS)


def test_of_sixteen_bits_the_largest_is_white(shown):
    """Field-wings 40: 65535 is 1, which a division by 256 x 255 would make 1.0039; 257 is 1."""
    wide = np.array([[65535, 257], [256, 255]], np.uint16)
    found = shown("wide.png", Image.fromarray(wide))
    assert found[..., 0].tolist() == [[255, 1], [1, 0]]


def test_colors_without_a_meaning_are_refused_by_path(tmp_path, make_folder, refusal):
    floats = Image.fromarray(GRAY.astype(np.float32))
    files = {"a/1.png": GRAY, "a/2.png": GRAY, "b/1.png": GRAY, "b/2.tiff": floats}
    top = make_folder(tmp_path / "m", files)
    assert f"{top}/b/2.tiff (it keeps colors of mode 'F'" in refusal(str(top))


@pytest.mark.parametrize("kind", ["jpg", "png", "tiff", "webp"])
def test_a_picture_is_turned_upright(shown, kind):
    """Field-wings 39: 4 wide and 2 high with orientation 6 is 2 wide, its left column on top."""
    stored = np.zeros((2 * 8, 4 * 8, 3), np.uint8)  # blocks of 8, which JPEG keeps
    stored[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"lossless": True} if kind == "webp" else {}
    found = shown(f"turned.{kind}", Image.fromarray(stored), exif=exif, **options)
    assert found.shape == (4 * 8, 2 * 8, 3)
    assert (found[:8] > 200).all()
    assert (found[8:] < 55).all()


@pytest.mark.parametrize("orientation, corner", ORIENTATIONS)
def test_every_orientation_moves_the_corner_where_it_belongs(shown, orientation, corner):
    """By the EXIF standard: 1 to 4 are mirrored or turned by half, 5 to 8 lie on a side."""
    stored = np.zeros((2, 3), np.uint8)
    stored[0, 0] = 255  # the 0th row and column as stored
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = shown("turned.png", Image.fromarray(stored), exif=exif).squeeze()
    assert found.shape == ((2, 3) if orientation <= 4 else (3, 2))
    assert found[PLACES[corner]] == 255
    assert found.sum() == 255


def test_a_broken_tag_leaves_the_picture_as_it_is(shown):
    picture = Image.fromarray(GRAY)
    found = shown("tag.png", picture, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    np.testing.assert_array_equal(found.squeeze(), GRAY)


def test_shrinking_smooths(tmp_path, make_folder):
    """Field-wings 42: every fourth column white, 64 to 16 pixels: 64 inside, 0 unfiltered."""
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, 3::4] = 255
    files = {f"{k}/{i}.png": stripes for k in "ab" for i in range(2)}
    top = make_folder(tmp_path / "m", files)
    small = load(f"{top}@16px").train.images[0, 2:-2, 2:-2, 0]
    assert abs(small.astype(int) - 64).max() <= 1


def test_strips_and_single_pixels_are_images(tmp_path, make_folder):
    """Whether a net takes them is the net's to say."""
    for shape in ((1, 1), (64, 3), (1, 40)):
        files = {f"{k}/{i}.png": np.zeros(shape, np.uint8) for k in "ab" for i in range(2)}
        top = make_folder(tmp_path / "x".join(map(str, shape)), files)
        assert load(str(top)).train.images.shape == (2, *shape, 1)
