"""The delta of a layer is what an explicit perturbation of its output does to the loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.act_conv import act_conv
from jaxvision.convolution import conv2d
from jaxvision.dynamics.traced.layers import trace
from jaxvision.dynamics.traced.names import layer_names
from jaxvision.dynamics.traced.tapped import NORMS, WHOLE, run, zeros
from jaxvision.models.foreign import adapt
from jaxvision.random import stream
from tests.dynamics.traced import foreign_nets as nets

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(3, 6, 6, 2)).astype(np.float32)
SEQUENCES = RNG.normal(size=(3, 5, 4)).astype(np.float32)
ROWS = RNG.normal(size=(3, 8)).astype(np.float32)
SQUARE = {"w": 0.3 * RNG.normal(size=(8, 8)).astype(np.float32)}
STACK = {"w": 0.3 * RNG.normal(size=(3, 8, 8)).astype(np.float32)}


def loss(output):
    return jnp.sum(jnp.sin(output) * jnp.cos(2 * output))


def linen(net, images, by_hand=None):
    variables = net.init(stream(0, "init"), images)
    apply, params = adapt(net, variables)
    return apply, params, images, by_hand or nets.by_modules(net, variables)


def function(apply, params, images, by_hand):
    return lambda: (apply, params, images, by_hand)


def dense(params, x):
    return jnp.tanh(x @ params["a"]["kernel"] + params["a"]["bias"]) @ params["b"].T


def dense_by_hand(params, x, shifts):
    hidden = x @ params["a"]["kernel"] + params["a"]["bias"] + shifts["a"]
    return jnp.tanh(hidden) @ params["b"].T + shifts["b"]


def own_convolution(params, x):
    return conv2d(jnp.tanh(conv2d(x, params["a"], 2)), params["b"], 1, "VALID")


def own_convolution_by_hand(params, x, shifts):
    hidden = conv2d(x, params["a"], 2) + shifts["a"]
    return conv2d(jnp.tanh(hidden), params["b"], 1, "VALID") + shifts["b"]


def normalized(y, mean, var):
    return jnp.tanh((y - mean[None, None, None]) / jnp.sqrt(var[None, None, None] + 0.1))


def normalizing_convolution(params, x):
    """The kernel's sums are inside one primitive: delta must come through them too."""
    found = act_conv(x, params["a"], moments=True)
    return normalized(found.y, found.moments.center + found.moments.rest, found.moments.var)


def normalizing_convolution_by_hand(params, x, shifts):
    y = conv2d(jax.nn.relu(x), params["a"]) + shifts["a"]
    return normalized(y, y.mean((0, 1, 2)), y.var((0, 1, 2)))


def loop(params, x):
    return jax.lax.fori_loop(0, 3, lambda i, h: jnp.tanh(h @ params["w"]), x)


def loop_by_hand(params, x, shifts):
    for shift in shifts["w"]:
        x = jnp.tanh(x @ params["w"] + shift)
    return x


def stacked_loop(params, x):
    return jax.lax.fori_loop(0, 3, lambda i, h: jnp.tanh(h @ params["w"][i]), x)


def stacked_loop_by_hand(params, x, shifts):
    for weights, shift in zip(params["w"], shifts["w"], strict=True):
        x = jnp.tanh(x @ weights + shift)
    return x


def weight_norm(params, x):
    direction = params["v"] / jnp.linalg.norm(params["v"], axis=0, keepdims=True)
    return x @ (direction * params["g"][None])


KINDS = {
    "dense": function(
        dense,
        {
            "a": {"kernel": RNG.normal(size=(8, 5)).astype("f"), "bias": np.ones((1, 5), "f")},
            "b": RNG.normal(size=(2, 5)).astype(np.float32),
        },
        ROWS,
        dense_by_hand,
    ),
    "conv": lambda: linen(nets.Conv(), IMAGES),
    "own convolution": function(
        own_convolution,
        {name: RNG.normal(size=(2, 2, 2, 2)).astype(np.float32) for name in "ab"},
        IMAGES,
        own_convolution_by_hand,
    ),
    "own convolution with moments": function(
        normalizing_convolution,
        {"a": RNG.normal(size=(3, 3, 2, 4)).astype(np.float32)},
        IMAGES,
        normalizing_convolution_by_hand,
    ),
    "attention": lambda: linen(nets.Attention(), SEQUENCES),
    "shared": lambda: linen(nets.Shared(), ROWS),
    "scanned": lambda: linen(nets.Scanned(), ROWS[:, :4], nets.scanned_by_hand),
    "recurrent": lambda: linen(nets.Recurrent(), SEQUENCES, nets.recurrent_by_hand),
    "loop": function(loop, SQUARE, ROWS, loop_by_hand),
    "loop over a stack": function(stacked_loop, STACK, ROWS, stacked_loop_by_hand),
    "weight norm": function(
        weight_norm,
        {"v": RNG.normal(size=(8, 3)).astype(np.float32), "g": np.ones(3, "f")},
        ROWS,
        lambda params, x, shifts: weight_norm(params, x) + shifts["v"],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_delta_is_the_gradient_of_a_shift_put_in_by_hand(kind):
    apply, params, x, by_hand = KINDS[kind]()
    plan = trace(apply, params, x)
    names = layer_names(plan, params)

    def tapped(taps):
        return loss(run(plan, WHOLE, params, x, taps)[0])

    def shifted(shifts):
        return loss(by_hand(params, x, shifts))

    taps = zeros(plan, WHOLE)
    shifts = {name: taps[i].output for i, name in enumerate(names)}
    found = jax.jit(jax.grad(tapped))(taps)
    expected = jax.jit(jax.grad(shifted))(shifts)
    assert len(names) == len(set(names)) > 0
    for i, name in enumerate(names):
        scale = np.abs(expected[name]).max()
        assert scale > 0
        np.testing.assert_allclose(
            found[i].output, expected[name], rtol=0, atol=1e-6 * max(1, scale)
        )


@pytest.mark.parametrize("kind", ["conv", "attention", "scanned", "recurrent"])
def test_the_output_is_the_net_s_and_norms_are_those_of_whole_deltas(kind):
    apply, params, x, _ = KINDS[kind]()
    plan = trace(apply, params, x)

    def tapped(instrument):
        def value(taps):
            output, read = run(plan, instrument, params, x, taps)
            return loss(output), (output, read)

        return jax.jit(jax.grad(value, has_aux=True))(zeros(plan, instrument))

    squares, (output, moments) = tapped(NORMS)
    deltas, (_, signals) = tapped(WHOLE)
    np.testing.assert_allclose(output, apply(params, x), rtol=1e-5, atol=1e-6)
    for i, layer in enumerate(plan.layers):
        inner = tuple(range(len(layer.rounds), deltas[i].output.ndim))
        np.testing.assert_allclose(squares[i].output, (deltas[i].output ** 2).sum(inner), rtol=1e-5)
        inner = tuple(range(len(layer.rounds), signals[i].ndim))
        np.testing.assert_allclose(moments[i].var, signals[i].var(inner), rtol=1e-4)
