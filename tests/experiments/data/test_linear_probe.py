"""The probe converges to the penalized optimum, whatever the layer's size."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from experiments.data import _linear_probe as linear
from experiments.data._linear_probe import Examples
from jaxvision.types import UserError

RNG = np.random.default_rng(0)


def clusters(count, size, classes=3, spread=1.0):
    rng = np.random.default_rng(1)
    labels = np.arange(count) % classes
    centers = rng.normal(size=(classes, size))
    return Examples(centers[labels] + spread * rng.normal(size=(count, size)), labels)


def test_a_quadratic_is_least_where_its_gradient_is_zero():
    matrix = np.diag([1.0, 10.0, 1000.0])
    target = np.array([1.0, -2.0, 3.0])

    def loss(x):
        return float((x - target) @ matrix @ (x - target)) / 2, matrix @ (x - target)

    found, gradient = linear.minimized(loss, np.zeros(3))
    assert np.abs(gradient).max() <= linear.TOLERANCE
    np.testing.assert_allclose(found, target, atol=1e-3)


@pytest.mark.parametrize("penalty", [0.1, 1e-3])
def test_the_fit_is_scikit_learns(penalty):
    features, labels = clusters(60, 8)
    ours, gradient = linear.fit(features, labels, 3, penalty, None)
    reference = LogisticRegression(C=1 / (60 * penalty), tol=1e-8, max_iter=10_000)
    reference.fit(features, labels)
    assert gradient <= linear.TOLERANCE
    shares = np.exp(features @ ours[:-1] + ours[-1])
    shares /= shares.sum(1, keepdims=True)
    np.testing.assert_allclose(shares, reference.predict_proba(features), atol=2e-3)


def test_a_fit_goes_on_from_another():
    features, labels = clusters(60, 8)
    start, _ = linear.fit(features, labels, 3, 0.1, None)
    cold, _ = linear.fit(features, labels, 3, 0.01, None)
    warm, _ = linear.fit(features, labels, 3, 0.01, start)
    np.testing.assert_allclose(features @ warm[:-1], features @ cold[:-1], atol=0.05)


@pytest.mark.parametrize("size", [5, 200])
def test_coordinates_keep_inner_products(size):
    train, test = RNG.normal(3, 2, (30, size)), RNG.normal(3, 2, (7, size))
    train[:, 1] = 4.0  # never changes
    ours, theirs = linear.coordinates(train, test)
    live = np.delete(np.arange(size), 1)
    scale = train[:, live].std(0) * np.sqrt(size - 1)
    a, b = ((x[:, live] - train[:, live].mean(0)) / scale for x in (train, test))
    np.testing.assert_allclose(ours @ ours.T, a @ a.T, atol=1e-9)
    np.testing.assert_allclose(theirs @ ours.T, b @ a.T, atol=1e-9)
    np.testing.assert_allclose(np.square(ours).sum(1).mean(), 1)


def test_features_repeated_change_nothing():
    """More numbers that say the same: the Gram matrix is the same."""
    few = clusters(40, 6)
    many = Examples(np.tile(few.features, 20), few.labels)
    cut = slice(0, 30)
    found = [
        linear.probe(
            Examples(each.features[cut], each.labels[cut]),
            Examples(each.features[30:], each.labels[30:]),
            10,
        )
        for each in (few, many)
    ]
    assert found[0].accuracy == found[1].accuracy
    assert found[0].penalty == found[1].penalty


def test_what_is_far_apart_is_told_apart_and_noise_is_not():
    easy = clusters(60, 20, spread=0.05)
    found = linear.probe(Examples(*(x[:40] for x in easy)), Examples(*(x[40:] for x in easy)), 10)
    assert found.accuracy == found.held_out_accuracy == 1
    noise = Examples(RNG.normal(size=(300, 20)), RNG.integers(0, 3, 300))
    found = linear.probe(
        Examples(*(x[:100] for x in noise)), Examples(*(x[100:] for x in noise)), 20
    )
    assert abs(found.accuracy - 1 / 3) < 0.12


def test_labels_may_be_any_numbers():
    features, labels = clusters(60, 20, spread=0.05)
    named = np.array([2, 7, 8])[labels]
    found = linear.probe(
        Examples(features[:40], named[:40]), Examples(features[40:], named[40:]), 10
    )
    assert found.accuracy == 1


def test_a_label_that_nobody_learned_is_refused():
    """Once the test images of an absent class were judged as if they were of the next one."""
    features, labels = clusters(60, 20, spread=0.05)
    train = labels[:40] != 1
    known = Examples(features[:40][train], labels[:40][train])
    with pytest.raises(UserError, match="a probe has not learned label 1"):
        linear.probe(known, Examples(features[40:], labels[40:]), 5)
