"""Spectra of a net of any maker, against matrices that can be written down."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.dynamics.net_spectra import sharpness, spectra
from jaxvision.models.foreign import adapt
from jaxvision.random import stream
from jaxvision.training.losses import cross_entropy
from jaxvision.types import UserError

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(5, 4)).astype(np.float32)
LABELS = np.arange(5, dtype=np.int32) % 3
WEIGHTS = RNG.normal(size=(4, 3)).astype(np.float32)


def linear(params, x):
    return x @ params["w"]


def squares(output, target):
    return jnp.sum(jnp.square(output - target), -1)


def test_a_linear_net_has_the_curvature_of_its_inputs_and_the_jacobian_of_its_weights():
    target = np.zeros((5, 3), np.float32)
    found = spectra(linear, {"w": WEIGHTS}, ROWS, target, loss=squares, steps=4, probes=2)
    exact = 2 * np.linalg.eigvalsh(ROWS.T @ ROWS / 5)
    np.testing.assert_allclose(found.hessian.nodes, [exact] * 2, rtol=1e-4)
    np.testing.assert_allclose(found.hessian.weights.sum(-1), [1, 1], rtol=1e-5)
    singular = np.linalg.svd(WEIGHTS, compute_uv=False)
    np.testing.assert_allclose(found.jacobian, [singular] * 5, rtol=1e-5)
    largest = sharpness(linear, {"w": WEIGHTS}, ROWS, target, loss=squares, steps=4)
    assert largest == pytest.approx(exact.max(), rel=1e-4)


def test_a_linen_net_has_the_sharpness_of_its_whole_hessian():
    net = nn.Sequential([nn.Dense(3), nn.tanh, nn.Dense(3)])
    variables = net.init(stream(0, "init"), ROWS)
    apply, params = adapt(net, variables)
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    loss = lambda flat: cross_entropy(apply(unravel(flat), ROWS), LABELS).mean()  # noqa: E731
    exact = np.linalg.eigvalsh(jax.jit(jax.hessian(loss))(flat)).max()
    assert sharpness(net, variables, ROWS, LABELS, steps=20) == pytest.approx(exact, rel=1e-3)


def test_a_net_may_take_two_arrays():
    both = lambda params, pair: pair[0] @ params["w"] + pair[1]  # noqa: E731
    pair = ROWS, np.zeros((5, 3), np.float32)
    alone = sharpness(linear, {"w": WEIGHTS}, ROWS, LABELS, steps=4)
    assert sharpness(both, {"w": WEIGHTS}, pair, LABELS, steps=4) == pytest.approx(alone)


@pytest.mark.parametrize(
    ("arguments", "options", "sentence"),
    [
        ((linear, {"w": WEIGHTS}), {}, "a loss is of images and labels"),
        ((linear, {"w": WEIGHTS}, ROWS), {}, "a loss is of images and labels"),
        ((linear, {"w": WEIGHTS}, ROWS, LABELS[:2]), {"steps": 2}, "labels are an array of whole"),
        ((linear, {"w": WEIGHTS}, ROWS, LABELS + 9), {"steps": 2}, "classes, 0 up"),
        ((linear, {"w": WEIGHTS}, ROWS[:0], LABELS[:0]), {"steps": 2}, "there are no images"),
        ((linear, {"w": WEIGHTS}, ROWS, LABELS), {"steps": 13}, "steps=13: from 1 to 12"),
        ((linear, {"w": WEIGHTS}, ROWS, LABELS), {"steps": 2.5}, "steps=2.5: a whole number"),
        ((linear, {"w": WEIGHTS}, ROWS, LABELS), {"seed": "a", "steps": 2}, "seed='a': a whole"),
        ((linear, {"w": WEIGHTS}, ROWS[:, :3], LABELS), {"steps": 2}, "not take images of 3: "),
        ((linear, {"w": WEIGHTS}, ROWS * np.nan, LABELS), {"steps": 2}, "images have values"),
        ((linear, {"w": WEIGHTS}, ROWS, LABELS), {"steps": 2, "probes": 0}, "probes=0: at least 1"),
    ],
)
def test_mistakes_are_said(arguments, options, sentence):
    with pytest.raises(UserError, match=sentence):
        spectra(*arguments, **options)


@pytest.mark.parametrize("images", [3, ROWS.tolist()])
def test_a_list_or_a_number_is_no_image(images):
    with pytest.raises(UserError, match="images are an array"):
        sharpness(linear, {"w": WEIGHTS}, images, LABELS, steps=2)


@pytest.mark.parametrize("images", [ROWS.astype(np.uint8), (ROWS, ROWS)])
def test_a_jacobian_is_by_one_array_of_floats(images):
    """It ended in a traceback of jacrev, or of an index into a tuple."""
    first = lambda p, x: linear(p, jnp.float32(x[0] if isinstance(x, tuple) else x))  # noqa: E731
    with pytest.raises(UserError, match="the Jacobian is by an array of floats, not"):
        spectra(first, {"w": WEIGHTS}, images, LABELS, steps=2)
