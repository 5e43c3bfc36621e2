"""The verdicts of gradient_flow follow the science: broken on purpose, the right ones change.

Swapped fans cannot show between layers of one width; ``test_initializers.py`` holds each fan.
"""

import dataclasses

import numpy as np
import pytest

from experiments.gradients import gradient_flow
from jaxvision.data import load
from jaxvision.dynamics import mean_field
from jaxvision.report.claims import judge

CONFIG = gradient_flow.PRESETS["tiny"]


@pytest.fixture(scope="module")
def record(tiny_record):
    return tiny_record(gradient_flow)


@pytest.fixture
def verdicts(record):
    """Verdicts of the record with some arrays replaced."""

    def judged(arrays=()):
        changed = dataclasses.replace(record, arrays=record.arrays | dict(arrays))
        return {found.id: found.verdict for found in judge(gradient_flow.claims(CONFIG), changed)}

    return judged


def fallen(found, claims):
    """The claims that ``found`` no longer reproduces, of those named."""
    return {claim for claim in claims if found[claim] != "reproduced"}


def train(name, config=CONFIG):
    """One net's arrays, measured anew."""
    depth = max(config.depths)
    trainer, arms = gradient_flow.make_arms(config, load("digits"), name, depth)
    arrays = gradient_flow.train_arms(config, f"{name}{depth}", trainer, arms, lambda _: None)
    return trainer, arrays


def test_the_figure_holds(verdicts):
    found = verdicts()
    of_images = [f"{q}-{a}" for q in ("delta", "signal") for a in gradient_flow.ACTIVATIONS]
    assert "contradicted" not in {found[claim] for claim in of_images}
    assert not fallen(found, ("delta-decays", "dw-flat", "batch-norm-gain", "residual-gradient"))
    assert found["batch-norm-factor"] != "contradicted"


def test_one_program_trains_every_gain_and_seed(record):
    trainer, arrays = train("relu")
    (compiled,) = [p for p in trainer._programs.values() if "advance" in vars(p)]
    assert compiled.advance._cache_size() == 1
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, record.arrays[name])


def test_wrong_gains_contradict_the_theory_of_every_activation(monkeypatch, verdicts):
    critical, arrays = mean_field.critical_gain, {}
    monkeypatch.setattr(mean_field, "critical_gain", lambda activation: 1.1 * critical(activation))
    for activation in gradient_flow.ACTIVATIONS:
        arrays |= gradient_flow.follow_images(CONFIG, load("digits"), activation)
    monkeypatch.undo()
    found = verdicts(arrays)
    for activation in gradient_flow.ACTIVATIONS:
        assert found[f"delta-{activation}"] == found[f"signal-{activation}"] == "contradicted"


def test_what_is_not_finite_contradicts_nothing(record, verdicts):
    floats = {name: a for name, a in record.arrays.items() if a.dtype.kind == "f"}
    found = verdicts({name: np.full_like(a, np.nan) for name, a in floats.items()})
    assert set(found.values()) == {"inconclusive"}


@pytest.mark.parametrize("preset", ["gpu", "paper"])
def test_float32_holds_what_the_deepest_nets_reach(preset):
    config = gradient_flow.PRESETS[preset]
    largest = np.log(np.finfo(np.float32).max)
    squared = {"batch_norm": np.log(1.55), "residual": np.log(2.0)}  # growth a layer
    squared["relu"] = 2 * max(np.log(config.above), -np.log(config.below))
    for net, growth in squared.items():
        assert max(gradient_flow.depths_of(config, net)) * growth < 0.9 * largest


def test_a_plain_net_labeled_batch_norm(monkeypatch, verdicts):
    monkeypatch.setitem(gradient_flow.VARIANTS, "batch_norm", ("batch norm", {}))
    _, arrays = train("batch_norm")
    found = verdicts(arrays)
    assert found["batch-norm-factor"] == found["batch-norm-gain"] == "contradicted"


def test_without_learning_batch_norm_does_not_relax(verdicts):
    _, arrays = train("batch_norm", dataclasses.replace(CONFIG, learning_rate=0.0))
    found = verdicts(arrays)
    assert found["batch-norm-relaxes"] == "contradicted"
    assert found["batch-norm-factor"] == verdicts()["batch-norm-factor"]  # step 0 is the same


def test_shuffled_layers_have_no_slope(record, verdicts):
    shuffled = np.random.default_rng(0).permutation(max(CONFIG.depths))
    names = [n for n in record.arrays if n.endswith(("_std", "/signal")) or "delta" in n]
    found = verdicts({name: record.arrays[name][..., shuffled] for name in names})
    changed = {"delta-relu", "delta-linear", "delta-decays", "residual-variance"}
    assert fallen(found, changed) == changed


def test_delta_in_place_of_dw_is_not_flat(record, verdicts):
    name = f"relu{max(CONFIG.depths)}/below"
    found = verdicts({f"{name}/dw_norm": record.arrays[f"{name}/delta_norm"]})
    assert found["dw-flat"] == "contradicted"


def test_residual_nets_without_the_skip_or_with_batch_norm(record, verdicts):
    def named(of, label):
        mine, depth = f"{of}{max(CONFIG.depths)}/", f"{label}{max(CONFIG.depths)}/"
        return {depth + n.removeprefix(mine): a for n, a in record.arrays.items() if mine in n}

    found = verdicts(named("relu", "residual"))
    assert found["residual-variance"] == found["residual-gradient"] == "contradicted"
    assert (
        verdicts(named("residual", "residual_batch_norm"))["residual-bn-variance"] != "reproduced"
    )
