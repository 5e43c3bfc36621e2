"""The verdicts of robustness_in_training follow the science: broken on purpose, they change."""

import dataclasses
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.breaking import _along_panels as panels
from experiments.breaking import _along_size_claims as along_claims
from experiments.breaking import robustness_in_training as experiment
from experiments.breaking._along_start import DEPTHS
from jaxvision.data import load
from jaxvision.progress import silent
from jaxvision.types import UserError
from tests.experiments.breaking.verdicts import verdicts

SMALL = dataclasses.replace(
    experiment.PRESETS["tiny"],
    seeds=5,
    first_seed=100,
    width=16,
    steps=100,
    snapshots=(0, 30, 100),
    reference=30,
    size_steps=100,
    batch_size=32,
    test_images=24,
    train_images=32,
)
WHOLE = experiment.Config(seeds=5)
judged = partial(verdicts, experiment)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "verdict"),
    [
        ({}, "reproduced"),
        ({"judged_on": "train"}, "reproduced"),
        ({"inference": "batch"}, "contradicted"),
    ],
)
def test_statistics_of_the_batch_are_found_out(broken, verdict):
    """In train mode an image's answer depends on its company; known images change nothing."""
    config = dataclasses.replace(SMALL, arms=("bn",))
    found = judged(config, *experiment.measure(config, silent, **broken))
    assert found["alone"] == verdict


def test_a_net_of_shuffled_labels_has_no_distance(tmp_path):
    splits = load("digits")
    rng = np.random.default_rng(0)
    path = tmp_path / "shuffled.npz"
    np.savez(
        path,
        x_train=splits.train.images,
        y_train=rng.permutation(splits.train.labels),
        x_test=splits.test.images,
        y_test=rng.permutation(splits.test.labels),
    )
    config = dataclasses.replace(SMALL, arms=("he",), dataset=str(path))
    numbers, arrays = experiment.measure(config, silent)
    assert (arrays["he/error"] > 0.6).all()
    assert (arrays["paired"] < config.test_images / 4).all()
    found = judged(config, numbers, arrays)
    assert found["closer-he"] != "reproduced"
    assert found["margin-grows"] != "reproduced"


def test_hard_images_are_shown_from_the_reference_on():
    """A dense net errs on over a third of CIFAR-10 at its best."""
    sizes = {"steps": 1000, "size_steps": 1000, "reference": 300}
    config = dataclasses.replace(WHOLE, snapshots=(0, 100, 300, 1000), **sizes)
    arrays = {"he/error": np.float32([[0.9, 0.08, 0.6, 0.5]]), "he/distance": np.ones((1, 4))}
    record = SimpleNamespace(arrays=arrays)
    shown = panels.shown_distances(record, config, "he")
    np.testing.assert_array_equal(np.isfinite(shown), [[False, True, True, True]])


SPREAD = 1 + 0.01 * np.arange(-2, 3)[:, None]


def along(start, end):
    """Return values [S, T] that stay at ``start`` to the reference, then tend to ``end``."""
    steps = np.log(np.maximum(WHOLE.snapshots, WHOLE.reference))
    way = (steps - steps[0]) / (steps[-1] - steps[0])
    return SPREAD * start * (end / start) ** way


def power(of, sizes, spread=0.02):
    """Return values [S, sizes] that follow a power, a little different in every net."""
    powers = of + spread * np.arange(-2, 3)[:, None]
    return 0.4 * (np.array(sizes) / sizes[0]) ** powers


def sized(early, late, sizes, change=1.0):
    """Return distances [S, sizes, T] whose power of size, and whose level, change in training."""
    ends = np.stack([power(early, sizes), change * power(late, sizes)], axis=-1)
    middle = np.sqrt(ends.prod(-1, keepdims=True))
    return np.concatenate([ends[..., :1], middle, ends[..., 1:]], axis=-1)


def exponential(octaves):
    """Return values [S, depths] that grow by octaves a layer, a little different in every net."""
    octaves = octaves + 0.01 * np.arange(-2, 3)[:, None]
    return 2.0 ** (octaves * np.array(DEPTHS))


# Distance at the reference and at the end, and the gradient of the loss, arm by arm.
EXPECTED = {
    "he": (0.44, 0.447, 0.1),
    "xavier": (0.47, 0.47, 0.1),
    "decay": (0.44, 0.51, 0.5),
    "bn": (0.46, 0.43, 0.2),
    "small": (0.46, 0.44, 0.1),
    "he_again": (0.44, 0.447, 0.1),
}


def made_up(arms=EXPECTED, **changes):
    """Arrays of five nets that uphold every rule but those that contradict one another."""
    arrays = {"paired": np.full(5, 150)}
    for name, (start, end, slope) in arms.items():
        distance = along(start, end)
        crossed = np.full((5, 8, 8), 0.6) + 0.1 * np.eye(8)
        of_arm = {
            "distance": distance,
            "first_order": 0.7 * distance,
            "loss_slope": along(1.0, slope),
            "noise": SPREAD * np.full(8, 0.01),
            "error": np.full((5, 8), 0.03),
            "alone": np.full((5, 8), 1e-6),
            "log_margin": SPREAD * np.log2(along(1.0, 2.0)),
            "crossed": SPREAD[..., None] * crossed,
            "signs": SPREAD * np.full(8, 0.1),
        }
        arrays |= {f"{name}/{key}": value for key, value in of_arm.items()}
    arrays |= {
        "start/alike": np.ones(5),
        "start/octaves": np.full(5, 1.5),
        "start/distance": SPREAD * np.full(4, along_claims.HALF_NORMAL),
        "start/slope": power(0.5, (16, 64, 256), spread=0.005),
        "start_bn/square": exponential(along_claims.GROWTH),
        "start_bn/distance": exponential(-along_claims.GROWTH / 2),
        "depth_he/distance": power(-0.05, (3, 5, 9)),
        "depth_xavier/distance": power(0.2, (3, 5, 9)),
        "width/distance": power(0.1, (16, 64, 256)),
        "depth_he/along": sized(0.1, 0.1, (3, 5, 9)),
        "depth_xavier/along": sized(0.1, 0.1, (3, 5, 9)),
        "width/along": sized(0.05, 0.05, (16, 64, 256)),
        "pixels/loss_slope": power(0.5, (64, 256, 1024)),
        "pixels/margin_slope": power(0.5, (64, 256, 1024)),
        "conv/error": SPREAD[:, 0] * 0.03,
        "conv_bn/error": SPREAD[::-1, 0] * 0.03,
        "conv/distance": SPREAD[:, 0] * 0.5,
        "conv_bn/distance": SPREAD[::-1, 0] * 0.4,
        "conv/stands": SPREAD * np.array([0.95, 0.9, 0.7]),
        "conv_bn/stands": SPREAD * np.array([0.9, 0.8, 0.5]),
    }
    return {"pixels": [64, 256, 1024]}, arrays | changes


def test_what_notes_on_digits_have_is_what_the_claims_find():
    found = judged(WHOLE, *made_up())
    upheld = {
        *("farther-decay", "closer-bn", "closer-small", "still-he", "still-xavier"),
        *("regions", "regions-gradient", "half-normal", "start-depth", "root-d"),
        *("bn-start-gradient", "bn-start-distance"),
        *("xavier-farther", "decay-farther", "bn-dense", "margin-grows"),
        *("gradient-falls", "false-friend", "margin-friend"),
        *("universal-early", "universal-late", "universal-own"),
        *("width-helps", "depth-hurts", "depth-helps", "depth-trained", "root-d-trained"),
        "root-d-margin",
        *("still-deepest-he", "still-deepest-xavier", "still-widest-he"),
        *("same-depth-he", "same-depth-xavier", "same-width-he"),
        *("conv-equal", "bn-cost", "bn-cost-large", "bn-conv"),
        *("control", "noise", "alone"),
    }
    assert {name for name in upheld if found[name] != "reproduced"} == set()
    opposed = {"closer-decay", "farther-bn", "farther-small", "closer-he"}
    assert {found[name] for name in opposed} == {"contradicted"}
    assert "not run" not in found.values()


def test_the_opposite_is_contradicted():
    numbers, arrays = made_up(
        {
            "he": (0.44, 0.7, 2.0),
            "xavier": (0.47, 0.3, 0.1),
            "decay": (0.51, 0.4, 0.5),
            "bn": (0.43, 0.8, 0.2),
            "small": (0.4, 0.9, 0.1),
            "he_again": (0.44, 0.3, 0.1),
        },
        **{
            "start/alike": SPREAD[:, 0] * 0.5,
            "start/octaves": SPREAD[:, 0] * 0.3,
            "start/distance": SPREAD * np.array([0.4, 0.5, 0.6, 0.7]),
            "start/slope": power(0.0, (16, 64, 256)),
            "start_bn/square": exponential(0.0),
            "start_bn/distance": exponential(0.0),
            "depth_he/distance": power(0.3, (3, 5, 9)),
            "depth_xavier/distance": power(-0.3, (3, 5, 9)),
            "width/distance": power(-0.2, (16, 64, 256)),
            "depth_he/along": sized(0.1, 0.3, (3, 5, 9)),
            "depth_xavier/along": sized(0.1, -0.3, (3, 5, 9)),
            "width/along": sized(-0.1, 0.1, (16, 64, 256)),
            "pixels/loss_slope": power(0.0, (64, 256, 1024)),
            "pixels/margin_slope": power(0.0, (64, 256, 1024)),
            "conv/error": SPREAD[:, 0] * 0.2,
            "conv/distance": SPREAD[:, 0] * 0.3,
            "conv/stands": SPREAD * np.array([0.5, 0.3, 0.2]),
            "he/crossed": SPREAD[..., None] * (0.05 - 0.02 * np.eye(8)),
            "he/noise": SPREAD * np.full(8, 0.4),
            "he/log_margin": -SPREAD * np.log2(along(1.0, 2.0)),
            "bn/alone": SPREAD * np.full(8, 0.2),
        },
    )
    for arm in experiment.ARMS:
        arrays[f"{arm}/first_order"] = 1 / arrays[f"{arm}/distance"]
    found = judged(WHOLE, numbers, arrays)
    kept = {name for name in found if name.startswith(("closer", "farther"))}
    assert {name: verdict for name, verdict in found.items() if name not in kept} == {
        name: "contradicted" for name in found if name not in kept
    }
    assert found["closer-he"] == found["farther-decay"] == "contradicted"


@pytest.mark.parametrize(("change", "upheld"), [(0.8, "closer"), (1.25, "farther")])
def test_where_the_largest_nets_go_is_found_and_the_order_of_sizes_is_no_matter(change, upheld):
    """All sizes move by a third of an octave: one side is right, the order stays as it is."""
    sizes = {"depth_he": (3, 5, 9), "depth_xavier": (3, 5, 9), "width": (16, 64, 256)}
    moved = {f"{name}/along": sized(0.05, 0.05, some, change) for name, some in sizes.items()}
    found = judged(WHOLE, *made_up(**moved))
    for net in ("deepest-he", "deepest-xavier", "widest-he"):
        sides = {side: found[f"{side}-{net}"] for side in ("closer", "farther", "still")}
        assert sides == dict.fromkeys(sides, "contradicted") | {upheld: "reproduced"}
    for name in ("same-depth-he", "same-depth-xavier", "same-width-he"):
        assert found[name] == "reproduced"


def test_sizes_that_have_not_learned_early_decide_nothing():
    along = sized(0.1, 0.1, (3, 5, 9))
    along[:3, -1, 0] = np.nan
    found = judged(WHOLE, *made_up(**{"depth_he/along": along}))
    for name in ("closer-deepest-he", "farther-deepest-he", "still-deepest-he", "same-depth-he"):
        assert found[name] == "inconclusive"


def test_sizes_are_not_judged_along_training_where_they_have_one_snapshot():
    config = dataclasses.replace(experiment.Config(), reference=3000)
    claims = {claim.id: claim for claim in experiment.claims(config)}
    assert claims["same-depth-he"].not_run == "--size_steps after --reference"
    assert not claims["depth-hurts"].not_run
    narrow = dataclasses.replace(experiment.Config(), widths=(16,))
    claims = {claim.id: claim for claim in experiment.claims(narrow)}
    assert claims["closer-widest-he"].not_run == "--widths above --width"
    assert not claims["same-width-he"].not_run


def test_arms_and_sizes_that_are_left_out_are_not_run():
    config = dataclasses.replace(
        experiment.Config(), arms=("bn",), depths=(), widths=(), enlargements=(), channels=0
    )
    claims = {claim.id: claim for claim in experiment.claims(config)}
    for name in ("closer-he", "regions", "width-helps", "root-d-trained", "bn-cost", "control"):
        assert claims[name].not_run, name
    for name in ("closer-bn", "false-friend", "alone", "half-normal"):
        assert not claims[name].not_run, name


def test_nets_that_have_trained_are_not_judged_as_random_ones():
    config = dataclasses.replace(experiment.Config(), snapshots=(300, 3000, 10_000))
    claims = {claim.id: claim for claim in experiment.claims(config)}
    assert claims["regions"].not_run == claims["regions-gradient"].not_run != ""
    assert not claims["closer-he"].not_run


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference": 200}, "--reference=200 must be one of --snapshots"),
        ({"size_steps": 500}, "--size_steps=500 must be one of --snapshots"),
        ({"reference": 10_000}, "--size_steps=3000 must not be before --reference=10000"),
        ({"steps": 20_000}, "the last of --snapshots must be --steps=20000"),
        ({"snapshots": (0, 3000, 300, 10_000)}, "--snapshots must rise"),
    ],
)
def test_impossible_flags_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(experiment.Config(), **change)
