"""The verdicts of shattered_gradients follow the science: broken, the right ones change."""

import dataclasses

import numpy as np
import pytest

from experiments.gradients import _shattering as shattering
from experiments.gradients import shattered_gradients
from jaxvision.progress import progress
from jaxvision.report.claims import judge
from jaxvision.report.record import Record

pytestmark = pytest.mark.usefixtures("optimized")

CONFIG = shattered_gradients.Config(seeds=8, first_seed=0, width=128, n_inputs=32, long_depth=128)
NETS = shattered_gradients.NETS


def measured(nets=NETS, config=CONFIG):
    numbers, arrays = shattered_gradients.measure(config, progress, nets)
    fields = dataclasses.asdict(config)
    return Record("shattered_gradients", "tiny", "x", "", fields, numbers, arrays, [], {})


@pytest.fixture(scope="module")
def record():
    return measured()


@pytest.fixture
def verdicts(record):
    """Verdicts with the correlation of some nets replaced."""

    def judged(**replaced):
        arrays = {f"{net}/correlation": np.asarray(array) for net, array in replaced.items()}
        changed = dataclasses.replace(record, arrays=record.arrays | arrays)
        return {found.id: found.verdict for found in judge(claims(), changed)}

    return judged


def claims():
    return shattered_gradients.claims(CONFIG)


def around(curve, spread=0.002):
    """Correlations by depth [S, L] around one curve, which they equal on average."""
    return curve[None] + spread * np.linspace(-1, 1, CONFIG.seeds)[:, None]


def wide(depth, residual):
    positions, lag = shattered_gradients.line(CONFIG)
    return shattering.wide_autocorrelation(positions, lag, depth, residual=residual)


def test_batch_norm_shatters_and_the_skip_resists(verdicts):
    found = verdicts()
    assert found["exponential-bn"] == found["resists-bn"] == found["resists"] == "reproduced"
    for id in ("closed-form-4", "closed-form-16", "closed-form-residual"):
        assert found[id] != "contradicted"


def test_a_plain_net_labeled_batch_norm(record, verdicts):
    found = verdicts(batch_norm=record.arrays["plain/correlation"])
    assert found["resists-bn"] != "reproduced"


def test_a_net_without_the_skip_labeled_residual(record, verdicts):
    shattered = record.arrays["batch_norm/correlation"]
    longer = np.pad(shattered, ((0, 0), (0, CONFIG.long_depth - CONFIG.depth)), mode="edge")
    found = verdicts(residual=shattered, residual_batch_norm=longer)
    assert found["resists"] == "contradicted"
    assert found["resists-bn"] != "reproduced"
    assert found["power-law"] != "reproduced"


def test_an_exponential_decay_is_told_from_a_power(verdicts):
    depths = 1 + np.arange(CONFIG.long_depth)
    noise = np.exp(0.01 * np.random.default_rng(0).normal(size=(CONFIG.seeds, 1)))
    found = verdicts(plain=noise * 0.95**depths, residual_batch_norm=noise * 0.97**depths)
    assert found["exponential"] == "reproduced"
    assert found["power-law"] == "contradicted"
    assert verdicts(plain=noise / depths)["exponential"] == "contradicted"


def test_the_law_is_told_from_other_powers(verdicts):
    """.5 is the law for branches with their mean, .67 the plain net's, 1 not sublinear."""
    depths = 1 + np.arange(CONFIG.long_depth)
    # A power that varies by seed, around the one that is tested.
    spread = 0.03 * np.linspace(-1, 1, CONFIG.seeds)[:, None]
    laws = {p: verdicts(residual_batch_norm=depths ** -(p + spread)) for p in (0.5, 0.72, 1.0)}
    found = {power: judged["power-law"] for power, judged in laws.items()}
    assert found == {0.5: "contradicted", 0.72: "reproduced", 1.0: "contradicted"}


def test_correlations_one_layer_off(verdicts):
    exact = verdicts(
        plain_wide=around(wide(16, residual=False)), residual_wide=around(wide(16, residual=True))
    )
    late = verdicts(
        plain_wide=around(wide(17, residual=False)[1:]),
        residual_wide=around(wide(17, residual=True)[1:]),
    )
    both = "closed-form-4", "closed-form-residual"
    assert {exact[id] for id in (*both, "closed-form-16")} == {"reproduced"}
    assert {late[id] for id in both} == {"contradicted"}


def test_weights_of_twice_the_variance_shatter_a_residual_net_sooner(record):
    """A plain net does not see its weights' variance, nor do nets with batch norm."""
    broken = {
        name: dataclasses.replace(net, weight_variance=4.0)
        for name, net in NETS.items()
        if net.extent == "wide"
    }
    found = measured(broken).arrays
    same = "plain_wide/correlation"
    np.testing.assert_allclose(found[same], record.arrays[same], atol=1e-4)
    changed = dataclasses.replace(record, arrays=record.arrays | found)
    fallen = [claim.id for claim in judge(claims(), changed) if claim.verdict == "contradicted"]
    assert "closed-form-residual" in fallen
    assert "closed-form-4" not in fallen


def test_the_band_tells_weights_of_a_tenth_more_variance():
    """In wide nets; .006 lies between no shift and that of the closed form."""
    positions, lag = shattered_gradients.line(shattered_gradients.Config())
    points = np.stack([positions, np.ones_like(positions)], 1)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    correlation = np.sum(points[:-lag] * points[lag:], 1)
    gradients = np.ones_like(correlation)
    for _ in range(8):  # a branch of 1.1 times the stream's variance
        angle = np.arccos(np.minimum(correlation, 1))
        passed = (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / np.pi
        gradients *= (1 + 1.1 * (1 - angle / np.pi)) / 2.1
        correlation = (correlation + 1.1 * passed) / 2.1
    exact = shattering.wide_autocorrelation(positions, lag, 8, residual=True)[-1]
    assert exact - gradients.mean() > 0.006


def test_layers_in_the_wrong_order(record, verdicts):
    found = verdicts(**{net: record.arrays[f"{net}/correlation"][:, ::-1] for net in NETS})
    assert found["closed-form-4"] == "contradicted"
    assert found["exponential-bn"] != "reproduced"
