"""Layers that models share, each against a slow version of itself; the contract of ``apply``."""

from collections import OrderedDict

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.initializers import he_forward, orthogonal
from jaxvision.models.drawing import initialize
from jaxvision.models.layers import (
    Conv,
    apply_function,
    by_layer,
    is_stacked,
    max_pool,
    scan_layers,
    spatial_pyramid,
    stack,
    stacked_axes,
    tapped,
)
from jaxvision.models.mlp import MLP
from jaxvision.models.plain import PlainConvNet, Stage
from jaxvision.models.residual_mlp import ResidualMLP
from jaxvision.models.resnet import ResNet, cifar_resnet
from jaxvision.random import stream
from jaxvision.training.mapping import choose_mapping
from jaxvision.training.step import zero_taps
from jaxvision.trees import named_leaves


def normal(*shape, draw=0):
    """Draw with NumPy: jax.random compiles for every shape."""
    return np.random.default_rng(draw).normal(size=shape).astype(np.float32)


IMAGES = normal(2, 5, 6, 3)


def started(net, x):
    return jax.device_get(jax.jit(net.init)(stream(0, "init"), x))


def test_conv_has_the_parameters_of_flax_and_its_result():
    ours = Conv(4, 3, stride=2)
    theirs = nn.Conv(4, (3, 3), strides=2)
    variables = started(ours, IMAGES)
    jax.tree.map(np.testing.assert_array_equal, variables, started(theirs, IMAGES))
    variables["params"]["bias"] = np.arange(4, dtype=np.float32)
    found, expected = (jax.jit(conv.apply)(variables, IMAGES) for conv in (ours, theirs))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_conv_without_bias_has_none():
    variables = started(Conv(4, use_bias=False), IMAGES)
    assert list(named_leaves(variables["params"])) == ["kernel"]


def torus_conv(x, kernel):
    """The definition of a wrapped convolution, its window centered as SAME centers it."""
    size, before = kernel.shape[0], (kernel.shape[0] - 1) // 2
    out = 0.0
    for i in range(size):
        for j in range(size):
            out = out + np.roll(x, (before - i, before - j), (1, 2)) @ np.asarray(kernel)[i, j]
    return out


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_wrap_is_the_convolution_on_a_torus(size):
    conv = Conv(4, size, padding="WRAP")
    variables = started(conv, IMAGES)
    found = jax.jit(conv.apply)(variables, IMAGES)
    expected = torus_conv(IMAGES, variables["params"]["kernel"])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [2, 3])
def test_a_wrapped_convolution_commutes_with_translations(size):
    conv = Conv(4, size, padding="WRAP")
    variables = started(conv, IMAGES)

    def both(conv):
        """The images moved and then convolved, and the other way round."""
        apply = jax.jit(conv.apply)
        moved = np.roll(IMAGES, (2, -1), (1, 2))
        return apply(variables, moved), np.roll(apply(variables, IMAGES), (2, -1), (1, 2))

    np.testing.assert_allclose(*both(conv), atol=1e-6)
    # The control: zeros at the edge do not move along.
    first, second = both(Conv(4, size))
    assert np.abs(first - second).max() > 0.1


def test_under_wrap_he_keeps_the_variance_and_zero_padding_loses_it():
    """What ``Conv`` says of 2x2 kernels on 4x4 maps: a quarter of the variance a layer."""
    images = normal(64, 4, 4, 64, draw=1)
    # fan_in * Var[w] = 2 on inputs of variance 1 without ReLU: the variance doubles.
    growth = {}
    for padding in ("WRAP", "SAME"):
        conv = Conv(64, 2, padding=padding, kernel_init=he_forward())
        growth[padding] = np.var(jax.jit(conv.apply)(started(conv, images), images)) / 2
    assert growth["WRAP"] == pytest.approx(1.0, abs=0.03)
    # Of 16 windows 9 see four pixels, 6 two and 1 one: (36 + 12 + 1) / 64 of the variance.
    assert growth["SAME"] == pytest.approx(49 / 64, abs=0.03)


@pytest.mark.parametrize(
    ("height", "width", "window"),
    [(6, 4, 2), (7, 5, 2), (9, 6, 3), (5, 5, 4), (1, 6, 2), (5, 1, 2), (2, 9, 3)],
)
def test_max_pool_equals_a_loop(height, width, window):
    x = normal(2, height, width, 3)
    found = np.asarray(max_pool(x, window))
    assert found.shape == (2, max(1, height // window), max(1, width // window), 3)
    for i in range(found.shape[1]):
        for j in range(found.shape[2]):
            cell = x[:, i * window : (i + 1) * window, j * window : (j + 1) * window]
            np.testing.assert_array_equal(found[:, i, j], cell.max((1, 2)))


def test_max_pool_sends_the_gradient_to_the_maximum():
    x = np.random.default_rng(0).permutation(np.arange(16, dtype=np.float32))
    x = x.reshape(1, 4, 4, 1)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(max_pool(x))))(x)
    at_maximum = np.isin(x, max_pool(x))
    np.testing.assert_array_equal(gradient, at_maximum)


@pytest.mark.parametrize(("size", "bins"), [(4, (4, 2, 1)), (5, (2, 1)), (5, (3,)), (2, (2, 1))])
def test_spatial_pyramid_equals_a_loop(size, bins):
    x = normal(2, size, size, 3)
    expected = []
    for b in bins:
        low = [int(np.floor(i * size / b)) for i in range(b)]
        high = [int(np.ceil((i + 1) * size / b)) for i in range(b)]
        for i in range(b):
            for j in range(b):
                expected.append(x[:, low[i] : high[i], low[j] : high[j]].max((1, 2)))
    found = jax.jit(lambda x: spatial_pyramid(x, bins))(x)
    assert found.shape == (2, 3 * sum(b * b for b in bins))
    np.testing.assert_array_equal(found, np.concatenate(expected, axis=1))


def test_a_pyramid_of_one_by_one_cells_is_the_image_itself():
    x = normal(2, 4, 4, 3)
    found = jax.jit(lambda x: spatial_pyramid(x, (4,)))(x)
    np.testing.assert_array_equal(found, x.reshape(2, -1))


class Tower(nn.Module):
    """``stack`` alone."""

    length: int

    @nn.compact
    def __call__(self, x, taps=None):
        return stack(nn.Dense(6, name="rest"), x, self.length, taps, nn.tanh)


@pytest.mark.parametrize("length", [1, 4])
def test_stack_equals_a_loop_over_the_same_parameters(length):
    x = normal(3, 6)
    tower = Tower(length)
    variables = started(tower, x)
    kernels = variables["params"]["rest"]["kernel"]
    assert kernels.shape == (length, 6, 6)
    # One key a layer: no two layers begin alike.
    assert len({float(kernel[0, 0]) for kernel in kernels}) == length
    variables["params"]["rest"]["bias"] = normal(length, 6, draw=1)
    last, every = jax.device_get(jax.jit(tower.apply)(variables, x))
    for kernel, bias, found in zip(
        kernels, variables["params"]["rest"]["bias"], every, strict=True
    ):
        x = np.tanh(x) @ kernel + bias
        np.testing.assert_allclose(found, x, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(last, every[-1])


def test_taps_of_a_stack_are_one_a_layer_and_change_no_value():
    x = normal(3, 6)
    tower = Tower(4)
    variables = started(tower, x)

    def loss(taps):
        last = tower.apply(variables, x, taps)[0]
        return jnp.sum(last**2), last

    taps = {"rest": np.zeros(4, np.float32)}
    (value, last), read = jax.jit(jax.value_and_grad(loss, has_aux=True))(taps)
    np.testing.assert_allclose(value, jax.jit(loss)(None)[0], rtol=1e-6)
    assert read["rest"].shape == (4,)
    np.testing.assert_allclose(read["rest"][-1], np.sum((2 * np.asarray(last)) ** 2), rtol=1e-5)


STACKS = [  # name, shape of a kernel, axes that count layers
    ("hidden/kernel", (9, 4, 4), 1),  # dense layers
    ("output/kernel", (4, 4), 0),
    ("conv1/kernel", (5, 4, 4), 0),  # 1-D convolutions
    ("stage1_rest/kernel", (9, 5, 4, 4), 1),
    ("stem/kernel", (3, 3, 1, 4), 0),  # 2-D
    ("stage1_rest/conv/kernel", (9, 3, 3, 4, 4), 1),
    ("conv1/kernel", (2, 3, 3, 1, 4), 0),  # 3-D
    ("rest", (9, 2, 3, 3, 4, 4), 1),
    ("stages_rest/blocks_rest/conv1/kernel", (3, 9, 3, 3, 4, 4), 2),  # a stack of stacks
    ("hidden/kernel", (4, 4), 0),  # one dense layer of that name
    ("forest/kernel", (3, 4, 4), 0),
    ("hidden2/kernel", (3, 4, 4), 0),
]


@pytest.mark.parametrize(("name", "shape", "axes"), STACKS)
def test_a_stack_is_known_by_its_name_whatever_its_layers_are(name, shape, axes):
    leaf = jax.ShapeDtypeStruct(shape, jnp.float32)
    assert stacked_axes(name, leaf) == axes
    assert is_stacked(name, leaf) == (axes > 0)


def test_a_stack_has_one_row_for_each_layer():
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
    np.testing.assert_array_equal(by_layer("conv1", x), x.reshape(1, 24))
    np.testing.assert_array_equal(by_layer("rest", x), x.reshape(2, 12))
    np.testing.assert_array_equal(by_layer("rest/a_rest", x), x.reshape(6, 4))


class Volumes(nn.Module):
    """Two 3-D convolutions, a stack of 1-D ones by hand: what parity of axes took for others."""

    @nn.compact
    def __call__(self, x, *, train=False, taps=None):
        found = {}
        for name in ("conv1", "conv2"):
            x = nn.Conv(3, (2, 2, 2), name=name)(nn.relu(x))
            found[name] = x = tapped(x, taps, name)
        x = nn.Conv(3, (2,), name="line")(x.reshape(x.shape[0], -1, 3))
        found["line"] = x = tapped(x, taps, "line")
        return x.mean(1), found


def test_taps_of_convolutions_in_one_and_three_dimensions_are_single_numbers():
    net, x = Volumes(), normal(2, 3, 4, 4, 1)
    params = started(net, x)["params"]
    taps = zero_taps(params)
    assert {name: tap.shape for name, tap in taps.items()} == dict.fromkeys(taps, ())

    @jax.jit
    @jax.grad
    def read_of(taps):
        return jnp.sum(net.apply({"params": params}, x, taps=taps)[0])

    read = read_of(taps)
    assert all(float(squared) > 0 for squared in read.values())
    assert choose_mapping(jax.tree.map(lambda leaf: leaf[None], params)) == "map"


@pytest.mark.parametrize(
    "shallow, deep",
    [
        (MLP(5, 8, 3, orthogonal(1.0)), MLP(6, 8, 3, orthogonal(1.0))),
        (ResidualMLP(5, 8, 3, orthogonal(1.0)), ResidualMLP(6, 8, 3, orthogonal(1.0))),
        (
            PlainConvNet(2, (Stage(3, 2, 3), Stage(3, 4, 3)), 8, 3, orthogonal(1.0)),
            PlainConvNet(2, (Stage(4, 2, 3), Stage(4, 4, 3)), 8, 3, orthogonal(1.0)),
        ),
        (cifar_resnet(20, features=2), cifar_resnet(26, features=2)),
        (
            ResNet((3, 3), 2, 3, "B", bottleneck=True),
            ResNet((4, 4), 2, 3, "B", bottleneck=True),
        ),
    ],
)
def test_the_contract_of_names_holds_in_every_model(shallow, deep):
    def kernels(net):
        variables = jax.eval_shape(lambda key: initialize(net, key, (8, 8, 1)), stream(0, "init"))
        leaves = named_leaves(variables["params"])
        return {name: leaf for name, leaf in leaves.items() if name.endswith("kernel")}

    few, many = kernels(shallow), kernels(deep)
    assert few.keys() == many.keys()
    grown = {name for name in few if few[name].shape != many[name].shape}
    assert grown == {name for name, leaf in few.items() if is_stacked(name, leaf)}
    assert grown


def test_a_stack_of_another_name_is_refused():
    with pytest.raises(ValueError, match=r"'rest' or '\.\.\._rest', not 'layers'"):
        scan_layers(lambda layer, x: (layer(x), x), "layers", 3)


@pytest.fixture(scope="module")
def net():
    return MLP(5, 8, 3, orthogonal(1.0))


def test_apply_keeps_depth_order_through_jit(net):
    """A plain dict would come back sorted by name: hidden, input, output."""
    draw = jax.jit(lambda key: initialize(net, key, (4, 4, 1)))
    variables = draw(stream(0, "init"))
    apply = jax.jit(apply_function(net), static_argnames="train")
    images = np.ones((2, 4, 4, 1), np.float32)
    logits, activations, _ = apply(variables["params"], {}, images, train=True)
    assert isinstance(activations, OrderedDict)
    assert list(activations) == ["input", "hidden", "output"]
    np.testing.assert_array_equal(logits, activations["output"])


def test_apply_returns_new_statistics_in_training_only():
    class Counting(nn.Module):
        @nn.compact
        def __call__(self, images, *, train=False, taps=None):
            calls = self.variable("batch_stats", "calls", lambda: jnp.zeros(()))
            if train and not self.is_initializing():
                calls.value = calls.value + 1
            x = nn.Dropout(0.5, deterministic=not train)(images.reshape(len(images), -1))
            x = nn.Dense(2, name="output")(x)
            return x, {"output": x}

    draw = jax.jit(lambda key: initialize(Counting(), key, (2, 2, 1)))
    variables = draw(stream(0, "init"))
    params, statistics = variables["params"], variables["batch_stats"]
    images = np.ones((3, 2, 2, 1), np.float32)
    apply = jax.jit(apply_function(Counting()), static_argnames="train")
    key = stream(0, "dropout", 5)
    trained = apply(params, statistics, images, train=True, dropout_key=key)
    assert trained[2] == {"calls": 1}
    again = apply(params, statistics, images, train=True, dropout_key=key)
    np.testing.assert_array_equal(trained[0], again[0])
    other = apply(params, statistics, images, train=True, dropout_key=stream(0, "dropout", 6))
    assert not np.array_equal(trained[0], other[0])
    assert apply(params, statistics, images, train=False)[2] == {"calls": 0}
