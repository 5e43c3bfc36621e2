"""The experiment's verdicts must follow the science: break it, and the right claims fall."""

import dataclasses

import numpy as np
import pytest

from experiments.gradients import trainability
from jaxvision.dynamics import mean_field
from jaxvision.progress import progress
from jaxvision.report.claims import judge
from jaxvision.report.record import Record
from jaxvision.training.depth_sweep import Cells

CONFIG = trainability.Config()
SMALL = trainability.Config(
    seeds=5, gains=6, depths=6, shallowest=6, deepest=48, width=48, steps=150, learning_rate=0.05,
    runs_per_call=30,
)  # fmt: skip


def made_up(config=CONFIG, **edges):
    """The record of nets that train exactly to theory's depth, or to ``edges[map]`` [G]."""
    sigmas, depths = trainability.sigmas_of(config), trainability.depths_of(config)
    arrays = {"sigma_w": sigmas, "depths": depths}
    for name in trainability.MAPS:
        noise = 2 ** np.random.default_rng(0).normal(0, 0.15, (config.seeds, 1))
        edge = edges.get(name, trainability.limit_of(name, config, sigmas)) * noise
        error = np.where(depths < edge[..., None], 0.1, 0.9)
        arrays |= {f"{name}/error": error, f"{name}/loss": 2.5 * error}
    fields = dataclasses.asdict(config)
    return Record("trainability", "cpu", "x", "", fields, {}, arrays, [], {})


def fallen(record, config=CONFIG):
    judged = judge(trainability.claims(config), record)
    return {found.id for found in judged if found.verdict != "reproduced"}


def limits(name):
    return trainability.limit_of(name, CONFIG, trainability.sigmas_of(CONFIG))


def test_the_critical_line_of_the_figure_is_that_of_the_theory():
    variances = trainability.CRITICAL + np.array([-0.01, 0, 0.01])
    scale = mean_field.correlation_depth_scale(np.sqrt(variances), trainability.SIGMA_B, "tanh")
    assert scale.argmax() == 1


def test_the_claim_far_beyond_says_where_it_was_tested():
    far = {c.id: c for c in trainability.claims(CONFIG)}["far"]
    assert "in the ordered phase nothing" in far.sentence
    assert "(9 cells" in far.sentence
    record = made_up()
    record.arrays["tanh/error"][3, 0, -1] = 0.1  # one net far below criticality
    assert fallen(record) == {"far"}
    # A map that ends before four times the depth has nothing to say.
    shallow = dataclasses.replace(CONFIG, deepest=24)
    (judged,) = (j for j in judge(trainability.claims(shallow), made_up(shallow)) if j.id == "far")
    assert judged.verdict == "inconclusive"


def test_nets_that_train_to_the_depth_of_the_theory_uphold_everything():
    assert fallen(made_up()) == set()


def test_one_edge_for_all_sigma_w_follows_nothing():
    found = fallen(made_up(tanh=np.full(CONFIG.gains, 40.0)))
    assert {"rank", "rank-ordered", "rank-chaotic", "slope", "peak", "critical"} <= found


def test_an_edge_that_goes_with_the_square_of_xi_is_no_proportion():
    assert "slope" in fallen(made_up(tanh=limits("tanh") ** 2 / 32))


def test_another_multiple_of_xi_is_not_six():
    assert fallen(made_up(tanh=limits("tanh") * 2.5)) >= {"six"}
    assert "far" in fallen(made_up(tanh=limits("tanh") * 6))


def test_dropout_that_leaves_the_critical_line_alone_is_caught():
    found = fallen(made_up(dropout=limits("tanh")))
    assert {"dropout-finite", "dropout-shallower"} <= found


def test_batch_norm_at_another_depth_or_with_a_gain_is_caught():
    assert "batch-norm-depth" in fallen(made_up(batch_norm=limits("batch_norm") / 4))
    assert "batch-norm-gain" in fallen(made_up(batch_norm=limits("tanh")))


def trained(monkeypatch, config=SMALL):
    """Train the tanh map; the two other maps are made up."""
    monkeypatch.setattr(trainability, "MAPS", {"tanh": "tanh"})
    numbers, arrays = trainability.measure(config, progress)
    monkeypatch.undo()
    record = made_up(SMALL)
    return dataclasses.replace(record, arrays=record.arrays | arrays, numbers=numbers)


def test_small_nets_follow_the_theory(monkeypatch):
    """So few and small nets leave the rank over both phases at the rule's bound (.7)."""
    assert not {"rank-ordered", "far"} & fallen(trained(monkeypatch), SMALL)


def test_sigma_w_in_disorder_breaks_the_rank(monkeypatch):
    def disordered(depths, seeds, sigma_w, sigma_b, hyper):
        values, place = np.unique(sigma_w, return_inverse=True)
        return Cells(depths, seeds, values[[3, 5, 0, 4, 1, 2]][place], sigma_b, hyper)

    monkeypatch.setattr(trainability, "Cells", disordered)
    assert {"rank", "rank-ordered"} <= fallen(trained(monkeypatch), SMALL)


@pytest.mark.slow
def test_a_gain_off_by_a_factor_breaks_the_rank(monkeypatch):
    def doubled(depths, seeds, sigma_w, sigma_b, hyper):
        return Cells(depths, seeds, 2 * sigma_w, sigma_b, hyper)

    monkeypatch.setattr(trainability, "Cells", doubled)
    assert {"rank", "rank-ordered"} <= fallen(trained(monkeypatch), SMALL)


def test_shuffled_labels_train_nothing(monkeypatch):
    load = trainability.load

    def shuffled(name):
        data = load(name)
        labels = np.random.default_rng(0).permutation(data.train.labels)
        return data._replace(train=data.train._replace(labels=labels))

    monkeypatch.setattr(trainability, "load", shuffled)
    assert {"rank", "rank-ordered", "critical"} <= fallen(trained(monkeypatch), SMALL)


@pytest.mark.slow
def test_a_rate_of_zero_trains_nothing(monkeypatch):
    still = dataclasses.replace(SMALL, learning_rate=0.0)
    assert {"rank", "peak", "critical"} <= fallen(trained(monkeypatch, still), SMALL)
