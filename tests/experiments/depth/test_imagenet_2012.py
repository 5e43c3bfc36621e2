"""The verdicts of imagenet_2012 follow the science: broken on purpose, they change."""

import dataclasses
import math
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from experiments.depth import _contest as contest
from experiments.depth import _published as published
from experiments.depth import imagenet_2012 as experiment
from experiments.depth.imagenet_2012 import KINDS
from jaxvision.data import Dataset, Splits, embedded
from jaxvision.models.layers import apply_function
from jaxvision.models.mlp import MLP
from jaxvision.progress import silent
from jaxvision.report.claims import judge
from jaxvision.report.record import Record, as_stored
from jaxvision.types import UserError

SMALL = dataclasses.replace(
    experiment.PRESETS["tiny"],
    dataset="bars",
    seeds=5,
    width=6,
    dense=32,
    mlp_widths=(32,),
    steps=160,
    most_steps=480,
    period=80,
    batch_size=32,
    learning_rates_features=(0.003,),
    learning_rates_mlp=(0.01,),
    learning_rates_conv=(0.02,),
)
SIDE, LONG = 16, 7
STEPS = {0: (0, 1), 1: (1, 0), 2: (1, 1), 3: (1, -1)}  # along a bar, by class


def bars(count: int, seed: int) -> Dataset:
    """Pictures of a bar in one of four directions, at a random place, under noise."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60, (count, SIDE, SIDE, 1))
    labels = np.arange(count, dtype=np.int32) % len(STEPS)
    for image, label in zip(images, labels, strict=True):
        down, across = STEPS[int(label)]
        row = rng.integers(0, SIDE - down * (LONG - 1))
        column = rng.integers(0, SIDE - abs(across) * (LONG - 1))
        column += (LONG - 1) * (across < 0)
        along = np.arange(LONG)
        image[row + down * along, column + across * along] += 120
    return Dataset(images.astype(np.uint8), labels)


@pytest.fixture
def with_bars(monkeypatch):
    """The set ``bars``, by name."""
    identity = embedded.digits().identity

    def splits() -> Splits:
        return Splits("bars", bars(800, 0), bars(400, 1), tuple("-|\\/"), identity)

    monkeypatch.setitem(embedded.EMBEDDED, "bars", splits)


def verdicts(config=SMALL, **mutation) -> dict[str, str]:
    numbers, arrays = experiment.measure(config, silent, **mutation)
    fields = dataclasses.asdict(config)
    record = Record("imagenet", "cpu", "x", "", fields, numbers, arrays, [], {})
    judged = judge(experiment.claims(config), as_stored(record))
    return {found.id: found.verdict for found in judged}


def test_convolutions_win_while_pixels_have_neighbors(with_bars):
    found = verdicts()
    wanted = ("beats-dense", "shuffled-conv", "shuffled-features", "lead-lost", "no-lead")
    assert {found[name] for name in wanted} == {"reproduced"}
    assert found["shuffled-dense"] != "contradicted"


def test_a_dense_net_in_place_of_the_conv_net(with_bars):
    """And nothing shuffled: there is neither a lead nor one to lose."""
    dense = KINDS["mlp"]._replace(widths=lambda config: (config.width,))
    orders = {"pixels": contest.as_they_are, "shuffled": contest.as_they_are}
    narrow = dataclasses.replace(SMALL, mlp_widths=(6,))
    found = verdicts(narrow, kinds=KINDS | {"conv": dense}, orders=orders)
    wanted = ("beats-dense", "beats-features", "jump", "shuffled-conv", "shuffled-features")
    assert not {name for name in (*wanted, "lead-lost") if found[name] == "reproduced"}
    assert found["beats-features"] == found["jump"] == "contradicted"


def made_up(**errors) -> dict[str, str]:
    """Verdicts where all seeds do alike: test errors of pixels as they are, and shuffled."""
    arrays = {}
    for kind, both in errors.items():
        for order, error in zip(("pixels", "shuffled"), both, strict=True):
            arrays[f"{kind}/{order}/test_error"] = np.full((5, 2), error)
    record = Record("imagenet", "cpu", "x", "", {}, {}, arrays, [], {})
    return {found.id: found.verdict for found in judge(experiment.claims(SMALL), record)}


def test_the_rules_of_the_controls():
    kept = made_up(features=(0.4, 0.5), mlp=(0.5, 0.5), conv=(0.2, 0.2))
    assert kept["no-lead"] == "contradicted"
    assert kept["jump"] == kept["beats-dense"] == kept["beats-features"] == "reproduced"
    assert kept["lead-lost"] != "reproduced"
    small = made_up(features=(0.3, 0.2), mlp=(0.3, 0.9), conv=(0.25, 0.2))
    assert small["jump"] == small["shuffled-dense"] == "contradicted"
    assert small["shuffled-conv"] == small["lead-lost"] == "contradicted"
    assert small["shuffled-features"] == "contradicted"


def test_one_order_moves_whole_pixels():
    order = contest.shuffled(12)
    assert sorted(order) == list(range(12))
    assert list(order) == list(contest.shuffled(12)) != list(range(12))
    images = np.arange(2 * 3 * 4 * 2, dtype=np.uint8).reshape(2, 3, 4, 2)
    moved = contest.reordered(images, order)
    assert moved.shape == images.shape
    for place, source in enumerate(order):
        np.testing.assert_array_equal(
            moved.reshape(2, 12, 2)[:, place], images.reshape(2, 12, 2)[:, source]
        )
    np.testing.assert_array_equal(contest.reordered(images, contest.as_they_are(12)), images)


def test_a_dense_net_can_undo_the_order():
    """With the rows of its first kernel moved along, it computes the same."""
    model = MLP(3, 4, 3, experiment.he_forward())
    images = np.random.default_rng(0).integers(0, 256, (5, 2, 4, 4, 1)).astype(np.uint8)
    order = contest.shuffled(16)
    images[:, 1] = contest.reordered(images[:, 0], order)
    apply = contest.of_a_view(apply_function(model))
    key = jax.random.key(0)
    params = model.init(key, np.zeros((1, 4, 4, 1), np.float32))["params"]
    mean = images[:, 0].mean(0)
    logits = []
    for view, rows in enumerate((np.arange(16), order)):
        kernel = params["input"]["kernel"][rows]
        moved = params | {"input": params["input"] | {"kernel": kernel}}
        seen = {
            "view": np.float32(view),
            "mean": mean.reshape(16)[rows].reshape(4, 4, 1).astype(np.float32),
            "scale": np.float32(60),
        }
        found, _, kept = apply(moved, seen, images, train=True)
        logits.append(found)
        assert kept is seen
    np.testing.assert_allclose(*logits, rtol=1e-4, atol=1e-5)


def test_what_an_image_costs():
    config = experiment.Config()
    conv = experiment.conv_net(config, 12, 10, 32)
    places = {"conv1": 16**2, "conv2": 8**2, "conv3": 4**2, "conv4": 4**2, "conv5": 4**2}
    weights = {
        "conv1": 5 * 5 * 3 * 12,
        "conv2": 3 * 3 * 12 * 32,
        "conv3": 3 * 3 * 32 * 48,
        "conv4": 3 * 3 * 48 * 48,
        "conv5": 3 * 3 * 48 * 32,
    }
    dense = 2 * 2 * 32 * 128 + 128 * 128 + 128 * 10
    wanted = sum(places[name] * weights[name] for name in places) + dense
    assert contest.multiply_adds(conv, (32, 32, 3)) == wanted
    stacked = MLP(5, 6, 10, experiment.he_forward())
    assert contest.multiply_adds(stacked, (2, 2, 1)) == 4 * 6 + 3 * 6 * 6 + 6 * 10


def test_no_net_spends_more_than_the_conv_net(tiny_record):
    record = tiny_record(experiment)
    numbers, arrays = record.numbers, record.arrays
    for key, net in numbers["nets"].items():
        assert net["steps"] * net["multiply_adds"] <= numbers["budget"]
        spent = arrays[f"{key}/cost"][-1]
        assert spent == net["steps"] * net["multiply_adds"]
    assert numbers["nets"]["conv/pixels"]["steps"] == 2


def test_what_nets_are_given(with_bars):
    lab = contest.Lab(SMALL, embedded.EMBEDDED["bars"](), experiment.ORDERS, range(2), range(1))
    views = lab.views(KINDS["mlp"])
    assert views.train.images.shape == (640, 2, SIDE, SIDE, 1)
    assert len(views.held_out.labels) == 160  # every fifth
    assert views.test.images.dtype == np.uint8
    same = np.sort(views.train.images.reshape(640, 2, -1), axis=-1)
    np.testing.assert_array_equal(same[:, 0], same[:, 1])
    centered = views.train.images[:, 1] - views.means[1]
    assert abs(centered.mean()) < 0.1
    np.testing.assert_allclose(centered.std() / views.scales[1], 1, atol=0.05)


def test_a_run_that_diverges_errs_as_chance():
    test = {"loss": np.array([[2.3, np.nan], [2.3, 1.0]]), "error": np.full((2, 2), 0.5)}
    found = contest.error_of(SimpleNamespace(test=test), 0.9)
    np.testing.assert_array_equal(found, [[0.5, 0.9], [0.5, 0.5]])


def test_published_results():
    years = [entry.year for entry in published.ENTRIES if entry.place == 1]
    assert years == list(range(2010, 2018))
    errors = [entry.top5 for entry in published.ENTRIES if entry.place == 1]
    assert errors == sorted(errors, reverse=True)
    for entry in published.ENTRIES:
        assert len(set(entry.sources)) >= 2
    assert math.isclose(published.jump(), 0.6275, abs_tol=1e-4)
    lead = published.best(2012, published.HAND_MADE).top5
    lead -= published.best(2012, published.CONVOLUTIONAL).top5
    assert math.isclose(lead, 26.2 - 16.4, abs_tol=0.06)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 10}, "^--steps=10 must be a multiple of --period=80"),
        ({"first_seed": 996}, "^seeds 996 to 1000 meet 1000 to 1000"),
    ],
)
def test_mistakes_are_found_before_anything_is_read(change, message):
    unknown = dataclasses.replace(SMALL, dataset="no-such-set", **change)
    with pytest.raises(UserError, match=message):
        experiment.measure(unknown, silent)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 7}, "^width=7: AlexNet's layers are 3:8:12:12:8 wide"),
        ({"mlp_widths": (8192,)}, "pays for 0 steps, less than --period=80"),
    ],
)
def test_nets_that_do_not_fit_are_refused_before_anything_is_trained(change, message, with_bars):
    with pytest.raises(UserError, match=message):
        experiment.measure(dataclasses.replace(SMALL, **change), silent)
