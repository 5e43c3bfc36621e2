"""What runs are compared by: by seed where a number belongs to one, and never a NaN as the best."""

import dataclasses
import itertools

import numpy as np
import pytest
from scipy import stats as scipy_stats

from jaxvision.report import outcomes
from jaxvision.report.record import Record

CONFIG = {"seeds": 3, "train_seeds": 2, "first_seed": 7, "width": 5}
ARRAYS = {
    "error": np.float32([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]]),
    "trained/share": np.array([1, 2]),
    "steps": np.arange(5),
    "trained/test_steps": np.arange(2),
    "none": np.zeros((3, 0)),
    "one": np.float64(4.0),
}
NUMBERS = {"theory": {"slope": 0.5, "gains": [1, 2, 3], "layers": [1.0] * 5}, "name": "x", "no": []}
RECORD = Record("toy", "cpu", "toy", "", CONFIG, NUMBERS, ARRAYS, [], {})


def test_numbers_by_seed_and_single_ones_are_outcomes_and_nothing_else():
    found = outcomes.measured(RECORD)
    assert {name: values.tolist() for name, values in found.items()} == {
        "error": pytest.approx([0.1, 0.2, 0.3]),  # at the end of the training
        "trained/share": [1, 2],
        "theory/slope": 0.5,
        "theory/gains": [1, 2, 3],
    }
    by_seed = [name for name, values in found.items() if outcomes.by_seed(RECORD, values)]
    assert by_seed == ["error", "trained/share", "theory/gains"]


def test_a_difference_is_the_paired_t_test_of_the_seeds_that_both_have():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=8), rng.normal(0.5, size=6)
    found = outcomes.difference(one, other)
    test = scipy_stats.ttest_rel(other, one[:6])
    assert found.n == 6
    assert found.p == pytest.approx(test.pvalue)
    assert found.interval[1:] == pytest.approx(tuple(test.confidence_interval(0.9)))
    assert outcomes.difference(other, one[:6]).interval.estimate == -found.interval.estimate


def test_differences_are_corrected_for_their_number():
    found = {
        name: outcomes.Difference(None, 5, p)
        for name, p in {"a": 0.01, "b": 0.5, "c": float("nan")}.items()
    }
    corrected = outcomes.corrected(found)
    assert corrected["a"].p == pytest.approx(0.03)
    assert corrected["b"].p == 1.0
    assert np.isnan(corrected["c"].p)
    assert outcomes.corrected({}) == {}


def test_seeds_pair_only_where_they_are_the_same():
    other = dataclasses.replace(RECORD, config=CONFIG | {"first_seed": 8})
    assert outcomes.why_unpaired(RECORD, RECORD) == ""
    assert outcomes.why_unpaired(RECORD, other) == "the runs begin with other seeds (7 and 8)"
    without = dataclasses.replace(RECORD, config={"width": 5})
    assert outcomes.why_unpaired(without, RECORD) == "the experiment has no seeds"


@pytest.mark.parametrize("order", list(itertools.permutations(["low", "bad", "high"])))
def test_field_case_44_what_is_not_finite_is_neither_end(order):
    means = {"low": 0.1, "bad": float("nan"), "high": 0.9}
    assert outcomes.ends({name: means[name] for name in order}) == ("low", "high")
    means["bad"] = float("inf")
    assert outcomes.ends({name: means[name] for name in order}) == ("low", "high")
    assert outcomes.ends({"low": 0.1, "bad": float("nan")}) is None


def test_the_claim_shown_is_the_first_whose_verdicts_differ():
    def judged(**verdicts):
        claims = [
            {"id": name, "verdict": verdict, "estimate": None if verdict == "not run" else 1.0}
            for name, verdict in verdicts.items()
        ]
        return dataclasses.replace(RECORD, claims=claims)

    one = judged(a="not run", b="reproduced", c="reproduced")
    assert outcomes.default([one, one]) == "b"
    assert outcomes.default([one, judged(b="reproduced", c="contradicted")]) == "c"
    assert outcomes.default([RECORD]) == ""
    moved = dataclasses.replace(one, claims=[*one.claims[:2], one.claims[2] | {"estimate": 2.0}])
    assert outcomes.default([one, moved]) == "c", "no verdict differs, but a number does"
