"""Pixels of a file in any color mode against the colors that the file shows."""

import io

import numpy as np
import pytest
from PIL import Image

from jaxvision.data.pixels import ModeError, declared_channels, decoded

# Blocks of one color, so that lossy JPEG keeps them.
COLORS = np.kron(
    np.random.default_rng(0).integers(0, 256, (3, 2, 3), dtype=np.uint8),
    np.ones((8, 8, 1), np.uint8),
)
ALPHA = np.arange(COLORS.shape[0] * COLORS.shape[1]).reshape(COLORS.shape[:2]).astype(np.uint8)
GRAY = COLORS[..., 0]


def luma(colors: np.ndarray) -> np.ndarray:
    """ITU-R 601, to the nearest of 256."""
    return np.rint(colors @ [0.299, 0.587, 0.114])


def mode_of(file: bytes) -> str:
    with Image.open(io.BytesIO(file)) as picture:
        return picture.mode


@pytest.mark.parametrize("kind", ["png", "gif"])
def test_a_palette_shows_its_colors_not_its_indices(make_file, kind):
    file = make_file(Image.fromarray(COLORS).quantize(8), kind)
    assert mode_of(file) == "P"
    np.testing.assert_array_equal(decoded(file, 3), COLORS)
    np.testing.assert_allclose(decoded(file, 1)[..., 0], luma(COLORS), atol=1)


def test_a_palette_with_transparent_colors_shows_them(make_file):
    file = make_file(Image.fromarray(COLORS).quantize(8), transparency=bytes([0, 100, 255]))
    np.testing.assert_array_equal(decoded(file, 3), COLORS)
    assert set(np.unique(decoded(file, 4)[..., 3])) == {0, 100, 255}


def test_transparency_is_dropped_and_the_colors_below_it_stay(make_file):
    """As TensorFlow's reader does it, however transparent a pixel is."""
    file = make_file(Image.fromarray(np.dstack([COLORS, ALPHA])))
    np.testing.assert_array_equal(decoded(file, 3), COLORS)
    np.testing.assert_array_equal(decoded(file, 4), np.dstack([COLORS, ALPHA]))
    gray = make_file(Image.fromarray(np.dstack([GRAY, ALPHA]), "LA"))
    np.testing.assert_array_equal(decoded(gray, 1)[..., 0], GRAY)
    np.testing.assert_array_equal(decoded(gray, 3), np.dstack([GRAY] * 3))


def test_missing_transparency_is_opaque(make_file):
    file = make_file(Image.fromarray(COLORS))
    np.testing.assert_array_equal(decoded(file, 4), np.dstack([COLORS, np.full_like(GRAY, 255)]))


@pytest.mark.parametrize("channels", [1, 3])
def test_gray_is_repeated(make_file, channels):
    wanted = np.dstack([GRAY] * channels)
    np.testing.assert_array_equal(decoded(make_file(Image.fromarray(GRAY)), channels), wanted)


def test_colors_of_a_gray_set_become_their_luma(make_file):
    found = decoded(make_file(Image.fromarray(COLORS)), 1)
    np.testing.assert_allclose(found[..., 0], luma(COLORS), atol=1)


@pytest.mark.parametrize("kind", ["jpeg", "tiff"])
def test_ink_becomes_light(make_file, kind):
    """Without black ink, cyan, magenta and yellow are what red, green and blue lack of white."""
    ink = Image.fromarray(np.dstack([255 - COLORS, np.zeros_like(GRAY)]), "CMYK")
    file = make_file(ink, kind, **({"quality": 100} if kind == "jpeg" else {}))
    assert mode_of(file) == "CMYK"
    np.testing.assert_allclose(decoded(file, 3), COLORS.astype(int), atol=3)
    np.testing.assert_allclose(decoded(file, 1)[..., 0], luma(COLORS), atol=3)


def test_one_bit_is_black_and_white(make_file):
    bits = GRAY > 100
    file = make_file(Image.fromarray(bits))
    assert mode_of(file) == "1"
    np.testing.assert_array_equal(decoded(file, 1)[..., 0], 255 * bits)
    np.testing.assert_array_equal(decoded(file, 3), np.dstack([255 * bits] * 3))


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_of_sixteen_bits_the_upper_eight_are_kept(make_file, kind):
    wide = GRAY.astype(np.uint16) * 256 + ALPHA  # modulo 256 it would be ALPHA
    file = make_file(Image.fromarray(wide), kind)
    assert mode_of(file) == "I;16"
    np.testing.assert_array_equal(decoded(file, 1)[..., 0], GRAY)
    np.testing.assert_array_equal(decoded(file, 3), np.dstack([GRAY] * 3))


@pytest.mark.parametrize("mode", ["I", "F"])
def test_colors_without_a_meaning_are_refused_by_name(make_file, mode):
    file = make_file(Image.fromarray(GRAY).convert(mode), "tiff")
    with pytest.raises(ModeError, match=f"colors of mode '{mode}'"):
        decoded(file, 3)


def test_channels_are_declared_or_unknown():
    assert declared_channels((None, None, 3)) == 3 and declared_channels((28, 28, 1)) == 1
    for shape in [(None, None, None), (8, 8, 0), (8, 8, 5), (4, 8, 8, 3)]:
        assert declared_channels(shape) is None
