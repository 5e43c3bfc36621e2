"""The switched perceptron is the net that its switches say, in value, gradient and moments."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.initializers import fixed
from jaxvision.models.drawing import initialize
from jaxvision.models.layers import apply_function
from jaxvision.models.normalization import EPSILON
from jaxvision.models.switched_mlp import Draws, SwitchedMLP, Switches, dropped, perturbed
from jaxvision.trees import named_leaves

MODEL = SwitchedMLP(3, 5, 4, fixed(0.5))
APPLY = apply_function(MODEL)
IN_TRAINING, IN_TEST = (jax.jit(partial(APPLY, train=train)) for train in (True, False))
IMAGES = np.random.default_rng(0).normal(size=(6, 2, 3, 1)).astype(np.float32)


def switches(normalized=0.0, noise=0.0, dropout=0.0):
    return Switches(*map(jnp.float32, (normalized, noise, dropout)))


@pytest.fixture(scope="module")
def variables():
    draw = jax.jit(partial(initialize, MODEL, image_shape=(2, 3, 1)))
    drawn = jax.device_get(draw(jax.random.key(1)))

    def moved(path, leaf):
        return leaf + np.float32(0.1) if path[-1].key in ("bias", "scale") else leaf

    return jax.tree_util.tree_map_with_path(moved, drawn)


def forward(params, images, *, normalized):
    """The net in NumPy; batch norm by the batch's own statistics."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    x = np.asarray(images, np.float64).reshape(len(images), -1)
    for name in ("layer1", "layer2"):
        layer = params[name]
        x = x @ layer["dense"]["kernel"]
        if normalized:
            x = (x - x.mean(0)) / np.sqrt(x.var(0) + EPSILON)
            x = x * layer["norm"]["scale"] + layer["norm"]["bias"]
        else:
            x = x + layer["bias"]
        x = 1 / (1 + np.exp(-x))
    return x @ params["output"]["kernel"] + params["output"]["bias"]


def answers(variables, told, key=2, train=True):
    params, batch_stats = variables["params"], variables["batch_stats"]
    key = jax.random.key(key) if train else None
    given = {"dropout_key": key, "switches": told}
    return (IN_TRAINING if train else IN_TEST)(params, batch_stats, IMAGES, **given)


@pytest.mark.parametrize("normalized", [False, True])
def test_without_noise_it_is_the_textbook_net(variables, normalized):
    logits, activations, _ = answers(variables, switches(float(normalized)))
    expected = forward(variables["params"], IMAGES, normalized=normalized)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    names = ["layer1/dense", "layer2/dense", "output"]
    assert list(activations) == names
    assert all(f"{name}/kernel" in named_leaves(variables["params"]) for name in names)


@pytest.mark.parametrize("normalized", [0.0, 1.0])
def test_what_is_switched_off_has_no_gradient(variables, normalized):
    def loss(params):
        return (answers(variables | {"params": params}, switches(normalized))[0] ** 2).sum()

    gradients = jax.jit(jax.grad(loss))(variables["params"])["layer1"]
    norm = sum(float(jnp.abs(leaf).sum()) for leaf in gradients["norm"].values())
    bias = float(jnp.abs(gradients["bias"]).sum())
    assert (norm > 0, bias > 0) == (normalized == 1, normalized == 0)


def test_noise_and_dropout_belong_to_train_mode_and_to_the_key(variables):
    told = switches(1.0, 1.0, 0.5)
    quiet = answers(variables, told, train=False)[0]
    np.testing.assert_array_equal(quiet, answers(variables, switches(1.0), train=False)[0])
    one, other = (answers(variables, told, key)[0] for key in (2, 3))
    assert np.abs(one - other).max() > 0.01
    np.testing.assert_array_equal(one, answers(variables, told, 2)[0])


def test_one_program_serves_every_mixture(variables):
    compiled = jax.jit(lambda told: answers(variables, told)[0])
    for told in (switches(), switches(1.0), switches(1.0, 0.5), switches(0.0, 0.0, 0.3)):
        np.testing.assert_allclose(compiled(told), answers(variables, told)[0], rtol=1e-5)
    assert compiled._cache_size() == 1


def test_noise_moves_the_moments_of_a_unit():
    """By hand: shift .8 and stretch 1.5 at strength 1, and half as much at strength .5."""
    x = jnp.array([[-1.0], [1.0]])
    middle = jnp.full((2, 1), 0.5)  # no image strays, none is dropped
    draws = Draws(jnp.array([[0.9]]), jnp.array([[0.5]]), middle, middle)
    np.testing.assert_allclose(perturbed(x, 1.0, draws), [[-0.7], [2.3]], rtol=1e-6)
    np.testing.assert_allclose(perturbed(x, 0.5, draws), [[-0.85], [1.65]], rtol=1e-6)
    np.testing.assert_array_equal(perturbed(x, 0.0, draws), x)


def test_dropout_keeps_the_mean():
    levels = (jnp.arange(256.0)[:, None] + 0.5) / 256
    draws = Draws(levels, levels, levels, levels)
    found = dropped(jnp.ones((256, 1)), 0.25, draws)
    assert float(found.mean()) == pytest.approx(1)
    assert sorted(np.unique(found)) == pytest.approx([0, 4 / 3])
    np.testing.assert_array_equal(dropped(jnp.ones((256, 1)), 0.0, draws), 1)
