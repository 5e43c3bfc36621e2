"""The experiment's verdicts must follow the science: break it, and the right claims fall."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments.gradients import jacobian_spectrum
from jaxvision.dynamics import isometry
from jaxvision.progress import silent
from jaxvision.report.claims import judge
from jaxvision.report.record import Record
from jaxvision.types import UserError

CONFIG = jacobian_spectrum.Config(seeds=60, first_seed=0, bend=0.05, width=64, depth=8)
NETS = {name: net._replace(trained=False) for name, net in jacobian_spectrum.NETS.items()}
TRAINED = {
    "trained/orthogonal_tanh/half_step": np.array([30, 33, 31, 30, 35]),
    "trained/gaussian_tanh/half_step": np.array([60, 62, 70, 55, 64]),
    "trained/orthogonal_relu/half_step": np.array([300, 250, 330, 280, 310]),
    "trained/orthogonal_tanh/share": np.linspace([1.0] * 5, [0.1, 0.2, 0.15, 0.1, 0.05], 4).T,
}


def drawn(nets=NETS, **mutation):
    """The arrays of the random nets."""
    return jacobian_spectrum.measure(CONFIG, silent, nets, **mutation)[1]


@pytest.fixture(scope="module")
def arrays():
    return drawn() | TRAINED


@pytest.fixture
def verdicts(arrays):
    """Verdicts by claim of a record with some arrays replaced."""

    def judged(changed):
        fields = dataclasses.asdict(CONFIG)
        record = Record("jacobian_spectrum", "cpu", "x", "", fields, {}, arrays | changed, [], {})
        found = judge(jacobian_spectrum.claims(CONFIG), record)
        return {judgement.id: judgement.verdict for judgement in found}

    return judged


def contradicted(verdicts):
    return {claim for claim, verdict in verdicts.items() if verdict == "contradicted"}


def net_as(name, **changed):
    """One net alone, changed, under its name."""
    return {name: NETS[name]._replace(**changed)}


def test_what_theory_and_paper_say_of_deep_nets(verdicts):
    found = verdicts({})
    assert not contradicted(found)
    # ReLU's laws scatter too much for nets of this width.
    missed = {claim for claim, verdict in found.items() if verdict != "reproduced"}
    assert missed <= {"law-orthogonal-relu", "law-gaussian-relu"}


def test_a_linear_net_is_no_tanh_net(verdicts):
    """It is isometric too: what tells tanh apart is how its spectrum has width."""
    found = verdicts(drawn(net_as("orthogonal_tanh", activation="linear")))
    assert contradicted(found) == {"law-orthogonal-tanh", "weakest", "bulk"}


def test_gaussian_weights_are_not_orthogonal(verdicts):
    found = verdicts(drawn(net_as("orthogonal_tanh", weights="gaussian")))
    assert contradicted(found) == {"law-orthogonal-tanh", "weakest", "bulk"}


@pytest.mark.slow  # the linear and the Gaussian net break the same rules
def test_off_the_edge_of_chaos_tanh_is_no_isometry(verdicts):
    def ordered(activation, q):
        point = isometry.critical(activation, q)
        return point._replace(sigma_w=0.9 * point.sigma_w)

    found = verdicts(drawn(net_as("orthogonal_tanh"), critical=ordered))
    assert "weakest" in contradicted(found)


def test_a_leaky_relu_silences_nothing(verdicts, monkeypatch):
    monkeypatch.setitem(isometry.ACTIVATIONS, "relu", lambda x: jax.nn.leaky_relu(x, 0.1))
    assert contradicted(verdicts(drawn(net_as("orthogonal_relu")))) == {"relu-cannot"}


def test_slower_learning_and_lasting_isometry_contradict(verdicts):
    swapped = {
        "trained/orthogonal_tanh/half_step": TRAINED["trained/orthogonal_relu/half_step"],
        "trained/orthogonal_relu/half_step": TRAINED["trained/orthogonal_tanh/half_step"],
        "trained/orthogonal_tanh/share": TRAINED["trained/orthogonal_tanh/share"][:, ::-1],
    }
    wanted = {"sooner-than-gaussian", "sooner-than-relu", "isometry-lost"}
    assert contradicted(verdicts(swapped)) == wanted


def test_nobody_has_halved_the_loss_before_the_first_step():
    tiny = jacobian_spectrum.PRESETS["tiny"]
    nets = {"orthogonal_tanh": jacobian_spectrum.NETS["orthogonal_tanh"]}
    half = jacobian_spectrum.measure(tiny, silent, nets)[1]["trained/orthogonal_tanh/half_step"]
    np.testing.assert_array_equal(half, tiny.steps)  # four steps are too few


def test_seeds_that_choose_the_rates_judge_nothing():
    tiny = dataclasses.replace(jacobian_spectrum.PRESETS["tiny"], first_seed=1000)
    with pytest.raises(UserError, match="choose the rates"):
        jacobian_spectrum.measure(tiny, silent)
