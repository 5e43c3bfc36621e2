"""The experiment's verdicts must follow the science: break it, and the right claims fall."""

import dataclasses
from functools import partial

import jax
import numpy as np
import pytest

from experiments import jacobian_spectrum
from jaxvision import initializers
from jaxvision.dynamics import isometry
from jaxvision.report.claims import judge
from jaxvision.report.record import Record
from jaxvision.training.sweep import over_seeds

CONFIG = jacobian_spectrum.Config(seeds=6, width=96, depth=16, train_seeds=5)
TRAINED = {
    "trained/orthogonal/tanh/half_step": np.array([30, 33, 31, 30, 35]),
    "trained/gaussian/tanh/half_step": np.array([60, 62, 70, 55, 64]),
    "trained/orthogonal/relu/half_step": np.array([300, 250, 330, 280, 310]),
    "trained/orthogonal/tanh/share": np.linspace([1.0] * 5, [0.1, 0.2, 0.15, 0.1, 0.05], 4).T,
}


def measured():
    nets = over_seeds(partial(jacobian_spectrum._spectra, CONFIG), CONFIG.seeds)
    random = {f"random/{n}/{k}": value for n, found in nets.items() for k, value in found.items()}
    fields = dataclasses.asdict(CONFIG)
    return Record("jacobian_spectrum", "tiny", "x", "", fields, {}, random | TRAINED, [], {})


def verdicts(record):
    return {found.id: found.verdict for found in judge(jacobian_spectrum.claims(CONFIG), record)}


def fallen(record):
    return {id for id, verdict in verdicts(record).items() if verdict == "contradicted"}


@pytest.fixture(scope="module")
def record():
    return measured()


def test_everything_holds(record):
    assert set(verdicts(record).values()) == {"reproduced"}


def test_orthogonal_weights_that_are_gaussian_are_found_out(monkeypatch):
    monkeypatch.setitem(jacobian_spectrum.WEIGHTS, "orthogonal", initializers.xavier_he2015())
    found = fallen(measured())
    assert {
        "tanh-can",
        "rotation",
        "weakest",
        "law-orthogonal-tanh",
        "law-orthogonal-relu",
    } <= found
    assert not found & {"gaussian-cannot", "relu-cannot", "law-gaussian-tanh", "law-gaussian-relu"}


def test_tanh_that_is_relu_is_found_out(monkeypatch):
    monkeypatch.setitem(isometry.ACTIVATIONS, "tanh", jax.nn.relu)
    found = fallen(measured())
    assert {"tanh-can", "weakest", "law-orthogonal-tanh"} <= found
    assert not found & {"relu-cannot", "rotation", "law-orthogonal-relu"}


def test_relu_that_is_linear_is_isometric(monkeypatch):
    monkeypatch.setitem(isometry.ACTIVATIONS, "relu", lambda x: x)
    assert {"relu-cannot", "law-orthogonal-relu", "law-gaussian-relu"} == fallen(measured())


def test_off_the_edge_of_chaos_tanh_is_no_isometry(monkeypatch):
    critical = isometry.critical

    def ordered(activation, q):
        point = critical(activation, q)
        return point._replace(sigma_w=0.9 * point.sigma_w)

    monkeypatch.setattr(isometry, "critical", ordered)
    assert {"tanh-can", "weakest"} <= fallen(measured())


def test_slower_learning_and_lasting_isometry_contradict(record):
    swapped = {
        "trained/orthogonal/tanh/half_step": TRAINED["trained/orthogonal/relu/half_step"],
        "trained/orthogonal/relu/half_step": TRAINED["trained/orthogonal/tanh/half_step"],
        "trained/orthogonal/tanh/share": TRAINED["trained/orthogonal/tanh/share"][:, ::-1],
    }
    found = fallen(dataclasses.replace(record, arrays=record.arrays | swapped))
    assert found == {"sooner-than-gaussian", "sooner-than-relu", "isometry-lost"}
