"""The words between the experiments, and what is shown as measured beside theory."""

import math
from pathlib import Path

import numpy as np

from experiments import lecture
from experiments.catalog import CATALOG, THEMES
from experiments.depth import _published as published
from jaxvision.dynamics import theory
from jaxvision.report import record

RESULTS = Path(__file__).resolve().parents[2] / "experiments" / "results"


def test_every_theme_has_its_words():
    assert set(THEMES) <= lecture.THEMES.keys()
    for theme in lecture.THEMES.values():
        assert theme.title and theme.text.endswith(".")


def test_the_opening_says_what_was_published():
    assert lecture.OPENING.experiment in {entry.name for entry in CATALOG}
    conv = published.best(2012, published.CONVOLUTIONAL).top5
    by_hand = published.best(2012, published.HAND_MADE).top5
    numbers = [number for number, _ in lecture.OPENING.numbers]
    assert numbers == [f"{conv:.1f} %", f"{by_hand:.1f} %"]
    story = lecture.OPENING.paragraphs[0]
    for year, kind in ((2011, published.HAND_MADE), (2015, published.CONVOLUTIONAL)):
        assert f"{published.best(year, kind).top5:.1f} %" in story
    winners = [one for one in published.ENTRIES if one.place == 1 and one.year >= 2012]
    assert {one.kind for one in winners} == {published.CONVOLUTIONAL}
    assert f"{math.sqrt(2) ** 30:.0e}" == "3e+04"  # 30,000 over thirty layers


def test_bands_lie_on_the_closed_forms():
    """Medians over seeds; one of eight nets may be off by the spread of its width."""
    told = lecture.bands(RESULTS)
    assert told["seeds"] == record.load(RESULTS / "gradient_flow").config["seeds"]
    assert len(told["nets"]) == 4 * 3 + 3 + 1 + 1
    middle = {name: np.median(net["gradient"], axis=0) for name, net in told["nets"].items()}
    sigma, layers = math.sqrt(2), told["layers"]
    plain = theory.log_norms("relu", sigma, told["width"], layers)[1]
    skips = theory.residual_log_norms("relu", sigma, layers)[1]
    both = theory.residual_log_norms("relu", sigma, layers, told["batch"])[1]
    for name, expected, tolerance in (
        ("plain/relu/critical", plain, 0.3),
        ("residual/relu/critical", skips, 1.0),
        ("residual+bn/relu/critical", both, 0.3),
    ):
        measured = middle[name] - middle[name][-1]
        np.testing.assert_allclose(measured, expected, atol=tolerance)


def test_without_its_record_nothing_is_measured(tmp_path):
    assert lecture.bands(tmp_path)["nets"] == {}
