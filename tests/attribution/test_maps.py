"""Maps against closed forms, and what a library of them gets wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.attribution import maps

RNG = np.random.default_rng(0)
IMAGES = np.float32(RNG.random((3, 5, 4, 2)))
CLASSES = np.int32([2, 0, 1])
WEIGHTS = np.float32(RNG.normal(size=(40, 3)))


def linear(images):
    return images.reshape(len(images), -1) @ WEIGHTS


OF_CLASS = WEIGHTS.T[CLASSES].reshape(IMAGES.shape)


def test_the_gradient_of_a_linear_score_is_its_weights():
    np.testing.assert_allclose(maps.gradient(linear, IMAGES, CLASSES), OF_CLASS, rtol=1e-6)


def test_the_rule_gradient_is_jaxs_to_the_bit():
    kernel = np.float32(RNG.normal(size=(3, 3, 2, 4)))
    head = np.float32(RNG.normal(size=(4, 3)))

    def f(images):
        layout = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=layout)
        return jax.nn.relu(x).mean((1, 2)) @ head

    def own(images):
        return f(images)[np.arange(3), CLASSES].sum()

    found = maps.gradient(f, IMAGES, CLASSES)
    np.testing.assert_array_equal(found, jax.grad(own)(IMAGES))
    assert not np.allclose(found, maps.guided(f, IMAGES, CLASSES))


def test_saliency_is_the_largest_absolute_value_over_channels():
    # field-wings 27: the absolute value of the sum would be .1.
    signals = jnp.array([[0.5, -0.5, 0.1]])
    np.testing.assert_allclose(maps.strength(signals), [0.5])
    np.testing.assert_allclose(maps.total(signals), [0.1], rtol=1e-6)
    np.testing.assert_allclose(maps.strength(jnp.array([[-0.8], [0.0], [0.8]])), [0.8, 0, 0.8])


def test_one_sum_pooled_layer_has_an_exact_form():
    """Adebayo et al. 2018, section 5.3: the map is the window's sum of activity times weights."""
    kernel = np.float32(RNG.normal(size=(3, 3, 1, 1)))
    image = np.float32(RNG.normal(size=(1, 6, 6, 1)))

    def f(images):
        layout = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=layout)
        return jax.nn.relu(x).sum((1, 2))

    padded = np.pad(image[0, :, :, 0], 1)
    taps = kernel[:, :, 0, 0]
    patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    active = np.pad(((patches * taps).sum((2, 3)) > 0).astype(np.float32), 1)
    expected = np.lib.stride_tricks.sliding_window_view(active, (3, 3)) * taps[::-1, ::-1]
    for method in (maps.gradient, maps.guided):  # the signal from above is 1 everywhere
        found = method(f, image, np.int32([0]))
        np.testing.assert_allclose(found[0, :, :, 0], expected.sum((2, 3)), atol=1e-5)


def test_integrated_gradients_of_a_linear_score_have_no_half():
    baseline = np.float32(RNG.random(IMAGES.shape))
    found = maps.integrated_gradients(linear, IMAGES, CLASSES, baseline=baseline, steps=3)
    np.testing.assert_allclose(found, (IMAGES - baseline) * OF_CLASS, rtol=1e-4, atol=1e-6)
    alone = maps.input_gradient(linear, IMAGES, CLASSES, baseline=baseline)
    np.testing.assert_allclose(found, alone, rtol=1e-4, atol=1e-6)


def test_integrated_gradients_add_up_to_the_rise_of_the_score():
    def f(images):
        return linear(images) ** 3

    found = maps.integrated_gradients(f, IMAGES, CLASSES, steps=256).sum((1, 2, 3))
    rise = maps.logit(f(IMAGES), CLASSES) - maps.logit(f(0 * IMAGES), CLASSES)
    np.testing.assert_allclose(found, rise, rtol=1e-3)


def test_the_three_scores_of_a_class():
    logits, classes = jnp.array([[0.0, np.log(3.0)]]), jnp.array([1])
    assert maps.logit(logits, classes)[0] == pytest.approx(np.log(3))
    assert maps.probability(logits, classes)[0] == pytest.approx(0.75)
    assert maps.log_probability(logits, classes)[0] == pytest.approx(np.log(0.75))
    # The softmax rises by lowering the others; the logit knows its own class alone.
    by_logit, by_softmax = (
        jax.grad(lambda logits, score=score: score(logits, classes).sum())(logits)[0]
        for score in (maps.logit, maps.probability)
    )
    assert by_logit[0] == 0
    assert by_softmax[0] < 0


def test_an_image_alone_is_as_in_a_batch():
    # field-wings 30
    whole = maps.saliency(linear, IMAGES, CLASSES)
    for i in range(3):
        alone = maps.saliency(linear, IMAGES[i : i + 1], CLASSES[i : i + 1])
        np.testing.assert_allclose(alone[0], whole[i], atol=1e-6)
