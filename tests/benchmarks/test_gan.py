"""The benchmark of DCGAN's step: its ratios, its table and its check; nothing is timed."""

import pytest

from benchmarks.gan import CHANNELS_LAST, EAGER, OURS, check, markdown, ratios


def side(ms):
    return {"ms": ms, "loss": 1.4, "clean": 2, "samples": [0, 0]}


def test_ours_is_held_against_the_faster_layout():
    results = {"dcgan16": {OURS: side(30.0), EAGER: side(40.0), CHANNELS_LAST: side(20.0)}}
    assert ratios(results) == {"dcgan16": 1.5}
    assert "| 30 | 40 | 20 | 1.50 | 1.6 | met | 6/6 |" in markdown(results)
    results["dcgan16"][OURS] = side(40.0)
    assert "**missed**" in markdown(results)


def test_a_discriminator_that_begins_elsewhere_is_refused():
    check("dcgan16", OURS, 1.4)
    with pytest.raises(RuntimeError, match="the first loss is nan"):
        check("dcgan16", OURS, float("nan"))
