"""Weights cut from one vector: the laws of each leaf, and independence of everything else."""

import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxvision import initializers
from jaxvision.models.alexnet import alexnet
from jaxvision.models.drawing import initialize, initialize_runs
from jaxvision.models.layers import stacked_axes
from jaxvision.models.mlp import MLP
from jaxvision.models.plain import he2015_net
from jaxvision.models.residual_mlp import ResidualMLP
from jaxvision.models.resnet import ResNet, cifar_resnet
from jaxvision.random import stream
from jaxvision.trees import named_leaves

HE = initializers.he_backward()
IMAGE = (8, 8, 1)
NETS = {
    "mlp": MLP(5, 40, 10, HE),
    "uniform mlp": MLP(5, 40, 10, initializers.torch_default()),
    "residual mlp": ResidualMLP(5, 40, 10, HE, residual=True, normalized=True),
    "plain": he2015_net(14, 8, 10, HE, 8),
    "resnet": cifar_resnet(14, features=8),
    "alexnet": alexnet(6, 40, 10, HE, 8, (7,)),
    "bottleneck": ResNet((2, 2), 4, 10, "B", bottleneck=True, large_images=True),
}
LAWS = {
    "normal": stats.norm().cdf,
    "truncated normal": stats.truncnorm(-2, 2, scale=1 / stats.truncnorm(-2, 2).std()).cdf,
    "uniform": stats.uniform(-math.sqrt(3), 2 * math.sqrt(3)).cdf,
}


def drawn(net, seed=0, image=IMAGE):
    return initialize_runs(net, stream(seed, "init")[None], image)


@pytest.mark.parametrize("name", NETS)
def test_every_kernel_has_its_layers_own_law(name):
    """Each stands out against the law of the net's own ``init``, of variance known from fans."""
    net = NETS[name]
    leaves = named_leaves(drawn(net)["params"])
    kernels = {path: leaf[0] for path, leaf in leaves.items() if path.endswith("kernel")}
    assert kernels
    for path, kernel in kernels.items():
        initializer = net.initializer_of(path.removesuffix("/kernel"))
        *window, fan_in, fan_out = kernel.shape[stacked_axes(path, kernel) :]
        fan = {"in": fan_in, "out": fan_out}[initializer.fan] * math.prod(window)
        scaled = kernel.ravel() * math.sqrt(fan / initializer.scale)
        assert stats.kstest(scaled, LAWS[initializer.distribution]).pvalue > 1e-3, path


@pytest.mark.parametrize("name", NETS)
def test_the_tree_and_all_other_leaves_are_those_of_the_nets_own_init(name):
    net = NETS[name]
    init = jax.jit(partial(net.init, train=False))  # one program, not one for every draw
    own = init(jax.random.key(0), jnp.zeros((1, *IMAGE)))
    found = jax.tree.map(lambda leaf: leaf[0], drawn(net))
    assert jax.tree.structure(found["params"]) == jax.tree.structure(own["params"])
    expected = named_leaves({"params": own["params"], "batch_stats": own.get("batch_stats", {})})
    for path, leaf in named_leaves(found).items():
        assert leaf.shape == expected[path].shape
        assert leaf.dtype == expected[path].dtype
        if path.endswith("kernel"):  # the scale that the layers themselves were given
            assert leaf.std() == pytest.approx(
                float(expected[path].std()), rel=5 / math.sqrt(leaf.size)
            )
        else:
            np.testing.assert_array_equal(leaf, expected[path])


def test_no_two_kernels_share_numbers():
    leaves = named_leaves(drawn(NETS["plain"])["params"])
    kernels = [leaf.ravel() for name, leaf in leaves.items() if name.endswith("kernel")]
    numbers = np.concatenate([kernel / kernel.std() for kernel in kernels])
    assert len(np.unique(numbers)) > 0.99 * len(numbers)


def test_nets_that_differ_in_scale_or_shortcuts_are_paired():
    he, xavier = (drawn(MLP(5, 40, 10, init)) for init in (HE, initializers.xavier_he2015()))
    ratio = he["params"]["hidden"]["kernel"] / xavier["params"]["hidden"]["kernel"]
    np.testing.assert_allclose(ratio, math.sqrt(2), rtol=1e-6)
    plain, residual = (drawn(cifar_resnet(14, shortcut=name, features=4)) for name in ("none", "A"))
    jax.tree.map(np.testing.assert_array_equal, plain, residual)


@pytest.mark.parametrize("name", ["mlp", "uniform mlp", "resnet"])
def test_traced_and_on_the_host_the_numbers_are_the_same(name):
    traced = jax.jit(lambda key: initialize(NETS[name], key, IMAGE))(stream(3, "init"))
    on_host = jax.tree.map(lambda leaf: leaf[0], drawn(NETS[name], 3))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), traced, on_host
    )


@pytest.mark.parametrize("init", [HE, initializers.orthogonal(1.0)], ids=["cut", "own"])
def test_a_run_starts_the_same_alone_and_among_others(init):
    """Orthogonal, because a batched QR may round otherwise than a single one."""
    net = MLP(5, 8, 3, init)
    keys = jnp.stack([stream(seed, "init") for seed in range(3)])
    together = initialize_runs(net, keys, (4, 4, 1))
    alone = drawn(net, 1, (4, 4, 1))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[1], b[0]), together, alone)
    assert not np.array_equal(*together["params"]["input"]["kernel"][:2])


def test_what_is_not_drawn_entry_by_entry_is_drawn_by_the_net_itself():
    net = MLP(4, 8, 3, initializers.orthogonal(1.0))
    kernel = drawn(net)["params"]["hidden"]["kernel"][0, 0]
    np.testing.assert_allclose(kernel @ kernel.T, np.eye(8), atol=1e-5)


def test_a_net_of_the_users_own_is_drawn_by_itself():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, images, *, train=False):
            del train
            return nn.Dense(2, bias_init=nn.initializers.ones)(images.reshape(len(images), -1))

    found = drawn(Net(), image=(4, 4, 1))
    assert (found["params"]["Dense_0"]["bias"] == 1).all()
    assert found["batch_stats"] == {}


def test_one_program_draws_all_nets(caplog):
    drawn(MLP(3, 11, 2, HE))
    caplog.clear()
    with jax.log_compiles():
        drawn(MLP(4, 50, 2, HE))
        drawn(he2015_net(14, 3, 10, HE, 8))
    programs = [record.message for record in caplog.records if "Compiling" in record.message]
    assert [line for line in programs if "draw_block" in line or "lambda" in line] == []
