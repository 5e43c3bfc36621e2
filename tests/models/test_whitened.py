"""The net behind a whitening layer: what whitening does, its sizes, its layers in plain ``lax``."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxvision.convolution import conv2d
from jaxvision.initializers import torch_default
from jaxvision.models import whitened
from jaxvision.models.drawing import initialize, initialize_runs
from jaxvision.models.layers import apply_function
from jaxvision.models.normalization import EPSILON
from jaxvision.models.whitened import WhitenedConvNet, identity_first, whitening_kernel
from jaxvision.random import stream
from jaxvision.trees import named_leaves

IMAGE = (7, 9, 2)
MODEL = WhitenedConvNet((4, 5), 3, torch_default())


def correlated_images(shape=(200, 6, 7, 3)):
    """Images whose neighbors and colors go together."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=shape)
    images = images + np.roll(images, 1, 1) + 0.5 * np.roll(images, 1, 2)
    return (images @ rng.normal(size=(shape[-1],) * 2)).astype(np.float32)


def variables_of(images):
    variables = initialize_runs(MODEL, stream(0, "init")[None], IMAGE)
    one = jax.tree.map(lambda leaf: leaf[0], variables)
    return whitened.whitened(one, images)


def test_whitened_patches_have_the_identity_as_covariance():
    images = correlated_images()
    kernel = whitening_kernel(images, noise=0)
    assert kernel.shape == (2, 2, 3, 24)
    out = np.asarray(conv2d(images, kernel, padding="VALID")).reshape(-1, 24)
    np.testing.assert_allclose(np.cov(out[:, :12].T), np.eye(12), atol=1e-3)
    np.testing.assert_array_equal(kernel[..., 12:], -kernel[..., :12])


def test_a_weak_component_stays_weak():
    images = correlated_images()
    images[..., 2] = images[..., 1] + 0.01 * images[..., 2]
    patches = np.concatenate(
        [images[:, i : i + 5, j : j + 6] for i in (0, 1) for j in (0, 1)], axis=-1
    )
    variances = np.linalg.eigvalsh(np.cov(patches.reshape(-1, 12).T))
    out = np.asarray(conv2d(images, whitening_kernel(images, noise=0.01), padding="VALID"))
    expected = variances / (variances + 0.01)
    assert expected.min() < 0.5
    np.testing.assert_allclose(out.reshape(-1, 24)[:, :12].var(0), expected, rtol=2e-3)


def test_images_of_one_value_whiten_to_nothing_infinite():
    kernel = whitening_kernel(np.ones((3, 4, 4, 1), np.float32))
    assert np.isfinite(kernel).all()


def test_the_first_channels_hand_on_their_inputs():
    init = identity_first(torch_default())
    kernel = init(stream(0, "init"), (3, 3, 2, 5), jnp.float32)
    images = jax.random.normal(stream(0, "probe"), (2, 4, 4, 2))
    out = conv2d(images, kernel, padding="SAME")
    np.testing.assert_allclose(out[..., :2], images, rtol=1e-6)
    drawn = torch_default()(stream(0, "init"), (3, 3, 2, 5))
    np.testing.assert_array_equal(kernel[..., 2:], drawn[..., 2:])


def slowly(params, statistics, images):
    """The same net by ``lax`` alone, its pools those of windows."""

    def conv(x, kernel, padding="SAME"):
        layout = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=layout)

    def norm(x, i):
        mean, var = (moment((0, 1, 2), keepdims=True) for moment in (x.mean, x.var))
        scale, bias = (params[i][name].reshape(1, 1, 1, -1) for name in ("scale", "bias"))
        return (x - mean) / jnp.sqrt(var + EPSILON) * scale + bias

    x = conv(images, statistics["whitening"], "VALID")
    for first in (1, 3):
        x = conv(jax.nn.relu(x), params[f"conv{first}"]["kernel"])
        x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        x = norm(x, f"norm{first}")
        x = conv(jax.nn.relu(x), params[f"conv{first + 1}"]["kernel"])
        x = norm(x, f"norm{first + 1}")
    x = jax.nn.relu(x).reshape(len(x), -1, x.shape[-1])
    x = jnp.take_along_axis(x, x.argmax(1, keepdims=True), 1)[:, 0]
    return x @ params["logits"]["kernel"] / 9


@pytest.mark.parametrize("tapped", [False, True], ids=["", "tapped"])
def test_values_and_gradients_are_those_of_the_definition(tapped):
    rng = np.random.default_rng(1)
    images = rng.normal(size=(6, *IMAGE)).astype(np.float32)
    variables = variables_of(images)
    params = jax.tree.map(
        lambda leaf: leaf + 0.1 * rng.normal(size=leaf.shape).astype(np.float32),
        variables["params"],
    )
    stats = variables["batch_stats"]
    names = [f"conv{i}" for i in (1, 2, 3, 4)] + ["logits"]
    taps = {name: jnp.zeros(()) for name in names} if tapped else None
    weights = rng.normal(size=(6, 3)).astype(np.float32)

    def ours(params):
        logits, activations, _ = apply_function(MODEL)(params, stats, images, train=True, taps=taps)
        assert list(activations) == names
        return jnp.sum(weights * logits), logits

    def theirs(params):
        logits = slowly(params, stats, images)
        return jnp.sum(weights * logits), logits

    (_, logits), gradients = jax.jit(jax.value_and_grad(ours, has_aux=True))(params)
    (_, expected), slow = jax.jit(jax.value_and_grad(theirs, has_aux=True))(params)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4), gradients, slow)


def test_the_whitening_layer_is_known_from_images_and_kept_in_training():
    images = correlated_images((20, *IMAGE))
    variables = initialize_runs(MODEL, jnp.stack([stream(s, "init") for s in (0, 1)]), IMAGE)
    assert not variables["batch_stats"]["whitening"].any()
    stats = whitened.whitened(variables, images)["batch_stats"]
    assert stats["whitening"].shape == (2, 2, 2, 2, 16)
    kept = variables_of(images)
    np.testing.assert_array_equal(stats["whitening"][1], kept["batch_stats"]["whitening"])
    train = partial(apply_function(MODEL), kept["params"], kept["batch_stats"], train=True)
    _, _, after = jax.jit(train)(images)
    np.testing.assert_array_equal(after["whitening"], kept["batch_stats"]["whitening"])
    assert np.abs(after["norm1"]["mean"]).max() > 0


def test_the_recipe_s_net_has_its_sizes_to_the_unit():
    model = WhitenedConvNet((48, 128, 128), 10, torch_default())
    draw = partial(initialize, model, image_shape=(32, 32, 3))
    variables = jax.eval_shape(draw, jax.random.key(0))
    shapes = {name: leaf.shape for name, leaf in named_leaves(variables["params"]).items()}
    inputs = {1: 24, 2: 48, 3: 48, 4: 128, 5: 128, 6: 128}
    outputs = {1: 48, 2: 48, 3: 128, 4: 128, 5: 128, 6: 128}
    for i in inputs:
        assert shapes[f"conv{i}/kernel"] == (3, 3, inputs[i], outputs[i])
        assert shapes[f"norm{i}/scale"] == shapes[f"norm{i}/bias"] == (outputs[i],)
    assert shapes["logits/kernel"] == (128, 10)
    kernels = 9 * (24 * 48 + 48 * 48 + 48 * 128 + 3 * 128 * 128) + 1280
    assert sum(map(np.prod, shapes.values())) == kernels + 2 * (2 * 48 + 4 * 128)
    apply = partial(apply_function(model), train=False)
    images = jax.ShapeDtypeStruct((2, 32, 32, 3), np.float32)
    _, found, _ = jax.eval_shape(apply, variables["params"], variables["batch_stats"], images)
    maps = {name: x.shape[1:] for name, x in found.items()}
    assert maps == {
        "conv1": (15, 15, 48),
        "conv2": (15, 15, 48),
        "conv3": (7, 7, 128),
        "conv4": (7, 7, 128),
        "conv5": (3, 3, 128),
        "conv6": (3, 3, 128),
        "logits": (10,),
    }


def test_a_map_of_one_row_is_not_pooled_away():
    shape = (2, 5, 1)
    draw = partial(initialize, MODEL, image_shape=shape)
    variables = jax.eval_shape(draw, jax.random.key(0))
    images = jax.ShapeDtypeStruct((2, *shape), np.float32)
    apply = partial(apply_function(MODEL), train=False)
    _, found, _ = jax.eval_shape(apply, variables["params"], variables["batch_stats"], images)
    assert [found[f"conv{i}"].shape[1:3] for i in (1, 3)] == [(1, 2), (1, 1)]
