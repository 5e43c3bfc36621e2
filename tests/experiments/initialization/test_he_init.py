"""The verdicts of he_init follow the science: broken on purpose, the right one changes.

Swapped fans cannot show in nets of one width, so a claim holds the initialiser itself to the stds
that the paper gives for kernels that double the channels.
"""

import dataclasses

import numpy as np
import pytest

from experiments.initialization import he_init
from jaxvision import cli, initializers
from jaxvision.data.dataset import Splits
from jaxvision.report.claims import judge
from jaxvision.report.record import Record
from jaxvision.training import optimizers
from jaxvision.training.escape import error_gap, octaves, stalled
from jaxvision.types import UserError

CONFIG = dataclasses.replace(
    he_init.PRESETS["tiny"],
    seeds=5,
    depths=(),
    mlp_depths=(30,),
    mlp_width=32,
    mlp_steps=220,
    period=220,
    rates_xavier=(0.003,),
    rates_he=(0.001,),
    theory_nets=5,
)


def verdicts(config=CONFIG) -> dict[str, str]:
    made = cli.run(he_init, config, "tiny", "broken", "a test")
    return {claim.id: claim.verdict for claim in judge(he_init.claims(config), made)}


def test_the_figure_holds():
    found = verdicts()
    assert found["mlp30-he"] == found["mlp30-xavier"] == found["mlp30-flax"] == "reproduced"
    assert found["mlp30-no-bias"] == "reproduced"
    assert found["mlp30-delta-decays"] == "reproduced"


def test_xavier_labeled_he(monkeypatch):
    swapped = {"xavier": initializers.he_backward(), "he": initializers.xavier_he2015()}
    monkeypatch.setattr(he_init, "INITS", he_init.INITS | swapped)
    found = verdicts()
    assert found["mlp30-he"] == found["mlp30-xavier"] == "contradicted"
    assert found["xavier-signal"] == found["he-signal"] == "contradicted"
    assert found["mlp30-delta-decays"] == "contradicted"


def test_shuffled_labels(monkeypatch):
    def shuffled(name: str) -> Splits:
        data = load(name)
        labels = np.random.default_rng(0).permutation(data.train.labels)
        return data._replace(train=data.train._replace(labels=labels))

    load = he_init.load
    monkeypatch.setattr(he_init, "load", shuffled)
    assert verdicts()["mlp30-he"] == "contradicted"


def test_zeroed_gradient(monkeypatch):
    def broken(weight_decay, hyper):
        return optimizers.sgd(weight_decay, hyper | {"learning_rate": 0 * hyper["learning_rate"]})

    monkeypatch.setattr(he_init, "sgd", broken)
    assert verdicts()["mlp30-he"] == "contradicted"


def test_a_hundred_times_the_rate():
    found = verdicts(dataclasses.replace(CONFIG, rates_he=(0.1,)))
    assert found["mlp30-he"] == "contradicted"


@pytest.fixture
def made_up():
    """A record of an MLP whose seeds all do alike; the test says what."""

    def make(**arms) -> Record:  # escape step, diverged step, test error
        numbers = {
            name: {arm: [found[i]] * 5 for arm, found in arms.items()}
            for i, name in enumerate(("escape_step", "diverged_step", "test_error"))
        }
        nets = {"mlp30": numbers | {"steps": 100}}
        return Record("he_init", "tiny", "x", "c", {}, {"nets": nets}, {}, [], {})

    return make


STAYED, LEFT, DIVERGED = (100, -1, 0.9), (10, -1, 0.1), (100, 3, np.nan)


def test_a_net_that_diverged_has_not_stalled(made_up):
    record = made_up(he=LEFT, xavier=DIVERGED, flax=STAYED)
    assert not stalled("mlp30", "xavier")(record).any()
    assert stalled("mlp30", "flax")(record).all()
    assert not stalled("mlp30", "he")(record).any()


def test_nets_that_never_left_are_not_alike(made_up):
    record = made_up(he=STAYED, he_again=STAYED, xavier=LEFT)
    assert np.isnan(octaves("mlp30", "he_again", "he")(record)).all()
    assert np.isnan(error_gap("mlp30", "he_again", "he")(record)).all()
    assert np.isnan(error_gap("mlp30", "xavier", "he")(record)).all()
    np.testing.assert_allclose(octaves("mlp30", "he", "xavier")(record), np.log2(10))
    np.testing.assert_array_equal(error_gap("mlp30", "xavier", "xavier")(record), 0)


def test_claims_about_arms_that_are_not_in_the_run_are_not_run():
    config = dataclasses.replace(CONFIG, mlp_depths=(30, 40))
    missing = {claim.id: claim.not_run for claim in he_init.claims(config)}
    assert {id for id, why in missing.items() if why and id.startswith("mlp30")} == {
        "mlp30-adam", "mlp30-no-bias", "mlp30-control", "mlp30-flax",
    }  # fmt: skip
    assert not any(
        claim.not_run for claim in he_init.claims(CONFIG) if claim.id.startswith("mlp30")
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mlp_steps": 10}, "^--mlp_steps=10 must be a multiple of --period=220"),
        ({"depths": (14,), "steps": 7}, "^--steps=7 must be a multiple of --period=220"),
        ({"depths": (15,)}, "not 15"),
        ({"first_seed": 996}, "^seeds 996 to 1000 meet 1000 to 1000, which choose the rates"),
    ],
)
def test_mistakes_are_found_before_anything_is_read(change, message, monkeypatch):
    monkeypatch.setattr(he_init, "load", lambda name: pytest.fail("too late"))
    with pytest.raises(UserError, match=message):
        cli.run(he_init, dataclasses.replace(CONFIG, **change), "tiny", "broken", "a test")


def test_swapped_fans_contradict_the_stds_of_the_paper(monkeypatch):
    quick = dataclasses.replace(CONFIG, mlp_depths=())
    assert verdicts(quick)["he-stds"] == "reproduced"
    monkeypatch.setattr(he_init, "INITS", he_init.INITS | {"he": initializers.he_forward()})
    assert verdicts(quick)["he-stds"] == "contradicted"
