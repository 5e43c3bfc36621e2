"""The verdicts of class_pictures follow the science: broken on purpose, they change."""

import dataclasses
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from experiments.seeing import _ascents as ascents
from experiments.seeing import _making as making
from experiments.seeing import _picture_scores as scores
from experiments.seeing import class_pictures as experiment
from jaxvision.progress import silent
from jaxvision.types import UserError
from tests.experiments.breaking.verdicts import verdicts

CONFIG = experiment.PRESETS["cpu"]
WAYS = list(experiment.WAYS)
NETS = 5
judged = partial(verdicts, experiment)

# The share of other nets that see the class, by way.
SEEN = {
    "none": 0.3,
    "l2": 0.4,
    "blur": 0.45,
    "steps-2": 0.3,
    "steps-20": 0.3,
    "yosinski-1": 0.4,
    "yosinski-2": 0.4,
    "yosinski-3": 0.4,
    "yosinski-4": 0.4,
    "fourier": 0.5,
    "jitter": 0.7,
    "none-softmax": 0.2,
    "none-log": 0.2,
    "none-near": 0.25,
    "jitter-softmax": 0.4,
    "jitter-log": 0.4,
    "jitter-near": 0.5,
}


def made_up(seen=(), **changes):
    """Arrays of five nets as the papers have them, every number much the same in all."""
    values = {
        "ceiling": 0.95,
        "real_logit": 20.0,
        "real_highest": 50.0,
        "own_probability": 0.99,
        "own_logit": 100.0,
        "variation": 3.0,
        "diversity": 0.8,
        "permuted": 0.03,
        "log_error": 1e-6,
        "p_error": 1e-6,
    } | changes
    spread = 1 + 0.01 * (np.arange(NETS) - 2)
    arrays = {name: value * spread for name, value in values.items()}
    for name in ("own_probability", "own_logit", "variation", "diversity", "permuted"):
        arrays[name] = np.repeat(arrays[name][:, None], len(WAYS), axis=1)
    shares = SEEN | dict(seen)
    arrays["agreement"] = spread[:, None] * [shares[name] for name in WAYS]
    return {"ways": WAYS, "class_names": list("0123456789")}, arrays


def test_what_the_papers_have_is_reproduced():
    assert set(judged(CONFIG, *made_up()).values()) == {"reproduced"}


@pytest.mark.parametrize(
    ("changes", "contradicted"),
    [
        ({"log_error": 0.1}, {"log-gradient"}),
        ({"p_error": 0.1}, {"p-gradient"}),
        ({"own_probability": 0.5}, {"sure"}),
        ({"ceiling": 0.4}, {"unseen", "short"}),
        ({"own_logit": 10.0}, {"beyond-real"}),
        ({"variation": 0.5}, {"rough"}),
        ({"diversity": 1.5}, {"alike"}),
        ({"permuted": 0.3}, {"control"}),
        ({"seen": {"l2": 0.05}}, {"l2", "meaning"}),
        ({"seen": {"blur": 0.2}}, {"blur"}),
        ({"seen": {"yosinski-3": 0.2}}, {"yosinski-3"}),
        ({"seen": {"steps-2": 0.5}}, {"yosinski-1", "yosinski-4"}),
        ({"seen": {"steps-20": 0.5}}, {"yosinski-2", "yosinski-3"}),
        ({"seen": {"fourier": 0.2}}, {"fourier"}),
        ({"seen": {"fourier": 0.9}}, {"jitter"}),
        ({"seen": {"none-softmax": 0.39, "none-log": 0.38}}, {"softmax-none", "near-none"}),
        ({"seen": {"jitter-softmax": 0.8, "jitter-log": 0.8}}, {"softmax-jitter", "near-jitter"}),
        ({"seen": {"none-log": 0.4}}, {"log-none"}),
        ({"seen": {"jitter-log": 0.6}}, {"log-jitter"}),
    ],
)
def test_the_opposite_is_contradicted(changes, contradicted):
    found = judged(CONFIG, *made_up(**changes))
    assert {name for name, verdict in found.items() if verdict == "contradicted"} == contradicted


SMALL = dataclasses.replace(
    experiment.PRESETS["tiny"], seeds=5, first_seed=100, width=8, steps=300, ascent_steps=30
)


def test_pictures_that_are_not_climbed_convince_nobody():
    """Every way stays at its start: the nets are not sure of it, and no prior helps."""
    still = {
        name: dataclasses.replace(way, recipe=None, gain=1e-20)
        for name, way in experiment.WAYS.items()
    }
    found = judged(SMALL, *experiment.measure(SMALL, silent, still))
    assert found["sure"] == "contradicted"
    assert found["beyond-real"] == "contradicted"
    for name in ("meaning", "l2", "blur", "jitter", "softmax-none", "softmax-jitter"):
        assert found[name] != "reproduced", name


def test_nets_that_are_not_permuted_are_no_control():
    """Scored for their own class the pictures are seen oftener than the control allows."""
    numbers, arrays = experiment.measure(SMALL, silent, means=lambda classes, count: classes)
    assert_array_equal(arrays["permuted"], arrays["agreement"])
    found = judged(SMALL, numbers, arrays)
    assert found["control"] != "reproduced"
    assert found["log-gradient"] == "reproduced"
    assert found["p-gradient"] == "reproduced"


def test_a_net_does_not_judge_its_own_pictures():
    """Its own share would be 1, and is refused."""
    with pytest.raises(ValueError, match="net 0 is among the judges of its own pictures"):
        experiment.measure(
            experiment.PRESETS["tiny"],
            silent,
            judges=lambda count: np.tile(np.arange(count), (count, 1)),
        )


@pytest.fixture
def gray_as_rgb(tmp_path):
    """Return ``made(images of the rarest class) -> path``: two classes, every test class of 20."""

    def made(fewest):
        count = 20 + fewest
        gray = np.random.default_rng(0).integers(0, 256, (2 * count, 8, 8, 1), np.uint8)
        images = np.repeat(gray, 3, axis=-1)
        labels = np.arange(count) >= 20
        path = tmp_path / "gray.npz"
        np.savez(
            path,
            x_train=images[:count],
            y_train=labels.astype(int),
            x_test=images[count:],
            y_test=labels.astype(int),
        )
        return str(path)

    return made


@pytest.mark.slow
def test_gray_images_saved_as_rgb_have_pictures(gray_as_rgb):
    config = dataclasses.replace(experiment.PRESETS["tiny"], dataset=gray_as_rgb(20))
    ways = {name: experiment.WAYS[name] for name in ("none", "fourier")}
    _, arrays = experiment.measure(config, silent, ways, parts=())
    assert np.isfinite(arrays["own_logit"]).all()


def test_too_few_test_images_are_refused_before_a_net_is_trained(gray_as_rgb, monkeypatch):
    config = dataclasses.replace(experiment.PRESETS["tiny"], dataset=gray_as_rgb(19))
    monkeypatch.setattr(experiment, "trained", None)
    with pytest.raises(UserError, match=r"has 19 images of '1', .* 20 of every") as raised:
        experiment.measure(config, silent)
    assert "\n" not in str(raised.value)


def test_votes_count_the_other_nets_alone():
    """Net 0's pictures convince net 1 and itself, net 1's and net 2's nobody but themselves."""
    logits = np.zeros((3, 3, 1, 2, 4))
    classes = np.array([1, 2])
    for judge, net in ((0, 0), (1, 1), (2, 2), (1, 0)):
        logits[judge, net, 0, np.arange(2), classes] = 1.0
    found = scores.votes(logits, classes, scores.others(3))
    assert_array_equal(found, [[[0.5, 0.5]], [[0, 0]], [[0, 0]]])


def test_own_is_the_softmax_of_the_net_s_own_logits():
    logits = np.full((2, 2, 1, 1, 3), 50.0)
    logits[0, 0, 0, 0] = [1.0, 2.0, 3.0]
    logits[1, 1, 0, 0] = [1000.0, 0.0, 0.0]
    own = scores.own(logits, np.array([0]))
    wanted = np.exp(1) / np.exp([1, 2, 3]).sum()
    assert_allclose(own.probability, [[wanted], [1.0]])
    assert_allclose(own.logit, [[1.0], [1000.0]])


def test_variation_and_spread_by_hand():
    steps = np.zeros((1, 4, 4, 1))
    steps[0, :, 1::2] = 1.0
    assert_allclose(scores.variation(steps), [1.0])
    pair = np.zeros((2, 3, 2, 2, 1))  # two pictures of three classes
    pair[1] += 0.5
    assert_allclose(scores.spread(pair), 1.0)


def test_rows_are_the_table_s_numbers():
    rows = making.rows(experiment.WAYS)
    at = WAYS.index("yosinski-3")
    assert rows.blur[at] == 1.0
    assert rows.decay[at] == np.float32(1e-4)
    gains = dict(zip(WAYS, rows.gain, strict=True))
    assert [name for name in gains if gains[name] == 2] == ["steps-2", "yosinski-1", "yosinski-4"]
    assert [name for name in gains if gains[name] == 20] == ["steps-20", "yosinski-2", "yosinski-3"]
    assert sum(gains.values()) == 3 * 2 + 3 * 20
    assert rows.keeps_contrast.sum() == len(WAYS) - 4
    assert rows.leads.sum() == 2
    for prior in ("none", "jitter"):
        leader, follower = WAYS.index(f"{prior}-softmax"), WAYS.index(f"{prior}-near")
        assert leader < follower
        assert not rows.leads[leader + 1 : follower].any()
        assert rows.leads[leader]
        assert rows.near[follower]


def test_a_blur_that_keeps_the_contrast_keeps_the_length_of_codes():
    codes = np.random.default_rng(0).normal(size=(3, 8, 8, 2)).astype(np.float32)
    ways = making.rows({"blur": making.Way("blur", blur=1.0)})
    way = ascents.Ways(*(field[0] for field in ways))
    kept = ascents.blurring(way)(codes, codes, 0)
    lost = ascents.blurring(way._replace(keeps_contrast=False))(codes, codes, 0)
    lengths = np.linalg.norm(codes.reshape(3, -1), axis=1)
    assert_allclose(np.linalg.norm(kept.reshape(3, -1), axis=1), lengths, rtol=1e-5)
    assert (np.linalg.norm(lost.reshape(3, -1), axis=1) < 0.5 * lengths).all()
    assert_allclose(ascents.blurring(way)(codes, codes, 1), codes, rtol=1e-6)


def test_codes_stay_as_they_are_where_a_way_wants_no_touch():
    codes = np.ones((1, 2, 2, 1), np.float32)
    for is_wanted, length in ((True, 3.0), (False, 1.0)):
        touch = ascents.only_where(is_wanted, lambda codes, gradient, step: codes + gradient + step)
        assert_allclose(touch(codes, codes, 1.0), length * codes)


def test_starts_stand_before_classes():
    """Two nets, two starts, one way, three classes: the pictures of a start stay together."""
    nets, starts, classes = np.meshgrid(range(2), range(2), range(3), indexing="ij")
    numbers = 100 * nets + 10 * starts + classes
    found = making.joined(numbers.reshape(4, 1, 3), starts=2, axis=2)
    assert_array_equal(found[1, 0], [100, 101, 102, 110, 111, 112])
