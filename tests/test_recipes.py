"""The command that trains a recipe: what it prints, what it keeps, how it is stopped."""

import dataclasses
import signal

import jax
import numpy as np
import pytest

from jaxvision import nets, recipes
from jaxvision.data import Dataset, embedded
from jaxvision.longrun.stop import Stopped
from jaxvision.models.whitened import whitening_kernel
from jaxvision.nets import Spec
from jaxvision.nets.training import WHITENED_BY, Net

TINY = dataclasses.replace(
    recipes.CIFAR10_FAST,
    dataset="digits",
    sizes={"widths": (2, 3)},
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
    right, mirrored = 1 - found.test_error[0], 1 - recipes.mirrored_error(found)[0]
    told_of = f"{right:.2%} of the test images ({mirrored:.2%} with their mirror images), "
    assert f"seed 3: {told_of}" in first
    assert recipes.main(arguments) == 0
    again = capsys.readouterr()
    assert again.out == told
    assert again.err == ""


def test_the_logits_of_both_sides_of_an_image_are_added(tmp_path):
    found = nets.trained(TINY, (3, 4), directory=tmp_path)
    inputs = np.asarray(found.preprocess(found.data.test.images, None))
    errors = []
    for row in range(2):
        run = jax.tree.map(lambda leaf, row=row: leaf[row], found.variables)

        def logits(images, run=run):
            return found.apply(run["params"], run["batch_stats"], images, train=False)[0]

        plain, summed = logits(inputs), logits(inputs) + logits(inputs[:, :, ::-1])
        for answers in (plain, summed):
            errors.append(np.mean(np.argmax(answers, -1) != found.data.test.labels))
    plain, mirrored = np.array(errors).reshape(2, 2).T
    np.testing.assert_allclose(found.test_error, plain)
    np.testing.assert_allclose(recipes.mirrored_error(found), mirrored)
    assert (plain != mirrored).any()


def test_nets_that_learn_no_mirror_images_are_not_asked_for_them(tmp_path, capsys, monkeypatch):
    plain = dataclasses.replace(TINY, pad=0)
    monkeypatch.setitem(recipes.RECIPES, "mnist_fast", plain)
    monkeypatch.setattr(recipes.runtime, "configure", lambda: None)
    assert recipes.main(["mnist_fast", f"--nets={tmp_path}"]) == 0
    assert "mirror" not in capsys.readouterr().out


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


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["mnist_fast", "--count=0"], "--count=0: from 1 to 1000"),
        (["mnist_fast", "--seed=-1"], "--seed=-1: from 0 to 1000000000"),
        (["mnist_fast", "--seed=a"], "argument --seed: invalid int value: 'a'"),
        (["mnist"], "argument name: invalid choice: 'mnist'"),
        ([], "the following arguments are required: name"),
    ],
)
def test_a_mistake_is_one_line_before_a_net_is_trained(tiny, capsys, arguments, line):
    assert recipes.main(arguments) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith(f"error: {line}")


@pytest.mark.parametrize("spec", recipes.RECIPES.values(), ids=recipes.RECIPES)
def test_a_recipe_is_plain_values(spec):
    assert Spec(**dataclasses.asdict(spec)) == spec


@pytest.mark.parametrize(
    ("spec", "epochs"), [(recipes.CIFAR10_FAST, 20), (recipes.CIFAR10_WIDE, 16)]
)
def test_the_recipe_takes_whole_epochs_and_warms_up_in_a_quarter(spec, epochs):
    epoch = 50_000 // spec.batch_size
    assert spec.steps == epochs * epoch
    assert spec.warm_up == spec.steps // 4


def test_a_tiny_run_learns_behind_the_whitening_of_its_own_images(tmp_path):
    spec = dataclasses.replace(
        TINY,
        sizes={"widths": (8, 16)},
        images=None,
        batch_size=100,
        steps=60,
        warm_up=15,
    )
    found = nets.trained(spec, (0,), snapshots=(0,), directory=tmp_path)
    some = found.data.train.sample(WHITENED_BY)
    expected = whitening_kernel(np.asarray(found.preprocess(some.images, None)))
    for run in (found.variables, jax.tree.map(lambda leaf: leaf[:, 0], found.snapshots)):
        np.testing.assert_array_equal(run["batch_stats"]["whitening"][0], expected)
    assert found.test_error[0] < 0.6


@pytest.mark.parametrize(
    ("spec", "parameters"), [(recipes.CIFAR10_FAST, 531_264), (recipes.CIFAR10_WIDE, 1_972_480)]
)
def test_the_recipe_builds_the_net_of_its_page(spec, parameters, monkeypatch):
    def noise():
        images = np.random.default_rng(0).integers(0, 256, (600, 32, 32, 3), np.uint8)
        part = Dataset(images, np.arange(600, dtype=np.int32) % 10)
        return embedded.digits()._replace(name="cifar10", train=part, test=part)

    monkeypatch.setitem(embedded.EMBEDDED, "cifar10", noise)
    params = Net(spec).template()["params"]
    sizes = [int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params)]
    assert sum(sizes) == parameters
