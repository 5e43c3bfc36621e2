"""The verdicts of shattered_gradients follow the science: broken, the right ones change."""

import dataclasses

import numpy as np
import pytest

from experiments.gradients import shattered_gradients
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
    assert found["square-root"] != "reproduced"


def test_an_exponential_decay_is_told_from_a_power(verdicts):
    depths = 1 + np.arange(CONFIG.depth)
    noise = np.exp(0.01 * np.random.default_rng(0).normal(size=(CONFIG.seeds, 1)))
    found = verdicts(plain=noise * 0.95**depths, residual_batch_norm=noise * 0.9**depths)
    assert found["exponential"] == "reproduced"
    assert found["square-root"] == "contradicted"
    assert verdicts(plain=noise / depths)["exponential"] == "contradicted"


def test_the_law_is_told_from_other_powers(verdicts):
    """.67 is the plain net's, which a bound of 1 let pass; .73 that of centered branches."""
    depths = 1 + np.arange(CONFIG.depth)
    # A power that varies by seed, around the one that is tested.
    spread = 0.03 * np.linspace(-1, 1, CONFIG.seeds)[:, None]
    found = {p: verdicts(residual_batch_norm=depths ** -(p + spread))
             for p in (0.2, 0.48, 0.67, 0.73, 1.0)}  # fmt: skip
    judged = {p: (f["square-root"], f["faster"]) for p, f in found.items()}
    assert judged == {
        0.2: ("contradicted", "contradicted"),
        0.48: ("reproduced", "inconclusive"),
        0.67: ("contradicted", "reproduced"),
        0.73: ("contradicted", "reproduced"),
        1.0: ("contradicted", "reproduced"),
    }


def test_layers_in_the_wrong_order(record, verdicts):
    found = verdicts(**{net: record.arrays[f"{net}/correlation"][:, ::-1]
                        for net in shattered_gradients.NETS})  # fmt: skip
    assert found["closed-form"] == "contradicted"
    assert found["exponential-bn"] != "reproduced"
