"""The experiment's verdicts must follow the science: break it, and the right claims fall."""

import dataclasses

import pytest

from experiments import delta_orthogonal
from jaxvision.dynamics import isometry
from jaxvision.report.claims import judge
from jaxvision.report.progress import progress

CONFIG = delta_orthogonal.PRESETS["tiny"]


@pytest.fixture(scope="module")
def record(tiny_record):
    return tiny_record(delta_orthogonal)


@pytest.fixture
def fallen(record):
    """The claims that a record with some arrays replaced contradicts."""

    def judged(arrays):
        changed = dataclasses.replace(record, arrays=record.arrays | arrays)
        found = judge(delta_orthogonal.claims(CONFIG), changed)
        return {judgement.id for judgement in found if judgement.verdict == "contradicted"}

    return judged


@pytest.fixture
def labeled(record):
    """The arrays of one kind of kernels under the name of another."""

    def swap(kernels, label):
        found = [name for name in record.arrays if f"/{kernels}/" in name]
        return {n.replace(f"/{kernels}/", f"/{label}/"): record.arrays[n] for n in found}

    return swap


def test_everything_holds_and_ten_thousand_layers_are_not_run(record):
    found = {f.id: f.verdict for f in judge(delta_orthogonal.claims(CONFIG), record)}
    assert found.pop("ten-thousand") == found.pop("trained") == "not run"
    assert set(found.values()) == {"reproduced"}


def test_kernels_without_the_delta_are_no_isometry_and_carry_nothing(fallen, labeled):
    assert fallen(labeled("orthogonal", "delta")) == {"isometry"}
    assert {"isometry", "gradient", "images"} <= fallen(labeled("gaussian", "delta"))


def test_gaussian_kernels_that_are_delta_orthogonal_lose_nothing(fallen, labeled):
    found = fallen(labeled("delta", "gaussian"))
    assert found == {"isometry-gaussian", "gradient-gaussian", "images-gaussian"}


@pytest.mark.slow  # test_gradient_flow leaves the critical gain too
def test_off_the_edge_of_chaos_nothing_is_carried(fallen, monkeypatch):
    critical = isometry.critical

    def ordered(activation, q):
        point = critical(activation, q)
        return point._replace(sigma_w=0.98 * point.sigma_w)

    monkeypatch.setattr(isometry, "critical", ordered)
    monkeypatch.setattr(delta_orthogonal, "DEEP", ("delta",))
    monkeypatch.setattr(delta_orthogonal, "_spectra", lambda *_: {})
    found = fallen(delta_orthogonal.measure(CONFIG, progress)[1])
    assert {"signal", "gradient", "images"} <= found


@pytest.mark.parametrize("depth", [1000, 10_000])
def test_ten_thousand_layers_are_judged_where_they_are_run(depth):
    config = dataclasses.replace(CONFIG, depth=depth)
    claim = {claim.id: claim for claim in delta_orthogonal.claims(config)}["ten-thousand"]
    assert bool(claim.not_run) == (depth < 10_000)
