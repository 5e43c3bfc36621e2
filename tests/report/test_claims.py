"""Verdicts: every rule against every outcome, the correction, and how they are told."""

import dataclasses

import numpy as np
import pytest
from scipy import stats as scipy_stats

from jaxvision.report import claims
from jaxvision.report.claims import Claim, Equivalent, Greater, Judgement, Less, Share, Within
from jaxvision.report.record import Record

NAN = float("nan")
RECORD = Record("he_init", "cpu", "he_init", "python", {}, {}, {}, [], {})
BAND = Equivalent(0.5, resolution=0.4)
NEAR_ZERO = [0.1, -0.1, 0.05, -0.05, 0.0]


def claim(values, rule, id="c", source="He et al. 2015, figure 3", **fields):
    fields = {"tier": "direction", "sentence": "He learns faster."} | fields
    return Claim(id=id, source=source, statistic=lambda record: values, rule=rule, **fields)


def verdict(values, rule):
    return claims.judge([claim(values, rule)], RECORD)[0]


@pytest.mark.parametrize(
    ("rule", "values", "expected"),
    [
        (Within(2.0, 0.1), 2.05, "reproduced"),
        (Within(2.0, 0.125), 2.125, "reproduced"),  # the band includes its ends
        (Within(2.0, 0.1), 2.2, "contradicted"),
        (Within(2.0, 0.1), [1.99, 2.0, 2.01, 2.0, 2.0], "reproduced"),
        (Within(2.0, 0.1), [1.99, 2.0, 2.01, 2.0], "inconclusive"),  # too few
        (Within(2.0, 0.1), [2.5, 2.51, 2.52, 2.5, 2.5], "contradicted"),
        (Within(2.0, 0.1), [2.5, 2.51, 2.52, 2.5], "inconclusive"),
        (Within(2.0, 0.1), [1.8, 2.0, 2.2, 1.8, 2.2], "inconclusive"),
        (Within(2.0, 0.1), [2.0], "inconclusive"),  # one seed has no interval
        (Within(2.0, 0.1), [2.0] * 5, "reproduced"),  # no spread: exact
        (Within(-200.0, 0.01, relative=True), -201.5, "reproduced"),
        (Within(-200.0, 0.01, relative=True), -203.0, "contradicted"),
        (Within(2.0, 0.1), NAN, "inconclusive"),
        (Within(2.0, 0.1), [2.0, NAN, 2.0], "inconclusive"),
        (Greater(), [1, 2, 3, 4, 5], "reproduced"),
        (Greater(), [-1, -2, -3, -4, -5], "contradicted"),
        (Greater(), NEAR_ZERO, "inconclusive"),
        (Greater(3.0), [1, 2, 3, 4, 5], "inconclusive"),
        (Greater(), [1, 2, 3, 4], "inconclusive"),  # too few
        (Greater(), [-1, -2, -3, -4], "inconclusive"),
        (Greater(), 7.0, "inconclusive"),  # one number is one seed
        (Greater(), [1, 2, 3, 4, NAN], "inconclusive"),
        (Greater(), [1, 2, 3, 4, float("inf")], "inconclusive"),
        (Greater(), [1] * 5, "reproduced"),
        (Greater(), [0] * 5, "inconclusive"),
        (Greater(), [], "inconclusive"),
        (Less(), [-1, -2, -3, -4, -5], "reproduced"),
        (Less(), [1, 2, 3, 4, 5], "contradicted"),
        (Less(), NEAR_ZERO, "inconclusive"),
        (Less(10.0), [1, 2, 3, 4, 5], "reproduced"),
        (Less(), [-1] * 4, "inconclusive"),
        (Less(), [-1] * 5, "reproduced"),
        (Less(), [-1, -1, -1, -1, NAN], "inconclusive"),
        (Equivalent(0.2), NEAR_ZERO, "reproduced"),
        (Equivalent(0.2, target=5.0), NEAR_ZERO, "contradicted"),
        (Equivalent(0.01), NEAR_ZERO, "inconclusive"),
        (Equivalent(0.2), NEAR_ZERO[:4], "inconclusive"),
        (Equivalent(0.2), [0] * 5, "reproduced"),  # the control: an arm against itself
        (Equivalent(0.2), [1] * 5, "contradicted"),
        (Equivalent(0.2), [0, 0, 0, 0, NAN], "inconclusive"),
        (Share(), [True] * 5, "reproduced"),
        (Share(), [True] * 4 + [False], "inconclusive"),
        (Share(), [True] * 4, "inconclusive"),
        (Share(), [False] * 5, "contradicted"),
        (Share(), [False] * 4, "inconclusive"),  # too few, in this direction too
        (Share(min_seeds=2), [False] * 2, "inconclusive"),  # up to 78 % of all seeds may
        (Share(), [True] * 8 + [False], "reproduced"),
        (Share(0.8), [True] * 13, "inconclusive"),
        (Share(0.8), [True] * 14, "reproduced"),  # .05 ** (1 / 14) = .807
        (Share(0.8), [True] * 31 + [False], "reproduced"),
        (Share(0.8), [True] * 2 + [False] * 3, "inconclusive"),
        (Share(0.8), [False] * 4 + [True], "contradicted"),
        (Share(), [1.0, NAN], "inconclusive"),
        (Greater(resolution=0.5), [0.5] * 5, "reproduced"),  # 2 ** -5 = .03
        (Greater(resolution=0.5), [0.25] * 5, "inconclusive"),  # on the edge of a cell
        (Greater(resolution=0.5), [-0.5] * 5, "contradicted"),
        (Greater(min_seeds=4, resolution=0.5), [0.5] * 4, "inconclusive"),  # 2 ** -4 = .06
        (Less(1.0, resolution=0.5), [0.5] * 5, "reproduced"),
        (Less(1.0, resolution=1.5), [0.5] * 5, "inconclusive"),
        (Equivalent(0.5, resolution=0.4), [0.2] * 5, "reproduced"),
        (Equivalent(0.5, resolution=0.4), [0.4] * 5, "inconclusive"),
        (Equivalent(0.5, resolution=0.4), [0.8] * 5, "contradicted"),
    ],
)
def test_verdicts(rule, values, expected):
    assert verdict(values, rule).verdict == expected


@pytest.mark.parametrize("rule", [Within(0, 1), Greater(), Less(), Equivalent(1), Share()])
def test_values_that_are_not_finite_are_told(rule):
    judgement = verdict([0.0, NAN, 1.0, float("inf"), 0.0], rule)
    assert judgement.note == "2 of 5 values are not finite"
    assert np.isnan(judgement.estimate)
    assert judgement.n == 5


def test_too_few_seeds_are_told():
    for rule in (Greater(), Within(2, 9)):
        assert "3 of the 5 seeds" in verdict([1, 2, 3], rule).note
    assert verdict([True] * 3, Share()).note == (
        "holds on 3 of 3 seeds; 3 of the 5 seeds that the rule needs"
    )


def test_counts_come_with_their_exact_interval():
    judgement = verdict([True] * 5, Share())
    assert judgement.note == "holds on 5 of 5 seeds"
    assert (judgement.low, judgement.high) == pytest.approx((0.05**0.2, 1))


def test_inconclusive_says_what_could_have_been_seen():
    judgement = verdict(NEAR_ZERO, Greater())
    assert f"{judgement.smallest_effect:.2g} (80 % power)" in judgement.note
    assert "unknown (one seed)" in verdict([1.0], Greater()).note


def test_p_is_of_the_side_that_decides():
    assert verdict([1, 2, 3, 4, 5], Greater()).p == pytest.approx(0.0066, abs=1e-4)
    assert verdict([1, 2, 3, 4, 5], Less()).p == pytest.approx(0.0066, abs=1e-4)
    assert verdict([True] * 5, Share()).p is None


# One-sided p = 0.0334 (t = 2.5 with 4 degrees of freedom): upheld alone, not among two.
WEAK = list(2.5 / 5**0.5 + np.array([-2, -1, 0, 1, 2]) / 2.5**0.5)


def test_claims_of_one_paper_are_corrected_together():
    same_paper = [
        claim(WEAK, Greater(), id="a", source="He et al. 2015, figure 3"),
        claim(WEAK, Greater(), id="b", source="He et al. 2015, table 1"),
    ]
    for judgement in claims.judge(same_paper, RECORD):
        assert judgement.p == pytest.approx(0.0334, abs=1e-4)
        assert judgement.p_adjusted == pytest.approx(2 * judgement.p)
        assert judgement.verdict == "inconclusive"
        assert "reproduced alone" in judgement.note


def test_the_correction_covers_contradictions():
    against = [-value for value in WEAK]
    pair = [claim(against, Greater(), id="a"), claim(WEAK, Greater(), id="b")]
    assert claims.judge(pair[:1], RECORD)[0].verdict == "contradicted"
    first, _ = claims.judge(pair, RECORD)
    assert first.verdict == "inconclusive"
    assert first.p_adjusted == pytest.approx(2 * first.p)
    assert "contradicted alone" in first.note


@pytest.mark.parametrize(
    "other",
    [
        claim(WEAK, Greater(), id="other", source="Glorot 2010, figure 1"),
        claim(WEAK, Greater(), id="other", tier="theory"),
        claim(WEAK, Greater(), id="other", tier="paper", not_run="make exp"),
        claim([True] * 5, Share(), id="other"),
    ],
)
def test_claims_outside_the_family_do_not_count(other):
    first, _ = claims.judge([claim(WEAK, Greater()), other], RECORD)
    assert first.verdict == "reproduced"
    assert first.p_adjusted == pytest.approx(first.p)


def test_a_claim_that_could_not_be_tested_still_counts():
    first, second = claims.judge(
        [claim(WEAK, Greater(), id="a"), claim([NAN] * 5, Greater(), id="b")], RECORD
    )
    assert first.verdict == second.verdict == "inconclusive"


def test_false_discoveries_stay_rare_over_a_whole_paper():
    # Ten true nulls: with Holm at most about 5 % of papers hold any wrong verdict on either side.
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(200):
        family = [claim(rng.normal(size=5), Greater(), id=str(i)) for i in range(10)]
        wrong += any(j.verdict == "reproduced" for j in claims.judge(family, RECORD))
    assert wrong <= 20  # binomial(200, 5 %): 99.9 % quantile


def test_not_run_is_listed_and_never_computed():
    def explode(record):
        raise AssertionError

    command = "python -m experiments he_init --preset=paper"
    unrun = dataclasses.replace(
        claim(0, Within(38.56, 0.5), tier="paper", not_run=command), statistic=explode
    )
    (judgement,) = claims.judge([unrun], RECORD)
    assert (judgement.verdict, judgement.note) == ("not run", command)
    assert judgement.estimate is None


def test_statistic_sees_the_record():
    record = dataclasses.replace(RECORD, arrays={"he": np.arange(1.0, 6.0)})
    watched = dataclasses.replace(claim(0, Greater()), statistic=lambda r: r.arrays["he"])
    assert claims.judge([watched], record)[0].verdict == "reproduced"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Within(0.0, 0.1, relative=True), "band"),
        (lambda: Within(1.0, 0.0), "band"),
        (lambda: Within(1.0, NAN), "band"),
        (lambda: Equivalent(0.0), "margin"),
        (lambda: Equivalent(0.2, resolution=0.4), "grid step"),
        (lambda: claim(0, Greater(), tier="guess"), "tier"),
        (lambda: verdict(np.ones((2, 3)), Greater()), "shape"),
        (lambda: verdict(["a"], Greater()), "numbers or booleans"),
        (lambda: claims.judge([claim(0, Greater())] * 2, RECORD), "unique"),
    ],
)
def test_mistakes_of_an_experiment_are_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_a_share_refuses_numbers():
    with pytest.raises(TypeError, match="booleans"):
        verdict([0.2, 1.0], Share())


def test_judgement_round_trips_through_a_dict():
    judgement = verdict([1, 2, 3, 4, 5], Greater())
    assert Judgement(**judgement.to_dict()) == judgement


def test_a_band_does_not_say_equal():
    near = [1.01, 1.011, 1.009, 1.01, 1.01]
    for rule in (Within(1.0, 0.1), Equivalent(0.1, target=1.0)):
        assert verdict(near, rule).verdict == "reproduced"
        assert verdict(near, rule).note == "within the band, not equal"
        assert "equal" not in verdict([0.99, 1.01, 1.0, 0.98, 1.02], rule).note


def test_numbers_off_a_grid_are_known_to_half_a_step():
    judgement = verdict([0.5] * 5, Greater(resolution=0.4))
    assert (judgement.low, judgement.high) == pytest.approx((0.3, 0.7))
    assert judgement.p == pytest.approx(2.0**-5)
    assert "known to 0.4" in judgement.rule


def test_a_smoke_test_decides_nothing():
    stated = [
        claim([1, 2, 3, 4, 5], Greater(), id="a"),
        claim([-1, -2, -3, -4, -5], Greater(), id="b"),
        claim(0, Within(1, 1), id="c", tier="paper", not_run="make exp-he-init"),
    ]
    told = [claims.without_verdict(each) for each in claims.judge(stated, RECORD)]
    assert {judgement.verdict for judgement in told} == {"not run"}
    assert [judgement.note for judgement in told] == [claims.SMOKE_TEST] * 2 + ["make exp-he-init"]
    assert told[0].estimate == 3


@pytest.mark.parametrize("than", [0.5, 0.8])
@pytest.mark.parametrize("n", [5, 10, 14, 32])
def test_a_share_errs_in_one_run_of_twenty_at_most(n, than):
    """Where just so many of all seeds do it, either verdict is wrong: exactly, by the binomial."""
    wrong = {"reproduced": 0.0, "contradicted": 0.0, "inconclusive": 0.0}
    for holds in range(n + 1):
        found = verdict([True] * holds + [False] * (n - holds), Share(than)).verdict
        wrong[found] += scipy_stats.binom.pmf(holds, n, than)
    assert wrong["reproduced"] <= 0.05
    assert wrong["contradicted"] <= 0.05


@pytest.mark.parametrize("spread", [0.02, 0.1, 0.4, 2.0])
@pytest.mark.parametrize(("rule", "mean"), [(Greater(resolution=0.4), 0.0), (BAND, 0.5)])
def test_numbers_off_a_grid_err_as_rarely(rule, mean, spread):
    """The mean lies on the bound, the cells of the grid anywhere; equal seeds prove nothing."""
    rng = np.random.default_rng(0)
    wrong = {"reproduced": 0, "contradicted": 0, "inconclusive": 0}
    for _ in range(300):
        cells = rng.uniform()
        values = mean + spread * rng.normal(size=5)
        values = (np.floor(values / 0.4 + cells) + 0.5 - cells) * 0.4
        wrong[verdict(values, rule).verdict] += 1
    assert max(wrong["reproduced"], wrong["contradicted"]) <= 28  # binomial(300, 5 %): 99.9 %
