"""What algebra says of affine nets, in float64: to 1e-14, to 1e-9 where scipy is the oracle.

In float32, as attacks are run, the same forms hold to 1e-5: sums of 16 products of numbers near 1
round at 1e-7 each, and images are stored to 6e-8.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from jaxvision.adversarial.deepfool import deepfool
from jaxvision.adversarial.gradient import fgsm
from jaxvision.adversarial.threat import LINF, Ball
from tests.adversarial.linear_nets import nearest_in_box, nearest_linf_in_box

RNG = np.random.default_rng(11)
IMAGES = RNG.random((8, 16))
WEIGHTS, BIAS = RNG.normal(size=(16, 5)), RNG.normal(size=5)
LINE = WEIGHTS[:, 0]  # of two classes, class 1 leads by LINE . (x - 1/2)
DUAL = {"l1": np.inf, "l2": 2, "linf": 1}  # 1/p + 1/q = 1


def affine(images):
    return images @ jnp.asarray(WEIGHTS) + jnp.asarray(BIAS)[None]


def two_class(images):
    lead = (images - 0.5) @ jnp.asarray(LINE)
    return jnp.stack([jnp.zeros_like(lead), lead], 1)


def in_float64(attack, f, labels, *sizes, **options):
    """Return an attack's images, compiled and run in float64."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        run = jax.jit(partial(attack, f, **options))
        found = run(jnp.asarray(IMAGES), jnp.asarray(labels, jnp.int32), *sizes).images
        assert found.dtype == jnp.float64
        return np.asarray(found)


@pytest.mark.parametrize("norm", DUAL)
def test_the_distance_of_two_classes_is_the_lead_over_the_dual_norm(norm):
    """A step of that size ends there: one coordinate, -s w / (w.w), or -s sign(w) / |w|_1."""
    lead = (IMAGES - 0.5) @ LINE
    distance = np.abs(lead) / np.linalg.norm(LINE, DUAL[norm])
    labels, ball = lead > 0, Ball(norm, None)
    unit = in_float64(fgsm, two_class, labels, 0.25, ball=ball) - IMAGES
    size = np.linalg.norm(unit, {"l1": 1, "l2": 2, "linf": np.inf}[norm], axis=1)
    np.testing.assert_allclose(size, 0.25, rtol=1e-14)
    moved = unit * (distance / 0.25)[:, None]
    np.testing.assert_allclose((IMAGES + moved - 0.5) @ LINE, 0.0, atol=1e-14)
    largest = np.where(np.abs(LINE) == np.abs(LINE).max(), 1 / LINE, 0.0)
    nearest = {
        "l1": largest,
        "l2": LINE / (LINE @ LINE),
        "linf": np.sign(LINE) / np.abs(LINE).sum(),
    }
    np.testing.assert_allclose(moved, -lead[:, None] * nearest[norm], rtol=1e-14)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_one_step_of_deepfool_is_the_nearest_of_k_quadratic_programs(norm):
    logits = IMAGES @ WEIGHTS + BIAS
    labels = logits.argmax(1)
    options = {"ball": Ball(norm, None), "steps": 1, "overshoot": 0.0, "candidates": None}
    moved = in_float64(deepfool, affine, labels, **options) - IMAGES
    sizes = np.linalg.norm(moved, 2 if norm == "l2" else np.inf, axis=1)
    for own, label, size in zip(logits, labels, sizes, strict=True):
        others = [k for k in range(5) if k != label]
        oracle = [
            solved(norm, WEIGHTS[:, label] - WEIGHTS[:, k], own[label] - own[k]) for k in others
        ]
        np.testing.assert_allclose(size, min(oracle), atol=1e-9)


def solved(norm, downhill, gap):
    """Return the size of the smallest r with ``downhill . r = -gap``: by SLSQP, or linprog."""
    far = np.full(16, 0.5)  # and r in units of four free distances: it meets no box
    scale = 4 * gap / np.linalg.norm(downhill)
    if norm == "linf":
        return scale * nearest_linf_in_box(far, downhill * scale, gap)
    return scale * np.linalg.norm(nearest_in_box(far, downhill * scale, gap))


@pytest.mark.parametrize("eps", [0.0625, 0.25])  # whole in float32, which holds sizes
def test_fgsm_s_fall_is_exact_with_a_box_and_without(eps):
    """The margin falls by eps |w|_1, or in the box by sum_i |w_i| min(eps, room_i)."""
    labels = np.ones(len(IMAGES))
    room = np.where(LINE > 0, IMAGES, 1 - IMAGES)
    falls = {
        LINF: (np.abs(LINE) * np.minimum(eps, room)).sum(1),
        Ball("linf", None): np.full(len(IMAGES), eps * np.abs(LINE).sum()),
    }
    for ball, expected in falls.items():
        moved = in_float64(fgsm, two_class, labels, eps, ball=ball)
        np.testing.assert_allclose((IMAGES - moved) @ LINE, expected, atol=4e-15)
        program = optimize.linprog(
            LINE,
            bounds=[
                (max(-eps, -x), min(eps, 1 - x)) if ball is LINF else (-eps, eps) for x in IMAGES[0]
            ],
        )
        np.testing.assert_allclose(-program.fun, expected[0], atol=1e-9)
