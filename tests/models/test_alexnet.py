"""AlexNet: its layers against the same net by ``lax``, and what is left when layers go."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxvision.initializers import he_forward
from jaxvision.models.alexnet import NAMES, REMOVABLE, alexnet
from jaxvision.models.drawing import initialize
from jaxvision.models.layers import apply_function
from jaxvision.models.published import parameters_of
from jaxvision.random import stream
from jaxvision.trees import named_leaves
from jaxvision.types import UserError

IMAGE = (8, 8, 2)
REMOVALS = ((), (7,), (6, 7), (3, 4), (3, 4, 6, 7), (4,))


def net(removed=(), dense=20, **options):
    return alexnet(3, dense, 5, he_forward(), 8, removed, **options)


def start(model, image=IMAGE):
    """Variables of a net, biases not zero."""
    draw = jax.jit(partial(initialize, model, image_shape=image))
    drawn = jax.device_get(draw(stream(0, "init"))["params"])
    return jax.tree.map(lambda leaf: leaf + np.float32(0.01 * leaf.ndim), drawn)


@pytest.fixture(scope="module")
def images():
    return jax.random.normal(stream(0, "probe"), (3, *IMAGE))


def slowly(params, x, removed=()):
    """Every pre-activation by the papers' numbers, ReLU before each pool."""
    found = {}
    for number, name in NAMES.items():
        if number == 6:
            x = x.reshape(len(x), -1)
        if number not in removed:
            kernel, bias = params[name]["kernel"], params[name]["bias"]
            if number < 6:
                layout = ("NHWC", "HWIO", "NHWC")
                x = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout)
            else:
                x = x @ kernel
            x = found[name] = x + bias.reshape((1,) * (x.ndim - 1) + (-1,))
            x = jax.nn.relu(x)
        if number in (1, 2, 5):
            x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return found


@pytest.mark.parametrize("removed", [(), (3, 4, 6, 7)])
def test_layers_are_those_of_the_definition(removed, images):
    model = net(removed)
    params = start(model)
    apply = jax.jit(partial(apply_function(model), train=True))
    logits, activations, _ = apply(params, {}, images)
    expected = jax.jit(partial(slowly, removed=removed))(params, images)
    assert list(activations) == [name for name in NAMES.values() if name in expected]
    for name, values in expected.items():
        np.testing.assert_allclose(activations[name], values, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(logits, activations["fc8"])


@pytest.mark.parametrize("removed", REMOVALS)
def test_activations_are_named_after_the_kernels_that_are_left(removed):
    model = net(removed)
    params = jax.eval_shape(partial(initialize, model, image_shape=IMAGE), stream(0, "init"))
    shapes = jax.ShapeDtypeStruct((3, *IMAGE), jnp.float32)
    apply = partial(apply_function(model), train=False)
    _, activations, _ = jax.eval_shape(apply, params["params"], {}, shapes)
    assert list(activations) == [name for i, name in NAMES.items() if i not in removed]
    kernels = [n for n in named_leaves(params["params"]) if n.endswith("kernel")]
    assert sorted(kernels) == sorted(f"{name}/kernel" for name in activations)


def test_parameters_at_small_size():
    """12, 32, 48, 48, 32 channels, the last maps 2x2, 256 units: by hand."""
    convs = (25 * 3 * 12 + 12, 9 * 12 * 32 + 32, 9 * 32 * 48 + 48, 9 * 48 * 48 + 48)
    whole = (*convs, 9 * 48 * 32 + 32, 128 * 256 + 256, 256 * 256 + 256, 2570)
    counts = parameters_of(alexnet(12, 256, 10, he_forward(), 32), 32)
    assert tuple(counts[name] for name in NAMES.values()) == whole
    left = parameters_of(alexnet(12, 256, 10, he_forward(), 32, REMOVABLE), 32)
    assert sum(left.values()) == sum(whole[:2]) + 9 * 32 * 32 + 32 + 1290


def test_the_published_net_on_large_images():
    model = alexnet(96, 4096, 1000, he_forward(), 227, large_images=True)
    counts = parameters_of(model, 227)
    assert sum(counts.values()) == 62_378_344
    shapes = jax.ShapeDtypeStruct((1, 227, 227, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), shapes)
    _, activations = jax.eval_shape(model.apply, variables, shapes)
    sides = [activations[f"conv{i}"].shape[1] for i in range(1, 6)]
    assert sides == [55, 27, 13, 13, 13]
    with pytest.raises(UserError, match="takes images of 67 pixels and more"):
        parameters_of(model, 66)


def test_a_layer_that_is_not_kept_is_the_identity(images):
    """Its kernel no longer matters, and where it is the identity nothing changes."""
    model = net()
    apply = jax.jit(partial(apply_function(model), train=False))
    params = start(model)
    whole = apply(params, {}, images)[0]
    np.testing.assert_array_equal(apply(params, {}, images, keep=np.ones(4, bool))[0], whole)
    for i, number in enumerate(REMOVABLE):
        keep = np.arange(4) != i
        without, activations, _ = apply(params, {}, images, keep=keep)
        assert not np.allclose(without, whole)
        name, shape = NAMES[number], params[NAMES[number]]["kernel"].shape
        eye = np.zeros(shape, np.float32)
        eye[(*(side // 2 for side in shape[:-2]), *[range(min(shape[-2:]))] * 2)] = 1
        identity = {"kernel": eye, "bias": np.zeros(shape[-1], np.float32)}
        found, of_identity, _ = apply(params | {name: identity}, {}, images)
        np.testing.assert_allclose(without, found, rtol=1e-4, atol=1e-5)
        positive = jax.nn.relu(activations[name])
        np.testing.assert_allclose(positive, of_identity[name], rtol=1e-5, atol=1e-6)


def test_a_layer_that_narrows_cannot_be_passed_over(images):
    model = net(dense=7)
    with pytest.raises(UserError, match=r"layer 6 narrows 8 channels to 7.* make the layer wider"):
        jax.eval_shape(
            partial(apply_function(model), train=False, keep=np.ones(4, bool)),
            start(model),
            {},
            images,
        )


def test_dropout_is_of_training_alone(images):
    """Half of the units of layer 7 and then all others doubled: logits by mean unchanged."""
    model, plain = net((6,), dense=400, dropout=0.5), net((6,), dense=400)
    params = start(plain)
    expected, found = (
        jax.jit(partial(apply_function(each), train=False))(params, {}, images)[0]
        for each in (plain, model)
    )
    np.testing.assert_array_equal(found, expected)
    keys = jax.random.split(stream(0, "dropout"), 2000)

    def one(key):
        return apply_function(model)(params, {}, images, train=True, dropout_key=key)[0]

    draws = np.asarray(jax.jit(jax.vmap(one))(keys))
    error = draws.std(0) / np.sqrt(len(keys))
    assert (draws.std(0) > 0.01).all()
    assert (np.abs(draws.mean(0) - np.asarray(expected)) < 5 * error).all()


@pytest.mark.parametrize("size", [(32, 32), (28, 28), (8, 8), (3, 64), (1, 1)])
def test_images_of_any_size(size):
    model = alexnet(3, 8, 5, he_forward(), size[0])
    shapes = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), shapes)
    logits, activations = jax.eval_shape(model.apply, variables, shapes)
    assert logits.shape == (2, 5)
    assert activations["conv1"].shape[1] == (size[0] // 2 if size[0] >= 32 else size[0])


@pytest.mark.parametrize(
    ("removed", "message"),
    [
        ((9,), "^AlexNet has layers 1 to 8, not 9: remove 3, 4, 6 or 7$"),
        ((0,), "^AlexNet has layers 1 to 8, not 0: remove 3, 4, 6 or 7$"),
        ((3, 5), "^AlexNet's layer 5 cannot be removed: remove 3, 4, 6 or 7$"),
        ((8,), "^AlexNet's layer 8 cannot be removed: remove 3, 4, 6 or 7$"),
    ],
)
def test_layers_that_cannot_go_are_one_clear_line(removed, message):
    with pytest.raises(UserError, match=message):
        net(removed)


def test_a_width_that_has_no_third_is_one_clear_line():
    with pytest.raises(UserError, match=r"^width=16: AlexNet's layers are 3:8:12:12:8 wide"):
        alexnet(16, 8, 5, he_forward(), 8)
