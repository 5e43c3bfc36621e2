"""The experiment's verdicts must follow the science: break it, and the right claims fall."""

import dataclasses

import pytest

from experiments import delta_orthogonal
from jaxvision import initializers
from jaxvision.dynamics import isometry
from jaxvision.report.claims import judge
from jaxvision.report.progress import progress
from jaxvision.report.record import Record

CONFIG = delta_orthogonal.Config(seeds=6, channels=8, spectrum_depth=32, depth=500)


def measured():
    numbers, arrays = delta_orthogonal.measure(CONFIG, progress)
    fields = dataclasses.asdict(CONFIG)
    return Record("delta_orthogonal", "tiny", "x", "", fields, numbers, arrays, [], {})


def verdicts(record):
    return {found.id: found.verdict for found in judge(delta_orthogonal.claims(CONFIG), record)}


def fallen(record):
    return {id for id, verdict in verdicts(record).items() if verdict == "contradicted"}


def test_everything_holds_and_ten_thousand_layers_are_not_run():
    found = verdicts(measured())
    assert found.pop("ten-thousand") == found.pop("trained") == "not run"
    assert set(found.values()) == {"reproduced"}


def test_kernels_without_the_delta_carry_nothing(monkeypatch):
    monkeypatch.setitem(delta_orthogonal.KERNELS, "delta", initializers.orthogonal(1.0))
    assert {"isometry", "gradient", "images"} <= fallen(measured())


def test_gaussian_kernels_that_are_delta_orthogonal_lose_nothing(monkeypatch):
    monkeypatch.setitem(delta_orthogonal.KERNELS, "gaussian", initializers.delta_orthogonal(1.0))
    assert fallen(measured()) == {"isometry-gaussian", "gradient-gaussian", "images-gaussian"}


def test_off_the_edge_of_chaos_signal_and_gradient_die_but_the_images_stay_apart(monkeypatch):
    critical = isometry.critical

    def ordered(activation, q):
        point = critical(activation, q)
        return point._replace(sigma_w=0.98 * point.sigma_w)

    monkeypatch.setattr(isometry, "critical", ordered)
    found = fallen(measured())
    assert {"signal", "gradient"} <= found
    assert "images" not in found


@pytest.mark.parametrize("depth", [1000, 10_000])
def test_ten_thousand_layers_are_judged_where_they_are_run(depth):
    config = dataclasses.replace(CONFIG, depth=depth)
    claim = {claim.id: claim for claim in delta_orthogonal.claims(config)}["ten-thousand"]
    assert bool(claim.not_run) == (depth < 10_000)
