"""The experiment's verdicts must follow the science: break it, and the right claims fall."""

import dataclasses
from functools import partial

import jax
import numpy as np
import pytest

from experiments.gradients import delta_orthogonal
from jaxvision.dynamics import isometry
from jaxvision.progress import progress
from jaxvision.random import stream
from jaxvision.report.claims import judge

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
    assert found.pop("ten-thousand") == "not run"
    assert set(found.values()) == {"reproduced"}


def test_kernels_without_the_delta_are_no_isometry_and_carry_nothing(fallen, labeled):
    lost = {"isometry", "isometry-depth"}
    assert fallen(labeled("orthogonal", "delta")) == lost
    assert lost | {"gradient", "images"} <= fallen(labeled("gaussian", "delta"))


def test_gaussian_kernels_that_are_delta_orthogonal_lose_nothing(fallen, labeled):
    found = fallen(labeled("delta", "gaussian"))
    spectra = {"isometry-gaussian", "isometry-depth-gaussian"}
    assert found == spectra | {"gradient-gaussian", "images-gaussian"}


@pytest.mark.parametrize("broken", [0, 1])
def test_isometry_at_one_depth_is_none_over_depth(record, fallen, broken):
    shares = record.arrays["spectrum/delta/share"].copy()
    shares[:, broken] = record.arrays["spectrum/gaussian/share"][:, broken]
    shown = np.searchsorted(record.arrays["depths"], CONFIG.spectrum_depth)
    expected = {"isometry-depth"} | ({"isometry"} if broken == shown else set())
    assert fallen({"spectrum/delta/share": shares}) == expected


def test_each_pixel_has_the_spectrum_of_a_dense_critical_net_of_that_depth():
    seed, shallow = CONFIG.first_seed, 2
    drawn = jax.jit(lambda: delta_orthogonal._draw(CONFIG, "delta", seed, 5))()
    x = jax.random.normal(stream(seed, "probe"), (1, 8, 8, CONFIG.channels))
    x = isometry.unit_variance(x)
    quadratures = partial(delta_orthogonal._quadratures, CONFIG, seed)
    nodes = jax.jit(quadratures, static_argnums=2)([drawn], x, shallow).nodes[0]
    # Critical at its own depth: its weakest direction knows the bend of a whole net.
    point = isometry.critical("tanh", CONFIG.bend / shallow)
    out = point.input_std * np.float64(x).reshape(64, CONFIG.channels)
    jacobians = np.eye(CONFIG.channels)
    for kernel, bias in list(zip(*map(np.float64, drawn), strict=True))[:shallow]:
        weight = point.sigma_w * kernel[1, 1]
        out = np.tanh(out @ weight + point.sigma_b * bias)
        jacobians = jacobians @ weight * (1 - out[:, None] ** 2)
    values = np.linalg.svd(jacobians, compute_uv=False)
    np.testing.assert_allclose((nodes[0], nodes[-1]), (values.min(), values.max()), rtol=0.02)
    assert values.min() < 0.8


def test_the_figure_draws_gradients_that_float32_cannot_hold(record):
    name = "signal/gaussian/delta_octaves"
    tiny = np.where(record.arrays[name] == 0, 0, np.float32(-200))
    arrays = record.arrays | {name: tiny}
    figure = delta_orthogonal.plot(dataclasses.replace(record, arrays=arrays), CONFIG)
    gradient = figure.axes[1]
    lowest = min(line.get_ydata().min() for line in gradient.get_lines())
    assert lowest == pytest.approx(2.0**-200)


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
