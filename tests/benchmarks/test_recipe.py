"""PyTorch's recipe is ours: the same rate at every step, the same inputs, the same length."""

import dataclasses
import json

import numpy as np
import pytest

from benchmarks import problems, recipe
from jaxvision import nets, recipes
from jaxvision.nets import Spec
from jaxvision.nets.training import _optimizer

SPEC = Spec("digits", "mlp", {"depth": 3, "width": 8}, 0.4, 20, warm_up=5, optimizer="momentum_sgd")


@pytest.mark.parametrize("warm_up", [0, 1, 5, 19])
def test_the_rate_of_every_step_is_ours(warm_up):
    spec = dataclasses.replace(SPEC, warm_up=warm_up)
    transformation = _optimizer(spec)({"learning_rate": spec.learning_rate, "momentum": 0.9})
    params = {"kernel": np.float32(0)}
    state, ours = transformation.init(params), []
    for _ in range(spec.steps):
        _, state = transformation.update(params, state, params, error=np.float32(1))
        ours.append(float(state.learning_rate))
    theirs = [problems.recipe_rate(dataclasses.asdict(spec), step) for step in range(spec.steps)]
    np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-7)


def test_a_trial_keeps_the_shape_of_the_curve():
    spec = recipes.CIFAR10_FAST
    short = recipe.shortened(spec, 2, 50_000)
    assert (short.steps, short.warm_up) == (780, spec.warm_up * 780 // spec.steps)
    assert short.warm_up / short.steps == pytest.approx(spec.warm_up / spec.steps, abs=2e-3)
    assert recipe.shortened(spec, None, 50_000) == spec


def test_exported_arrays_give_the_same_inputs(tmp_path):
    found = nets.trained(SPEC, (0,), directory=tmp_path / "nets")
    recipe.export(SPEC, found, tmp_path)
    arrays = dict(np.load(tmp_path / "data.npz"))
    images = arrays["test_images"][:50]
    ours = found.preprocess(found.data.test.images[:50], None)
    np.testing.assert_allclose(arrays["low"] + arrays["span"] * images, ours, atol=2e-5)
    told = json.loads((tmp_path / "spec.json").read_text())
    assert told == json.loads(json.dumps(dataclasses.asdict(SPEC)))
    np.testing.assert_array_equal(arrays["labels"], found.data.train.labels)


def test_the_table_says_what_is_right_and_how_long_it_took():
    results = {
        "jaxvision": {"test_error": 0.098, "seconds": 1500.0},
        "PyTorch": {"test_error": 0.1, "seconds": 1800.0},
    }
    text = recipe.markdown({"recipe": "cifar10_fast", "machine": "a cpu", "results": results})
    assert "| jaxvision | 90.20 % | 25.0 |" in text
    assert "| PyTorch | 90.00 % | 30.0 |" in text
