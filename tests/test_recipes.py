"""The command that trains a recipe: what it prints, what it keeps, how it is stopped."""

import dataclasses
import signal

import jax
import numpy as np
import pytest

from jaxvision import nets, recipes
from jaxvision.data import Dataset, embedded
from jaxvision.longrun.stop import Stopped
from jaxvision.nets import Spec
from jaxvision.nets.training import Net

TINY = dataclasses.replace(
    recipes.CIFAR10_FAST,
    dataset="digits",
    sizes={"depth": 8, "width": 2},
    images=200,
    batch_size=20,
    steps=20,
    warm_up=4,
)


@pytest.fixture
def tiny(monkeypatch):
    """The recipe at a tiny size; the process's devices stay as they are."""
    monkeypatch.setitem(recipes.RECIPES, "cifar10_fast", TINY)
    monkeypatch.setattr(recipes.runtime, "configure", lambda: None)


def test_it_trains_once_and_says_how_well_and_how_long(tiny, tmp_path, capsys):
    arguments = ["cifar10_fast", "--seed=3", "--count=2", f"--nets={tmp_path}"]
    assert recipes.main(arguments) == 0
    told = capsys.readouterr().out
    first, second = told.splitlines()
    assert first.startswith("seed 3: ") and second.startswith("seed 4: ")
    found = nets.trained(TINY, (3,), directory=tmp_path)
    assert f"seed 3: {1 - found.test_error[0]:.2%} of the test images, " in first
    assert recipes.main(arguments) == 0
    again = capsys.readouterr()
    assert again.out == told
    assert again.err == ""


def test_a_stop_says_how_to_go_on(tiny, tmp_path, capsys, monkeypatch):
    def stopped(*_, **__):
        raise Stopped(signal.SIGTERM, "at step 10 of 20 of seeds-0, which is saved")

    monkeypatch.setattr(nets, "trained", stopped)
    assert recipes.main(["cifar10_fast", f"--nets={tmp_path}"]) == 75
    told = capsys.readouterr().err.splitlines()
    assert told == [
        "stopped by SIGTERM at step 10 of 20 of seeds-0, which is saved",
        "to go on, give the same command again",
    ]


def test_a_set_that_is_not_prepared_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(recipes.runtime, "configure", lambda: None)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert recipes.main(["cifar10_fast", f"--nets={tmp_path}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "cifar10" in line


def test_the_recipe_is_what_its_page_says():
    spec = recipes.CIFAR10_FAST
    assert spec.steps == 20 * (50_000 // spec.batch_size)
    assert Spec(**dataclasses.asdict(spec)) == spec


def test_the_recipe_builds_a_net_of_twenty_layers(monkeypatch):
    spec = recipes.CIFAR10_FAST

    def noise():
        images = np.random.default_rng(0).integers(0, 256, (600, 32, 32, 3), np.uint8)
        part = Dataset(images, np.arange(600, dtype=np.int32) % 10)
        return embedded.digits()._replace(name="cifar10", train=part, test=part)

    monkeypatch.setitem(embedded.EMBEDDED, "cifar10", noise)
    net = Net(spec)
    kernels = [
        leaf.shape
        for path, leaf in jax.tree_util.tree_leaves_with_path(net.template()["params"])
        if path[-1].key == "kernel"
    ]
    # Of 19 convolutions and one dense layer, whatever is stacked.
    assert sum(int(np.prod(shape)) for shape in kernels) == 268_336
