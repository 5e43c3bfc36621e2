"""Branches, responses and lesions of small trained nets, against slow independent ways."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.depth import _blocks as residual
from jaxvision.data import load
from jaxvision.data.augment import normalize
from jaxvision.data.dataset import Dataset
from jaxvision.dynamics.probes import per_layer
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.layers import apply_function
from jaxvision.models.resnet import ResNet
from jaxvision.random import stream
from jaxvision.training.fit import Runs, Trainer
from jaxvision.training.looks import Look
from jaxvision.training.optimizers import caffe_sgd
from jaxvision.training.step import Task

MODEL = ResNet((2, 2), 2, 10)  # two stages; the first block of the second one changes the shape
APPLY = jax.jit(apply_function(MODEL), static_argnames="train")


@pytest.fixture(scope="module")
def nets():
    """Three starts of a residual net with statistics as after training, its task, 40 digits."""
    keys = jnp.stack([stream(seed, "init") for seed in range(3)])
    variables = initialize_runs(MODEL, keys, (8, 8, 1))
    rng = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda x: x if x.ndim > 3 else x + rng.uniform(0, 0.3, x.shape).astype(np.float32),
        variables,
    )
    digits = load("digits").test
    data = Dataset(digits.images[:40], digits.labels[:40])
    task = Task(apply_function(MODEL), partial(caffe_sgd, 0.0), _preprocess)
    return variables, task, data


def _preprocess(images, key):
    del key
    return normalize(images, np.float32(70.0), np.float32(90.0))


def one(variables, run=0):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[run]), variables)


def forward(net, images, train=False, **given):
    return APPLY(net["params"], net["batch_stats"], images, train=train, **given)


def test_branches_are_what_the_blocks_add(nets):
    """Recomputed by leaving a block out: the sum minus the sum without the branch."""
    variables, _, data = nets
    net, images = one(variables), _preprocess(data.images, None)
    sums = forward(net, images)[1]
    parts = residual.residual_branches(MODEL, sums)
    assert list(parts) == ["stage1_rest/conv2", "stage2_first/conv2", "stage2_rest/conv2"]
    for i, (name, row) in enumerate(
        [
            ("stage1_rest/conv2", 0),
            ("stage1_rest/conv2", 1),
            ("stage2_first/conv2", None),
            ("stage2_rest/conv2", 0),
        ]
    ):
        keep = jnp.arange(4) != i
        without = forward(net, images, keep=keep)[1][name]
        branch, shortcut = parts[name]
        whole = sums[name]
        if row is not None:
            branch, shortcut, whole, without = (x[row] for x in (branch, shortcut, whole, without))
        np.testing.assert_allclose(shortcut, without, atol=1e-5)
        np.testing.assert_allclose(branch, whole - without, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(1, 8), (8, 1), (3, 8)])
def test_branches_on_thin_images(height, width):
    rng = np.random.default_rng(0)
    images = np.float32(rng.normal(size=(3, height, width, 1)))
    keys = stream(0, "init")[None]
    net = one(initialize_runs(MODEL, keys, (height, width, 1)))
    sums, without = (
        forward(net, images, keep=keep)[1] for keep in (None, jnp.array([True, True, False, True]))
    )
    name = "stage2_first/conv2"  # changes the shape, but not on a side of one pixel
    _, shortcut = residual.residual_branches(MODEL, sums)[name]
    np.testing.assert_allclose(shortcut, without[name], atol=1e-5)


def test_branches_of_a_plain_net_are_refused():
    with pytest.raises(ValueError, match="residual net"):
        residual.residual_branches(ResNet((1,), 2, 10, "none"), {})


def test_depth_order_goes_block_by_block():
    image, stacked = (jax.ShapeDtypeStruct((1,) * n, jnp.float32) for n in (4, 5))
    stacked = stacked.update(shape=(2, 1, 1, 1, 1))
    activations = {
        "stem": image,
        "stage1_rest/conv1": stacked,
        "stage1_rest/conv2": stacked,
        "stage2_first/conv1": image,
        "stage2_first/shortcut": image,
        "stage2_first/conv2": image,
        "stage2_rest/conv1": stacked,
        "stage2_rest/conv2": stacked,
        "logits": jax.ShapeDtypeStruct((1, 10), jnp.float32),
    }
    assert residual.depth_order(activations) == [0, 1, 3, 2, 4, 5, 7, 8, 10, 9, 11]


@pytest.fixture(scope="module")
def found(nets):
    variables, task, data = nets
    return residual.look_inside(MODEL, task, variables, data, data)


def test_responses_are_taken_before_the_addition(nets, found):
    variables, _, data = nets
    images = _preprocess(data.images, None)
    assert found["response_std"].shape == found["sum_std"].shape == (3, 9)
    assert found["branch_ratio"].shape == (3, 4)
    sums = forward(one(variables, 2), images)[1]
    branches = residual.residual_branches(MODEL, sums)
    branch, shortcut = (x[1] for x in branches["stage1_rest/conv2"])
    np.testing.assert_allclose(found["response_std"][2, 0], np.std(sums["stem"]), rtol=1e-4)
    np.testing.assert_allclose(found["response_std"][2, 4], np.std(branch), rtol=1e-4)
    np.testing.assert_allclose(
        found["sum_std"][2, 4], np.std(sums["stage1_rest/conv2"][1]), rtol=1e-4
    )
    np.testing.assert_allclose(
        found["branch_ratio"][2, 1], np.std(branch) / np.std(shortcut), rtol=1e-4
    )
    inner = [0, 1, 3, 5, 7]  # the stem and first convolutions add nothing
    np.testing.assert_array_equal(found["response_std"][:, inner], found["sum_std"][:, inner])


def test_a_lesion_is_a_net_whose_branch_is_silent(nets, found):
    """The slow way: scale and bias of a block's last normalization at zero, net by net."""
    variables, _, data = nets
    errors = found["lesion"]
    assert errors.shape == (3, 5)
    images = _preprocess(data.images, None)
    apply = jax.jit(lambda net: forward(net, images)[0])
    places = [
        None,
        ("stage1_rest", 0),
        ("stage1_rest", 1),
        ("stage2_first", ...),
        ("stage2_rest", 0),
    ]
    for run in range(3):
        for i, place in enumerate(places):
            net = one(variables, run)
            if place:
                norm = net["params"][place[0]]["norm2"]
                norm |= {name: leaf.at[place[1]].set(0) for name, leaf in norm.items()}
            wrong = np.argmax(apply(net), 1) != data.labels
            np.testing.assert_allclose(errors[run, i], wrong.mean(), atol=1e-6)
    assert len(np.unique(errors)) > 3


def test_gradient_norms_are_those_of_the_steps(nets):
    """Step 0 against the gradient with respect to something added to the first stage's output."""
    variables, task, data = nets
    trainer = Trainer(task, data, data, len(data.labels), 1)
    hyper = {"learning_rate": np.full(3, 0.01, np.float32)}
    runs = Runs(variables, np.arange(3, dtype=np.int32), hyper)
    look = Look(trainer.watch_step(per_layer), (0, 1))
    watched = trainer.fit(runs, 2, look=look).looks
    norms = residual.gradient_norms(trainer, variables, watched)
    assert norms.shape == (3, 2, 9)
    assert np.all(norms > 0)
    assert not np.array_equal(norms[:, 0], norms[:, 1])

    # The last sum enters the logits by ReLU, mean and a dense layer: its gradient by hand.
    net, images = one(variables, 1), _preprocess(data.images, None)
    logits, activations, _ = forward(net, images, train=True)
    last = activations["stage2_rest/conv2"][-1]
    wanted = (jax.nn.softmax(logits) - jax.nn.one_hot(data.labels, 10)) / len(data.labels)
    pooled = wanted @ net["params"]["logits"]["kernel"].T / (last.shape[1] * last.shape[2])
    delta = np.where(last > 0, pooled[:, None, None, :], 0)
    np.testing.assert_allclose(norms[1, 0, -1], np.linalg.norm(delta), rtol=1e-4)


def test_damage_is_a_share_of_what_was_learned():
    """Ten classes: a net of 10 % error has learned 80 points; a block may have no lesion (NaN)."""
    errors = np.array([[0.1, 0.5, 0.9, np.nan], [0.1, 0.1, 0.1, np.nan]])
    np.testing.assert_allclose(residual.lesion_damage(errors, 0.9), [0.75, 0.0])
