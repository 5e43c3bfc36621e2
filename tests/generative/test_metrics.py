"""Measures of generated images: closed forms, floors, ceilings, and what they must tell apart."""

import numpy as np
import pytest

from jaxvision.data import load
from jaxvision.data.dataset import Dataset
from jaxvision.generative import anchors, metrics
from jaxvision.types import UserError


def normal(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def test_frechet_of_two_gaussians_is_the_closed_form():
    """Diagonal covariances commute: sum of (sqrt a - sqrt b)^2, and the means' distance."""
    x = normal(400, 3)
    whitened = (x - x.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
    one = whitened * [1, 2, 3]
    other = whitened * [2, 2, 1] + [0, 0, 5]
    assert metrics.frechet(one, other) == pytest.approx(1 + 0 + 4 + 25, abs=1e-9)
    assert metrics.frechet(one, one) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("n", "measured"), [(1024, 2.15), (128, 17.5)])
def test_two_samples_of_one_law_are_2208_over_n_apart(n, measured):
    """64 features: the floor of first order is 2208 / n, so fewer images look worse."""
    draws = [metrics.frechet(normal(n, 64, i), normal(n, 64, 10 + i)) for i in range(5)]
    found = np.mean(draws)
    expected = 2208 / n
    assert metrics.frechet_floor(normal(100_000, 64), n) == pytest.approx(expected, rel=0.01)
    assert found == pytest.approx(expected, rel=0.06)
    assert found == pytest.approx(measured, rel=0.06)


def test_the_floor_holds_for_any_covariance():
    scales = np.linspace(0.1, 3, 16)
    pairs = [
        (scales * normal(500, 16, 2 * i), scales * normal(500, 16, 2 * i + 1)) for i in range(20)
    ]
    mean = np.mean([metrics.frechet(*pair) for pair in pairs])
    floor = metrics.frechet_floor(scales * normal(50_000, 16, 99), 500)
    assert mean == pytest.approx(floor, rel=0.08)


def test_kernel_distance_is_unbiased_and_its_definition():
    found = [
        metrics.kernel_distance(normal(200, 16, i), normal(200, 16, 100 + i)) for i in range(40)
    ]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(40)
    assert min(found) < 0  # a square's unbiased estimate falls below 0
    one, other = np.float64([[1, 0], [0, 1]]), np.float64([[2, 0], [0, 2]])
    within = 1.0**3 + 1.0**3
    between = np.mean([2.0**3, 1.0**3, 1.0**3, 2.0**3])
    assert metrics.kernel_distance(one, other) == pytest.approx(within - 2 * between)


def test_precision_and_recall_of_halves_collapse_and_noise():
    real, other = normal(300, 4, 1), normal(300, 4, 2)
    halves = metrics.precision_recall(real, other)
    assert min(halves) > 0.85
    collapsed = metrics.precision_recall(real, np.repeat(other[:1] / 10, 300, 0))
    assert collapsed == (1.0, 0.0)
    assert max(metrics.precision_recall(real, other + 50)) == 0


def test_precision_counts_by_the_third_neighbor():
    """On a line of whole numbers the ball around an end reaches 3, around the others 2."""
    real = np.arange(5.0)[:, None]
    points = np.float64([-3, -3.1, 7.1, 2.2, 6.9])[:, None]
    assert metrics.precision_recall(real, points).precision == pytest.approx(3 / 5)


def test_memorization_sees_copies_and_nothing_in_held_out_images():
    train, held_out, fresh = normal(400, 8, 1), normal(200, 8, 2), normal(200, 8, 3)
    copies = metrics.memorization(train, train[:200] + 0.01 * fresh, held_out)
    assert copies.z < -10
    np.testing.assert_array_equal(copies.nearest, np.arange(200))
    assert abs(metrics.memorization(train, fresh, held_out).z) < 2.5
    assert metrics.memorization(train, 3 * fresh, held_out).z > 5


def test_nearest_rows_are_those_of_all_distances():
    points, rows = normal(300, 5, 1), normal(400, 5, 2)
    distances = np.linalg.norm(points[:, None] - rows[None], axis=2)
    nearest, far = metrics.nearest_of(points, rows)
    np.testing.assert_array_equal(nearest, distances.argmin(1))
    np.testing.assert_allclose(far, distances.min(1))


def test_jump_of_a_line_and_of_one_jump():
    line = np.linspace(0, 1, 65)[:, None] * np.ones(3)
    assert metrics.jump(line) == pytest.approx(1)
    step = np.repeat([[0.0], [1.0]], [33, 32], 0)
    assert metrics.jump(np.stack([step, 2 * step])).tolist() == [64, 64]
    assert np.isnan(metrics.jump(np.ones((5, 2))))


def test_class_score_by_sorted_and_shuffled_splits():
    sure = np.repeat(np.eye(10), 500, 0)
    assert metrics.class_score(sure) == pytest.approx(10)
    tenth = [metrics.class_score(part) for part in np.split(sure, 10)]
    assert tenth == pytest.approx([1] * 10)
    shuffled = np.random.default_rng(0).permutation(sure)
    parts = [metrics.class_score(part) for part in np.split(shuffled, 10)]
    assert np.mean(parts) == pytest.approx(9.91, abs=0.03)
    nearly = 0.9 * np.eye(10) + (0.1 / 9) * (1 - np.eye(10))
    assert metrics.class_score(nearly) == pytest.approx(5.7995, abs=5e-5)


@pytest.fixture(scope="module")
def digits():
    splits = load("digits")
    images = np.concatenate([splits.train.images, splits.test.images])
    labels = np.concatenate([splits.train.labels, splits.test.labels])
    return Dataset(images, labels)


def pixels(images):
    """Features of this test: the mean ink of 4 x 4 squares, and how much neighbors differ."""
    squares = images.reshape(-1, 4, 2, 4, 2).mean((2, 4)).reshape(len(images), 16)
    rough = np.abs(np.diff(images.reshape(-1, 8, 8).astype(float), axis=2)).mean((1, 2))
    return np.column_stack([squares, rough]) / 255


@pytest.mark.parametrize("distance", [metrics.frechet, metrics.kernel_distance])
def test_real_then_blurred_then_noise_and_missing_classes_are_seen(digits, distance):
    n = 800
    one, other = anchors.halves(digits, n, seed=0)

    def to_real(images):
        return distance(pixels(one.images), pixels(images))

    floor = to_real(other.images)
    blurred = to_real(anchors.blurred(other.images, 0.5))
    noise = to_real(anchors.noise(other.images.shape, 0))
    half = to_real(anchors.of_classes(other, np.arange(5), n, 0))
    single = to_real(anchors.of_classes(other, np.arange(1), n, 0))
    assert floor < blurred < noise
    assert 4 * abs(floor) < half < single < noise


def test_halves_are_disjoint_and_blur_keeps_the_mean(digits):
    rows = np.arange(len(digits.labels), dtype=np.uint8)
    marked = Dataset(
        (rows[:, None, None, None] * np.ones((1, 1, 1, 1))).astype(np.uint8), digits.labels
    )
    one, other = anchors.halves(marked._rows(slice(250)), 100, seed=3)
    assert len(one.images) == len(other.images) == 100
    assert not set(one.images.ravel().tolist()) & set(other.images.ravel().tolist())
    flat = np.full((2, 6, 6, 3), 77, np.uint8)
    np.testing.assert_array_equal(anchors.blurred(flat, 2.0), flat)


def test_quantizing_rounds_and_keeps_to_its_range():
    assert metrics.quantized(np.array([-1.0, 0.0, 1.0])).tolist() == [0, 128, 255]
    levels = np.arange(256) / 255
    np.testing.assert_array_equal(metrics.quantized(levels, 0, 1), np.arange(256))


@pytest.mark.parametrize(
    ("ask", "line"),
    [
        (lambda: metrics.frechet(normal(64, 64), normal(64, 64)), "needs more than 64 images"),
        (lambda: metrics.frechet(normal(90, 4), normal(80, 4)), "take as many of both"),
        (lambda: metrics.kernel_distance(normal(1, 4), normal(1, 4)), "at least 2 images"),
        (lambda: metrics.precision_recall(normal(3, 4), normal(3, 4)), "more than 3 images"),
        (lambda: metrics.memorization(normal(3, 4), normal(0, 4), normal(3, 4)), "no generated"),
        (lambda: metrics.of_class(normal(3, 4), np.array([0, 0, 2]), 1), "class 1 has no images"),
        (lambda: metrics.quantized(np.array([0.0, 255.0])), "do not fit the range -1 to 1"),
        (lambda: metrics.quantized(np.array([0.0, np.nan])), "not finite"),
        (lambda: anchors.halves(load("digits").test, 200, 0), "two samples of 200 images need 400"),
        (lambda: anchors.of_classes(load("digits").test, [11], 5, 0), "class 11 has no images"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(ask, line):
    with pytest.raises(UserError, match=line) as refused:
        ask()
    assert "\n" not in str(refused.value)
