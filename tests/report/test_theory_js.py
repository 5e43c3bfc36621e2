"""The closed forms of the interactive page: its script's numbers are Python's."""

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


def in_javascript(*calls):
    script = str(webpage.TEMPLATES / "theory.js")
    command = [NODE, "-e", _RUN, script]
    text = json.dumps(calls)
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_moments_maps_and_gains():
    qs = (0.1, 1.0, 7.5)
    pairs = [(activation, q) for activation in ACTIVATIONS for q in qs]
    for name, expected in (
        ("secondMoment", mean_field.second_moment),
        ("slopeMoment", mean_field.slope_moment),
        ("slopeKurtosis", mean_field.slope_kurtosis),
    ):
        found = in_javascript(*[(name, *pair) for pair in pairs])
        same(found, [expected(*pair) for pair in pairs])
    found = in_javascript(*[("criticalGain", activation) for activation in ACTIVATIONS])
    same(found, [mean_field.critical_gain(activation) for activation in ACTIVATIONS])
    same(in_javascript(("chi", 1.3, 2.0, "tanh")), [mean_field.chi(1.3, 2.0, "tanh")])
    same(
        in_javascript(("varianceMap", 2.0, 1.3, "sigmoid")),
        [mean_field.variance_map(2.0, 1.3, 0.0, "sigmoid")],
    )


def test_plain_nets():
    cases = [(activation, 1.3, 64, 20, 0.7) for activation in ACTIVATIONS]
    for found, case in zip(
        in_javascript(*[("logNorms", *case) for case in cases]), cases, strict=True
    ):
        signal, gradient = theory.log_norms(*case)
        same(found["signal"], signal)
        same(found["gradient"], gradient)


def test_batch_norm():
    cases = [(batch, activation) for batch in (6, 32) for activation in ("relu", "linear")]
    factors = [float(theory.batch_norm_squared_factor(*case)) for case in cases]
    same(in_javascript(*[("batchNormSquaredFactor", *case) for case in cases]), factors)
    (found,) = in_javascript(("batchNormLogNorms", "relu", 3.0, 6, 4))
    same(found["gradient"], np.log(factors[0]) / 2 * np.array([3, 2, 1, 0]))
    settled = mean_field.variance_map(1.0, 3.0, 0.0, "relu")
    same(np.exp(2 * np.array(found["signal"])), [9.0, settled, settled, settled])


def test_skips():
    cases = [(activation, 1.3, 20, None) for activation in ACTIVATIONS]
    cases += [(activation, 1.3, 20, 32) for activation in ("relu", "linear")]
    for found, case in zip(
        in_javascript(*[("residualLogNorms", *case) for case in cases]), cases, strict=True
    ):
        signal, gradient = theory.residual_log_norms(*case)
        same(found["signal"], signal)
        same(found["gradient"], gradient)
