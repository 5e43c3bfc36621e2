"""The public call: nets of any maker, and bad input in one line."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from jaxvision.attribution import maps
from jaxvision.attribution.api import explain
from jaxvision.attribution.occluding import occlusion
from jaxvision.types import UserError

RNG = np.random.default_rng(3)
IMAGES = np.float32(RNG.random((8, 6, 6, 1)))
FIRST = np.float32(RNG.normal(size=(36, 5)))
LAST = np.float32(RNG.normal(size=(5, 3)))


def net(images, activation=jax.nn.relu):
    return activation(images.reshape(len(images), 36) @ FIRST) @ LAST


class Normed(linen.Module):
    """A net whose batch norm tells images of a batch of each other in train mode."""

    @linen.compact
    def __call__(self, images, train: bool = False):
        x = linen.BatchNorm(use_running_average=not train)(images.reshape(len(images), 36))
        return linen.Dense(3)(linen.relu(linen.Dense(5)(x)))


def test_it_explains_what_the_net_answers():
    found = explain(net, None, IMAGES)
    logits = np.maximum(IMAGES.reshape(8, 36) @ FIRST, 0) @ LAST
    answers = logits.argmax(1)
    np.testing.assert_array_equal(found.classes, answers)
    probability = np.exp(logits).max(1) / np.exp(logits).sum(1)
    np.testing.assert_allclose(found.probability, probability, rtol=1e-5)
    guided = jax.jit(lambda images: maps.guided(net, images, answers))(IMAGES)
    np.testing.assert_allclose(found.maps, guided, rtol=1e-4, atol=1e-5)
    assert isinstance(found.maps, np.ndarray)
    same = explain(net, None, np.uint8(255 * IMAGES), [1] * 8, method=maps.saliency)
    assert same.maps.shape == (8, 6, 6)
    assert same.classes.tolist() == [1] * 8


def test_nets_of_any_maker_are_explained_and_left_as_they_are():
    module = Normed()
    variables = jax.device_get(jax.jit(module.init)(jax.random.key(0), IMAGES))
    before = jax.tree.map(np.copy, variables)
    whole = explain(module, variables, IMAGES, np.zeros(8, int))
    jax.tree.map(np.testing.assert_array_equal, before, variables)
    # field-wings 30: an image alone is as in a batch of 8.
    alone = explain(module, variables, IMAGES[:1], [0])
    np.testing.assert_allclose(alone.maps[0], whole.maps[0], atol=1e-6)

    dense = nnx.Linear(36, 3, rngs=nnx.Rngs(0))

    class Small(nnx.Module):
        def __init__(self):
            self.dense = dense

        def __call__(self, images):
            return nnx.relu(self.dense(images.reshape(len(images), 36)))

    def same(images):
        flat = images.reshape(len(images), 36)
        return jnp.maximum(flat @ dense.kernel[...] + dense.bias[...][None], 0)

    found = explain(Small(), None, IMAGES, np.zeros(8, int), method=maps.deconvnet)
    expected = explain(same, None, IMAGES, np.zeros(8, int), method=maps.deconvnet)
    np.testing.assert_allclose(found.maps, expected.maps, atol=1e-6)


def test_options_go_to_the_method():
    fill = np.float32(RNG.random((1, 6, 6, 1)))
    options = {"window": 3, "stride": 2, "score": maps.probability}
    found = explain(net, None, IMAGES, method=occlusion, fill=fill, **options)
    expected = occlusion(net, IMAGES, found.classes, fill=fill, **options)
    np.testing.assert_allclose(found.maps, expected, atol=1e-5)


def test_pixels_of_options_are_those_of_images():
    gray = np.full((1, 6, 6, 1), 51, np.uint8)
    covered = partial(explain, net, None, IMAGES, method=occlusion, window=3)
    moved = partial(explain, net, None, IMAGES, method=maps.input_gradient)
    for call, name in ((covered, "fill"), (moved, "baseline")):
        of_bytes, of_shares = (call(**{name: value}).maps for value in (gray, 0.2))
        np.testing.assert_allclose(of_bytes, of_shares, rtol=1e-5, atol=1e-6)


def test_a_function_is_explained_as_it_is_now():
    held = {"sign": 1}

    def changing(images):
        return held["sign"] * net(images)

    maps_of = {}
    for sign in (1, -1):
        held["sign"] = sign
        found = explain(changing, None, IMAGES, [0] * 8, method=maps.gradient)
        maps_of[sign] = found.maps
    np.testing.assert_array_equal(maps_of[-1], -maps_of[1])


def test_an_option_refused_once_does_not_stand_for_its_equal():
    with pytest.raises(UserError, match="whole number"):
        explain(net, None, IMAGES, method=occlusion, window=4.0)
    assert explain(net, None, IMAGES, method=occlusion, window=4).maps.shape == IMAGES.shape[:3]


@pytest.mark.parametrize("score", [maps.logit, maps.probability])
def test_a_net_of_bfloat16_is_covered_in_float32(score):
    """What it says is rounded; what is averaged of it is not."""

    def half(images):
        return net(images).astype(jnp.bfloat16)

    def rounded(images):
        return half(images).astype(jnp.float32)

    options = {"method": occlusion, "window": 2, "stride": 1, "score": score}
    found, expected = (explain(each, None, IMAGES, **options) for each in (half, rounded))
    assert found.maps.dtype == found.probability.dtype == np.float32
    np.testing.assert_allclose(found.maps, expected.maps, atol=1e-6)
    np.testing.assert_allclose(found.probability, expected.probability, rtol=1e-6)
    gradients = [explain(each, None, IMAGES, score=score).maps for each in (half, rounded)]
    np.testing.assert_allclose(*gradients, atol=1e-6)


@pytest.mark.parametrize("answer", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("method", "options"), [(maps.guided, {}), (occlusion, {"window": 3, "stride": 3})]
)
def test_a_net_that_answers_no_number_is_one_line(answer, method, options):
    dark = IMAGES.copy()
    dark[:3] = 0

    def broken(images):
        is_dark = images.sum((1, 2, 3)) == 0
        return jnp.where(is_dark[:, None], answer, net(images))

    with pytest.raises(UserError, match="answer to 3 of 8 images is no number") as raised:
        explain(broken, None, dark, method=method, **options)
    assert "\n" not in str(raised.value)


def no_relu(images):
    return images.reshape(len(images), 36) @ FIRST


def batch_normed(images):
    flat = images.reshape(len(images), 36)
    return jax.nn.relu(flat - flat.mean(0, keepdims=True)) @ FIRST


def all_of_them(logits, classes):
    del classes
    return logits


def particular(images):
    if images.shape[1:] != (4, 4, 1):
        raise AssertionError  # as a bare assertion does, without a word
    return net(images)


def softmax(images):
    return jax.nn.softmax(net(images))


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (partial(explain, net, None, IMAGES[:, :5]), r"the net does not take images of 5 x 6 x 1"),
        (
            partial(explain, net, None, 255 * IMAGES),
            r"images lie in \[.*, not in \[0, 1\]: hand over uint8",
        ),
        (partial(explain, net, None, IMAGES[0]), r"images are \[B, H, W, C\]"),
        (partial(explain, net, None, IMAGES[:0]), r"images are \[B, H, W, C\]"),
        (
            partial(explain, net, None, IMAGES, method=occlusion, window=7),
            "a window of 7 pixels does not fit into images of 6 x 6",
        ),
        (partial(explain, net, None, IMAGES, method=occlusion, window=3.0), "window=3.0: use a"),
        (partial(explain, net, None, IMAGES, method=occlusion, stride="2"), "stride='2': use a"),
        (partial(explain, net, None, IMAGES, method=occlusion, fill="gray"), "fill does not fit"),
        (
            partial(explain, net, None, IMAGES, method=occlusion, fill=np.zeros(5)),
            "fill does not fit images of 8 x 6 x 6 x 1",
        ),
        (partial(explain, net, None, IMAGES, method=occlusion, window=True), "^window=True: use a"),
        (
            partial(explain, net, None, IMAGES, method=occlusion, window=3, stride=True),
            "^stride=True: use a whole number of pixels",
        ),
        (partial(explain, net, None, IMAGES, score="logit"), "score='logit' is no function"),
        (
            partial(explain, net, None, IMAGES, score=lambda logits: logits[:, 0]),
            r"^the score is a function of logits \[B, K\] and classes.*: too many positional",
        ),
        (
            partial(explain, net, None, IMAGES, method=occlusion, window=3, score=lambda: 0),
            "^the score is a function of logits",
        ),
        (
            partial(maps.guided, net, IMAGES, np.zeros(8, int), score=lambda a, b, c: a[:, 0]),
            "^the score is a function of logits .*: missing a required argument: 'c'",
        ),
        (
            partial(maps.guided, net, IMAGES, np.zeros(8, int), score="logit"),
            "^the score is a function of logits .*: 'logit' is not a callable",
        ),
        (partial(explain, net, None, IMAGES, score=lambda logits, classes: 3.0), "gives a float"),
        (
            partial(explain, net, None, IMAGES, score=lambda logits, classes: classes),
            "the score gives int32, of which there is no gradient",
        ),
        (
            partial(explain, net, None, IMAGES, score=lambda logits, classes: np.sum(logits[:, 0])),
            "the score of 8 images has the shape",
        ),
        (
            partial(explain, net, None, IMAGES, score=lambda logits, classes: np.asarray(logits)),
            "the score does not take logits: it computes with NumPy",
        ),
        (
            partial(explain, net, None, IMAGES, method=maps.integrated_gradients, steps=True),
            "steps=True: a whole",
        ),
        (
            partial(explain, net, None, IMAGES, method=maps.integrated_gradients, steps=0),
            "steps=0: a whole",
        ),
        (
            partial(explain, net, None, IMAGES, method=maps.integrated_gradients, steps=2.5),
            "steps=2.5: a whole",
        ),
        (
            partial(explain, net, None, IMAGES, score=lambda logits, classes: logits),
            r"the score of 8 images has the shape \[8, 3\]",
        ),
        (
            partial(explain, net, None, IMAGES, method=occlusion, window=3, score=all_of_them),
            r"the score of \d+ images has the shape",
        ),
        (
            partial(explain, net, None, IMAGES, method=occlusion, fill=128),
            r"fill is not in \[0, 1\]",
        ),
        (
            partial(explain, net, None, IMAGES, method=maps.input_gradient, baseline=np.nan),
            r"baseline is not in \[0, 1\]",
        ),
        (partial(explain, lambda x: (net(x), {}), None, IMAGES), r"gives a tuple.*\[0\]"),
        (partial(explain, particular, None, IMAGES), "images of 6 x 6 x 1: AssertionError"),
        (partial(explain, no_relu, None, IMAGES), "no ReLU was reached"),
        (
            partial(explain, partial(net, activation=jax.nn.silu), None, IMAGES),
            "the net has SiLU",
        ),
        (partial(explain, net, None, IMAGES, [3] * 8), "classes reach 3, but the net has 3"),
        (partial(explain, net, None, IMAGES, [-1] * 8), "classes count"),
        (partial(explain, net, None, IMAGES, [0]), "one whole number for each of 8 images"),
        (partial(explain, net, None, IMAGES, method="guided"), "is no function"),
        (partial(explain, net, None, IMAGES, window=3), "guided: got an unexpected keyword"),
        (partial(explain, batch_normed, None, IMAGES), "train mode"),
        (partial(explain, softmax, None, IMAGES), "gives probabilities"),
    ],
)
def test_bad_input_is_one_line(call, line):
    with pytest.raises(UserError, match=line) as raised:
        call()
    assert "\n" not in str(raised.value)
