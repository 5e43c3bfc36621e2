"""The plain conv nets of He et al. 2015: the tables' layers, and scanned against unrolled."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxvision.initializers import he_backward
from jaxvision.models.drawing import initialize
from jaxvision.models.layers import apply_function
from jaxvision.models.plain import PlainConvNet, Stage, he2015_net
from jaxvision.random import stream
from jaxvision.trees import named_leaves
from jaxvision.types import UserError


def shapes(model, size, channels=1):
    start = partial(initialize, model, image_shape=(size, size, channels))
    return jax.eval_shape(start, stream(0, "init"))["params"]


def kernels(params):
    """Return the kernel shapes of all layers, one for each, stacks unstacked."""
    found = []
    for name, leaf in named_leaves(params).items():
        if name.endswith("kernel"):
            stacked = leaf.ndim % 2
            found += [leaf.shape[stacked:]] * (leaf.shape[0] if stacked else 1)
    return found


def by_hand(depth, w, channels, cells):
    """The layers of the paper's tables, written out; ``cells`` of the pyramid before the head."""
    convs = {
        14: [(3, channels, w), (2, w, 2 * w)]
        + 3 * [(2, 2 * w, 2 * w)]
        + [(2, 2 * w, 4 * w)]
        + 5 * [(2, 4 * w, 4 * w)],
        22: [(3, channels, w), (3, w, 2 * w)]
        + 5 * [(3, 2 * w, 2 * w)]
        + [(3, 2 * w, 4 * w)]
        + 11 * [(3, 4 * w, 4 * w)],
        30: [(3, channels, w), (2, w, 2 * w)]
        + 3 * [(2, 2 * w, 2 * w)]
        + [(2, 2 * w, 4 * w)]
        + 21 * [(2, 4 * w, 4 * w)],
    }[depth]
    dense = [(cells * 4 * w, 16 * w), (16 * w, 16 * w), (16 * w, 10)]
    return [(k, k, i, o) for k, i, o in convs] + dense


@pytest.mark.parametrize(
    ("depth", "size", "channels", "cells"),
    [
        (14, 8, 1, 21),  # last maps 4x4: bins 4, 2, 1
        (22, 8, 1, 5),  # 2x2: bins 2, 1
        (30, 8, 1, 21),
        (14, 32, 3, 21),  # pooled after the stem: 8x8
        (22, 32, 3, 21),  # 4x4
        (30, 28, 1, 21),
    ],
)
def test_layers_and_parameters(depth, size, channels, cells):
    params = shapes(he2015_net(depth, 3, 10, he_backward(), size), size, channels)
    expected = by_hand(depth, 3, channels, cells)
    assert len(expected) == depth
    assert sorted(kernels(params)) == sorted(expected)
    count = sum(np.prod(kernel) + kernel[-1] for kernel in expected)  # and biases
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count


@pytest.mark.parametrize("depth", [13, 15, 0])
def test_other_depths_are_one_clear_line(depth):
    with pytest.raises(UserError, match=rf"^He et al\. 2015 has nets of .* not {depth}$"):
        he2015_net(depth, 4, 10, he_backward(), 8)


THIN = [(64, 3), (3, 64), (1, 32), (32, 1), (32, 4), (8, 32), (3, 3), (2, 2), (1, 1)]


@pytest.mark.parametrize("depth", [14, 22, 30])
@pytest.mark.parametrize(("height", "width"), THIN)
def test_thin_and_small_images_are_pooled_as_far_as_they_go(height, width, depth):
    model = he2015_net(depth, 2, 5, he_backward(), height)
    start = partial(initialize, model, image_shape=(height, width, 3))
    params = jax.eval_shape(start, stream(0, "init"))["params"]
    images = jax.ShapeDtypeStruct((2, height, width, 3), jnp.float32)
    apply = partial(apply_function(model), train=True)
    logits, activations, _ = jax.eval_shape(apply, params, {}, images)
    assert logits.shape == (2, 5)
    pools = (height >= 32) + len(model.stages) - 1
    last = [max(1, side // 2**pools) for side in (height, width)]
    assert activations["stem"].shape[1:3] == (height, width)
    assert list(activations[f"stage{len(model.stages)}_rest"].shape[2:4]) == last
    cells = sum(b * b for b in (4, 2, 1) if b <= min(last))
    assert params["dense1"]["kernel"].shape == (8 * cells, 32)


SMALL = PlainConvNet(3, (Stage(3, 4, 2), Stage(4, 5, 3)), 6, 5, he_backward())
NAMES = ["stem", "stage1_first", "stage1_rest", "stage2_first", "stage2_rest"]
NAMES += ["dense1", "dense2", "logits"]


@pytest.fixture(scope="module")
def small():
    """A small net with biases that are not zero, images, and what it makes of them."""
    start = jax.jit(partial(initialize, SMALL, image_shape=(8, 8, 2)))
    params = start(stream(0, "init"))["params"]
    params = jax.tree.map(lambda leaf: leaf + 0.01 * leaf.ndim, params)
    images = jax.random.normal(stream(0, "probe"), (2, 8, 8, 2))
    apply = jax.jit(lambda params, images: apply_function(SMALL)(params, {}, images, train=True))
    return apply, params, images


def test_activations_are_named_after_their_kernels_in_depth_order(small):
    apply, params, images = small
    logits, activations, _ = apply(params, images)
    assert list(activations) == NAMES
    assert {f"{name}/kernel" for name in NAMES} <= named_leaves(params).keys()
    assert activations["stem"].shape == (2, 8, 8, 3)
    assert activations["stage1_rest"].shape == (2, 2, 8, 8, 4)
    assert activations["stage2_rest"].shape == (3, 2, 4, 4, 5)
    np.testing.assert_array_equal(logits, activations["logits"])


def torus_conv(x, kernel, bias):
    before, after = (kernel.shape[0] - 1) // 2, kernel.shape[0] // 2
    x = jnp.concatenate([x[:, x.shape[1] - before :], x, x[:, :after]], axis=1)
    x = jnp.concatenate([x[:, :, x.shape[2] - before :], x, x[:, :, :after]], axis=2)
    layout = ("NHWC", "HWIO", "NHWC")
    out = lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=layout)
    return out + bias[None, None, None]


def max_pool(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def unrolled(params, images):
    """Every pre-activation in depth order, layer by layer."""
    found = [torus_conv(images, **params["stem"])]
    for stage in ("stage1", "stage2"):
        # ReLU before the pooling: the same, because both are monotone.
        x = jax.nn.relu(found[-1])
        x = max_pool(x) if stage == "stage2" else x
        found.append(torus_conv(x, **params[f"{stage}_first"]))
        rest = params[f"{stage}_rest"]
        for kernel, bias in zip(rest["kernel"], rest["bias"], strict=True):
            found.append(torus_conv(jax.nn.relu(found[-1]), kernel, bias))
    x = jax.nn.relu(found[-1])  # 4x4 maps: cells of one, four and sixteen pixels
    x = jnp.concatenate(
        [x.reshape(len(x), -1), max_pool(x).reshape(len(x), -1), x.max((1, 2))], axis=1
    )
    for name in ("dense1", "dense2", "logits"):
        found.append(x @ params[name]["kernel"] + params[name]["bias"][None])
        x = jax.nn.relu(found[-1])
    return found


def test_scanned_equals_unrolled(small):
    apply, params, images = small
    activations = apply(params, images)[1]
    layers = []
    for name in NAMES:
        layers += list(activations[name]) if name.endswith("rest") else [activations[name]]
    for found, expected in zip(layers, jax.jit(unrolled)(params, images), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_convolutions_commute_with_translations_of_the_torus(small):
    """Nothing in the net knows an edge. Pooling commutes with even shifts only."""
    apply, params, images = small
    before = apply(params, images)[1]
    after = apply(params, jnp.roll(images, (4, -2), (1, 2)))[1]
    for name, shift in (("stem", (4, -2)), ("stage1_rest", (4, -2)), ("stage2_rest", (2, -1))):
        moved = jnp.roll(before[name], shift, (-3, -2))
        np.testing.assert_allclose(after[name], moved, rtol=1e-5, atol=1e-6)


def program(layers):
    """What XLA is given: the gradient of a net with ``layers`` in each stage."""
    model = PlainConvNet(3, (Stage(layers, 4, 2), Stage(layers, 5, 3)), 6, 5, he_backward())

    def loss(params, images):
        return jnp.sum(apply_function(model)(params, {}, images, train=True)[0])

    images = jax.ShapeDtypeStruct((2, 8, 8, 2), jnp.float32)
    return jax.jit(jax.grad(loss)).lower(shapes(model, 8, 2), images).as_text()


def test_program_does_not_grow_with_depth():
    assert len(program(4).splitlines()) == len(program(100).splitlines())
