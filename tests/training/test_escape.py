"""Leaving the plateau: windows by hand, and the plateau of the batches that a run has seen."""

import numpy as np
import pytest

from jaxvision.training.escape import escape_step, plateau
from jaxvision.training.fit import History
from jaxvision.training.order import batch_rows


def losses(rows):
    return np.asarray(rows, np.float32)


LN_10 = float(np.log(10))


def history_of(loss, level=None, entropy=LN_10):
    level = np.full(np.shape(loss), entropy) if level is None else level
    return History({"loss": losses(loss)}, {}, np.array([0]), {}, level, entropy)


def test_escape_is_the_first_step_of_a_window_below_the_threshold():
    flat, low = [3.0] * 6, [1.0] * 6
    dip = [3.0, 3.0, 1.0, 3.0, 3.0, 3.0] + [1.0] * 6
    loss = losses([flat + low, low + flat, flat + flat, dip])
    # Windows of three steps; one low step among three does not bring the mean below 2.
    np.testing.assert_array_equal(escape_step(loss, 2.0, window=3), [5, 0, 12, 5])
    threshold = np.full(loss.shape, 2.0)
    np.testing.assert_array_equal(escape_step(loss, threshold, window=3), [5, 0, 12, 5])
    threshold[0] = 4.0  # a run has its own, and its own windows of it
    threshold[1, :9] = 0.0
    np.testing.assert_array_equal(escape_step(loss, threshold, window=3), [0, 12, 12, 5])


def test_escape_of_a_run_shorter_than_the_window_takes_the_whole_run():
    np.testing.assert_array_equal(escape_step(losses([[3, 1], [1, 1]]), 1.5), [2, 0])


def test_a_diverged_run_never_escapes_after_its_divergence():
    loss = np.full((2, 20), 3.0)
    loss[0, 5:] = np.nan
    loss[1, 5:] = np.inf
    history = history_of(loss)
    np.testing.assert_array_equal(history.escape_step(), [20, 20])
    np.testing.assert_array_equal(history.diverged_step(), [5, 5])


def test_with_equal_classes_a_share_of_the_plateau_is_a_share_of_ln_k():
    loss = [[0.91 * np.log(10)] * 20, [0.89 * np.log(10)] * 20, [0.49 * np.log(10)] * 20]
    np.testing.assert_array_equal(history_of(loss).escape_step(), [20, 0, 0])
    np.testing.assert_array_equal(history_of(loss).escape_step(share=0.5), [20, 20, 0])


def test_a_net_that_knows_the_shares_is_on_the_plateau_whatever_its_batches():
    level = np.random.default_rng(0).uniform(0, 3, (4, 50))  # of very unequal classes
    history = history_of(level, level, entropy=0.5)
    np.testing.assert_array_equal(history.escape_step(), [50] * 4)
    below = history._replace(train={"loss": level - 0.06})  # a tenth of the entropy is .05
    np.testing.assert_array_equal(below.escape_step(), [0] * 4)


LABELS = np.random.default_rng(0).choice([0, 2, 3], 60, p=[0.1, 0.6, 0.3]).astype(np.int32)


def test_the_plateau_is_the_loss_of_the_shares_on_each_run_s_batches():
    shares = np.bincount(LABELS) / 60
    found = plateau(LABELS, [3, 0, 3], steps=7, batch_size=8, chunk=4)
    assert found.shape == (3, 7)
    for seed, level in zip([3, 0, 3], found, strict=True):
        rows = np.asarray(batch_rows(seed, 0, 7, 60, 8))
        np.testing.assert_allclose(level, -np.log(shares[LABELS[rows]]).mean(-1), rtol=1e-5)
    assert not np.array_equal(found[0], found[1])


def test_over_an_epoch_the_plateau_is_the_entropy_of_the_labels():
    counts = np.bincount(LABELS)[[0, 2, 3]] / 60
    level = plateau(LABELS, [1], steps=10, batch_size=6)
    assert level.mean() == pytest.approx(-(counts * np.log(counts)).sum(), rel=1e-5)


def test_the_plateau_of_equal_classes_is_ln_k():
    labels = np.repeat([1, 4, 5, 9], 10).astype(np.int32)
    np.testing.assert_array_equal(plateau(labels, [0, 1], 5, 7), np.full((2, 5), np.log(4)))
