"""The closed forms of the interactive page: its script's numbers are Python's."""

import itertools
import json
import shutil
import subprocess

import numpy as np
import pytest

from jaxvision.dynamics import mean_field, theory
from jaxvision.report import webpage

NODE = shutil.which("node") or shutil.which("nodejs")
pytestmark = pytest.mark.skipif(NODE is None, reason="no node here to run the page's script")

_RUN = """
const theory = require(process.argv[1]);
const calls = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(calls.map(([name, ...given]) => theory[name](...given))));
"""
ACTIVATIONS = ("tanh", "relu", "sigmoid", "linear")


def in_javascript(calls):
    script = str(webpage.TEMPLATES / "theory.js")
    command = [NODE, "-e", _RUN, script]
    text = json.dumps(calls)
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("secondMoment", mean_field.second_moment),
        ("slopeMoment", mean_field.slope_moment),
        ("slopeKurtosis", mean_field.slope_kurtosis),
    ],
)
def test_moments(name, expected):
    cases = list(itertools.product(ACTIVATIONS, (0.1, 1.0, 7.5)))
    calls = [(name, *case) for case in cases]
    found = in_javascript(calls)
    same(found, [expected(*case) for case in cases])


def test_maps_and_gains():
    calls = [("criticalGain", activation) for activation in ACTIVATIONS]
    calls.append(("chi", 1.3, 2.0, "tanh"))
    calls.append(("varianceMap", 2.0, 1.3, "sigmoid"))
    *gains, chi, variance = in_javascript(calls)
    for gain, activation in zip(gains, ACTIVATIONS, strict=True):
        same(gain, mean_field.critical_gain(activation))
    same(chi, mean_field.chi(1.3, 2.0, "tanh"))
    same(variance, mean_field.variance_map(2.0, 1.3, 0.0, "sigmoid"))


def assert_same_logs(name, python, cases):
    calls = [(name, *case) for case in cases]
    found = in_javascript(calls)
    for logs, case in zip(found, cases, strict=True):
        signal, gradient = python(*case)
        same(logs["signal"], signal)
        same(logs["gradient"], gradient)


def test_plain_nets():
    cases = [(activation, 1.3, 64, 20, 0.7) for activation in ACTIVATIONS]
    assert_same_logs("logNorms", theory.log_norms, cases)


def test_skips():
    cases = [(activation, 1.3, 20, None) for activation in ACTIVATIONS]
    cases += [(activation, 1.3, 20, 32) for activation in ("relu", "linear")]
    assert_same_logs("residualLogNorms", theory.residual_log_norms, cases)


def test_batch_norm():
    cases = list(itertools.product((6, 32), ("relu", "linear")))
    calls = [("batchNormSquaredFactor", *case) for case in cases]
    calls.append(("batchNormLogNorms", "relu", 3.0, 6, 4))
    *factors, logs = in_javascript(calls)
    for factor, case in zip(factors, cases, strict=True):
        same(factor, theory.batch_norm_squared_factor(*case))
    step = theory.exponent(factors[0])
    same(logs["gradient"], step * np.array([3, 2, 1, 0]))
    settled = mean_field.variance_map(1.0, 3.0, 0.0, "relu")
    variances = np.exp(2 * np.array(logs["signal"]))
    same(variances, [9.0, settled, settled, settled])
