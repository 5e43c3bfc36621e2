"""Ensembles and calibration against numbers worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxvision.training import ensembles

LABELS = np.array([0, 1, 2, 0])


def test_an_ensemble_has_the_logarithm_of_the_mean_probability_as_logits():
    """Members (4, 0) and (-1, 0): mean probability .62548; the mean of the logits gives .81757."""
    members = np.array([[[4.0, 0.0]], [[-1.0, 0.0]]])
    logits = ensembles.log_mean_probability(members)
    assert np.exp(logits[0, 0]) == pytest.approx(0.62548, abs=1e-5)
    assert np.exp(logits).sum() == pytest.approx(1)
    assert 1 / (1 + np.exp(-members.mean(0)[0, 0])) == pytest.approx(0.81757, abs=1e-5)


def test_an_ensemble_of_one_net_is_that_net():
    logits = np.random.default_rng(0).normal(size=(1, 4, 3))
    found = ensembles.log_mean_probability(np.repeat(logits, 5, 0))
    one, many = ensembles.log_loss(logits[0], LABELS), ensembles.log_loss(found, LABELS)
    assert one == pytest.approx(many)


def test_temperature_by_the_closed_form():
    """Logits of +-2 with 75 % right: T = 2 / ln 3, log loss .62693 to .56234."""
    logits = np.tile([2.0, 0.0], (400, 1))
    labels = np.repeat([0, 0, 0, 1], 100)
    found = ensembles.temperature(logits, labels)
    assert found == pytest.approx(2 / np.log(3), rel=1e-5)
    assert ensembles.log_loss(logits, labels) == pytest.approx(0.62693, abs=1e-5)
    assert ensembles.log_loss(logits / found, labels) == pytest.approx(0.56234, abs=1e-5)


@given(st.integers(0, 1000), st.floats(0.01, 100))
def test_temperature_never_raises_the_loss_nor_changes_an_answer(seed, scale):
    rng = np.random.default_rng(seed)
    logits = scale * rng.normal(size=(30, 4))
    labels = rng.integers(0, 4, 30)
    found = ensembles.temperature(logits, labels)
    after = ensembles.log_loss(logits / found, labels)
    assert after <= ensembles.log_loss(logits, labels)
    assert ensembles.error(logits / found, labels) == ensembles.error(logits, labels)


def test_calibration_error_by_hand():
    """Confidence .8 on four images of which three are right: .05; at .75 it would be none."""
    logits = np.log(np.tile([0.8, 0.2], (4, 1)))
    labels = np.array([0, 0, 0, 1])
    assert ensembles.calibration_error(logits, labels) == pytest.approx(0.05)
    logits = np.log(np.tile([0.75, 0.25], (4, 1)))
    assert ensembles.calibration_error(logits, labels) == pytest.approx(0, abs=1e-12)
    two_bins = np.log([[0.95, 0.05], [0.55, 0.45]])
    found = ensembles.calibration_error(two_bins, np.array([1, 0]))
    assert found == pytest.approx((0.95 + 0.45) / 2)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_net_that_has_diverged_has_no_calibration(broken):
    """Its answers fall into no bin, and an error of 0 would make it the best of all."""
    logits = np.log(np.tile([[0.8, 0.2]], (2, 4, 1)))
    logits[1, 2, 0] = broken
    found = ensembles.calibration_error(logits, np.array([0, 0, 0, 1]))
    np.testing.assert_allclose(found, [0.05, np.nan])


def answers(*rows):
    """Return logits [M, B, 3] of members that answer so."""
    return np.eye(3)[np.array(rows)]


def test_disagreement_and_correlation_of_errors_by_hand():
    logits = answers([0, 1, 2, 1], [0, 1, 1, 1], [0, 0, 2, 0])
    # Pairs differ on 1, 2 and 3 of 4 images.
    assert ensembles.disagreement(logits) == pytest.approx((1 + 2 + 3) / 12)
    np.testing.assert_allclose(ensembles.error(logits, LABELS), [0.25, 0.5, 0.25])
    wrong = logits.argmax(-1) != LABELS
    pairs = np.corrcoef(wrong)[np.triu_indices(3, 1)]
    assert ensembles.error_correlation(logits, LABELS) == pytest.approx(pairs.mean())


def test_equal_members_agree_and_err_together():
    logits = answers(*[[0, 1, 1, 0]] * 4)
    assert ensembles.disagreement(logits) == 0
    assert ensembles.error_correlation(logits, LABELS) == pytest.approx(1)


def test_independent_members_by_the_binomial():
    assert ensembles.independent_error(0.3, 1) == pytest.approx(0.3)
    assert ensembles.independent_error(0.3, 2) == pytest.approx(0.3)  # a tie is a coin
    assert ensembles.independent_error(0.3, 3) == pytest.approx(3 * 0.09 * 0.7 + 0.027)
    rng = np.random.default_rng(0)
    wrong = rng.random((8, 200_000)) < 0.2
    votes = wrong.sum(0)
    lost = (votes > 4).mean() + (votes == 4).mean() / 2
    assert ensembles.independent_error(0.2, 8) == pytest.approx(lost, rel=0.05)
