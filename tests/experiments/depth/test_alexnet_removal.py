"""The verdicts of alexnet_removal follow the science: broken on purpose, the right one changes."""

import dataclasses
import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.depth import _removal, alexnet_removal
from experiments.depth._removal import Lab
from jaxvision import data
from jaxvision.progress import silent
from jaxvision.report.claims import judge
from jaxvision.report.record import Record
from jaxvision.types import UserError

TINY = alexnet_removal.PRESETS["tiny"]
NETS = alexnet_removal.NETS
CPU = alexnet_removal.PRESETS["cpu"]
# A net that learns the digits in a second, and one without its layers 3, 4, 6, 7.
SMALL = dataclasses.replace(TINY, width=6, steps=120, period=60, batch_size=32, seeds=5)


def record(config, nets=NETS):
    numbers, arrays = alexnet_removal.measure(config, silent, nets)
    fields = dataclasses.asdict(config)
    return Record("alexnet_removal", "cpu", "x", "", fields, numbers, arrays, [], {})


def judged(made, config=CPU):
    return {found.id: found.verdict for found in judge(alexnet_removal.claims(config), made)}


NOISE = np.linspace(-0.004, 0.004, 5)


def made_up(errors, train=None, lesion=0.88, chance=0.9):
    """The record of five seeds with these test errors by net."""
    arrays = {}
    train = errors if train is None else train
    for i, (name, error) in enumerate(errors.items()):
        noise = np.roll(NOISE, i)
        arrays[f"{name}/test_error"] = (error + noise)[:, None]
        arrays[f"{name}/train_error"] = (train[name] + noise)[:, None]
        arrays[f"{name}/lesion"] = lesion + noise
    return Record("alexnet_removal", "cpu", "x", "", {}, {"chance_error": chance}, arrays, [], {})


def errors(no7=0.3, no67=0.34, no34=0.35, no3467=0.61, again=0.3):
    """As in the table, relative to a whole net of 30 %."""
    names = ("whole", "no7", "no67", "no34", "no3467", "again")
    return dict(zip(names, (0.3, no7, no67, no34, no3467, again), strict=True))


OF_TABLE = (
    "no7-free",
    "no67-costs",
    "no34-costs",
    "collapse",
    "more-than-the-sum",
    "not-parameters",
    "no7-trains-better",
)


def test_the_table_s_own_pattern_upholds_its_claims():
    found = judged(made_up(errors(), train=errors(no7=0.2)))
    assert {found[name] for name in OF_TABLE} == {"reproduced"}
    assert found["control"] == "reproduced"
    assert found["lesion-no7"] == "reproduced"
    assert found["no67-over-no34"] == "contradicted"  # the lecture's order is not that of top-1
    assert found["lecture-numbers"] == "contradicted"


def test_each_verdict_turns_with_its_own_net():
    """Made-up errors where one thing is otherwise."""

    def changed(**broken):
        found = judged(made_up(errors(**broken), train=errors(no7=0.2)))
        return {name for name in (*OF_TABLE, "control") if found[name] != "reproduced"}

    assert changed(no7=0.4) == {"no7-free", "not-parameters"}
    assert changed(no67=0.25) == {"no67-costs"}
    assert changed(no34=0.25) == {"no34-costs", "not-parameters"}
    assert changed(no3467=0.38) == {"collapse", "more-than-the-sum"}
    assert changed(again=0.35) == {"control"}
    rising = judged(made_up(errors(), train=errors(no7=0.4)))
    assert rising["no7-trains-better"] == "contradicted"
    mild = judged(made_up(errors(), lesion=0.4))
    assert mild["lesion-no34"] == "contradicted"
    lecture = judged(made_up(errors(no67=0.4)))
    assert lecture["no67-over-no34"] == "reproduced"


def test_nets_that_have_not_learned_are_not_judged():
    """At rate zero nothing costs anything: that is no finding."""
    alike = dict.fromkeys(errors(), 0.85)
    found = judged(made_up(alike))
    decided = {name for name, verdict in found.items() if verdict != "inconclusive"}
    assert decided == {"lecture-numbers"}
    assert judged(made_up(dict.fromkeys(errors(), 0.9)))["collapse"] == "inconclusive"


def test_the_lecture_s_numbers_are_in_no_column():
    """Its losses against the table's: off by 1.5 points at the worst in the nearer column."""
    assert alexnet_removal.off_the_table() == pytest.approx(1.5)


@pytest.fixture(scope="module")
def small():
    return record(SMALL)


def test_a_removed_layer_has_no_parameters(small):
    """3, 16, 24, 24, 16 channels for the digits' one, their last maps one pixel."""
    whole, left = (small.numbers["parameters"][name] for name in ("whole", "no3467"))
    widths = 6, 16, 24, 24, 16
    kernels = [25 * 6, *(9 * a * b for a, b in itertools.pairwise(widths))]
    head = 16 * 32 + 32 + 32 * 32 + 32 + 32 * 10 + 10
    assert whole == sum(kernels) + sum(widths) + head
    assert left == 25 * 6 + 6 + 9 * 6 * 16 + 16 + 9 * 16 * 16 + 16 + 16 * 10 + 10


def test_a_lesion_is_worse_than_training_without_the_layers(small):
    """The net learns; what it has learned is gone with its layers, not with nets trained so."""
    whole, no3467 = (small.arrays[f"{name}/test_error"] for name in ("whole", "no3467"))
    assert (whole[:, 0] > 0.8).all()
    assert (whole[:, -1] < 0.5).all()
    found = judged(small, SMALL)
    assert found["lesion-no3467"] == "reproduced"
    assert (small.arrays["no3467/lesion"] > no3467[:, -1] + 0.2).all()
    assert found["no7-free"] == "not run"


def test_a_net_labeled_wrongly_is_found(small):
    """The net called 'other draws' lacks its layers, and starts from the first draws."""
    again = [small.arrays[f"{name}/test_error"] for name in ("whole", "again")]
    assert not np.array_equal(*again)
    broken = NETS | {"again": NETS["no3467"], "no3467": NETS["again"]}
    made = record(dataclasses.replace(SMALL, steps=2, period=2), broken)
    parameters = made.numbers["parameters"]
    assert parameters["again"] == small.numbers["parameters"]["no3467"]
    assert parameters["no3467"] == parameters["whole"]


@pytest.mark.slow
def test_the_same_draws_are_no_other_net():
    broken = NETS | {"again": NETS["whole"]}
    made = record(dataclasses.replace(SMALL, nets=()), broken)
    for quantity in ("test_error", "train_error"):
        arrays = [made.arrays[f"{name}/{quantity}"] for name in ("whole", "again")]
        np.testing.assert_array_equal(*arrays)


def test_the_user_s_own_removal_stands_beside():
    config = dataclasses.replace(TINY, nets=(), removed=(4,), seeds=1)
    made = record(config)
    assert made.arrays["chosen/lesion"].shape == (1,)
    assert made.arrays["chosen/train_error"].shape == (1, 2)
    alexnet_removal.plot(made, config)


def test_training_error_is_a_mean_over_periods():
    history = SimpleNamespace(
        train={"loss": np.ones((2, 6)), "error": np.arange(12.0).reshape(2, 6)},
        test={"loss": np.ones((2, 3)), "error": np.ones((2, 3))},
        test_steps=np.array([0, 3, 6]),
    )
    found = _removal.curves("net", history, 3)
    np.testing.assert_array_equal(found["net/train_error"], [[1, 4], [7, 10]])
    assert set(found) == {"net/train_error", "net/test_error", "net/test_steps"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"removed": (5,)}, "^AlexNet's layer 5 cannot be removed: remove 3, 4, 6 or 7$"),
        ({"removed": (1, 4)}, "^AlexNet's layer 1 cannot be removed: remove 3, 4, 6 or 7$"),
        ({"removed": (9,)}, "^AlexNet has layers 1 to 8, not 9: remove 3, 4, 6 or 7$"),
        ({"width": 16}, r"^width=16: AlexNet's layers are 3:8:12:12:8 wide"),
        ({"steps": 5}, "^--steps=5 must be a multiple of --period=2$"),
        ({"first_seed": 999}, "^seeds 999 to 1000 meet 1000"),
    ],
)
def test_mistakes_are_found_before_data_are_read(change, message):
    with pytest.raises(UserError, match=message):
        record(dataclasses.replace(TINY, dataset="no-such-set", **change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dense": 4}, "^AlexNet's layer 6 narrows 8 channels to 4: its input does not fit in its"),
        ({"large_images": True}, "^the published AlexNet takes images of 67 pixels and more"),
        ({"batch_size": 2000}, "^batch size 2000 exceeds the 1437 training images$"),
    ],
)
def test_mistakes_are_found_before_a_net_is_trained(change, message, monkeypatch):
    def never(*_):
        raise AssertionError("a net was trained")

    monkeypatch.setattr(_removal, "fit_arms", never)
    with pytest.raises(UserError, match=message):
        record(dataclasses.replace(TINY, **change))


def test_layers_that_fit_are_let_pass():
    Lab(TINY, data.load("digits"), silent).check_lesions()
