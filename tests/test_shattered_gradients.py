"""The verdicts of shattered_gradients follow the science: broken, the right ones change."""

import dataclasses

import numpy as np
import pytest

from experiments import shattered_gradients
from jaxvision.report.claims import judge

CONFIG = shattered_gradients.PRESETS["tiny"]


@pytest.fixture(scope="module")
def record(tiny_record):
    return tiny_record(shattered_gradients)


@pytest.fixture
def verdicts(record):
    """Verdicts with the correlation of some nets replaced by that of others."""

    def judged(**swapped):
        arrays = record.arrays | {f"{net}/correlation": array for net, array in swapped.items()}
        changed = dataclasses.replace(record, arrays=arrays)
        return {f.id: f.verdict for f in judge(shattered_gradients.claims(CONFIG), changed)}

    return judged


def test_batch_norm_shatters_and_the_skip_resists(verdicts):
    found = verdicts()
    assert found["exponential-bn"] == found["resists-bn"] == found["resists"] == "reproduced"
    assert found["closed-form"] != "contradicted"


def test_a_plain_net_labeled_batch_norm(record, verdicts):
    found = verdicts(batch_norm=record.arrays["plain/correlation"])
    assert found["resists-bn"] != "reproduced"


def test_a_net_without_the_skip_labeled_residual(record, verdicts):
    shattered = record.arrays["batch_norm/correlation"]
    found = verdicts(residual=shattered, residual_batch_norm=shattered)
    assert found["resists"] == "contradicted"
    assert found["resists-bn"] != "reproduced"


def test_an_exponential_decay_is_told_from_a_power(verdicts):
    depths = 1 + np.arange(CONFIG.depth)
    noise = np.exp(0.01 * np.random.default_rng(0).normal(size=(CONFIG.seeds, 1)))
    found = verdicts(plain=noise * 0.95**depths, residual_batch_norm=noise * 0.9**depths)
    assert found["exponential"] == "reproduced"
    assert found["sublinear"] == "contradicted"
    assert verdicts(plain=noise / depths)["exponential"] == "contradicted"


def test_layers_in_the_wrong_order(record, verdicts):
    found = verdicts(**{net: record.arrays[f"{net}/correlation"][:, ::-1]
                        for net in shattered_gradients.NETS})  # fmt: skip
    assert found["closed-form"] == "contradicted"
    assert found["exponential-bn"] != "reproduced"
