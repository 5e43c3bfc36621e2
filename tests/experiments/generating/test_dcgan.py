"""The verdicts of dcgan follow the science: broken on purpose, they change."""

import dataclasses
from functools import partial

import numpy as np
import pytest

from experiments.generating import _codes as codes_lib
from experiments.generating import _gan_measures as measures
from experiments.generating import _linear as linear
from experiments.generating import dcgan as experiment
from jaxvision import cli
from jaxvision.data import load
from jaxvision.progress import silent
from tests.experiments.breaking.verdicts import verdicts

CONFIG = dataclasses.replace(experiment.PRESETS["tiny"], seeds=5, first_seed=100)
judged = partial(verdicts, experiment)


def remember(sizes, variables, codes):
    """Paint like a generator that has learned nothing but the training images.

    Each has a code of its own; a code is answered with the image whose own is nearest.
    """
    images = load("digits").train.images[:20]
    own = np.random.default_rng(0).uniform(-1, 1, (len(images), sizes.codes))
    distances = np.square(codes[:, None] - own[None]).sum(-1)
    count = len(variables["params"]["dense"]["kernel"])
    return np.stack([images[distances.argmin(1)]] * count)


def test_a_generator_that_remembers_is_found_out():
    found = judged(CONFIG, *experiment.measure(CONFIG, silent, paint=remember))
    assert found["no-copies-pixels"] == found["no-copies-features"] == "contradicted"
    assert found["no-jump"] != "reproduced"
    sound = ("copies-found-pixels", "held-out-pixels", "held-out-features", "line-middle")
    assert "contradicted" not in [found[claim] for claim in sound]


def made_up(**changes):
    """Arrays of six seeds as the papers have them."""
    values = {
        "anchor/real": 0.1,
        "anchor/blurred": 1.0,
        "anchor/half the classes": 0.5,
        "anchor/one class": 3.0,
        "anchor/noise": 9.0,
        "floor_law": 0.1,
        "quarter": 0.05,
        "half/fcd": [8.0, 0.5],
        "half/shares": [[1.0] + [0.0] * 9, [0.1] * 10],
        "momentum/fcd": [8.0, 2.0],
        "mixed/fcd": [8.0, 2.0],
        "copied/fcd": [8.0, 2.0],
        "jump/line": 1.5,
        "jump/memorizer": 8.0,
        "middle/line": 2.0,
        "middle/slerp": 1.0,
        "middle/scores": 1.0,
        "copying/generated": [0.0, 1.0],
        "copying/copies": [-15.0, -12.0],
        "copying/held_out": [0.1, 0.1],
        "probe": [0.9, 0.95],
    } | changes
    spread = 1 + 0.01 * np.arange(-2, 4)
    arrays = {
        name: np.asarray(value) * spread.reshape(6, *[1] * np.ndim(value))
        for name, value in values.items()
    }
    arrays["line_middle"] = np.float64(1 / 6)
    arrays["slerp_outside"] = np.float64(0.0858)
    arrays["probe_pixels"] = np.float64(0.9)
    return {}, arrays


def test_what_the_papers_have_is_reproduced():
    assert set(judged(CONFIG, *made_up()).values()) == {"reproduced"}


OPPOSITE = {
    "metric": {"anchor/blurred": 10.0},
    "floor-law": {"floor_law": 0.2},
    "few-images": {"quarter": 0.4},
    "falls": {"half/fcd": [0.4, 0.5]},
    "beats-blur": {"anchor/blurred": 0.2},
    "above-floor": {"half/fcd": [8.0, 0.11]},
    "all-classes": {"half/shares": [[0.1] * 10, [0.2] * 5 + [0.0] * 5]},
    "momentum": {"momentum/fcd": [8.0, 0.3]},
    "mixed": {"mixed/fcd": [8.0, 0.3]},
    "copied": {"copied/fcd": [8.0, 0.3]},
    "no-jump": {"jump/line": 3.0},
    "slerp-better": {"middle/slerp": 3.0},
    "scores-better": {"middle/scores": 3.0},
    "no-copies-pixels": {"copying/generated": [-9.0, 7.0]},
    "no-copies-features": {"copying/generated": [9.0, -7.0]},
    "copies-found-pixels": {"copying/copies": [-1.0, -12.0]},
    "copies-found-features": {"copying/copies": [-12.0, -1.0]},
    "held-out-pixels": {"copying/held_out": [-6.0, 0.0]},
    "held-out-features": {"copying/held_out": [0.0, -5.0]},
    "features": {"probe": [0.95, 0.93]},
    "over-pixels": {"probe": [0.7, 0.8]},
}


@pytest.mark.parametrize("claim", OPPOSITE)
def test_the_opposite_is_contradicted(claim):
    assert judged(CONFIG, *made_up(**OPPOSITE[claim]))[claim] == "contradicted"


def test_ways_between_codes_keep_what_they_promise():
    one, other = (codes_lib.drawn(0, counter, 4000, 16) for counter in (1, 2))
    half = np.array([0.0, 0.5, 1.0])
    for way in codes_lib.WAYS.values():
        points = way(one, other, half)
        np.testing.assert_allclose(points[:, 0], one, atol=1e-5)
        np.testing.assert_allclose(points[:, 2], other, atol=1e-5)
    middles = {name: way(one, other, half)[:, 1] for name, way in codes_lib.WAYS.items()}
    square = {name: codes_lib.mean_square(codes) for name, codes in middles.items()}
    assert square["line"] == pytest.approx(1 / 6, abs=0.003)
    assert square["slerp"] == pytest.approx(1 / 3, abs=0.01)
    assert square["scores"] == pytest.approx(1 / 3, abs=0.005)
    assert codes_lib.outside(middles["line"]) == codes_lib.outside(middles["scores"]) == 0
    assert codes_lib.outside(middles["slerp"]) == pytest.approx(0.0858, abs=0.01)


def test_a_memorizer_shows_training_images_and_ends_at_the_crossfades_ends():
    train = load("digits").train.images[:300]
    memory = measures.remembered(train, seed=1)
    shown = train[memory.rows]
    np.testing.assert_array_equal(shown[:, [0, -1]], memory.crossfades[:, [0, -1]])


def test_the_probe_separates_what_is_linear_and_no_more():
    draws = np.random.default_rng(0)
    points = draws.normal(size=(400, 3))
    linear_labels = (points @ [1, -2, 0.5] > 0).astype(int)
    ring = (np.square(points).sum(1) > 2.4).astype(int)

    def accuracy(labels):
        return linear.accuracy(points[:300], labels[:300], points[300:], labels[300:])

    assert accuracy(linear_labels) > 0.95
    assert accuracy(ring) < 0.7


@pytest.mark.parametrize(
    ("flag", "line"),
    [
        ("--looks=0,50", "--looks=0,50 must rise from 0 to --steps=2000"),
        ("--n_images=100", "a quarter of them must be more than --ruler_units=64"),
    ],
)
def test_flags_that_do_not_fit_are_refused(flag, line, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(experiment, ["x", flag])
    assert ended.value.code == 2
    assert line in capsys.readouterr().err
