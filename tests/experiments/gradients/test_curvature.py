"""The verdicts of curvature follow the science: broken on purpose, the right ones change."""

import dataclasses

import numpy as np
import pytest

from experiments.gradients import curvature
from jaxvision.progress import progress
from jaxvision.report.claims import judge
from jaxvision.training.mapping import over_seeds

CONFIG = curvature.PRESETS["tiny"]


@pytest.fixture(scope="module")
def record(tiny_record):
    return tiny_record(curvature)


@pytest.fixture
def verdicts(record):
    """Verdicts of the record, some arrays replaced, as claimed of another config."""

    def judged(arrays=(), config=CONFIG):
        changed = dataclasses.replace(record, arrays=record.arrays | dict(arrays))
        return {found.id: found.verdict for found in judge(curvature.claims(config), changed)}

    return judged


def test_gradient_descent_lives_at_the_edge(verdicts):
    found = verdicts()
    wanted = ("hovers", "loss-rises", "sharpening", "calm", "batch-norm-train", "lazy-bound")
    assert {found[claim] for claim in wanted} == {"reproduced"}


def test_nothing_hovers_where_nothing_is_learned(monkeypatch, verdicts):
    def still(function, seeds, shared, first):
        rates = (0 * shared[0],) if len(shared) == 3 else shared[:1]
        return over_seeds(function, seeds, (*rates, *shared[1:]), first)

    monkeypatch.setattr(curvature, "over_seeds", still)
    found = verdicts(curvature.measure(CONFIG, progress)[1])
    broken = {"hovers", "loss-rises", "loss-falls", "calm", "batch-norm-train"}
    assert {claim for claim in broken if found[claim] == "contradicted"} == broken
    assert found["sharpening"] != "reproduced"


def test_one_over_the_rate_is_not_the_edge(verdicts):
    halved = tuple(value / 2 for value in CONFIG.thresholds)
    assert (
        verdicts(config=dataclasses.replace(CONFIG, thresholds=halved))["hovers"] == "contradicted"
    )


def test_the_rate_at_the_edge_is_no_control(record, verdicts):
    names = ("mlp/loss", "mlp/sharpness_train")
    found = verdicts({name: record.arrays[name][[0, 0]] for name in names})
    assert found["calm"] == "contradicted"


def test_train_mode_in_place_of_eval_mode(record, verdicts):
    train, evaluated = (record.arrays[f"batch_norm/sharpness_{mode}"] for mode in ("train", "eval"))
    assert not np.allclose(train, evaluated)
    assert verdicts({"batch_norm/sharpness_eval": train})["batch-norm-eval"] != "reproduced"


def test_kernels_under_each_others_name(record, verdicts):
    lazy, feature = record.arrays["drift/lazy"], record.arrays["drift/feature"]
    found = verdicts({"drift/lazy": feature, "drift/feature": lazy})
    assert found["lazy-bound"] == found["lazy"] == found["feature"] == "contradicted"
