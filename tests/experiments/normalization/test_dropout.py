"""The verdicts of dropout follow the science: broken, the right ones change."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.normalization import _inside as inside
from experiments.normalization import dropout
from experiments.normalization._noisy import nested_rows
from jaxvision.data import load
from jaxvision.initializers import he_forward
from jaxvision.models.drawing import initialize, initialize_runs
from jaxvision.models.dropout import DropoutMLP
from jaxvision.models.layers import apply_function
from jaxvision.progress import progress
from jaxvision.random import stream
from jaxvision.report.claims import judge
from jaxvision.report.record import Record
from jaxvision.types import UserError

CONFIG = dropout.Config()
SMALL = dropout.Config(
    seeds=5,
    first_seed=0,
    width=16,
    keeps=(),
    scaled_keeps=(),
    sizes=(50,),
    steps=120,
    learning_rates=(0.03,),
    n_features=2,
)
# Test errors, in percent, of nets that do as the papers say.
ERRORS = {
    **{"none": 3.0, "max_norm": 2.6, "dropout": 2.0, "both": 1.5, "again": 2.0, "gaussian": 1.9},
    **{"bn": 2.0, "bn_before": 3.5, "bn_after": 1.8},
    **{"keep/0.1": 9, "keep/0.4": 2, "keep/0.6": 2, "keep/0.8": 2, "keep/1": 3},
    **{"scaled/0.1": 5, "scaled/0.4": 2, "scaled/0.6": 2, "scaled/1": 4},
    **{"size/100/none": 20, "size/100/dropout": 20},
    **{"size/500/none": 10, "size/500/dropout": 9.8, "size/1000/none": 6, "size/1000/dropout": 3},
}


def spread(seed, level, size=0.05):
    return level + size * np.random.default_rng(seed).normal(size=CONFIG.seeds)


def verdicts(**changed):
    """Judge made-up errors (percent) and other arrays, some of them changed."""
    arrays = {
        f"{name}/test_error": spread(i, error) / 100
        for i, (name, error) in enumerate(ERRORS.items())
    }
    arrays["none/test_loss"], arrays["dropout/test_loss"] = spread(1, 0.3), spread(2, 0.1, 0.01)
    arrays["none/activation"], arrays["dropout/activation"] = spread(3, 2.0), spread(4, 0.7)
    arrays["bn_before/shift"], arrays["bn_before/shift_law"] = (
        spread(5, 0.7, 0.01),
        spread(6, 0.7, 0.01),
    )
    arrays["bn_after/shift"] = spread(7, 0.0, 0.01)
    arrays["bn_before/taken_again"] = spread(8, 2.0) / 100
    for name, level in changed.items():
        arrays[name.replace("__", "/")] = spread(9, level, 0.05 * abs(level) / 4 + 1e-5)
    fields = dataclasses.asdict(CONFIG)
    record = Record("dropout", "cpu", "x", "", fields, {}, arrays, [], {})
    return {found.id: found.verdict for found in judge(dropout.claims(CONFIG), record)}


def test_nets_that_do_as_the_papers_say_reproduce_every_claim():
    assert set(verdicts().values()) == {"reproduced"}


@pytest.mark.parametrize(
    ("changed", "fallen"),
    [
        (
            {"dropout__test_error": 0.035},
            {"helps", "all-images", "gaussian", "control", "max-norm"},
        ),
        ({"both__test_error": 0.03}, {"max-norm", "not-alone"}),
        ({"dropout__test_loss": 0.4}, {"loss"}),
        ({"gaussian__test_error": 0.025}, {"gaussian"}),
        ({"dropout__activation": 1.5}, {"sparse-half"}),
        ({"dropout__activation": 2.5}, {"sparse", "sparse-half"}),
        ({"size/100/dropout__test_error": 0.16}, {"few-images", "more-images"}),
        ({"size/500/dropout__test_error": 0.08}, {"few-images-500"}),
        ({"size/1000/dropout__test_error": 0.065}, {"more-images", "all-images"}),
        ({"bn_before__shift": 0.3}, {"shift-law"}),
        ({"bn_after__shift": 0.3}, {"shift-after"}),
        ({"bn_before__test_error": 0.015}, {"shift-costs", "shift-cured"}),
        ({"keep/0.4__test_error": 0.03}, {"flat"}),
        ({"keep/0.6__test_error": 0.1}, {"too-few-kept", "too-many-kept"}),
        ({"scaled/0.1__test_error": 0.1}, {"wider"}),
        ({"scaled/0.6__test_error": 0.05}, {"same-kept"}),
        ({"again__test_error": 0.03}, {"control"}),
    ],
)
def test_a_broken_science_breaks_its_claims(changed, fallen):
    found = {name for name, verdict in verdicts(**changed).items() if verdict != "reproduced"}
    assert fallen - {"gaussian", "max-norm", "all-images"} <= found <= fallen


TRAINED = (*dropout.ACTIVE, *dropout.SHIFTED)
TOLD = ("shift-law", "shift-after", "sparse", "sparse-half", "helps")  # by those


def measured(law=inside.variance_shift, **changed):
    ways = {name: dropout.WAYS[name] for name in TRAINED} | changed
    numbers, arrays = dropout.measure(SMALL, progress, ways, law=law)
    fields = dataclasses.asdict(SMALL)
    record = Record("dropout", "tiny", "x", "", fields, numbers, arrays, [], {})
    claims = [claim for claim in dropout.claims(SMALL) if claim.id in TOLD]
    return {found.id: found for found in judge(claims, record)}


@pytest.fixture(scope="module")
def trained():
    return measured()


def test_the_law_of_the_shifted_variance_holds_in_trained_nets(trained):
    assert abs(trained["shift-law"].estimate) < 0.05
    assert trained["shift-after"].verdict == "reproduced"


def test_nets_that_drop_nothing_under_the_name_of_dropout(trained):
    dense = dataclasses.replace(dropout.WAYS["dropout"], keep_input=1.0, keep=1.0, keep_last=1.0)
    broken = measured(dropout=dense)
    assert trained["sparse"].estimate < -0.3
    assert broken["sparse"].estimate == pytest.approx(0, abs=1e-6)
    assert broken["helps"].verdict != "reproduced"
    assert broken["sparse-half"].verdict == "contradicted"


@pytest.mark.slow
def test_a_law_of_another_probability_is_caught():
    def of_eight_tenths(net, variables, keep, *data):
        return inside.variance_shift(net, variables, 0.8, *data)

    assert measured(of_eight_tenths)["shift-law"].verdict == "contradicted"


def test_the_closed_form_of_the_shift_against_sampled_masks():
    """Variance over images and masks of what the second layer sees; statistics as they start."""
    model = DropoutMLP(3, 12, 3, he_forward(), normalized=True)
    net = initialize_runs(model, stream(0, "init")[None], (4, 4, 1))
    images = jax.random.normal(jax.random.key(0), (300, 4, 4, 1))
    kept = net["batch_stats"]
    apply = apply_function(model)
    one = jax.tree.map(lambda leaf: leaf[0], net)

    @jax.jit
    @jax.vmap
    def sampled(key):
        options = {"train": False, "dropout_key": key, "keep": 0.4, "keep_last": 1.0}
        return apply(one["params"], one["batch_stats"], images, **options)[1]["layer2"]

    variance = sampled(jax.random.split(jax.random.key(1), 400)).var((0, 1))
    kept["norm2"]["var"] = np.asarray(variance)[None]
    labels = jnp.zeros(300, jnp.int32)
    shift = inside.variance_shift(model, net, 0.4, images, (images, labels))
    np.testing.assert_allclose(shift.measured, shift.predicted, rtol=0.02)
    assert shift.predicted > 0.3


def test_moments_are_taken_again_behind_every_dropout_from_below():
    model = DropoutMLP(4, 12, 3, he_forward(), normalized=True)
    net = initialize(model, stream(0, "init"), (4, 4, 1))
    images = jax.random.normal(jax.random.key(0), (300, 4, 4, 1))
    apply = apply_function(model)
    taken = inside._taken_again(apply, net["params"], net["batch_stats"], images)
    assert taken["norm1"] is net["batch_stats"]["norm1"]
    _, activations, _ = apply(net["params"], taken, images, train=False)
    for number in (2, 3):
        seen = activations[f"layer{number}"]
        np.testing.assert_allclose(taken[f"norm{number}"]["mean"], seen.mean(0), atol=1e-5)
        np.testing.assert_allclose(taken[f"norm{number}"]["var"], seen.var(0), rtol=1e-5)


def test_the_order_of_the_sizes_changes_no_claim():
    told = []
    for sizes in ((100, 500, 1000), (1000, 500, 100)):
        found = dropout.claims(dataclasses.replace(CONFIG, sizes=sizes))
        told.append({claim.id: claim.sentence for claim in found})
    assert told[0] == told[1]
    assert "with 100 images" in told[1]["few-images"]


def test_subsets_are_nested_and_hold_the_classes_alike():
    labels = load("digits").train.labels
    for seed in range(3):
        rows = nested_rows(labels, seed)
        assert sorted(rows) == list(range(len(labels)))
        for n in (10, 55, 100, 1000):
            assert np.ptp(np.bincount(labels[rows[:n]], minlength=10)) <= 1
    assert not np.array_equal(nested_rows(labels, 0), nested_rows(labels, 1))


def test_a_subset_larger_than_the_set_is_refused_before_anything_is_trained():
    config = dataclasses.replace(SMALL, sizes=(1200,))
    with pytest.raises(UserError, match=r"1200 images is larger than the 1077 .* lower --sizes"):
        dropout.measure(config, None)


def test_nets_of_equally_many_kept_units_are_as_wide_as_that_asks():
    found = dropout.swept(CONFIG, dropout.WAYS)
    for keep in CONFIG.scaled_keeps:
        way = found[f"scaled/{keep:g}"]
        assert way.width * keep == pytest.approx(CONFIG.kept_units, abs=0.5)
        assert found[way.rate_of].keep == way.keep
