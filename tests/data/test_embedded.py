"""The data sets without a download: what they hold, and that only the outline tells a class."""

import subprocess
import sys
import time

import numpy as np
import pytest

from jaxvision.data import load
from jaxvision.data.dataset import Dataset, hold_out
from jaxvision.data.embedded import digits, shapes, small_shapes
from jaxvision.types import UserError


@pytest.fixture(scope="module")
def drawn():
    return shapes(train_size=1500, test_size=500)


def test_digits_are_scikit_learns_own():
    from sklearn.datasets import load_digits

    splits, source = digits(), load_digits()
    images = np.concatenate([splits.train.images, splits.test.images])
    labels = np.concatenate([splits.train.labels, splits.test.labels])
    found = sorted((int(k), (i // 15).tobytes()) for k, i in zip(labels, images, strict=True))
    pixels = source.images.astype(np.uint8)
    assert found == sorted(
        (int(k), i.tobytes()) for k, i in zip(source.target, pixels, strict=True)
    )
    assert np.all(images % 15 == 0)


def test_digits_shapes_types_and_balance():
    splits = load("digits")
    assert splits.train.images.shape == (1437, 8, 8, 1) and splits.test.images.shape == (
        360,
        8,
        8,
        1,
    )
    assert splits.train.images.dtype == np.uint8 and splits.train.labels.dtype == np.int32
    assert splits.class_names == tuple("0123456789") and splits.num_classes == 10
    share = np.bincount(splits.test.labels) / np.bincount(
        np.concatenate([splits.train.labels, splits.test.labels])
    )
    assert np.abs(share - 0.2).max() < 1 / 170  # one image of the smallest class


def test_digits_load_without_importing_scikit_learn():
    code = "import sys, jaxvision.data as d; d.load('digits'); print('sklearn' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


def test_digits_load_at_once():
    started = time.process_time()
    digits()
    assert time.process_time() - started < 0.5  # measured: 0.01 s


def test_hold_out_is_a_partition_in_proportion():
    labels = np.repeat([0, 1, 2], [50, 20, 5]).astype(np.int32)
    images = np.arange(75, dtype=np.uint8).reshape(75, 1, 1, 1)
    train, test = hold_out(Dataset(images, labels))
    assert sorted([*train.images.ravel(), *test.images.ravel()]) == list(range(75))
    assert np.bincount(test.labels).tolist() == [10, 4, 1]


def test_shapes_types_and_balance(drawn):
    assert drawn.train.images.shape == (1500, 32, 32, 3) and drawn.train.images.dtype == np.uint8
    assert drawn.train.masks.shape == (1500, 32, 32) and drawn.train.masks.dtype == bool
    assert drawn.train.labels.dtype == np.int32 and drawn.num_classes == 10
    assert np.bincount(drawn.train.labels).tolist() == [150] * 10


def test_shapes_by_name_have_the_default_size():
    splits = load("shapes")
    assert (len(splits.train.labels), len(splits.test.labels)) == (4000, 1000)


def test_a_size_that_would_be_ignored_is_refused():
    for name in ("digits", "shapes"):
        with pytest.raises(UserError, match=f"^the data set '{name}' comes in one size: --image_s"):
            load(name, image_size=16)


def test_shapes_are_a_function_of_the_seed(drawn):
    again, other = shapes(1500, 500), shapes(20, 20, seed=1)
    np.testing.assert_array_equal(again.train.images, drawn.train.images)
    np.testing.assert_array_equal(again.test.masks, drawn.test.masks)
    differs = (other.train.images != drawn.train.images[:20]).any((1, 2, 3))
    assert differs.all()
    assert (drawn.train.images[:500] != drawn.test.images).any((1, 2, 3)).all()


@pytest.mark.parametrize("size", [1, 249, 250, 251, 777])
def test_a_larger_set_begins_with_the_smaller_one(drawn, size):
    small = shapes(size, 1)
    for ours, theirs in zip(small.train, drawn.train, strict=True):
        np.testing.assert_array_equal(ours, theirs[:size])
    np.testing.assert_array_equal(small.test.images, drawn.test.images[:1])


@pytest.mark.parametrize("size", [{"train_size": 0}, {"test_size": -1}, {"seed": -1}])
def test_sizes_out_of_range_are_one_line(size):
    with pytest.raises(UserError, match=f"{next(iter(size))} must be at least"):
        shapes(**size)


def test_objects_lie_within_the_picture(drawn):
    border = drawn.train.masks.copy()
    border[:, 1:-1, 1:-1] = False
    assert not border.any()
    area = drawn.train.masks.mean((1, 2))
    assert area.min() > 0.03 and area.max() < 0.5


def shrunk(masks: np.ndarray) -> np.ndarray:
    """Return the pixels whose eight neighbors are all in the mask."""
    steps = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    return np.all([np.roll(masks, step, (1, 2)) for step in steps], axis=0)


def test_masks_agree_with_the_pixels(drawn):
    # Inside, an object is one color times a shade: all its pixels lie on one line through black.
    images, inside = drawn.train.images.astype(np.float64), shrunk(drawn.train.masks)
    outside = shrunk(~drawn.train.masks)
    off_inside, off_outside = [], []
    for image, inner, outer in zip(images, inside, outside, strict=True):
        pixels = image[inner]
        if len(pixels) < 10 or pixels.max() == 255:  # clipping bends the line
            continue
        line = np.linalg.svd(pixels, full_matrices=False)[2][0]
        off_inside.append(distance_to(line, pixels).max())
        off_outside.append(np.median(distance_to(line, image[outer])))
    assert len(off_inside) > 500
    assert max(off_inside) < 0.88  # rounding three channels moves a color by at most sqrt(3)/2
    assert np.median(off_outside) > 30


def distance_to(line: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    return np.linalg.norm(pixels - np.outer(pixels @ line, line), axis=1)


def test_color_position_and_background_do_not_tell_the_class(drawn):
    """A classifier of everything but the outline does no better than chance (10 %)."""
    masks = drawn.train.masks[..., None]
    images = drawn.train.images.astype(np.float64)
    area = masks.sum((1, 2))
    y, x = np.mgrid[:32, :32]
    ground = (images * ~masks).sum((1, 2)) / (1024 - area)
    features = [(images * masks).sum((1, 2)) / area, ground]
    features += [(masks[..., 0] * axis).sum((1, 2))[:, None] / area for axis in (x, y)]
    assert ridge_accuracy(np.hstack(features), drawn.train.labels, penalty=1) < 0.17


def test_raw_pixels_are_no_linear_problem(drawn):
    images = drawn.train.images.reshape(len(drawn.train.labels), -1)
    assert ridge_accuracy(images, drawn.train.labels, penalty=1000) < 0.25


def test_masks_tell_the_class_by_area_alone_only_in_part(drawn):
    # The positive control of the two tests above: the outline does carry the class.
    masks = drawn.train.masks
    perimeter = (masks & ~shrunk(masks)).sum((1, 2))
    area = masks.sum((1, 2))
    features = np.stack([perimeter, area, np.sqrt(area), perimeter / np.sqrt(area)], 1)
    assert ridge_accuracy(features, drawn.train.labels, penalty=0.01) > 0.3


def ridge_accuracy(features: np.ndarray, labels: np.ndarray, penalty: float) -> float:
    """Return the held-out accuracy of ridge regression on one-hot labels, in closed form."""
    x = (features - features.mean(0)) / (features.std(0) + 1e-9)
    train, test = slice(0, 1000), slice(1000, None)
    kernel = x[train] @ x[train].T + penalty * np.eye(1000)
    scores = x[test] @ x[train].T @ np.linalg.solve(kernel, np.eye(10)[labels[train]] - 0.1)
    return float((scores.argmax(1) == labels[test]).mean())


def test_small_objects_lie_anywhere():
    splits = small_shapes(20, 1000)
    masks = splits.test.masks
    assert masks.mean((1, 2)).min() > 0.005
    assert masks.mean() < 0.06
    # The center is no answer: it lies on few objects. On large ones it lies on most.
    assert masks[:, 16, 16].mean() < 0.12
    assert shapes(20, 500).test.masks[:, 16, 16].mean() > 0.5
    edge = np.minimum(splits.test.poses[:, :2], 32 - splits.test.poses[:, :2]).min(1)
    assert (edge > splits.test.poses[:, 2]).all()


def test_shapes_are_read_only_because_two_askers_may_share_them():
    splits = shapes(20, 10)
    assert shapes(20, 10).train.images is splits.train.images
    for array in (*splits.train, *splits.test):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@pytest.mark.slow
def test_the_larger_set_of_shapes_begins_with_the_smaller(drawn):
    splits = load("shapes16k")
    assert (len(splits.train.labels), len(splits.test.labels)) == (16_000, 1000)
    np.testing.assert_array_equal(splits.train.images[:1500], drawn.train.images)


def test_a_pose_is_where_and_how_large_and_how_the_object_lies(drawn):
    masks, labels = drawn.test.masks, drawn.test.labels
    row, column, radius, angle = drawn.test.poses.T
    centers = np.arange(32) + 0.5
    area = masks.sum((1, 2))
    middle_row = (masks.sum(2) @ centers) / area
    middle_column = (masks.sum(1) @ centers) / area
    symmetric = np.isin(labels, [drawn.class_names.index(name) for name in ("disk", "square")])
    np.testing.assert_allclose(middle_row[symmetric], row[symmetric], atol=0.25)
    np.testing.assert_allclose(middle_column[symmetric], column[symmetric], atol=0.25)
    disks = labels == 0
    np.testing.assert_allclose(area[disks], np.pi * (0.9 * radius[disks]) ** 2, rtol=0.03)
    # A bar's long side lies along its own x axis.
    for i in np.flatnonzero(labels == drawn.class_names.index("bar")):
        y, x = np.nonzero(masks[i])
        along = np.cos(angle[i]) * (x + 0.5 - column[i]) + np.sin(angle[i]) * (y + 0.5 - row[i])
        assert np.abs(along).max() > 0.8 * radius[i]


def test_rows_keep_masks_and_poses_together(drawn):
    some = drawn.test.sample(50)
    at = [int(np.flatnonzero((drawn.test.poses == pose).all(1))[0]) for pose in some.poses]
    np.testing.assert_array_equal(drawn.test.masks[at], some.masks)
