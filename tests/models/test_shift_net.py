"""ShiftNet: what a shift around the torus changes, exactly, and what a blur takes off."""

from functools import partial

import jax
import numpy as np
import pytest

from jaxvision.initializers import he_forward
from jaxvision.models.drawing import initialize
from jaxvision.models.layers import apply_function
from jaxvision.models.shift_net import ShiftNet
from jaxvision.random import stream

IMAGE = (8, 8, 2)
ROUNDING = 2e-7  # of logits in float32, relative: 1e-7 was seen


@pytest.fixture(scope="module")
def images():
    return jax.random.normal(stream(0, "probe"), (5, *IMAGE))


def changes(images, depth=2, **options):
    """Return how much shifts by 0 to 8 pixels change the logits, relative to their size."""
    model = ShiftNet(depth, 4, 3, he_forward(), **options)
    weights = initialize(model, stream(0, "init"), IMAGE)["params"]

    @jax.jit
    def logits(images):
        return apply_function(model)(weights, {}, images, train=False)[0]

    base = np.asarray(logits(images))
    shifted = [logits(np.roll(images, shift, 1)) for shift in range(9)]
    sizes = [np.linalg.norm(each - base) / np.linalg.norm(base) for each in shifted]
    return np.array(sizes)


def test_without_strides_no_shift_changes_anything(images):
    assert changes(images, stride=1).max() < ROUNDING


@pytest.mark.parametrize("blur", [1, 3])
def test_strides_repeat_with_their_product(images, blur):
    found = changes(images, blur=blur)
    assert found[[0, 4, 8]].max() < ROUNDING
    np.testing.assert_allclose(found[5:8], found[1:4], rtol=1e-3)
    assert found[[1, 2, 3]].min() > (0.02 if blur == 1 else 1e-4)


def test_a_blur_lessens_what_strides_change(images):
    strided, blurred = changes(images), changes(images, blur=3)
    assert blurred[1:4].mean() < 0.7 * strided[1:4].mean()


def test_a_stage_of_one_convolution_has_no_stack(images):
    model = ShiftNet(1, 4, 3, he_forward())
    weights = initialize(model, stream(0, "init"), IMAGE)["params"]
    _, activations = model.apply({"params": weights}, images)
    assert list(activations) == ["stage1_first", "stage2_first", "stage3_first", "logits"]
    sides = [each.shape[1] for name, each in activations.items() if name != "logits"]
    assert sides == [8, 4, 2]


def test_gradients_reach_every_layer(images):
    model = ShiftNet(2, 4, 3, he_forward(), blur=3)
    weights = initialize(model, stream(0, "init"), IMAGE)["params"]

    def loss(weights):
        return partial(apply_function(model), train=False)(weights, {}, images)[0].var()

    for leaf in jax.tree.leaves(jax.jit(jax.grad(loss))(weights)):
        assert np.linalg.norm(leaf) > 0
