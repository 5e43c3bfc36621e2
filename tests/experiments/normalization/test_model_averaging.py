"""The verdicts of model_averaging follow the science: broken, the right ones change."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments.normalization import _groups as groups
from experiments.normalization import _together as together
from experiments.normalization import model_averaging
from jaxvision.data import load
from jaxvision.initializers import he_forward
from jaxvision.models.drawing import initialize, initialize_runs
from jaxvision.models.dropout import DropoutMLP
from jaxvision.progress import progress
from jaxvision.random import stream
from jaxvision.report.claims import judge
from jaxvision.report.record import Record
from jaxvision.training import ensembles
from jaxvision.types import UserError

CONFIG = model_averaging.Config()
SMALL = model_averaging.Config(
    images=100,
    seeds=5,
    first_seed=0,
    members=3,
    n_branches=2,
    shared_steps=(0,),
    width=12,
    steps=60,
    learning_rates=(0.03,),
    samples=50,
    n_snapshots=3,
)
# Of things that do as the sources say; errors in percent.
LEVELS = {
    **{"single/error": 3, "wide/error": 3, "long/error": 3, "scaled/error": 2.8},
    **{"last/error": 3.5, "swa/error": 2, "ema/error": 2.2, "snapshots/error": 2},
    **{"own/soup/error": 50, "own/parts/error": 3, "other_half/error": 2},
    **{"shared/0/soup/error": 2.5, "shared/0/parts/error": 3, "shared/0/ensemble/error": 2.5},
    **{"shared/20/soup/error": 2.8, "shared/20/parts/error": 3, "shared/20/ensemble/error": 2.8},
    **{"own/disagreement": 4, "shared/0/disagreement": 1.5},
    **{"single/calibration": 2, "wide/loss": 9, "wide/calibrated_loss": 9},
    **{"ensemble/calibrated_loss": 7, "scaled/loss": 9, "first/error": 3},
}


def spread(seed, level, size=0.05):
    return (level + size * np.random.default_rng(seed).normal(size=CONFIG.seeds)) / 100


def verdicts(**changed):
    """Judge made-up numbers, some of them at other levels."""
    levels = LEVELS | {"ensemble/error": 2, "masks/loss": 8}
    levels |= {"one mask": 8, "five masks": 4, "fifty masks": 2.8, "half": 2.02}
    levels |= {name.replace("__", " "): level for name, level in changed.items()}
    arrays = {name: spread(i, levels[name]) for i, name in enumerate(LEVELS)}
    one = {"error": (3, levels["half"], levels["half"], levels["ensemble/error"])}
    one |= {"loss": (9, 8, 7, 7), "calibration": (2, 1, 1, 1)}
    for i, (name, values) in enumerate(one.items()):
        columns = [spread(100 + 10 * i + k, value) for k, value in enumerate(values)]
        arrays[f"ensemble/{name}"] = np.stack(columns, 1)
    masks = np.full(CONFIG.samples, levels["fifty masks"])
    masks[:5] = levels["five masks"]
    masks[0] = levels["one mask"]
    arrays["masks/error"] = np.stack([spread(200 + k, at) for k, at in enumerate(masks)], 1)
    arrays["masks/loss"] = spread(7, levels["masks/loss"])[:, None]
    record = Record("x", "cpu", "x", "", dataclasses.asdict(CONFIG), {}, arrays, [], {})
    return {found.id: found.verdict for found in judge(model_averaging.claims(CONFIG), record)}


def test_nets_that_do_as_the_sources_say_reproduce_every_claim():
    assert set(verdicts().values()) == {"reproduced"}


@pytest.mark.parametrize(
    ("changed", "fallen"),
    [
        ({"single/error": 1.9}, {"errs-less"}),
        ({"single/calibration": 0.5}, {"calibrated"}),
        ({"half": 3}, {"few-members", "control"}),
        ({"wide/error": 1.9}, {"as-many-weights"}),
        ({"wide/loss": 6}, {"as-many-weights-loss"}),
        ({"wide/calibrated_loss": 6}, {"temperature"}),
        ({"long/error": 1.9}, {"as-much-compute"}),
        ({"ensemble/error": 0.0, "half": 0.0, "other_half/error": 0.0}, {"dependent"}),
        ({"fifty masks": 3.6}, {"fifty-masks"}),
        ({"one mask": 2.5}, {"one-mask"}),
        ({"five masks": 2.5}, {"five-masks"}),
        ({"masks/loss": 10}, {"masks-loss"}),
        ({"last/error": 1.8}, {"swa", "ema"}),
        ({"scaled/error": 1.9, "fifty masks": 1.9}, {"swa-decay"}),
        ({"snapshots/error": 3}, {"swa-ensemble"}),
        ({"own/soup/error": 5}, {"soup-apart"}),
        ({"shared/0/parts/error": 2.4}, {"soup-early", "late"}),
        ({"shared/20/parts/error": 2.7}, {"soup"}),
        ({"shared/20/ensemble/error": 1.5}, {"soup-ensemble"}),
        ({"shared/0/disagreement": 5}, {"diverse"}),
        ({"shared/20/soup/error": 1.5}, {"late", "soup-ensemble"}),
        ({"other_half/error": 4}, {"control"}),
    ],
)
def test_a_broken_science_breaks_its_claims(changed, fallen):
    found = {name for name, verdict in verdicts(**changed).items() if verdict != "reproduced"}
    assert found == fallen


def test_nets_that_err_on_most_images_say_nothing_of_independence():
    """The law of a majority rises to .8 there: to err less than it is no contradiction."""
    assert verdicts(**{"single/error": 65, "ensemble/error": 60})["dependent"] == "inconclusive"


def measured(ways=model_averaging.WAYS):
    numbers, arrays = model_averaging.measure(SMALL, progress, ways)
    fields = dataclasses.asdict(SMALL)
    record = Record("model_averaging", "tiny", "x", "", fields, numbers, arrays, [], {})
    return {found.id: found for found in judge(model_averaging.claims(SMALL), record)}, arrays


def test_nets_without_dropout_under_its_name_have_one_mask():
    """What is not about dropout stays as it is: nets err less together, and weights do not mix."""
    ways = model_averaging.WAYS
    kept = {"keep_input": 1.0, "keep": 1.0, "keep_last": 1.0}
    broken = {name: dataclasses.replace(ways[name], **kept) for name in ("dropout", "constant")}
    found, arrays = measured(ways | broken)
    assert found["errs-less"].verdict == found["soup-apart"].verdict == "reproduced"
    assert found["one-mask"].verdict != "reproduced"
    assert found["masks-loss"].verdict != "reproduced"
    same = np.broadcast_to(arrays["scaled/error"][:, None], (5, SMALL.samples))
    np.testing.assert_array_equal(arrays["masks/error"], same)
    assert arrays["ensemble/error"].shape == (5, 3)
    assert arrays["correlation"].min() > 0


@pytest.mark.slow
def test_masks_of_nets_with_dropout_err_more_one_by_one():
    found, _ = measured()
    assert found["one-mask"].verdict == found["diverse"].verdict == "reproduced"


def test_masks_are_those_of_each_net_alone_and_average_probabilities():
    net = DropoutMLP(3, 6, 3, he_forward())
    seeds = [3, 8]
    keys = jax.numpy.stack([stream(seed, "init") for seed in seeds])
    variables = initialize_runs(net, keys, (4, 4, 1))
    inputs = jax.random.normal(jax.random.key(0), (20, 4, 4, 1))
    labels = np.arange(20, dtype=np.int32) % 3
    keeps = {"keep_input": 0.8, "keep": 0.5}
    found = together.sampled_scores(net, variables, seeds, keeps, 4, (inputs, labels))
    one = jax.tree.map(lambda leaf: leaf[1:], variables)
    alone = together.sampled_scores(net, one, seeds[1:], keeps, 4, (inputs, labels))
    np.testing.assert_allclose(found["loss"][1:], alone["loss"], rtol=1e-5)
    assert found["loss"].shape == found["error"].shape == (2, 4)
    none = together.sampled_scores(net, variables, seeds, {}, 2, (inputs, labels))
    plain = together.logits_of(net, variables, inputs)
    np.testing.assert_allclose(none["loss"][:, 1], ensembles.log_loss(plain, labels), rtol=1e-5)


def test_one_net_has_as_many_weights_as_several():
    for width, members in ((12, 4), (128, 8)):
        wide = groups.equal_width(width, 3, 64, 10, members)

        def weights(width):
            net = DropoutMLP(3, width, 10, he_forward())
            start = jax.eval_shape(lambda: initialize(net, jax.random.key(0), (8, 8, 1)))
            return sum(leaf.size for leaf in jax.tree.leaves(start))

        assert weights(wide - 1) < members * weights(width) <= weights(wide)


def test_snapshots_lie_evenly_in_the_second_half_and_end_with_the_run():
    assert groups.snapshots_of(1000, 8) == [566, 628, 690, 752, 814, 876, 938, 1000]
    assert groups.snapshots_of(8, 2) == [6, 8]


def test_images_left_out_are_others():
    data = load("digits")
    few, rest = groups.few_images(500, data)
    assert len(few.train.labels) == 500
    assert len(rest.labels) == 360
    kept = {image.tobytes() for image in few.train.images}
    assert not kept & {image.tobytes() for image in rest.images}


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"images": 1430}, r"--images=1430 leaves none .* at most 1427"),
        ({"n_branches": 5}, r"--n_branches=5 is more than the 3 members"),
        ({"shared_steps": (0, 60)}, r"--shared_steps=60 is not before the last of 60 steps"),
        ({"n_snapshots": 31}, r"--n_snapshots=31 do not fit into half of 60 steps"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_before_anything_is_trained(changed, line):
    with pytest.raises(UserError, match=line):
        model_averaging.measure(dataclasses.replace(SMALL, **changed), None)
