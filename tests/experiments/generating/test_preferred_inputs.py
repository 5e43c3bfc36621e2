"""The verdicts of preferred_inputs follow the science: broken on purpose, they change."""

from functools import partial

import numpy as np
import pytest

from experiments.generating import _learnt_priors as learnt
from experiments.generating import _preferred_scores as scores
from experiments.generating import _preferring as preferring
from experiments.generating import _subjects as subjects
from experiments.generating import preferred_inputs as experiment
from jaxvision import cli
from jaxvision.data import Dataset, load
from jaxvision.generative.preferred import FIRST_STEP, Bounds
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
    "yosinski": 0.2,
    "fourier": 0.5,
    "gan": 0.6,
    "inverter": 0.8,
    "smooth": 0.7,
    "unbounded": 0.6,
    "untrained": 0.2,
}


def made_up(seen=(), dense=(0.3, 0.4, 0.6), **changes):
    """Arrays of five nets as the papers have them, every number much the same in all."""
    values = {
        "ceiling": 0.97,
        "near/inverter/z": 1.0,
        "near/copies/z": -15.0,
        "near/held_out/z": 0.1,
        "rebuilt/inverter": 0.9,
        "rebuilt/smooth": 0.5,
        "anchors": [1.0, 3.0, 30.0],
        "odd/mosaic/class": [0.9, 0.6],
        "odd/mosaic/kind": [0.9, 0.8],
        "odd/mosaic/elsewhere": [0.9, 0.3],
        "odd/blurred/elsewhere": [0.9, 0.3],
        "odd/blurred/class": [0.9, 0.4],
        "odd/blurred/kind": [0.9, 0.7],
        "permuted": [0.02] * len(WAYS),
        "fcd": [20.0 if way == "fourier" else 5.0 for way in WAYS],
        "diversity": [0.8 if way == "fourier" else 0.3 for way in WAYS],
        "agreement": list((SEEN | dict(seen)).values()),
        "dense/agreement": list(dense),
    } | changes
    spread = 1 + 0.01 * (np.arange(NETS) - 2)
    arrays = {
        name: np.asarray(value) * spread.reshape(NETS, *[1] * np.ndim(value))
        for name, value in values.items()
    }
    ways = {"ways": WAYS, "dense_ways": ["none", "fourier", "inverter"]}
    names = {"odd_ways": ["fourier", "inverter"], "class_names": list("0123456789")}
    return ways | names, arrays


def test_what_the_papers_have_is_reproduced():
    assert set(judged(CONFIG, *made_up()).values()) == {"reproduced"}


def one_way(name, way, value):
    """A score whose number for one way is another."""
    row = [20.0 if way == "fourier" else 5.0 for way in WAYS] if name == "fcd" else [0.3] * 8
    row[WAYS.index(way)] = value
    return {name: row}


@pytest.mark.parametrize(
    ("changes", "contradicted"),
    [
        ({"seen": {"none": 0.9}}, {"prior", "fourier"}),
        ({"seen": {"yosinski": 0.9}}, {"beats-yosinski"}),
        ({"seen": {"fourier": 0.9}}, {"beats-fourier"}),
        ({"seen": {"gan": 0.9}}, {"beats-gan"}),
        ({"seen": {"smooth": 0.9}}, {"discriminator"}),
        ({"seen": {"unbounded": 0.9}}, {"bounds"}),
        ({"seen": {"untrained": 0.9}}, {"training"}),
        ({"ceiling": 0.7}, {"short"}),
        ({"permuted": [0.3] * 8}, {"control"}),
        ({"anchors": [1.0, 40.0, 30.0]}, {"metric"}),
        (one_way("fcd", "inverter", 50.0), {"nearer"}),
        (one_way("diversity", "inverter", 1.2), {"alike", "reverse"}),
        ({"near/inverter/z": -4.0}, {"no-copies"}),
        ({"near/copies/z": -1.0}, {"copies-found"}),
        ({"near/held_out/z": -4.0}, {"held-out"}),
        ({"rebuilt/smooth": 1.2}, {"blur", "smooth-short"}),
        ({"dense": (0.6, 0.4, 0.3)}, {"transfer"}),
        ({"dense": (0.1, 0.4, 0.9)}, {"transfer-costs"}),
        ({"odd/mosaic/kind": [0.9, 0.2]}, {"odd-mosaic"}),
        ({"odd/blurred/kind": [0.9, 0.2]}, {"odd-blurred"}),
        ({"odd/mosaic/elsewhere": [0.9, 0.95]}, {"odd-mosaic"}),
        ({"odd/blurred/elsewhere": [0.9, 0.95]}, {"odd-blurred"}),
        ({"odd/mosaic/class": [0.9, 0.1]}, {"odd-least"}),
    ],
)
def test_the_opposite_is_contradicted(changes, contradicted):
    found = judged(CONFIG, *made_up(**changes))
    assert {name for name, verdict in found.items() if verdict == "contradicted"} == contradicted


def test_an_untrained_inverter_in_the_trained_one_s_place_gains_nothing():
    """Both ways make the same pictures; scored for their own class they are no control."""
    tiny = experiment.PRESETS["tiny"]
    ways = experiment.WAYS | {"inverter": experiment.WAYS["untrained"]}
    numbers, arrays = experiment.measure(tiny, silent, ways, means=lambda classes, count: classes)
    np.testing.assert_array_equal(arrays["permuted"], arrays["agreement"])
    at, other = WAYS.index("inverter"), WAYS.index("untrained")
    for name in ("agreement", "fcd", "diversity", "variation"):
        np.testing.assert_array_equal(arrays[name][:, at], arrays[name][:, other])
    assert numbers["broken_at"] == {name: [-1, -1] for name in ("inverter", "smooth", "gan")}
    assert (arrays["near/copies/z"] < -5).all()
    assert (arrays["near/copies/ratio"] < 0.6).all()


def test_odd_copies_are_three_times_the_classes():
    digits = load("digits")
    copies = subjects.odd_copies(digits)
    train = digits.train
    count = len(train.labels)
    np.testing.assert_array_equal(copies.labels[count : 2 * count], train.labels + 10)
    mosaic = copies.images[count]
    np.testing.assert_array_equal(mosaic[:4, :4], train.images[0, 4:, 4:])
    np.testing.assert_array_equal(mosaic[4:, :4], train.images[0, :4, 4:])
    assert copies.images[2 * count :].std() < train.images.std()


def test_a_net_does_not_judge_its_own_pictures():
    answers = np.zeros((3, 3, 2), int)  # of net, of whose pictures, of picture
    answers[np.arange(3), np.arange(3)] = 1
    judges = scores.beside(3, np.arange(3))
    np.testing.assert_array_equal(scores.votes_of(answers, np.ones((3, 2)), judges), 0)
    answers[1, 0, 0] = 1
    seen = scores.votes_of(answers, np.ones((3, 2)), judges)
    np.testing.assert_array_equal(seen, [[0.5, 0], [0, 0], [0, 0]])


def test_the_distance_takes_a_class_for_another_as_far():
    """Of two samples of one law it is small; where every image is of the next class it is large."""
    draws = np.random.default_rng(0)
    labels = np.tile(np.arange(4), 200)
    middles = 5 * draws.normal(size=(4, 30))
    features = middles[labels] + draws.normal(size=(800, 30))
    scale = scores.scale(features, labels, 4)
    one = scale.centered(features[:400], labels[:400])
    assert np.square(one).mean() == pytest.approx(1, rel=0.1)
    right = scale.centered(features[400:], labels[400:])
    wrong = scale.centered(features[400:], (labels[400:] + 1) % 4)
    near, far = (scores.metrics.frechet(one, other) for other in (right, wrong))
    assert far > 20 * near


def test_steps_do_not_depend_on_the_length_of_other_priors_codes():
    """A row holds as many numbers as pixels; falling steps are means over its own."""
    bounds = Bounds(np.zeros((1, 5), np.float32), np.ones((1, 5), np.float32))
    priors = preferring.Priors(np.zeros((4, 4, 1), np.float32), np.eye(1), None, bounds)
    row = preferring.rows_of([experiment.WAYS["inverter"]], [0], priors)
    assert row.first[0] * 16 / 5 == pytest.approx(FIRST_STEP)
    np.testing.assert_array_equal(row.high[0], [1] * 5 + [0] * 11)
    free = preferring.rows_of([experiment.WAYS["unbounded"]], [0], priors)
    assert np.isinf(free.high[0, :5]).all()


def test_a_layer_that_the_nets_do_not_have_is_refused():
    family = subjects.Family(
        lambda params, stats, images, train: (images, {"conv3": images, "dense": images}, {}),
        lambda images, key: images,
        None,
    )
    encode = learnt.encoding(family, "fc6")
    encoder = {"net": {"params": {}, "batch_stats": {}}, "code": 1.0, "compared": 1.0}
    with pytest.raises(UserError, match="no layer 'fc6' to invert: use conv3, dense"):
        encode(encoder, np.zeros((2, 4, 4, 1), np.float32))


def a_set(counts):
    """A set of tiny images with so many of every class."""
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    part = Dataset(np.zeros((len(labels), 2, 2, 1), np.uint8), labels)
    names = tuple("abcdefghij"[: len(counts)])
    return load("digits")._replace(train=part, test=part, class_names=names)


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ((9, 0, 9), "class b has no images"),
        ((9, 9, 3), "class c has 3 test images, and two samples of --starts=4 are needed"),
        ((9, 9, 9), "12 pictures are too few for a distance along 16 axes: raise --starts"),
    ],
)
def test_sets_that_are_too_small_are_refused_before_anything_is_computed(counts, line):
    with pytest.raises(UserError, match=line):
        scores.check(a_set(counts), 4)


@pytest.mark.parametrize(
    ("flag", "line"),
    [
        ("--starts=5", "--starts=5 must be even"),
        ("--layer=conv9", "'conv9' is none of conv1, conv2, conv3, dense"),
        ("--starts=40", "two samples of --starts=40 are needed: ask for fewer"),
    ],
)
def test_flags_that_do_not_fit_are_refused(flag, line, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(experiment, ["x", flag])
    assert ended.value.code == 2
    assert line in capsys.readouterr().err
