"""Nets by name: what a name and its sizes stand for."""

from functools import partial

import jax
import numpy as np
import pytest

from jaxvision.initializers import he_backward
from jaxvision.models.builders import NETS
from jaxvision.models.drawing import initialize
from jaxvision.models.layers import apply_function, stacked_axes
from jaxvision.trees import named_leaves

IMAGE = (8, 8, 1)
DEPTHS = {
    "mlp": 4,
    "sigmoid_mlp": 4,
    "normalized_mlp": 4,
    "he2015": 14,
    "plain": 8,
    "resnet": 8,
}
FIRST = {
    "mlp": "input",
    "sigmoid_mlp": "input",
    "normalized_mlp": "input",
    "he2015": "stem",
    "plain": "stem",
    "resnet": "stem",
}


def shapes(name, **sizes):
    """Return a net of this name, and the shapes of its variables."""
    model = NETS[name](10, IMAGE, he_backward(), **sizes)
    draw = partial(initialize, model, image_shape=IMAGE)
    return model, jax.eval_shape(draw, jax.random.key(0))


@pytest.mark.parametrize(("name", "depth"), DEPTHS.items())
def test_a_net_is_its_sizes(name, depth):
    model, variables = shapes(name, depth=depth, width=2)
    kernels = {n: k for n, k in named_leaves(variables["params"]).items() if n.endswith("kernel")}
    assert sum(np.prod(k.shape[: stacked_axes(n, k)]) for n, k in kernels.items()) == depth
    _, wider = shapes(name, depth=depth, width=4)
    widths = [tree["params"][FIRST[name]]["kernel"].shape[-1] for tree in (variables, wider)]
    assert widths == [2, 4]
    images = jax.ShapeDtypeStruct((3, *IMAGE), np.float32)
    apply = partial(apply_function(model), train=False)
    logits, _, _ = jax.eval_shape(apply, variables["params"], variables["batch_stats"], images)
    assert logits.shape == (3, 10)


def test_every_name_is_tried():
    assert {*DEPTHS, "alexnet", "linear", "shallow", "shift", "whitened"} == NETS.keys()


def test_softmax_regression_is_one_kernel():
    _, variables = shapes("linear")
    sizes = jax.tree.map(np.shape, variables["params"])
    assert sizes == {"output": {"kernel": (64, 10), "bias": (10,)}}


def drawn(model):
    return jax.jit(partial(initialize, model, image_shape=IMAGE))(jax.random.key(0))


def test_sigmoids_answer_between_their_limits():
    """A hidden unit of 0 pre-activation hands on a half: the logits are not 0, as of ReLUs."""
    answers = []
    for name in ("mlp", "sigmoid_mlp"):
        model = NETS[name](10, IMAGE, he_backward(), depth=3, width=4)
        variables = drawn(model)
        images = np.zeros((1, *IMAGE), np.float32)
        apply = jax.jit(partial(apply_function(model), train=False))
        answers.append(apply(variables["params"], variables["batch_stats"], images)[0])
    np.testing.assert_array_equal(answers[0], 0)
    assert np.abs(answers[1]).min() > 1e-3


@pytest.mark.parametrize(("pooled", "inputs"), [(True, 2 * 2 * 6), (False, 8 * 8 * 6)])
def test_a_shallow_conv_net_has_a_layer_for_each_of_its_sizes(pooled, inputs):
    _, variables = shapes("shallow", channels=(3, 6), units=20, pooled=pooled)
    kernels = {name: layer["kernel"].shape for name, layer in variables["params"].items()}
    assert kernels == {
        "conv1": (3, 3, 1, 3),
        "conv2": (3, 3, 3, 6),
        "dense": (inputs, 20),
        "logits": (20, 10),
    }
    _, variables = shapes("shallow", channels=(4,), units=0, pooled=False)
    assert list(variables["params"]) == ["conv1", "logits"]


def test_a_whitened_net_has_two_convolutions_a_width():
    _, variables = shapes("whitened", widths=[3, 6])
    kernels = {
        name: layer["kernel"].shape
        for name, layer in variables["params"].items()
        if "kernel" in layer
    }
    assert kernels == {
        "conv1": (3, 3, 8, 3),
        "conv2": (3, 3, 3, 3),
        "conv3": (3, 3, 3, 6),
        "conv4": (3, 3, 6, 6),
        "logits": (6, 10),
    }
    assert variables["batch_stats"]["whitening"].shape == (2, 2, 1, 8)


def test_an_alexnet_may_lack_layers():
    def layers(**sizes):
        _, variables = shapes("alexnet", width=3, dense=8, **sizes)
        return list(variables["params"])

    assert len(layers()) == 8
    assert layers(removed=(3, 4, 6, 7)) == ["conv1", "conv2", "conv5", "fc8"]


def test_plain_and_resnet_differ_by_the_shortcuts_alone():
    nets = [NETS[name](10, IMAGE, he_backward(), depth=8, width=2) for name in ("plain", "resnet")]
    variables = [drawn(net) for net in nets]
    jax.tree.map(np.testing.assert_array_equal, *variables)
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype(np.float32)
    plain, residual = (
        jax.jit(apply_function(net), static_argnames="train")(
            v["params"], v["batch_stats"], x, train=False
        )[0]
        for net, v in zip(nets, variables, strict=True)
    )
    assert not np.allclose(plain, residual)


def test_a_size_that_a_net_does_not_have_is_a_mistake():
    with pytest.raises(TypeError, match="length"):
        NETS["mlp"](10, IMAGE, he_backward(), depth=4, width=6, length=2)
