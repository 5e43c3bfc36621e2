"""An attack over many nets in one program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.adversarial.gradient import pgd
from jaxvision.adversarial.nets import logits_of, over_nets, over_snapshots
from jaxvision.models.layers import apply_function
from tests.lab import NETS, preprocess


@pytest.mark.parametrize("kind", NETS)
def test_each_net_is_attacked_as_if_alone(lab, kind):
    apply = apply_function(NETS[kind])
    variables = jax.tree.map(lambda leaf: leaf[:3], lab.starts[kind])  # two devices: one is filled
    images = np.float32(lab.test.images[:6] / 255)
    labels = lab.test.labels[:6]

    def one(variables, shared):
        f = logits_of(apply, preprocess, variables)
        return pgd(f, *shared, 0.05, steps=3)

    together = over_nets(one, variables, (images, labels))
    assert together.images.shape == (3, *images.shape)
    alone = jax.jit(one)(jax.tree.map(lambda leaf: leaf[1], variables), (images, labels))
    np.testing.assert_allclose(
        together.score[1],
        alone.score,
        atol=1e-4,
    )


def test_normalization_is_inside(lab):
    """Pixels of [0, 1] give what the bytes give."""
    apply = apply_function(NETS["mlp"])
    variables = jax.tree.map(lambda leaf: leaf[0], lab.starts["mlp"])
    f = logits_of(apply, preprocess, variables)
    bytes_ = lab.test.images[:4]
    inputs = preprocess(jnp.asarray(bytes_), None)
    expected = apply(variables["params"], variables["batch_stats"], inputs, train=False)[0]
    np.testing.assert_allclose(
        f(jnp.asarray(np.float32(bytes_ / 255))),
        expected,
        atol=1e-5,
    )


def test_snapshots_keep_their_run_and_step(lab):
    """Three runs at two steps, one of them moved: each cell is that net's, on two devices."""
    start = jax.tree.map(lambda leaf: leaf[:3], lab.starts["mlp"])
    snapshots = jax.tree.map(lambda leaf: np.stack([leaf, 2 * leaf], axis=1), start)

    def one(variables, factor):
        kernel = variables["params"]["output"]["kernel"]
        return {"sum": factor * kernel.sum(), "first": kernel[0]}

    found = over_snapshots(one, snapshots, np.float32(3))
    kernels = snapshots["params"]["output"]["kernel"]
    assert found["sum"].shape == (3, 2)
    np.testing.assert_allclose(found["sum"], 3 * kernels.sum((-2, -1)), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found["first"], kernels[:, :, 0])
