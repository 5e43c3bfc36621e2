"""Statistics against worked examples, closed forms and simulation."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from jaxvision.report import stats

NAN, INF = float("nan"), float("inf")


def test_t_interval_by_hand():
    # mean 3, sd sqrt(2.5), standard error sqrt(0.5); t(0.95, 4) = 2.1318 from the tables.
    interval = stats.t_interval([1, 2, 3, 4, 5])
    assert interval.estimate == 3
    assert interval.high - 3 == pytest.approx(2.1318 * 0.5**0.5, rel=1e-4)
    assert 3 - interval.low == pytest.approx(interval.high - 3)


def test_t_tests_by_hand():
    # t = 3 / sqrt(0.5) = 4.2426 with 4 degrees of freedom.
    assert stats.greater_p([1, 2, 3, 4, 5]) == pytest.approx(0.0066, abs=1e-4)
    assert stats.less_p([1, 2, 3, 4, 5]) == pytest.approx(1 - 0.0066, abs=1e-4)
    assert stats.greater_p([1, 2, 3, 4, 5], than=3) == pytest.approx(0.5)


def test_paired_test_is_scipys():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 8))
    expected = scipy_stats.ttest_rel(a, b, alternative="greater").pvalue
    assert stats.greater_p(a - b) == pytest.approx(expected)


def test_equivalence_means_interval_inside_margin():
    rng = np.random.default_rng(1)
    for _ in range(200):
        values, margin = rng.normal(size=6), rng.uniform(0.1, 2)
        low, high = stats.t_interval(values)[1:]
        assert (stats.equivalence_p(values, margin) < 0.05) == (-margin < low and high < margin)
        assert (stats.difference_p(values, margin) < 0.05) == (low > margin or high < -margin)


@pytest.mark.parametrize(
    "test", [stats.greater_p, stats.less_p, lambda v: stats.equivalence_p(v, 0.5)]
)
def test_type_one_error_is_at_most_five_percent(test):
    # 2000 samples under the null; for the equivalence test the null's edge is a mean on the margin.
    # The 0.1 % binomial quantile around 5 % bounds the rejections.
    rng = np.random.default_rng(2)
    shift = 0.5 if test not in (stats.greater_p, stats.less_p) else 0.0
    rejected = sum(test(shift + rng.normal(size=5) * 0.1) <= 0.05 for _ in range(2000))
    low, high = scipy_stats.binom.ppf([0.001, 0.999], 2000, 0.05)
    assert low <= rejected <= high


@pytest.mark.parametrize("n", [3, 5, 8])
def test_smallest_effect_is_seen_with_its_power(n):
    """One run says what it could have seen, another of the same kind sees it four times of five."""
    rng = np.random.default_rng(3)
    runs = rng.normal(size=(4000, 2, n))
    critical = scipy_stats.t.isf(0.05, n - 1)
    effects = np.array([stats.smallest_effect(first) for first in runs[:, 0]])
    other = runs[:, 1] + effects[:, None]
    seen = other.mean(1) / (other.std(1, ddof=1) / n**0.5) > critical
    low, high = scipy_stats.binom.ppf([0.001, 0.999], len(runs), 0.8)
    assert low <= seen.sum() <= high


@pytest.mark.parametrize("n", [2, 3, 30, 1000])
def test_smallest_effect_scales_with_spread(n):
    values = np.random.default_rng(4).normal(size=n)
    assert stats.smallest_effect(10 * values) == pytest.approx(10 * stats.smallest_effect(values))
    if n == 1000:  # normal limit: (1.645 + 0.842) / sqrt(n)
        expected = 2.4865 / n**0.5 * values.std(ddof=1)
        assert stats.smallest_effect(values) == pytest.approx(expected, rel=0.01)


def test_holm_on_a_worked_example():
    # Sorted .005 .01 .03 .04, times 4 3 2 1, made monotone: .02 .03 .06 .06.
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([]) == []
    assert stats.holm([0.6, 0.7]) == [1, 1]


def test_holm_counts_a_claim_that_could_not_be_tested():
    adjusted = stats.holm([0.01, NAN, 0.02])
    assert adjusted[0] == pytest.approx(0.03)
    assert np.isnan(adjusted[1])
    assert adjusted[2] == pytest.approx(0.04)


def test_proportion_interval_by_hand():
    # All of n: low = alpha**(1/n); none of n mirrors it.
    assert stats.proportion_interval(5, 5) == pytest.approx((1, 0.05**0.2, 1))
    assert stats.proportion_interval(0, 5) == pytest.approx((0, 0, 1 - 0.05**0.2))
    assert stats.proportion_interval(0, 0)[1:] == (0, 1)


def test_what_is_not_known_neither_holds_nor_fails():
    numbers = np.array([[1.0, 2.0], [NAN, 2.0], [3.0, 2.0], [1.0, INF]])
    holds = (numbers < 2.5).all(1)
    np.testing.assert_array_equal(stats.where_known(holds, numbers), [1, NAN, 0, 0])
    np.testing.assert_array_equal(stats.where_known(holds, np.ones(4), numbers), [1, NAN, 0, 0])
    known = stats.where_known(holds, numbers[:, 1])
    assert known.dtype == bool  # as Share asks
    np.testing.assert_array_equal(known, holds)


def test_spearman():
    rng = np.random.default_rng(5)
    x, noise = rng.normal(size=(2, 50))
    rho, low, high = stats.spearman(x, x + noise)
    assert -1 < low < rho < high < 1
    assert rho == pytest.approx(stats.spearman(x**3, x + noise).estimate)  # ranks only
    assert stats.spearman([1, 2, 3, 4], [2, 4, 6, 9]) == pytest.approx((1, 1, 1))
    assert stats.spearman([1, 2, 3], [1, 3, 2]) == pytest.approx((0.5, -1, 1))
    assert np.isnan(stats.spearman([1, 2, 3, 4], [1, 1, 1, 1])).all()
    assert np.isnan(stats.spearman([1, 2, NAN, 4], [1, 2, 3, 4])).all()


@pytest.mark.parametrize("values", [[], [1, NAN, 2], [1, INF, 2]])
def test_values_that_say_nothing_give_nan(values):
    assert np.isnan(stats.t_interval(values)).all()
    assert np.isnan(stats.greater_p(values))
    assert np.isnan(stats.equivalence_p(values, 1.0))
    assert np.isnan(stats.difference_p(values, 1.0))
    assert np.isnan(stats.smallest_effect(values))


def test_one_value_has_no_spread():
    assert stats.t_interval([3]) == (3, -INF, INF)
    assert stats.greater_p([3]) == stats.less_p([3]) == stats.equivalence_p([3], 100) == 1
    assert stats.smallest_effect([3]) == INF


def test_equal_values_are_exact():
    values = [0.1] * 7  # the mean of these is not 0.1 in floating point
    assert stats.t_interval(values) == (0.1, 0.1, 0.1)
    assert (stats.greater_p(values), stats.less_p(values)) == (0, 1)
    assert (stats.greater_p(values, 0.1), stats.less_p(values, 0.1)) == (1, 1)
    assert stats.equivalence_p(values, 0.2) == 0
    assert np.isnan(stats.smallest_effect(values))  # no spread was seen


def test_float32_values_are_computed_in_float64():
    values = np.float32([1e4, 1e4 + 0.01, 1e4 + 0.02])
    assert stats.t_interval(values) == stats.t_interval(values.astype(np.float64))


def test_a_matrix_is_refused():
    with pytest.raises(ValueError, match="one value per seed"):
        stats.t_interval(np.ones((2, 3)))


def censored_sample(seed, slope=0.5, n=400):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 10, n)
    return x, 2 + slope * x + rng.normal(size=n)


def test_a_line_without_bounds_is_least_squares():
    x, y = censored_sample(0)
    slope, intercept = np.polyfit(x, y, 1)
    assert stats.censored_line(x, y) == pytest.approx((intercept, slope))


@pytest.mark.parametrize("side", ["above", "below", "both"])
def test_a_censored_line_is_found_where_least_squares_is_biased(side):
    x, y = censored_sample(1)
    top = 5.0 if side != "below" else INF
    bottom = 3.5 if side != "above" else -INF
    seen = np.clip(y, bottom, top)
    intercept, slope = stats.censored_line(x, seen, above=y > top, below=y < bottom)
    assert slope == pytest.approx(0.5, abs=0.06)
    assert intercept == pytest.approx(2, abs=0.4)
    assert np.polyfit(x, seen, 1)[0] < 0.42


def test_a_bound_that_the_line_keeps_changes_nothing_and_one_it_breaks_bends_it():
    x, y = np.arange(6.0), np.array([0.0, 1.1, 1.9, 3.0, 4.1, 3.0])
    last = np.arange(6) == 5
    _, kept = stats.censored_line(x, y, above=last)
    _, broken = stats.censored_line(x, y, below=last)
    assert kept == pytest.approx(np.polyfit(x[:5], y[:5], 1)[0], abs=0.01)
    assert broken < kept - 0.1


def test_a_line_needs_three_values_that_are_no_bounds():
    x, y = np.arange(4.0), np.arange(4.0)
    assert np.isnan(stats.censored_line(x, y, above=np.array([False, False, True, True]))).all()
    assert np.isnan(stats.censored_line(np.ones(4), y)).all()
