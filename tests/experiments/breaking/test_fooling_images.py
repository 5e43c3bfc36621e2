"""The verdicts of fooling_images follow the science: broken on purpose, they change."""

import dataclasses

import numpy as np
import pytest

from experiments.breaking import _fooling as fooling
from experiments.breaking import _retraining as retraining
from experiments.breaking import fooling_images
from experiments.breaking._nets import Nets
from jaxvision.adversarial.elites import map_elites
from jaxvision.adversarial.genomes import direct
from jaxvision.adversarial.odds import class_odds
from jaxvision.data import load
from jaxvision.progress import silent
from tests.experiments.breaking.verdicts import verdicts

WAYS = fooling_images.WAYS
FULL = fooling_images.PRESETS["cpu"]
SEEDS, CLASSES = 6, 10
CONFIG = dataclasses.replace(
    fooling_images.PRESETS["tiny"],
    seeds=6,
    first_seed=100,
    width=16,
    steps=150,
    generations=12,
    children=30,
)


def judged(numbers, arrays, config=FULL):
    return verdicts(fooling_images, config, numbers, arrays)


def made_up(**changes):
    """Arrays of six nets, every number much the same in all of them."""
    values = {
        "direct": 20.0,
        "cppn": 15.0,
        "noise": 5.0,
        "binary": 8.0,
        "painted": 7.0,
        "ascent": 6.0,
        "color/cppn": 2.0,
        "color/direct": -2.0,
        "second": 0.6,
        "distance": 3.0,
        "dense": 0.9,
        "linear": 0.6,
        "rounds": (3, 6, 12),
        "other": 3,
    } | changes
    spread = 1 + 0.01 * (np.arange(SEEDS) % 3 - 1)

    def each(value, *shape):
        return value * spread.reshape(-1, *[1] * len(shape)) * np.ones(shape)

    arrays = {}
    for name in (*WAYS, "ascent", "color/cppn", "color/direct"):
        arrays[f"{name}/log_odds"] = each(values[name], CLASSES)
    for name in WAYS:
        arrays[f"{name}/second"] = each(values["second"])
        arrays[f"{name}/distance"] = each(values["distance"], CLASSES)
    for name in ("dense", "linear"):
        arrays[f"{name}/rubbish"] = each(values[name])
    first = np.array(values["rounds"])[:, None, None]
    generations = np.tile(first, (SEEDS, 1, 2, CLASSES))
    generations[:, 0, 1] = values["other"]
    arrays["rounds/generations"] = generations + (np.arange(SEEDS) % 2).reshape(-1, 1, 1, 1)
    arrays["rounds/test_error"] = np.full((SEEDS, len(first)), values.get("error", 0.02))
    return {"class_names": list("0123456789"), "test_distance": 1.5}, arrays


def test_rounds_whose_nets_learned_nothing_show_nothing():
    found = judged(*made_up(error=0.9))
    assert found["harder"] == "inconclusive"
    assert found["still"] == "inconclusive"  # that such a net is not fooled says nothing


def test_what_the_papers_have_is_reproduced():
    assert set(judged(*made_up()).values()) == {"reproduced"}


@pytest.mark.parametrize(
    ("changes", "contradicted"),
    [
        ({"direct": 6.0}, {"nines-direct", "evolution-direct"}),
        ({"cppn": 6.0}, {"nines-cppn", "evolution-cppn"}),
        ({"binary": 12.0}, {"random-short"}),
        ({"ascent": 3.0}, {"ascent"}),
        ({"color/cppn": -3.0}, {"color-cppn"}),
        ({"second": 0.02}, {"second-direct", "second-cppn"}),
        ({"distance": 1.0}, {"far"}),
        ({"dense": 0.3}, {"rubbish", "rubbish-linear"}),
        ({"rounds": (12, 6, 3), "other": 12}, {"harder"}),
        ({"rounds": (3, 60, 201)}, {"still"}),
        ({"other": 40}, {"control"}),
    ],
)
def test_the_opposite_is_contradicted(changes, contradicted):
    found = judged(*made_up(**changes))
    assert {name for name, verdict in found.items() if verdict == "contradicted"} == contradicted


def without_fitness(f, *arguments, **options):
    """Evolve as if all images were alike to the net."""
    found = map_elites(lambda images: 0 * f(images), *arguments, **options)
    odds = class_odds(f(found.images))
    own = odds[np.arange(len(odds)), np.arange(len(odds))]
    return found._replace(log_odds=own)


def test_evolution_without_a_fitness_is_found_out():
    broken = {
        name: dataclasses.replace(way, search=without_fitness) if "random" not in way.label else way
        for name, way in WAYS.items()
    }
    found = judged(*fooling_images.measure(CONFIG, silent, broken), CONFIG)
    assert found["nines-direct"] == "contradicted"
    assert found["nines-cppn"] == "contradicted"
    assert found["evolution-direct"] == "contradicted"
    assert found["evolution-cppn"] == "contradicted"


def test_retraining_that_tells_nothing_makes_nothing_harder():
    """The same starts and the same batches: without the images every round's net is the same."""
    plan = retraining.Retraining(8, 60, 2, 2, 10, 20, 0.1, knows=False)
    data = load("digits")
    kept = retraining.retrain(data, direct, plan, range(100, 102))
    assert (kept.test_error == kept.test_error[:, :1]).all()
    told = retraining.retrain(
        data,
        direct,
        plan._replace(knows=True),
        range(100, 102),
    )
    np.testing.assert_array_equal(told.test_error[:, 0], kept.test_error[:, 0])
    assert (told.log_odds[:, 1] < kept.log_odds[:, 1]).mean() > 0.8


def test_the_nearest_image_of_a_training_image_is_itself():
    train = load("digits").train.images
    distance, row = fooling.nearest(train[[5, 99]] / np.float32(255), train)
    assert row.tolist() == [5, 99]
    np.testing.assert_allclose(distance, 0.0, atol=5e-3)


def test_a_second_opinion_is_the_next_net_s():
    """Net 0 says the class of the image's brightest pixel, net 1 always class 0."""
    images = np.zeros((1, 2, 3, 1, 3, 1), np.float32)
    images[0, :, np.arange(3), 0, np.arange(3), 0] = 1.0
    variables = {
        "params": {"kernel": np.stack([np.eye(3, dtype=np.float32), np.zeros((3, 3), np.float32)])},
        "batch_stats": {},
    }

    def of(net):
        return lambda x: x.reshape(len(x), 3) @ net["params"]["kernel"]

    nets = Nets(of, variables, np.zeros(2), None, None)
    found = fooling.second_opinions(nets, images)
    np.testing.assert_allclose(found, [[1 / 3, 1.0]])
