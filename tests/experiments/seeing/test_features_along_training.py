"""The verdicts of features_along_training follow the science: broken on purpose, they change."""

import dataclasses
from functools import partial

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from experiments.seeing import _unit_looks as looks
from experiments.seeing import features_along_training as experiment
from jaxvision.progress import silent
from tests.experiments.breaking.verdicts import verdicts

CONFIG = experiment.PRESETS["cpu"]
KINDS = tuple(experiment.NETS)
NETS, DEPTH = 5, len(experiment.LAYERS)
UPWARDS = np.linspace(0.1, 0.5, DEPTH)
judged = partial(verdicts, experiment)
RNG = np.random.default_rng(0)


def made_up(**changes):
    """Arrays of five nets as the papers have them, every number much the same in all."""
    values = {
        "settled": {"he": UPWARDS, "xavier": 1.5 * UPWARDS, "he-bn": 0.5 * UPWARDS},
        "space_settled": 0.6 * UPWARDS,
        "purity": (0.3, 0.8),
        "axes_purity": 0.78,
        "stranger": 0.03,
        "kept": 1 - UPWARDS,
        "picture_agreement": (0.1, 0.6),
    } | changes
    spread = 1 + 0.01 * (np.arange(NETS) - 2)[:, None]
    arrays = {}
    for kind in KINDS:
        for name in ("settled", "space_settled", "stranger"):
            value = values[name]
            value = value.get(kind, UPWARDS) if isinstance(value, dict) else value
            arrays[f"{kind}/{name}"] = spread * value * np.ones(DEPTH)
        start, end = values["purity"]
        by_step = np.array([start, end])[None, :, None]
        arrays[f"{kind}/purity"] = spread[:, None] * by_step * np.ones(DEPTH)
        rest = values["axes_purity"] * np.ones((2, DEPTH))
        arrays[f"{kind}/axes_purity"] = spread[:, None] * rest
    kept = np.stack([values["kept"], np.ones(DEPTH)])
    arrays["he/kept"] = spread[:, None] * kept
    arrays["looks"] = np.array([100, 1600])
    arrays["picture_agreement"] = spread * values["picture_agreement"]
    return {}, arrays


def test_what_the_papers_have_is_reproduced():
    assert set(judged(CONFIG, *made_up()).values()) == {"reproduced"}


@pytest.mark.parametrize(
    ("changes", "contradicted"),
    [
        (
            {"settled": dict.fromkeys(KINDS, UPWARDS[::-1])},
            {f"lower-first-{kind}" for kind in KINDS} | {"units-after-space"},
        ),
        ({"space_settled": 0.9 - UPWARDS}, {f"space-first-{kind}" for kind in KINDS}),
        ({"settled": {"he-bn": 2 * UPWARDS, "xavier": 3 * UPWARDS}}, {"bn-sooner"}),
        ({"settled": {"he-bn": 0.5 * UPWARDS, "xavier": 0.5 * UPWARDS}}, {"he-sooner"}),
        (
            {"axes_purity": 0.6},
            {f"directions-{kind}-{layer}" for kind in ("he", "he-bn") for layer in (3, 5)},
        ),
        (
            {"axes_purity": 0.9},
            {f"directions-{kind}-{layer}" for kind in ("he", "he-bn") for layer in (3, 5)}
            | {"units-purer-he", "units-purer-he-bn"},
        ),
        ({"purity": (0.9, 0.8)}, {"purer"}),
        ({"picture_agreement": (0.6, 0.1)}, {"pictures"}),
        ({"stranger": 0.5}, {"control"}),
        ({"kept": UPWARDS}, {"kept"}),
    ],
)
def test_the_opposite_is_contradicted(changes, contradicted):
    found = judged(CONFIG, *made_up(**changes))
    assert {name for name, verdict in found.items() if verdict == "contradicted"} == contradicted


def test_layers_taken_in_the_wrong_order_and_axes_that_are_units_are_found_out():
    """Slopes change their sign to the bit; units beside themselves differ by nothing."""
    config = dataclasses.replace(experiment.PRESETS["tiny"], steps=40, images=40)
    _, there = experiment.measure(config, silent)
    _, back = experiment.measure(
        config,
        silent,
        layers=experiment.LAYERS[::-1],
        make_axes=lambda key, channels: np.eye(channels, dtype=np.float32),
    )
    slopes = looks.slope(there["he/settled"])
    assert np.abs(slopes).max() > 0
    assert_allclose(looks.slope(back["he/settled"]), -slopes, atol=1e-12)
    assert_array_equal(back["he/axes_purity"], back["he/purity"])
    assert not np.array_equal(there["he/axes_purity"], there["he/purity"])


def test_likeness_is_the_rank_correlation_with_the_last_answers():
    last = RNG.normal(size=(30, 3))
    early = np.stack([np.exp(last[:, 0]), -last[:, 1], np.zeros(30)], 1)
    found = looks.likeness(np.stack([early, last])[None])
    assert_allclose(found[0], [[1, -1, 0], [1, 1, 1]], atol=1e-12)


def test_units_in_a_turned_space_are_others_and_the_space_is_the_same():
    last = RNG.normal(size=(200, 6))
    turn = np.linalg.qr(RNG.normal(size=(6, 6)))[0]
    along = np.stack([last @ turn, RNG.normal(size=(200, 6)), last])[None]
    assert_allclose(looks.space(along)[0, [0, 2]], 1.0, rtol=1e-6)
    assert looks.space(along)[0, 1] < 0.3
    assert np.median(looks.likeness(along)[0, 0]) < 0.9


def test_a_unit_has_settled_when_it_stays():
    alike = np.array([[0.95, 0.2, 0.95, 0.92, 1.0], [0.1, 0.2, 0.3, 0.4, 1.0]])[..., None]
    steps = np.array([0, 10, 100, 1000, 2000])
    assert_array_equal(looks.settled(alike, steps)[:, 0], [100, 2000])


def test_preferred_images_and_their_purity_by_hand():
    answers = np.zeros((40, 2))
    answers[:8, 0] = np.arange(8) + 1.0
    answers[[1, 2, 3, 4, 30, 31, 32, 33], 1] = 1.0
    labels = np.arange(40) // 10
    assert set(looks.preferred(answers)[:, 0]) == set(range(8))
    assert_allclose(looks.purity(answers, labels, 4), (1.0 + 0.5) / 2)
    kept = looks.shared(looks.preferred(answers), looks.preferred(answers[:, ::-1]))
    assert_allclose(kept, 0.5)


def test_random_directions_have_length_one():
    axes = looks.random_axes(jax.random.key(0), 5)
    assert_allclose(np.linalg.norm(axes, axis=0), 1.0, rtol=1e-5)


def test_slope_is_that_of_least_squares():
    times = RNG.normal(size=(3, 5))
    wanted = [np.polyfit(np.arange(5), row, 1)[0] for row in times]
    assert_allclose(looks.slope(times), wanted)


def test_steps_that_are_looked_at_end_with_the_last():
    assert experiment.looks_at(CONFIG)[-1] == CONFIG.steps
    assert {0, 10, 100, 1000} < set(experiment.drawn_at(CONFIG))
    assert experiment.drawn_at(CONFIG)[-1] == CONFIG.steps
    assert set(experiment.drawn_at(CONFIG)) <= set(experiment.looks_at(CONFIG))
