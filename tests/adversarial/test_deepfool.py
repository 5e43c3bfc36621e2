"""DeepFool: exact on affine nets, and the faults met elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.adversarial.deepfool import deepfool, nearer
from jaxvision.adversarial.threat import Ball
from jaxvision.types import UserError
from tests.adversarial.linear_nets import affine, nearest_in_box, two_class

FREE = {norm: Ball(norm, box=None) for norm in ("l2", "linf")}
RNG = np.random.default_rng(5)
IMAGES = jnp.asarray(RNG.random((30, 16)), jnp.float32)
WEIGHTS, BIAS = RNG.normal(size=(16, 6)), RNG.normal(size=6)


def test_two_classes_take_one_step():
    """Field fault 19. w = (3, 4), gap 5: the step (.6, .8), norm 1.02 with an overshoot of .02."""
    f = two_class([3.0, 4.0], -5.0)
    origin = jnp.zeros((1, 2))
    found = deepfool(
        f,
        origin,
        jnp.zeros(1, jnp.int32),
        ball=FREE["l2"],
    )
    np.testing.assert_allclose(
        found.images,
        [[0.612, 0.816]],
        rtol=1e-5,
    )
    np.testing.assert_allclose(found.norms.l2, 1.02, rtol=1e-5)
    assert int(found.best_step[0]) == 1
    longer = deepfool(
        f,
        origin,
        jnp.zeros(1, jnp.int32),
        ball=FREE["l2"],
        overshoot=0.5,
    )
    np.testing.assert_allclose(longer.norms.l2, 1.5, rtol=1e-5)


def test_an_image_that_is_wrong_stays():
    """Field fault 19: r = 0, not the image."""
    f = affine(WEIGHTS, BIAS)
    wrong = (jnp.argmax(f(IMAGES), 1).astype(jnp.int32) + 1) % 6
    found = deepfool(f, IMAGES, wrong)
    np.testing.assert_array_equal(found.images, IMAGES)
    np.testing.assert_array_equal(found.norms.l2, 0.0)
    assert bool(found.success.all())


@pytest.mark.parametrize("norm", FREE)
def test_k_classes_take_one_step_and_no_shorter_one_does(norm):
    """The distance is min over k of (z_y - z_k) / |w_y - w_k|_q, equations 8 to 14."""
    f = affine(WEIGHTS, BIAS)
    labels = jnp.argmax(f(IMAGES), 1).astype(jnp.int32)
    attack = jax.jit(lambda x, y: deepfool(f, x, y, ball=FREE[norm], overshoot=1e-3))
    found = attack(IMAGES, labels)
    assert bool(found.success.all())
    np.testing.assert_array_equal(found.best_step, 1)
    exact = []
    logits = np.asarray(IMAGES, np.float64) @ WEIGHTS + BIAS
    for z, y in zip(logits, np.asarray(labels), strict=True):
        slopes = np.delete(
            WEIGHTS - WEIGHTS[:, [y]],
            y,
            axis=1,
        )
        gaps = np.delete(z[y] - z, y)
        dual = np.abs(slopes).sum(0) if norm == "linf" else np.sqrt((slopes**2).sum(0))
        exact.append((gaps / dual).min())
    np.testing.assert_allclose(
        found.norms._asdict()[norm],
        1.001 * np.array(exact),
        rtol=1e-4,
    )


def test_minimizers_of_two_classes_are_those_of_the_table():
    """-s w / (w.w) in L2, -s sign(w) / |w|_1 in Linf."""
    w, s = np.array([1.0, -2.0, 0.5]), 1.5
    f = two_class(-w, -s)  # class 0 leads by w.x + s
    zero, label = jnp.zeros((1, 3)), jnp.zeros(1, jnp.int32)
    l2 = deepfool(f, zero, label, ball=FREE["l2"], overshoot=1e-4)
    np.testing.assert_allclose(
        l2.images[0],
        -s * w / (w @ w),
        rtol=2e-4,
    )
    linf = deepfool(f, zero, label, ball=FREE["linf"], overshoot=1e-4)
    np.testing.assert_allclose(
        linf.images[0],
        -s * np.sign(w) / np.abs(w).sum(),
        rtol=2e-4,
    )


def test_in_the_box_it_ends_at_the_nearest_image_of_a_linear_net():
    """clip(x - t w, 0, 1), which linear algebra alone does not find."""
    w = RNG.normal(size=16)
    f = two_class(w, -w.sum() / 2)
    labels = jnp.argmax(f(IMAGES), 1).astype(jnp.int32)
    found = deepfool(f, IMAGES, labels, overshoot=1e-4)
    assert bool(found.success.all())
    assert int(found.best_step.max()) > 1
    x, score = np.asarray(IMAGES, np.float64), (np.asarray(IMAGES, np.float64) - 0.5) @ w
    nearest = [nearest_in_box(a, np.sign(s) * w, abs(s)) for a, s in zip(x, score, strict=True)]
    np.testing.assert_allclose(
        found.norms.l2,
        np.linalg.norm(nearest, axis=1),
        rtol=2e-3,
    )


def test_a_dead_gradient_does_not_spread():
    weights = WEIGHTS * np.r_[0.0, np.ones(15)][:, None]

    def f(images):  # flat where the first pixel is below a tenth
        flat = affine(weights, BIAS)(images)
        return jnp.where(
            images[:, :1] > 0.1,
            flat,
            jax.lax.stop_gradient(flat),
        )

    images = IMAGES.at[:, 0].set(0.5).at[0, 0].set(0.05)
    labels = jnp.argmax(f(images), 1).astype(jnp.int32)
    found = deepfool(f, images, labels, steps=8)
    np.testing.assert_array_equal(found.images[0], images[0])
    assert not bool(found.success[0])
    assert bool(found.success[1:].all())
    assert bool(jnp.isfinite(found.images).all())


def test_nearer_ends_at_the_boundary():
    f = affine(WEIGHTS, BIAS)
    labels = jnp.argmax(f(IMAGES), 1).astype(jnp.int32)
    far = deepfool(f, IMAGES, labels, ball=FREE["l2"], overshoot=0.5)
    near = nearer(f, IMAGES, labels, far, bisections=14)
    assert bool(near.success.all())
    np.testing.assert_allclose(
        near.norms.l2,
        far.norms.l2 / 1.5,
        rtol=1e-3,
    )
    assert int(near.forwards) == int(far.forwards) + 14 + 2


def test_another_norm_is_refused():
    with pytest.raises(UserError, match="l2 and linf"):
        deepfool(
            affine(WEIGHTS, BIAS),
            IMAGES,
            jnp.zeros(30, jnp.int32),
            ball=Ball("l1"),
        )
