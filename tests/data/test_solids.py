"""The set of textured solids: its kinds, its seeds, and textures that differ by their pattern."""

import numpy as np
import pytest

from jaxvision.data import embedded as sets
from jaxvision.data import load, solids
from jaxvision.data.textures import NUMBERS, PATTERNS, SIDE, paint
from jaxvision.types import UserError

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def drawn():
    return sets.solids(300, 40)


def test_types_and_balance(drawn):
    assert drawn.train.images.shape == (300, 32, 32, 3)
    assert drawn.train.images.dtype == np.uint8
    assert drawn.train.masks.dtype == bool
    assert drawn.class_names == tuple(PATTERNS)
    assert np.bincount(drawn.train.labels).tolist() == [30] * 10


def test_backgrounds_are_of_one_color(drawn):
    """So the mask is exactly where the picture is another color than its corner, or hides it."""
    corners = drawn.train.images[:, :1, :1]
    plain = (drawn.train.images == corners).all(-1)
    assert plain[~drawn.train.masks].all()
    assert 0.2 < drawn.train.masks.mean() < 0.6


def test_a_larger_set_begins_with_the_smaller_one(drawn):
    small = solids.draw(251, 0)
    np.testing.assert_array_equal(small.images, drawn.train.images[:251])
    other = solids.draw(40, 0, part=1)
    np.testing.assert_array_equal(other.images, drawn.test.images)
    assert (other.images != small.images[:40]).any((1, 2, 3)).all()


def test_objects_are_those_of_the_pictures(drawn):
    some = solids.objects(300, 0)
    np.testing.assert_array_equal(some.labels, drawn.train.labels)
    assert (np.bincount(some.solids) > 40).all()
    assert some.textures.shape == (300, SIDE, SIDE, 3)


@pytest.mark.parametrize("size", [{"train_size": 0}, {"test_size": -1}, {"seed": -1}])
def test_sizes_out_of_range_are_one_line(size):
    with pytest.raises(UserError, match=f"solids: {next(iter(size))} must be at least"):
        sets.solids(**size)


@pytest.mark.parametrize("label", range(len(PATTERNS)))
def test_a_texture_lies_between_its_two_colors(label):
    """Both colors show, and turning the numbers of the pattern turns the pattern."""
    numbers = RNG.random((20, NUMBERS), np.float32)
    painted = paint(label, numbers)
    dark = 0.35 * numbers[:, None, None, :3]
    light = 0.65 + 0.35 * numbers[:, None, None, 3:6]
    assert painted.dtype == np.float32
    assert (painted >= dark - 1e-6).all()
    assert (painted <= light + 1e-6).all()
    reach = np.ptp(painted.mean(-1), axis=(1, 2))
    assert (reach > 0.15).all()
    assert (painted[0] != painted[1]).any()


def test_the_set_never_changes():
    """Sums by place: sines differ in their last bit between CPUs, so a few rays miss an edge."""
    splits = load("solids")
    golden = {"train": (3000, 1_707_882_387_906), "test": (600, 68_670_992_199)}
    for split, (count, pictures) in golden.items():
        data = getattr(splits, split)
        sums = data.images.sum((1, 2, 3), dtype=np.int64)
        assert abs(sums @ np.arange(count) - pictures) < 2000 * count
        assert (data.labels == np.arange(count) % 10).all()
