"""The verdicts of data_size follow the science: broken on purpose, the right ones change."""

import dataclasses

import numpy as np
import pytest

from experiments.data import data_size
from jaxvision.progress import silent
from jaxvision.report.claims import judge
from jaxvision.report.record import Record, as_stored
from jaxvision.types import UserError

pytestmark = pytest.mark.usefixtures("optimized")

CONFIG = dataclasses.replace(
    data_size.PRESETS["tiny"],
    seeds=5,
    sizes=(20, 80, 320, 1280),
    width=32,
    steps=192,
    learning_rates=(0.03,),
)
RECIPES = data_size.RECIPES


def judged(numbers, arrays, config=CONFIG) -> dict[str, str]:
    fields = dataclasses.asdict(config)
    record = Record("data_size", "cpu", "broken", "a test", fields, numbers, arrays, [], {})
    found = judge(data_size.claims(config), as_stored(record))
    return {claim.id: claim.verdict for claim in found}


def verdicts(**recipes) -> dict[str, str]:
    return judged(*data_size.measure(CONFIG, silent, RECIPES | recipes))


def test_the_curves_hold():
    found = verdicts()
    for name in ("more-data", "noise-half", "undertrained"):
        assert found[name] == "reproduced", name
    for name in ("control-again", "control-random"):
        assert found[name] != "contradicted", name


def test_broken_recipes():
    """Noisy labels for the plain runs, clean ones for the noisy, wide nets for narrow."""
    found = verdicts(
        plain=RECIPES["plain"]._replace(random_share=0.3),
        half=RECIPES["half"]._replace(random_share=0.0),
        tenth=RECIPES["tenth"]._replace(random_share=1.0),
        narrow=RECIPES["narrow"]._replace(narrower=1),
        epochs=RECIPES["epochs"]._replace(random_share=0.3, equal_epochs=False),
        moved=RECIPES["half"]._replace(random_share=1.0),
        again=RECIPES["again"]._replace(random_share=1.0),
        random=RECIPES["random"]._replace(random_share=0.0),
    )
    for name in (
        "noise-half",
        "noise-tenth",
        "width",
        "moved-helps",
        "moved-buys",
        "moved-late",
        "control-again",
        "control-random",
    ):
        assert found[name] == "contradicted", name
    assert found["undertrained"] != "reproduced"


@pytest.mark.slow  # the other mutations break the curves too
def test_random_labels_everywhere():
    random = {
        name: recipe._replace(random_share=1.0)
        for name, recipe in RECIPES.items()
        if not recipe.moved
    }
    found = verdicts(**random)
    assert found["more-data"] != "reproduced"
    assert found["undertrained"] != "reproduced"


def made_up(curve, **others):
    """Arrays of seeds that all do nearly alike; ``curve``: sizes -> errors."""
    sizes = np.array(CONFIG.sizes, np.float64)
    spread = 1 + 0.01 * np.arange(-2, 3)[:, None]
    arrays = {f"{name}/test_error": spread * curve(sizes) for name in RECIPES}
    for name, other in others.items():
        arrays[f"{name}/test_error"] = spread * other(sizes)
    return {"test_images": 10**6}, arrays


def test_a_power_law_is_told_from_a_floor():
    of_shape = ("power-law-steps", "power-law-epochs", "predicts-steps", "predicts-epochs")
    straight = judged(*made_up(lambda n: 2 * n**-0.6))
    floored = judged(*made_up(lambda n: n**-0.6 + 0.05))
    for name in of_shape:
        assert straight[name] == "reproduced"
        assert floored[name] == "contradicted"


def test_a_shift_is_told_from_a_tilt():
    curve = made_up(
        lambda n: n**-0.6,
        narrow=lambda n: 1.5 * n**-0.6,
        moved=lambda n: n**-0.7,
        epochs=lambda n: n**-0.7,
    )
    found = judged(*curve)
    assert found["width-shifts"] == "reproduced"
    assert found["moved-shifts"] == found["protocol"] == "contradicted"


def test_points_a_step_that_shrink_or_grow():
    assert judged(*made_up(lambda n: n**-0.6))["gain-shrinks"] == "reproduced"
    assert judged(*made_up(lambda n: 0.9 - 5e-4 * n))["gain-shrinks"] == "contradicted"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sizes": (20, 40, 80, 2000)}, "digits has no 2,000 images with all classes alike"),
        ({"sizes": (5, 10, 20, 40)}, "5 images are fewer than the 10 classes of digits"),
        ({"sizes": (20, 40, 80)}, "a curve needs four sizes or more"),
        ({"sizes": (20, 80, 40, 160)}, "from small to large"),
        ({"batch_size": 10**4}, "batch size 10000 exceeds"),
        ({"first_seed": 998}, "choose the rates"),
    ],
)
def test_impossible_flags_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        data_size.measure(dataclasses.replace(CONFIG, **change), silent)
