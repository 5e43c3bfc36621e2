"""Occlusion against its closed form, with every pixel covered."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.attribution import occluding
from jaxvision.attribution.maps import gradient
from jaxvision.types import UserError

RNG = np.random.default_rng(1)
IMAGES = np.float32(RNG.random((3, 9, 11, 2)))
CLASSES = np.int32([1, 0, 1])
WEIGHTS = np.float32(RNG.normal(size=(198, 2)))
FILL = np.float32([0.2, 0.7])


def linear(images):
    return images.reshape(len(images), -1) @ WEIGHTS


def test_the_border_is_covered_where_the_stride_does_not_divide():
    # field-wings 26: with 6 whole strides 55 of 784 pixels had no value.
    places = occluding.windows(28, 28, 7, 4)
    assert places.rows.tolist() == [0, 4, 8, 12, 16, 20, 21]
    covered = places.over_rows.any(0)[:, None] & places.over_columns.any(0)
    assert covered.all()
    short = places._replace(rows=places.rows[:-1], columns=places.columns[:-1])
    lacking = ~(short.over_rows.any(0)[:, None] & short.over_columns.any(0))
    assert lacking.sum() == 55


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (4, 3), (9, 9)])
def test_a_linear_score_falls_by_the_box_filtered_gradient_times_input(size, stride):
    places = occluding.windows(9, 11, size, stride)

    def outputs(covered, which):
        return jnp.take_along_axis(linear(covered), jnp.asarray(CLASSES)[which][:, None], axis=1)[
            :, 0
        ]

    @jax.jit
    def both(images):
        fill = jnp.broadcast_to(FILL, images.shape)
        product = gradient(linear, images, CLASSES) * (images - fill)
        occluded = occluding.sweep(outputs, images, places, fill)
        return occluded, occluding.within(product.sum(-1), places)

    occluded, expected = both(IMAGES)
    whole = linear(IMAGES)[np.arange(3), CLASSES]
    assert occluded.shape == (3, len(places.rows), len(places.columns))
    np.testing.assert_allclose(whole[:, None, None] - occluded, expected, atol=2e-5)


def test_overlaps_are_averaged():
    places = occluding.windows(5, 4, 3, 2)
    values = np.float32(RNG.random((2, 2, 2)))
    expected = np.zeros((2, 5, 4))
    for row in range(5):
        for column in range(4):
            inside = [
                values[:, i, j]
                for i, top in enumerate(places.rows)
                for j, left in enumerate(places.columns)
                if top <= row < top + 3 and left <= column < left + 3
            ]
            expected[:, row, column] = np.mean(inside, axis=0)
    np.testing.assert_allclose(occluding.on_pixels(values, places), expected, rtol=1e-6)


def test_one_sweep_returns_all_outputs_of_every_image():
    places = occluding.windows(9, 11, 3, 3)

    def outputs(covered, which):
        return {"logits": linear(covered), "which": which, "pixel": covered[:, 0, 0]}

    found = occluding.sweep(outputs, IMAGES, places, 0.5)
    np.testing.assert_array_equal(found["which"], np.arange(3)[:, None, None] + 0 * found["which"])
    np.testing.assert_allclose(found["pixel"][:, 0, 0], 0.5)
    np.testing.assert_array_equal(found["pixel"][:, 1, 1], IMAGES[:, 0, 0])
    top, left = places.rows[1], places.columns[2]
    by_hand = IMAGES.copy()
    by_hand[:, top : top + 3, left : left + 3] = 0.5
    np.testing.assert_allclose(found["logits"][:, 1, 2], linear(by_hand), rtol=1e-5)


def test_covering_with_the_image_itself_changes_nothing():
    places = occluding.windows(9, 11, 4, 2)
    found = occluding.sweep(lambda covered, which: linear(covered), IMAGES, places, IMAGES)
    whole = np.broadcast_to(linear(IMAGES)[:, None, None], found.shape)
    np.testing.assert_allclose(found, whole, rtol=1e-5)


def test_the_map_is_where_the_score_falls():
    image = np.zeros((1, 9, 9, 1), np.float32)
    image[0, 4, 6] = 1

    def brightness(images):
        total = images.sum((1, 2, 3))
        return jnp.stack([total, -total], axis=1)

    found = occluding.occlusion(brightness, image, np.int32([0]), window=3, stride=1, fill=0.0)[0]
    assert np.unravel_index(found.argmax(), found.shape) == (4, 6)
    assert found[4, 6] == pytest.approx(1)
    assert (found[:, :4] == 0).all()


def test_bytes_are_refused_where_gray_would_be_black():
    """A fill of .5 is 0 as a byte."""
    images = np.full((1, 6, 6, 1), 200, np.uint8)

    def net(images):
        gray = images.mean((1, 2, 3)) / 255
        return jnp.stack([gray, 1 - gray], axis=1)

    with pytest.raises(UserError, match="images are floats in the unit of fill, not uint8"):
        occluding.occlusion(net, images, np.int32([0]), window=3)


@pytest.mark.parametrize(
    ("window", "stride", "line"),
    [
        (10, 1, "a window of 10 pixels does not fit into images of 9 x 11: use 1 to 9"),
        (0, 1, "a window of 0 pixels does not fit"),
        (3, 4, "a stride of 4 leaves pixels between windows of 3 that none covers: use 1 to 3"),
        (3, 0, "a stride of 0"),
        (3, -1, "a stride of -1"),
        (True, 1, "window=True: use a whole number of pixels"),
        (3, False, "stride=False: use a whole number of pixels"),
        (3, 1.5, "stride=1.5: use a whole number of pixels"),
    ],
)
def test_windows_that_cannot_be_are_one_line(window, stride, line):
    with pytest.raises(UserError, match=line):
        occluding.windows(9, 11, window, stride)
