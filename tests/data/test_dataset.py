"""Samples and the hold-out keep every class, and chance is what the labels say."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxvision.data.dataset import Dataset, balanced, hold_out, hold_out_rows


def counted(counts, order=None) -> Dataset:
    """Return a set with ``counts[k]`` examples of class k; the pixel of image i is i."""
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    images = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    masks = (images[..., 0] % 2).astype(bool)
    order = slice(None) if order is None else order
    return Dataset(images[order], labels[order], masks[order])


GOLDEN_DRAW = [6, 11, 1, 8, 2, 3]
GOLDEN_HELD_OUT = [2, 3, 11, 13]


def rows_of(data: Dataset) -> list[int]:
    return data.images.ravel().tolist()


def test_first_is_the_front_of_the_set_with_its_masks():
    data = counted([3, 4])
    some = data.first(4)
    assert rows_of(some) == [0, 1, 2, 3] and some.labels.tolist() == [0, 0, 0, 1]
    np.testing.assert_array_equal(some.masks, data.masks[:4])
    assert rows_of(data.first(99)) == rows_of(data)
    assert Dataset(data.images, data.labels).first(2).masks is None


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(any),
    st.integers(0, 250),
    st.integers(0, 5),
    st.randoms(),
)
def test_a_sample_keeps_every_class_in_its_share_to_within_one(counts, n, seed, random):
    order = list(range(sum(counts)))
    random.shuffle(order)
    data = counted(counts, np.array(order))
    found = data.sample(n, seed)
    size = min(n, len(data.labels))
    assert len(found.labels) == size and len(set(rows_of(found))) == size  # without replacement
    drawn = np.bincount(found.labels, minlength=len(counts))
    share = size * np.array(counts) / sum(counts)
    assert (drawn >= np.floor(share)).all() and (drawn <= np.ceil(share)).all()
    labels = np.repeat(np.arange(len(counts)), counts)
    assert found.labels.tolist() == labels[rows_of(found)].tolist()  # images keep their labels
    np.testing.assert_array_equal(found.masks, found.images[..., 0] % 2 == 1)  # ... and masks


def test_a_sample_of_everything_is_the_set_itself():
    data = counted([3, 4])
    assert data.sample(7) is data and data.sample(100) is data


def test_a_sample_is_a_function_of_the_seed_and_draws_all_examples_alike():
    data = counted([60, 30, 10])
    assert rows_of(data.sample(20, 3)) == rows_of(data.sample(20, 3))
    drawn = np.array([rows_of(data.sample(20, seed)) for seed in range(500)])
    frequency = np.bincount(drawn.ravel(), minlength=100)
    assert np.abs(frequency - 100).max() < 5 * math.sqrt(500 * 0.2 * 0.8)
    # In random order: neither by class nor as stored.
    assert np.abs(drawn.mean(0) - 49.5).max() < 5 * 28.9 / math.sqrt(500)


def test_fewer_than_the_classes_are_drawn_from_all_of_them():
    data = counted([10] * 10)
    drawn = np.array(
        [np.bincount(data.sample(5, seed).labels, minlength=10) for seed in range(200)]
    )
    assert drawn.max() == 1 and (drawn.sum(0) > 60).all()


def test_the_draw_never_changes():
    """Numbers of records rest on it. It is numpy's PCG64, whose bits are promised to stay."""
    assert rows_of(counted([6, 4, 2]).sample(6)) == GOLDEN_DRAW


def test_a_sample_and_what_it_leaves_are_the_set():
    labels = np.repeat(np.arange(3, dtype=np.int32), (5, 9, 7))
    images = np.arange(21, dtype=np.uint8).reshape(21, 1, 1, 1)
    data = Dataset(images, labels)
    both = [part(10, seed=3).images.ravel() for part in (data.sample, data.without_sample)]
    assert sorted(np.concatenate(both)) == list(range(21))
    assert len(data.without_sample(21).labels) == 0


def test_a_sample_has_no_negative_size():
    with pytest.raises(ValueError, match="at least 0 examples, got -1"):
        counted([3, 4]).sample(-1)


def test_chance_of_equal_classes_is_ln_k_and_one_minus_one_over_k():
    data = counted([7] * 5)
    assert data.label_entropy == pytest.approx(math.log(5), rel=1e-12)
    assert data.chance_error == pytest.approx(0.8, rel=1e-12)


def test_chance_of_unequal_classes_is_what_the_labels_say():
    data = counted([8, 4, 2, 2])  # shares 1/2, 1/4, 1/8, 1/8: 7/4 bits
    assert data.label_entropy == pytest.approx(1.75 * math.log(2), rel=1e-12)
    assert data.chance_error == 0.5


def test_chance_does_not_count_classes_that_never_appear():
    data = counted([5, 0, 5, 0])
    assert data.label_entropy == pytest.approx(math.log(2), rel=1e-12)
    assert data.chance_error == 0.5
    one = counted([0, 6])
    assert (one.label_entropy, one.chance_error) == (0, 0)


def test_the_loss_and_the_error_of_a_constant_answer_are_the_chance(make_split):
    """The best constant logits are the log shares: their cross-entropy is the label entropy."""
    labels = np.random.default_rng(0).choice(5, 400, p=[0.05, 0.1, 0.11, 0.615, 0.125])
    data = Dataset(np.zeros((400, 1, 1, 1), np.uint8), labels.astype(np.int32))
    logits = np.log(np.bincount(labels) / 400)
    assert data.label_entropy == pytest.approx(-logits[labels].mean(), rel=1e-12)
    assert data.chance_error == pytest.approx((labels != logits.argmax()).mean(), rel=1e-12)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=8).filter(any), st.randoms())
def test_hold_out_is_a_partition_that_keeps_every_class(counts, random):
    order = list(range(sum(counts)))
    random.shuffle(order)
    train, test = hold_out(counted(counts, np.array(order)))
    assert sorted(rows_of(train) + rows_of(test)) == list(range(sum(counts)))
    learned = np.bincount(train.labels, minlength=len(counts))
    judged = np.bincount(test.labels, minlength=len(counts))
    assert (learned[np.array(counts) >= 1] >= 1).all()  # a rare class is never only judged
    assert (judged[np.array(counts) >= 2] >= 1).all()
    assert (np.abs(judged - np.array(counts) / 5) <= 1).all()
    for part in (train, test):
        np.testing.assert_array_equal(part.masks, part.images[..., 0] % 2 == 1)


def test_hold_out_of_larger_classes_is_every_fifth_by_class():
    data = counted([50, 20, 5])
    train, test = hold_out(data)
    assert rows_of(test) == list(range(0, 75, 5))
    assert np.bincount(test.labels).tolist() == [10, 4, 1]
    assert len(train.labels) == 60


@given(st.lists(st.integers(0, 12), min_size=1, max_size=6), st.integers(0, 9))
def test_rows_drawn_to_be_held_out_are_a_fifth_of_every_class(counts, seed):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    train, test = hold_out_rows(labels, seed)
    assert sorted([*train, *test]) == list(range(len(labels)))
    assert (np.diff(train) > 0).all() and (np.diff(test) > 0).all()
    held = np.bincount(labels[test], minlength=len(counts))
    for count, out in zip(counts, held, strict=True):
        assert abs(out - count / 5) <= (0.5 if count != 2 else 0.6)
        assert (0 < out < count) == (count > 1)
    again = hold_out_rows(labels, seed)
    np.testing.assert_array_equal(again[1], test)


def test_every_example_is_held_out_as_often_and_neighbors_as_others():
    labels = np.repeat([0, 1], 20)
    drawn = np.zeros((500, 40))
    for seed in range(500):
        drawn[seed, hold_out_rows(labels, seed)[1]] = 1
    assert (drawn.sum(1) == 8).all()
    assert np.abs(drawn.mean(0) - 0.2).max() < 4 * math.sqrt(0.2 * 0.8 / 500)
    together = (drawn[:, :-1] * drawn[:, 1:]).mean()
    assert together == pytest.approx(4 / 20 * 3 / 19, rel=0.3)


def test_the_held_out_rows_never_change():
    """Numbers of records on people's own data rest on them."""
    assert hold_out_rows(np.repeat([0, 1], 10))[1].tolist() == GOLDEN_HELD_OUT


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(any),
    st.integers(0, 60),
    st.randoms(),
)
def test_every_front_of_a_balanced_order_holds_the_classes_alike(counts, n, random):
    labels = counted(counts).labels
    order = np.array(random.sample(range(len(labels)), len(labels)))
    rows = balanced(labels, order)
    assert sorted(rows) == list(range(len(labels)))
    drawn = np.bincount(labels[rows[:n]], minlength=len(counts))
    not_run_out = drawn < np.array(counts)
    assert (drawn[not_run_out] >= drawn.max() - 1).all()
    for label in range(len(counts)):  # within a class the order is the given one
        members = order[labels[order] == label]
        assert rows[labels[rows] == label].tolist() == members.tolist()
