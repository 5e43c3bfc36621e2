"""The verdicts of universal_perturbation follow the science: broken on purpose, they change."""

import dataclasses
from functools import partial

import numpy as np
import pytest

from experiments.breaking import _sharing as sharing
from experiments.breaking import _universal_panels as panels
from experiments.breaking import universal_perturbation as experiment
from jaxvision.adversarial import universal
from jaxvision.progress import silent
from jaxvision.types import UserError
from tests.experiments.breaking.verdicts import verdicts

CONFIG = dataclasses.replace(
    experiment.PRESETS["tiny"],
    seeds=5,
    first_seed=100,
    width=16,
    steps=150,
    epsilons=(0.1, 0.2),
    n_images=40,
    sizes=(10, 40),
    test_images=60,
    draws=5,
)


judged = partial(verdicts, experiment)


def test_a_perturbation_that_climbs_down_fools_nobody():
    downhill = partial(universal.ascend, relative_step=-0.8, steps=20)
    found = judged(CONFIG, *experiment.measure(CONFIG, silent, sharing.Ways(downhill, downhill)))
    assert found["linear-rank"] == "reproduced"
    for name in ("beats-random", "beats-patterns", "most", "few-images", "transfers", "ascent"):
        assert found[name] != "reproduced", name


def made_up(**changes):
    """Arrays of five seeds as the papers have them; rates by quantity."""
    rates = {
        "ascent": [0.5, 0.8],
        "deepfool": [0.3, 0.6],
        "by_size": [0.5, 0.8],
        "random": [[0.05, 0.07], [0.1, 0.2]],
        "shuffled": [0.06, 0.15],
        "structured": [[0.1, 0.2], [0.2, 0.4]],
        "in_span": [0.3, 0.4],
        "anywhere": [0.1, 0.1],
        "dominant": [0.6, 0.7],
        "transfer": [[0.8, 0.5], [0.5, 0.8]],
        "sibling": [0.6, 0.6],
    } | changes
    spread = 1 + 0.01 * np.arange(-2, 3)
    arrays = {"image": np.zeros((8, 8, 1), np.float32)}
    for name, values in rates.items():
        values = np.asarray(values)
        found = spread.reshape(5, *[1] * values.ndim) * values
        for kind in CONFIG.kinds:
            whole = name in ("transfer", "sibling")
            arrays[name if whole else f"{kind}/{name}"] = found
    energy = np.minimum(1, np.arange(1, 41) / 9)
    for kind in CONFIG.kinds:
        arrays[f"{kind}/energy"] = spread.reshape(5, 1) ** 0 * energy
    return {"classes": 10}, arrays


def test_what_the_papers_have_is_reproduced():
    assert set(judged(CONFIG, *made_up()).values()) == {"reproduced"}


def test_the_opposite_is_contradicted():
    found = judged(
        CONFIG,
        *made_up(
            ascent=[0.4, 0.2],
            deepfool=[0.6, 0.6],
            by_size=[0.2, 0.1],
            random=[[0.3, 0.4], [0.4, 0.5]],
            shuffled=[0.7, 0.8],
            structured=[[0.5, 0.5], [0.6, 0.6]],
            in_span=[0.1, 0.1],
            anywhere=[0.3, 0.3],
            dominant=[0.12, 0.12],
            transfer=[[0.2, 0.3], [0.3, 0.2]],
            sibling=[0.1, 0.1],
        ),
    )
    kept = {"linear-rank", "few-directions"}
    assert {verdict for name, verdict in found.items() if name not in kept} == {"contradicted"}


def test_normals_in_all_directions_contradict_the_few():
    numbers, arrays = made_up()
    for kind in CONFIG.kinds:
        arrays[f"{kind}/energy"] = np.tile(np.arange(1, 41) / 40, (5, 1))
    found = judged(CONFIG, numbers, arrays)
    assert found["few-directions"] == "contradicted"
    assert found["linear-rank"] == "contradicted"


def test_transfer_knows_who_made_a_perturbation_and_who_meets_it(monkeypatch):
    """A net is fooled as much as the perturbation's only pixel says, plus its own number."""

    def met(nets, perturbations, images):
        del images
        return perturbations.reshape(*perturbations.shape[:2]) + nets

    monkeypatch.setattr(sharing, "hand_over", met)
    made = {
        "a": np.float32([1, 2]).reshape(2, 1, 1, 1),
        "b": np.float32([10, 20]).reshape(2, 1, 1, 1),
    }
    matrix, sibling = sharing.transfer({"a": 0.1, "b": 0.2}, made, np.zeros((1, 1, 1, 1)))
    np.testing.assert_allclose(matrix[0], [[1.1, 1.2], [10.1, 10.2]])
    np.testing.assert_allclose(sibling, [[2.1, 20.2], [1.1, 10.2]])
    np.testing.assert_allclose(panels.off_diagonal(matrix)[0], [[1.2], [10.1]])


def test_directions_are_counted_to_a_share():
    energy = np.array([[0.5, 0.9, 1.0], [0.95, 1.0, 1.0]])
    np.testing.assert_array_equal(panels.directions_for(energy, 0.9), [2, 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": 0.15}, "--epsilon=0.15 must be one of --epsilons"),
        ({"sizes": (10, 100)}, "more images than --n_images=40"),
        ({"kinds": ("mlp",)}, "two kinds of nets at least"),
    ],
)
def test_impossible_flags_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        experiment.measure(dataclasses.replace(CONFIG, **change), silent)
