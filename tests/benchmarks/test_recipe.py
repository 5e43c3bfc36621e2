"""PyTorch's recipe is ours: the same rate at every step, the same inputs, the same length."""

import dataclasses
import json

import numpy as np
import pytest

from benchmarks import problems, recipe
from jaxvision import nets, recipes
from jaxvision.nets import Spec
from jaxvision.nets.training import Net, _optimizer
from jaxvision.trees import named_leaves

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
    assert (short.steps, short.warm_up) == (200, 50)
    assert short.warm_up / short.steps == pytest.approx(spec.warm_up / spec.steps, abs=2e-3)
    assert recipe.shortened(spec, None, 50_000) == spec


def test_exported_arrays_give_the_same_inputs(tmp_path):
    net = Net(SPEC)
    recipe.export(net, 3, tmp_path)
    arrays = dict(np.load(tmp_path / "data.npz"))
    images = arrays["test_images"][:50]
    ours = net.standardize(net.data.test.images[:50], None)
    np.testing.assert_allclose(arrays["low"] + arrays["span"] * images, ours, atol=2e-5)
    told = json.loads((tmp_path / "spec.json").read_text())
    assert told == json.loads(json.dumps(dataclasses.asdict(SPEC)))
    np.testing.assert_array_equal(arrays["labels"], net.data.train.labels)


def test_exported_weights_are_those_that_the_seed_starts_from(tmp_path):
    net = Net(SPEC)
    recipe.export(net, 3, tmp_path)
    found = nets.trained(SPEC, (3,), snapshots=(0,), directory=tmp_path / "nets")
    arrays = np.load(tmp_path / "data.npz")
    for name, leaf in named_leaves(found.snapshots).items():
        np.testing.assert_array_equal(arrays[name], leaf[0, 0])


def test_losses_that_part_are_an_error():
    recipe.check([2.3, 2.1], [2.3001, 2.1001])
    for theirs in ([2.3, 2.2], [2.3, np.nan]):
        with pytest.raises(RuntimeError, match="losses part"):
            recipe.check([2.3, 2.1], theirs)


def test_steps_have_a_table_of_their_own():
    results = {"jaxvision": {"ms": 480.2}, "PyTorch": {"ms": 601.0}}
    entry = {"recipe": "cifar10_fast", "machine": "a cpu", "rounds": 3, "results": results}
    assert "| jaxvision | 480 |" in recipe.markdown(entry)


def test_the_table_says_what_is_right_and_how_long_it_took():
    results = {
        "jaxvision": {"test_error": 0.098, "mirrored_error": 0.09, "seconds": 1500.0},
        "PyTorch": {"test_error": 0.1, "mirrored_error": 0.092, "seconds": 1800.0},
    }
    text = recipe.markdown({"recipe": "cifar10_fast", "machine": "a cpu", "results": results})
    assert "| jaxvision | 90.20 % | 91.00 % | 25.0 |" in text
    assert "| PyTorch | 90.00 % | 90.80 % | 30.0 |" in text
