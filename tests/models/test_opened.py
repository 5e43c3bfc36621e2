"""Nets in two parts: calls of one net are equal, and what is made for equal calls is made once."""

import dataclasses
import gc
import weakref
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from jaxvision.models.opened import made_once, opened
from jaxvision.random import stream

IMAGES = np.random.default_rng(0).random((3, 4), np.float32)


def test_both_parts_are_the_net():
    net = linen.Dense(2)
    variables = net.init(stream(0, "init"), IMAGES)
    known = opened(net, variables)
    expected = net.apply(variables, IMAGES)
    np.testing.assert_array_equal(known.call(known.arrays, IMAGES), expected)
    np.testing.assert_array_equal(known.function(IMAGES), expected)


def test_calls_of_one_net_are_equal_whatever_its_weights():
    net = linen.Dense(2)
    one, other = (opened(net, net.init(stream(seed, "init"), IMAGES)) for seed in (0, 1))
    assert one.call == other.call
    assert one.call != opened(linen.Dense(3), net.init(stream(0, "init"), IMAGES)).call


def test_what_is_made_for_equal_calls_is_made_once():
    made = []

    def make(call):
        made.append(call)
        return lambda: call

    net = linen.Dense(2)
    for seed in range(3):
        call = opened(net, net.init(stream(seed, "init"), IMAGES)).call
        assert made_once(make, call)() == call
    assert len(made) == 1


def test_a_function_is_asked_for_its_weights_anew_a_jitted_one_is_not():
    class Net:
        weight = 1.0

        def logits(self, images):
            return self.weight * images

    def make(call):
        return jax.jit(lambda images: call((), images))

    net = Net()
    jitted = jax.jit(lambda images: images)
    kept = [made_once(make, opened(jitted, None).call) for _ in range(2)]
    assert kept[0] is kept[1]
    for weight in (1.0, -2.0):
        net.weight = weight
        for function in (net.logits, lambda images: net.logits(images)):
            program = made_once(make, opened(function, None).call)
            np.testing.assert_array_equal(program(IMAGES), weight * IMAGES)


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Held:
    """A callable tree that holds its weights, as Equinox has them."""

    weights: jax.Array

    def __call__(self, images):
        return images @ self.weights


@pytest.mark.parametrize("kind", ["nnx", "tree"])
def test_a_net_that_holds_its_weights_is_not_kept(kind):
    """Its call is another each time: kept, it could serve nobody, and would hold the weights."""
    net = Held(jnp.ones((4, 2))) if kind == "tree" else nnx.Linear(4, 2, rngs=nnx.Rngs(0))
    call = opened(net, None).call
    program = made_once(lambda call: partial(call), call)
    alive = weakref.ref(call)
    del call, program
    gc.collect()
    assert alive() is None


def test_what_cannot_be_compared_is_made_anew():
    made = []

    def make(call, array):
        made.append(array)
        return call

    call = opened(nnx.Linear(4, 2, rngs=nnx.Rngs(0)), None).call
    for _ in range(2):
        made_once(make, call, jnp.zeros(2))
    assert len(made) == 2
