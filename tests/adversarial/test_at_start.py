"""Closed forms of nets before training, which every measurement of distances must meet."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.adversarial.threat import norms


def drawn(rng, nets, sizes, gain=2.0):
    """Return the weights of random nets [nets, out, in] by layer, of variance gain / fan-in."""
    return [
        rng.standard_normal((nets, out, fan), np.float32) * np.float32(np.sqrt(gain / fan))
        for fan, out in itertools.pairwise(sizes)
    ]


def answer(weights, x):
    """Return w_L relu(... relu(W_1 x)) [K], without biases."""
    for layer in weights[:-1]:
        x = jax.nn.relu(layer @ x)
    return weights[-1] @ x


value_and_slope = jax.jit(jax.vmap(jax.value_and_grad(lambda w, x: answer(w, x)[0], argnums=1)))


@pytest.mark.parametrize(("depth", "gain"), [(2, 2.0), (4, 1.0), (8, 1.0), (16, 2.0)])
def test_the_distance_at_initialization_is_half_normal(depth, gain):
    """|f| / |grad f| where |x| = sqrt(d): mean sqrt(2 / pi) at every depth and gain (Bubeck)."""
    rng, d, nets = np.random.default_rng(depth), 64, 900  # standard error .02
    x = rng.normal(size=(nets, d))
    x = np.float32(x * np.sqrt(d) / np.linalg.norm(x, axis=1, keepdims=True))
    weights = drawn(
        rng,
        nets,
        [d, *[64] * (depth - 1), 1],
        gain,
    )
    value, slope = value_and_slope(weights, x)
    distance = jnp.abs(value) / norms(slope).l2
    np.testing.assert_allclose(
        distance.mean(),
        np.sqrt(2 / np.pi),
        atol=0.06,
    )


def test_xavier_and_he_from_one_draw_decide_alike():
    """Homogeneous nets: equal argmax, logits and gradients apart by 2^(L / 2); f(t x) = t f(x)."""
    rng, depth = np.random.default_rng(0), 6
    sizes = [20, *[50] * (depth - 1), 10]
    he, xavier = ([w[0] for w in drawn(np.random.default_rng(1), 1, sizes, g)] for g in (2.0, 1.0))
    x = np.float32(rng.normal(size=(100, 20)))
    many = jax.jit(jax.vmap(answer, (None, 0)))
    np.testing.assert_array_equal(many(he, x).argmax(1), many(xavier, x).argmax(1))
    np.testing.assert_allclose(
        many(he, x), many(xavier, x) * 2 ** (depth / 2), rtol=1e-4, atol=1e-4
    )
    slopes = jax.jit(jax.vmap(jax.jacobian(answer, argnums=1), (None, 0)))
    np.testing.assert_allclose(
        slopes(he, x), slopes(xavier, x) * 2 ** (depth / 2), rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(
        many(he, 3 * x),
        3 * many(he, x),
        rtol=1e-4,
        atol=1e-4,
    )


def test_along_a_ray_a_net_grows_sure():
    """Softmax confidence tends to 1 along almost every ray, whatever it points at (Hein)."""
    rays = np.float32(np.random.default_rng(3).normal(size=(100, 20)))
    net = [w[0] for w in drawn(np.random.default_rng(1), 1, [20, 50, 50, 10])]

    def sureness(far):
        return jax.nn.softmax(jax.vmap(answer, (None, 0))(net, far * rays)).max(1)

    lengths = np.float32([1, 10, 100, 1e4])
    sure = np.asarray(jax.jit(jax.vmap(sureness))(lengths))
    assert (np.diff(sure, axis=0) >= 0).all()
    assert sure[0].mean() < 0.6
    assert sure[-1].min() > 0.999


def test_the_l1_norm_of_the_gradient_grows_as_the_root_of_the_pixels():
    """So |f| / |grad f|_1 falls as 1 / sqrt(d) (Simon-Gabriel)."""
    rng, nets = np.random.default_rng(2), 400
    sizes = []
    for d in (48, 768):
        x = np.float32(rng.normal(size=(nets, d)))
        _, slope = value_and_slope(drawn(rng, nets, [d, 32, 32, 1]), x)
        sizes.append(norms(slope).l1.mean())
    np.testing.assert_allclose(
        sizes[1] / sizes[0],
        4.0,
        rtol=0.12,
    )
