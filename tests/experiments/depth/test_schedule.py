"""Learning rates from the rows of metrics: the paper's steps, and its rule for 110 layers."""

import numpy as np
import pytest

from experiments.depth._schedule import check_watched, he2016
from jaxvision.types import UserError


def rate(*rows, warm_up=False):
    return he2016([{"step": 0}, *rows], rate=0.1, steps=64_000, warm_up=warm_up)["learning_rate"]


def row(step, *errors):
    return {"step": step, "train_error": list(errors)}


def test_the_rate_drops_at_half_and_three_quarters():
    steps = (500, 31_500, 32_000, 47_500, 48_000, 63_500)
    found = [rate(row(step, 0.5)) for step in steps]
    np.testing.assert_allclose(found, [0.1, 0.1, 0.01, 0.01, 0.001, 0.001], rtol=1e-6)
    assert rate() == np.float32(0.1)


def test_warm_up_lasts_until_each_run_errs_below_80_percent():
    np.testing.assert_allclose(rate(warm_up=True), 0.01, rtol=1e-6)
    first = row(500, 0.9, 0.79, 0.8)
    np.testing.assert_allclose(rate(first, warm_up=True), [0.01, 0.1, 0.01], rtol=1e-6)
    # Once below is enough: a run that slips back keeps its rate.
    found = rate(first, row(1000, 0.7, 0.85, 0.81), warm_up=True)
    np.testing.assert_allclose(found, [0.1, 0.1, 0.01], rtol=1e-6)


@pytest.mark.parametrize(
    ("steps", "period", "warm_up", "last"),
    [(320, 40, False, 160), (320, 48, False, 192), (64_000, 100, True, 100), (4, 4, False, 3)],
)
def test_watched_steps_end_where_the_first_rate_does(steps, period, warm_up, last):
    check_watched((0, last), steps, period, warm_up)
    with pytest.raises(UserError, match=f"^--watched={last + 1}: step {last} is the last"):
        check_watched((last + 1, 0), steps, period, warm_up)
    rates = [  # of every period, were each to err as little as possible
        he2016([{"step": 0}, *[row(at, 0.0)] * (at > 0)], 0.1, steps, warm_up)["learning_rate"]
        for at in range(0, steps, period)
    ]
    first = next((i * period for i, r in enumerate(rates) if not np.all(r == rates[0])), steps)
    assert last == min(first, steps - 1)
