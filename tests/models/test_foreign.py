"""Nets of other makers come through one door, and a net of ours comes through it too."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxvision.initializers import he_forward
from jaxvision.models.drawing import initialize
from jaxvision.models.foreign import adapt, parts
from jaxvision.models.layers import apply_function
from jaxvision.models.mlp import MLP
from jaxvision.random import stream
from jaxvision.types import UserError

IMAGES = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


class Normalized(nn.Module):
    """Batch norm and dropout, switched by ``train``."""

    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(use_running_average=not train, momentum=0.5)(nn.Dense(3)(x))
        x = nn.Dropout(0.5, deterministic=not train)(x)
        self.sow("intermediates", "x", x)
        return x


class NormalizedX(nnx.Module):
    def __init__(self, rngs):
        self.dense = nnx.Linear(4, 3, rngs=rngs)
        self.norm = nnx.BatchNorm(3, momentum=0.5, rngs=rngs)
        self.first, self.second = (nnx.Dropout(0.5, rngs=rngs) for _ in range(2))

    def __call__(self, x):
        y = self.norm(self.dense(x))
        return jnp.stack([self.first(y), self.second(y)])


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Tree:
    """As Equinox has them: arrays and other things in one tree that can be called."""

    weight: jax.Array
    activation: object
    count: int = dataclasses.field(metadata={"static": True})

    def __call__(self, x):
        return self.activation(self.weight @ x) * self.count


def test_linen_in_eval_mode_and_in_train_mode():
    net = Normalized()
    variables = net.init(stream(0, "init"), IMAGES, train=False)
    apply, params = adapt(net, variables)
    np.testing.assert_array_equal(apply(params, IMAGES), net.apply(variables, IMAGES, train=False))
    key = stream(0, "dropout")
    call, params, state = parts(net, variables)
    out, changed = call(params, state, IMAGES, train=True, key=key)
    expected, updated = net.apply(
        variables, IMAGES, train=True, rngs={"dropout": key}, mutable=["batch_stats"]
    )
    np.testing.assert_array_equal(out, expected)
    assert changed["batch_stats"].keys() == updated["batch_stats"].keys()
    jax.tree.map(np.testing.assert_array_equal, changed, dict(updated))
    apply, _ = adapt(net, variables, train=True, key=key)
    np.testing.assert_array_equal(apply(params, IMAGES), out)


def test_a_switch_can_be_given_and_another_method_called():
    class Two(nn.Module):
        @nn.compact
        def __call__(self, x, *, scale=1.0):
            return scale * nn.Dense(3)(x)

        def twice(self, x, deterministic):
            assert deterministic
            return self(x, scale=2.0)

    net = Two()
    variables = net.init(stream(0, "init"), IMAGES)
    apply, params = adapt(net, variables)
    once = apply(params, IMAGES)
    apply, _ = adapt(net, variables, scale=3.0)
    np.testing.assert_allclose(apply(params, IMAGES), 3 * once, rtol=1e-6)
    for method in ("twice", Two.twice):
        apply = adapt(net, variables, method=method).apply
        np.testing.assert_allclose(apply(params, IMAGES), 2 * once, rtol=1e-6)


def test_what_modules_have_sown_is_not_fed_back():
    net = Normalized()
    variables = net.init(stream(0, "init"), IMAGES, train=False)
    compiled = jax.jit(lambda params, images: adapt(net, variables).apply(params, images))
    for _ in range(3):
        _, sown = net.apply(variables, IMAGES, train=False, mutable=["intermediates"])
        variables = variables | dict(sown)
        _, params, state = parts(net, variables)
        assert state.keys() == {"batch_stats"}
        compiled(params, IMAGES)
    assert compiled._cache_size() == 1


def test_nnx_is_left_as_it_is():
    net = NormalizedX(nnx.Rngs(0))
    call, params, state = parts(net)
    assert params.keys() == {"dense", "norm"}
    before = jax.tree.map(np.array, nnx.to_pure_dict(nnx.state(net, nnx.BatchStat, nnx.Param)[0]))
    evaluated, same = call(params, state, IMAGES)
    first, changed = call(params, state, IMAGES, train=True, key=stream(0, "dropout"))
    np.testing.assert_array_equal(
        first, call(params, state, IMAGES, train=True, key=stream(0, "dropout"))[0]
    )
    other = call(params, state, IMAGES, train=True, key=stream(1, "init"))[0]
    assert not np.array_equal(first, other)
    assert not np.array_equal(first[0] == 0, first[1] == 0), "two dropouts drew alike"
    assert not np.array_equal(changed["norm"]["mean"], same["norm"]["mean"])
    after = nnx.to_pure_dict(nnx.state(net, nnx.BatchStat, nnx.Param)[0])
    jax.tree.map(np.testing.assert_array_equal, before, after)
    net.eval()
    np.testing.assert_allclose(evaluated, net(IMAGES), rtol=1e-6)


def test_a_callable_tree_of_arrays():
    weight = jax.random.normal(stream(0, "init"), (3, 4))
    apply, params = adapt(Tree(weight, jnp.tanh, 2), per_example=True)
    assert len(jax.tree.leaves(params)) == 1
    np.testing.assert_allclose(apply(params, IMAGES), 2 * np.tanh(IMAGES @ weight.T), rtol=1e-5)


def test_any_function():
    params = {"w": jax.random.normal(stream(0, "init"), (4, 3))}
    apply, same = adapt(lambda p, x, gain: gain * x @ p["w"], params, gain=2.0)
    assert same is params
    np.testing.assert_allclose(apply(params, IMAGES), 2 * IMAGES @ params["w"], rtol=1e-6)


def test_a_net_of_ours():
    net = MLP(4, 5, 3, he_forward())
    images = IMAGES.reshape(6, 2, 2, 1)
    variables = initialize(net, stream(0, "init"), (2, 2, 1))
    apply, params = adapt(net, variables)
    expected, _, _ = apply_function(net)(variables["params"], {}, images, train=False)
    np.testing.assert_array_equal(apply(params, images), expected)


@pytest.mark.parametrize(
    ("net", "variables", "sentence"),
    [
        (Normalized, None, "Normalized is a class: hand over one net of it"),
        (Normalized(), None, "its variables are {'params': ...}, as net.init"),
        (Normalized(), {"dense": {}}, "its variables are {'params': ...}, as net.init"),
        (NormalizedX(nnx.Rngs(0)), {"params": {}}, "holds its own parameters"),
        (Tree(jnp.ones((3, 4)), jnp.tanh, 1), {}, "holds its own parameters"),
        (lambda params, x: x, None, "a function comes with its parameters"),
        ("resnet", None, "str is no net"),
    ],
)
def test_what_is_no_net_is_said(net, variables, sentence):
    with pytest.raises(UserError, match=r"^[^\n]+$") as caught:
        adapt(net, variables)
    assert sentence in str(caught.value)


def test_an_output_that_is_no_array_is_said():
    apply, params = adapt(lambda params, x: {"logits": x}, {})
    with pytest.raises(UserError, match="the net returns dict, no array"):
        apply(params, IMAGES)
