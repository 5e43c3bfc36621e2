"""The verdicts of features_off_the_shelf follow the science: broken on purpose, they change."""

import dataclasses

import numpy as np
import pytest

from experiments.data import features_off_the_shelf as shelf
from experiments.data._transfer import LAYERS
from jaxvision.data import embedded
from jaxvision.progress import silent
from jaxvision.report.claims import judge
from jaxvision.report.record import Record, as_stored
from jaxvision.types import UserError

TASKS = shelf.TASKS
CONFIG = dataclasses.replace(
    shelf.PRESETS["tiny"],
    second_dataset="digits",
    seeds=5,
    first_seed=100,
    width=6,
    dense=16,
    steps=20,
    snapshots=(10,),
    sizes=(10, 20),
    test_images=60,
)


def judged(numbers, arrays) -> dict[str, str]:
    fields = dataclasses.asdict(CONFIG)
    record = Record("shelf", "cpu", "broken", "a test", fields, numbers, arrays, [], {})
    found = judge(shelf.claims(CONFIG), as_stored(record))
    return {claim.id: claim.verdict for claim in found}


def test_probes_of_shuffled_labels_find_nothing():
    broken = {name: task._replace(orders=1) for name, task in TASKS.items()}
    broken["shuffled"] = TASKS["shuffled"]._replace(orders=0)
    found = judged(*shelf.measure(CONFIG, silent, broken))
    assert found["beats-pixels"] != "reproduced"
    for name in ("rises-first", "rises-late", "rises-second", "beats-random", "own-rises"):
        assert found[name] != "reproduced", name
    assert found["control"] == "contradicted"


def made_up(**curves):
    """Arrays of five seeds that do nearly alike; ``curves`` by layer, of those that matter."""
    curve = np.array([0.5, 0.6, 0.65, 0.68, 0.7, 0.69, 0.62, 0.6, 0.5])
    given = {
        "other": np.stack([0.8 * curve, 0.9 * curve, curve]),
        "own": np.linspace(0.5, 0.9, 9)[None],
        "second": np.stack([0.9 * curve, curve]),
        "shuffled": np.full((1, 9), 0.2),
        "size": np.stack([0.7 * curve, 0.9 * curve]),
        "scratch": np.array([0.4, 0.5]),
    } | curves
    spread = 1 + 0.002 * np.arange(-2, 3)
    arrays = {
        f"{name}/{quantity}": spread.reshape(5, *[1] * values.ndim) * values
        for name, values in given.items()
        for quantity in ("accuracy", "held_out")
    }
    return {"others": 5}, arrays


def test_a_paper_s_curves_are_reproduced():
    found = judged(*made_up())
    assert set(found.values()) == {"reproduced"}


def test_curves_upside_down_are_contradicted():
    curve = np.array([0.7, 0.66, 0.65, 0.6, 0.5, 0.5, 0.55, 0.6, 0.65])
    flat = np.stack([1.1 * curve, 1.05 * curve, curve])
    found = judged(
        *made_up(
            other=flat,
            own=np.linspace(0.9, 0.5, 9)[None],
            second=flat[[0, 2]],
            shuffled=np.full((1, 9), 0.3),
            scratch=np.array([0.9, 0.95]),
        )
    )
    assert set(found.values()) == {"contradicted"}


def test_a_layer_is_chosen_by_held_out_images():
    numbers, arrays = made_up()
    arrays["other/held_out"] = np.zeros((5, 3, 9))
    arrays["other/held_out"][..., LAYERS.index("fc7")] = 1
    record = Record("shelf", "cpu", "x", "c", {}, numbers, arrays, [], {})
    found = shelf.panels.at_chosen_layer(record, "other", -1)
    np.testing.assert_array_equal(found, arrays["other/accuracy"][:, -1, LAYERS.index("fc7")])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sizes": (5, 20)}, "5 images are fewer than probes of 5 classes need"),
        ({"sizes": (20, 5000)}, "half of the classes of digits have"),
        ({"sizes": (60, 20)}, "from few to many"),
        ({"snapshots": (20,)}, "before the last, 20"),
        ({"width": 4}, "are 3:8:12:12:8 wide"),
        ({"first_seed": 997}, "choose the rates"),
    ],
)
def test_impossible_flags_are_refused(change, message):
    config = dataclasses.replace(CONFIG, **change)
    with pytest.raises(UserError, match=message):
        shelf.measure(config, silent)


def test_a_set_of_few_classes_is_refused(monkeypatch):
    digits = embedded.digits()
    rows = np.flatnonzero(digits.train.labels < 3)
    few = digits._replace(name="few", train=digits.train._rows(rows), class_names=("0", "1", "2"))
    monkeypatch.setitem(embedded.EMBEDDED, "few", lambda: few)
    with pytest.raises(UserError, match="3 classes are too few: two are learned and two held out"):
        shelf.measure(dataclasses.replace(CONFIG, dataset="few"), silent)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((10, 200), "^--second_dataset=few has 130 images to learn from, all 10 classes alike"),
        ((10, 15), "^--second_dataset=few has 10 classes: probes need two images of each, 20"),
    ],
)
def test_a_second_set_of_too_few_images_is_refused(monkeypatch, sizes, message):
    digits = embedded.digits()
    few = digits._replace(name="few", train=digits.train.first(150))
    monkeypatch.setitem(embedded.EMBEDDED, "few", lambda: few)
    config = dataclasses.replace(CONFIG, second_dataset="few", sizes=sizes)
    with pytest.raises(UserError, match=message):
        shelf.measure(config, silent)
