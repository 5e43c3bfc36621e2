"""Universal perturbations, against what is known of linear nets, and their bookkeeping."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.adversarial import patterns, universal
from jaxvision.adversarial.threat import L2, LINF
from jaxvision.random import stream

fooled = jax.jit(universal.fooled, static_argnames=("f", "ball"))

SHAPE = (3, 4, 1)
DIMENSIONS = 12
EPSILON = 0.2


def affine(classes, seed=0):
    """Return a linear net of images [B, 3, 4, 1], and its weights [12, K]."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(DIMENSIONS, classes)).astype(np.float32)
    gray = weights.sum(0) / 2  # the classes meet in a gray image

    def f(images):
        return images.reshape(len(images), -1) @ weights - gray[None]

    return f, weights


def gray_images(count, spread=0.1, seed=1):
    rng = np.random.default_rng(seed)
    return jnp.asarray(0.5 + spread * rng.uniform(-1, 1, (count, *SHAPE)), jnp.float32)


@pytest.fixture(params=[universal.ascend, universal.accumulate])
def make(request):
    return request.param


@pytest.mark.parametrize(
    "ball",
    [
        pytest.param(LINF, id="linf"),
        pytest.param(L2, id="l2", marks=pytest.mark.slow),
    ],
)
def test_perturbations_keep_their_radius_and_rates_are_those_of_other_images(make, ball):
    """Field fault 20: a radius that is ignored."""
    f, _ = affine(4)
    images, others = gray_images(24), gray_images(40, seed=2)
    eps = jnp.float32([0.0, 0.05, EPSILON])
    found = jax.jit(partial(make, f, ball=ball))(
        images,
        eps,
        stream(0, "attack"),
    )
    assert found.perturbation.shape == (3, *SHAPE)
    assert np.all(ball.size(found.perturbation) <= eps * (1 + 1e-6))
    assert not found.perturbation[0].any()
    assert found.fooling[0] == 0
    assert found.fooling[1:].min() > 0.4
    judged = fooled(f, images, found.perturbation, ball)
    np.testing.assert_allclose(judged.rate, found.fooling, atol=1e-6)
    held_out = fooled(f, others, found.perturbation, ball)
    signs = 0.05 * patterns.random_signs(stream(0, "noise"), 20, SHAPE)
    if ball.norm == "linf":
        noise = fooled(f, others, signs)
        assert held_out.rate[1] > noise.rate.mean() + 0.1


def test_two_classes_of_a_linear_net_have_one_best_perturbation(make):
    """All images of a class move the same way: eps sign(w), and no other class can lose more."""
    f, weights = affine(2)
    w = weights[:, 1] - weights[:, 0]
    images = gray_images(60)
    of_zero = images[np.asarray(f(images)).argmax(1) == 0]
    best = EPSILON * np.sign(w).reshape(1, *SHAPE)
    attainable = fooled(f, of_zero, jnp.asarray(best, jnp.float32)).rate[0]
    options = {"wanted": 1.0} if make is universal.accumulate else {}
    found = jax.jit(partial(make, f, **options))(
        of_zero,
        EPSILON,
        stream(0, "attack"),
    )
    assert attainable > 0.9
    assert found.fooling == pytest.approx(attainable)


def test_a_sure_net_does_not_look_robust(make):
    """Field fault 16: from a margin of 88 on the slope of cross-entropy is 0 in float32."""
    f, _ = affine(4)
    images = gray_images(24)
    fooling = [
        jax.jit(partial(make, lambda x, times=times: times * f(x)))(
            images, EPSILON, stream(0, "attack")
        ).fooling
        for times in (1.0, 1e5)
    ]
    margins = 1e5 * np.diff(np.sort(f(images), axis=1)[:, -2:], axis=1)
    assert np.median(margins) > 88
    assert fooling[0] > 0.5
    assert fooling[1] >= fooling[0] - 0.1


def test_no_number_fools_nobody(make):
    """The square root has no gradient at a black pixel, and no value below."""
    f, _ = affine(3)
    images = gray_images(20).at[:, 0, 0].set(0)
    found = make(lambda x: f(jnp.sqrt(x)), images, EPSILON, stream(0, "attack"))
    assert np.isfinite(found.perturbation).all()
    told = fooled(lambda x: f(jnp.sqrt(x)), images, found.perturbation[None])
    np.testing.assert_allclose(found.fooling, told.rate[0])


def normals(f, images):
    return jax.jit(partial(patterns.normals, f))(images)


def test_normals_of_a_linear_net_span_one_direction_less_than_it_has_classes():
    for classes in (2, 6):
        f, weights = affine(classes)
        found = np.asarray(normals(f, gray_images(80)))
        np.testing.assert_allclose(
            np.linalg.norm(found, axis=1),
            1,
            rtol=1e-5,
        )
        sizes = np.linalg.svd(found, compute_uv=False)
        assert np.sum(sizes > 1e-4 * sizes[0]) <= classes - 1
        if classes == 2:
            w = weights[:, 1] - weights[:, 0]
            np.testing.assert_allclose(
                np.abs(found @ w),
                np.linalg.norm(w),
                rtol=1e-4,
            )


def test_random_perturbations_in_a_span_stay_in_it():
    f, _ = affine(4)
    directions, energy = patterns.span(np.asarray(normals(f, gray_images(50))), 3)
    np.testing.assert_allclose(
        directions @ directions.T,
        np.eye(3),
        atol=1e-5,
    )
    np.testing.assert_allclose(energy[2:], 1, atol=1e-5)
    assert energy[1] < 0.99
    found = patterns.random_in(stream(0, "noise"), directions, 2, 0.7)
    np.testing.assert_allclose(
        np.linalg.norm(found, axis=1),
        0.7,
        rtol=1e-5,
    )
    np.testing.assert_allclose(found @ directions.T @ directions, found, atol=1e-5)
    anywhere = patterns.random_directions(stream(0, "noise"), 2, 0.7, SHAPE)
    np.testing.assert_allclose(
        np.linalg.norm(anywhere.reshape(2, -1), axis=1),
        0.7,
        rtol=1e-5,
    )


def test_nothing_fools_nobody_even_where_the_net_errs():
    """Field fault 20. Fooling is a change of prediction: no label of the images is asked for."""
    f, _ = affine(4)
    found = fooled(
        f,
        gray_images(30),
        jnp.zeros((2, *SHAPE)),
    )
    np.testing.assert_array_equal(found.rate, 0)
    np.testing.assert_array_equal(found.dominant, 0)


def test_shares_of_classes_are_counted_among_the_images_that_change():
    def f(images):  # bright images are of class 2, dark ones of class 0, the others of class 1
        mean = images.mean((1, 2, 3))
        return jnp.stack([0.4 - mean, jnp.full_like(mean, 0.01), mean - 0.6], axis=1)

    levels = jnp.float32([0.05, 0.5, 0.5, 0.95])
    images = jnp.broadcast_to(levels[:, None, None, None], (4, *SHAPE))
    moved = jnp.stack([jnp.full(SHAPE, 0.3), jnp.full(SHAPE, -0.2)])
    found = fooled(f, images, moved)
    np.testing.assert_allclose(found.classes, [[0, 0, 0.5], [0.5, 0, 0]])
    np.testing.assert_allclose(found.rate, [0.5, 0.5])
    np.testing.assert_allclose(found.dominant, [1, 1])


def test_a_rate_out_of_reach_ends_after_the_passes():
    """Field fault 20: a loop without end."""
    f, _ = affine(3)
    images = gray_images(20)
    found = jax.jit(partial(universal.accumulate, f, wanted=2.0, passes=3))(
        images, 0.001, stream(0, "attack")
    )
    assert found.passes == 3
    early = jax.jit(partial(universal.accumulate, f, wanted=0.3, passes=9))(
        images, EPSILON, stream(0, "attack")
    )
    assert early.fooling >= 0.3
    assert early.passes < 9


def test_no_images_make_no_perturbation(make):
    f, _ = affine(3)
    found = make(
        f,
        jnp.zeros((0, *SHAPE)),
        jnp.float32([0.1, 0.2]),
        stream(0, "attack"),
    )
    np.testing.assert_array_equal(found.perturbation, np.zeros((2, *SHAPE)))
    np.testing.assert_array_equal(found.fooling, [0, 0])
    nobody = fooled(
        f,
        jnp.zeros((0, *SHAPE)),
        jnp.ones((1, *SHAPE)),
    )
    np.testing.assert_array_equal(nobody.rate, [0])
