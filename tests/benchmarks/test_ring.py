"""The benchmark of many small GANs: its ratio, its table and its check; nothing is timed."""

import pytest

from benchmarks.ring import CASE, EAGER, OURS, check, markdown


def side(ms, loss=1.4):
    return {"ms": ms, "loss": loss, "clean": 2, "samples": [0, 0]}


def test_one_program_is_held_against_runs_one_by_one():
    table = markdown({CASE: {OURS: side(10.0), EAGER: side(100.0)}})
    assert "| 10 | 100 | 0.100 | 0.2 | met | 4/4 |" in table
    assert "**missed**" in markdown({CASE: {OURS: side(30.0), EAGER: side(100.0)}})


def test_discriminators_that_begin_elsewhere_are_refused():
    check(CASE, side(1), side(1))
    with pytest.raises(RuntimeError, match="the first loss is nan"):
        check(CASE, side(1), side(1, float("nan")))
