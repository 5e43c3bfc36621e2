"""What is found in a net does not depend on whether this machine has a compiler for kernels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.act_conv import act_conv
from jaxvision.conv_transpose import conv_transpose2d
from jaxvision.dynamics.traced.layers import trace
from jaxvision.dynamics.traced.tapped import WHOLE, run, zeros
from jaxvision.native import switch
from jaxvision.sweeps.setup import mapping_of

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(2, 3)).astype(np.float32)


def weights(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def transposed(kernel, y):
    return conv_transpose2d(y, kernel, stride=2)


def its_gradients(kernel, y):
    """A net may differentiate on its way forward: the other two maps."""

    def energy(kernel, y):
        return jnp.sum(jnp.sin(transposed(kernel, y)))

    to_kernel, to_y = jax.grad(energy, argnums=(0, 1))(kernel, y)
    return to_y * jnp.sum(to_kernel)


@jax.custom_jvp
def ruled(kernel, y):
    return act_conv(y, kernel.transpose(0, 1, 3, 2)).y


@ruled.defjvp
def _(operands, tangents):
    return ruled(*operands), ruled(*tangents)


LAYERS = {"transposed": transposed, "gradients": its_gradients, "in a rule": ruled}
PARAMS = {"a": weights(3, 12), "b": weights(3, 3, 2, 3), "c": weights(32, 5)}


def net_with(layer):
    def net(params, x):
        maps = jnp.tanh(x @ params["a"]).reshape(-1, 2, 2, 3)
        h = jnp.tanh(layer(params["b"], maps)).reshape(len(x), -1)
        return h @ params["c"][: h.shape[1]]

    return net


def found(monkeypatch, mode, layer):
    monkeypatch.setattr(switch, "_mode", mode)
    plan = trace(net_with(layer), PARAMS, ROWS)
    output, read = run(plan, WHOLE, PARAMS, ROWS, zeros(plan, WHOLE))
    return plan, output, read


@pytest.mark.parametrize("kind", LAYERS)
def test_layers_and_how_runs_are_mapped_are_those_without_kernels(monkeypatch, kind):
    if why := switch.why_not():
        pytest.skip(why)
    native, output, read = found(monkeypatch, "auto", LAYERS[kind])
    plain, expected, expected_read = found(monkeypatch, "off", LAYERS[kind])
    assert "conv_" in str(native.program) or "act_conv" in str(native.program)
    assert native.layers == plain.layers
    assert len(native.layers) >= 3
    assert mapping_of(native) == mapping_of(plain)
    np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5)
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5),
        read,
        expected_read,
    )


def test_a_transposed_convolution_is_a_convolution(monkeypatch):
    for mode in ("auto", "off"):
        plan, _, _ = found(monkeypatch, mode, transposed)
        assert [layer.primitive for layer in plan.layers] == [
            "dot_general",
            "conv2d",
            "dot_general",
        ]
        assert mapping_of(plan) == "map"
