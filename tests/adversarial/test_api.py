"""The public call: bad input is one line, no images give no numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from jaxvision.adversarial.api import attack
from jaxvision.adversarial.deepfool import deepfool
from jaxvision.adversarial.evolution import differential_evolution
from jaxvision.adversarial.gradient import basic_iterative, fgsm, least_likely, pgd
from jaxvision.adversarial.min_norm import min_norm
from jaxvision.adversarial.threat import L2, Ball
from jaxvision.types import UserError

RNG = np.random.default_rng(4)
IMAGES = np.float32(RNG.random((9, 4, 4, 1)))
WEIGHTS = np.float32(RNG.normal(size=(16, 3)))


def net(images):
    return images.reshape(len(images), 16) @ WEIGHTS


LABELS = np.asarray(net(IMAGES)).argmax(1)


def batch_normed(images):
    flat = images.reshape(len(images), 16)
    return (flat - flat.mean(0, keepdims=True)) @ WEIGHTS


def random(images):
    return net(images) + np.float32(RNG.normal(size=(len(images), 3)))


def softmax(images):
    odds = jnp.exp(net(images))
    return odds / odds.sum(1, keepdims=True)


def test_one_call_attacks_a_function():
    found = attack(
        net,
        None,
        IMAGES,
        LABELS,
        [0.0, 0.1, 0.5],
        seed=0,
        restarts=2,
        steps=5,
    )
    assert found.success.shape == (3, 9)
    assert isinstance(found.images, np.ndarray)
    assert not found.success[0].any()
    assert found.success[2].all()
    again = attack(
        net,
        None,
        np.uint8(255 * IMAGES),
        list(LABELS),
        0.2,
        ball=L2,
        steps=5,
    )
    assert (again.norms.l2 <= 0.2 + 1e-5).all()


def test_steps_may_be_the_source_s():
    found = attack(net, None, IMAGES, LABELS, 16 / 255, method=basic_iterative, steps=None)
    assert found.forwards == 20 + 2 + 1


def test_a_function_is_attacked_as_it_is_now():
    class Net:
        weights = WEIGHTS

        def logits(self, images):
            return images.reshape(len(images), 16) @ self.weights

    changing = Net()
    for sign in (1, -1):
        changing.weights = sign * WEIGHTS
        labels = np.asarray(changing.logits(IMAGES)).argmax(1)
        found = attack(changing.logits, None, IMAGES, labels, 0.0, method=fgsm)
        assert not found.success.any()


class Linear(linen.Module):
    """A Linen net: batch norm in eval mode, then one kernel."""

    @linen.compact
    def __call__(self, images, train: bool = False):
        flat = linen.BatchNorm(use_running_average=not train)(images.reshape(len(images), 16))
        return linen.Dense(3)(flat)


def test_nets_of_any_maker_are_attacked():
    """Linen with its variables, NNX with its own; the same as the function they are."""
    net = Linear()
    variables = net.init(jax.random.key(0), IMAGES)
    labels = np.asarray(net.apply(variables, IMAGES)).argmax(1)
    found = attack(net, variables, IMAGES, labels, 0.1, steps=5)
    same = attack(
        lambda x: net.apply(variables, x),
        None,
        IMAGES,
        labels,
        0.1,
        steps=5,
    )
    np.testing.assert_allclose(found.images, same.images, atol=1e-6)
    dense = nnx.Linear(16, 3, rngs=nnx.Rngs(0))
    flat = IMAGES.reshape(9, 16)
    classes = np.asarray(dense(jnp.asarray(flat))).argmax(1)
    assert attack(dense, None, flat, classes, 0.3, steps=5).success.mean() > 0.5


@pytest.mark.parametrize("method", [fgsm, pgd, basic_iterative, least_likely, deepfool, min_norm])
def test_no_images_give_no_numbers(method):
    sizes = {} if method in (deepfool, min_norm) else {"eps": [0.1, 0.2]}
    found = attack(
        net,
        None,
        IMAGES[:0],
        LABELS[:0],
        **sizes,
        method=method,
    )
    lead = (2,) if sizes else ()
    assert found.images.shape == (*lead, 0, 4, 4, 1)
    assert found.success.shape == found.norms.l2.shape == (*lead, 0)


BAD = {
    "255 * x": ({"images": 255 * IMAGES}, "images lie in"),
    "a rounding above 1": (
        {"images": np.full((9, 4, 4, 1), 1.0000001)},
        r"images lie in \[1.0000001, 1.0000001\], not in \[0, 1\]: clip what rounding",
    ),
    "NaN pixel": ({"images": np.where(IMAGES > 0.9, np.nan, IMAGES)}, "no number"),
    "integer images": ({"images": np.ones((9, 4, 4, 1), int)}, "uint8, not int64"),
    "label 3": ({"labels": np.full(9, 3)}, "labels reach 3, but the net has 3 classes"),
    "label -1": ({"labels": np.full(9, -1)}, "labels count from 0, and one is -1"),
    "label 2**32": ({"labels": np.full(9, 1 << 32)}, "labels reach 4294967296: they are classes"),
    "eps []": ({"eps": []}, "eps holds no size"),
    "seed in quotes": ({"seed": "a"}, "seed='a': a whole number, at least 0"),
    "seed -1": ({"seed": -1}, "seed=-1: at least 0"),
    "other size": ({"images": IMAGES[:, :3]}, "the net does not take images of 3 x 4 x 1: "),
    "other size, DeepFool": (
        {"images": IMAGES[:, :3], "eps": None, "method": deepfool},
        "the net does not take images of 3 x 4 x 1: ",
    ),
    "one image": (
        {"images": IMAGES[0], "labels": LABELS[0]},
        r"not int64 \[\]: images are \[B, H, W, C\], one image is handed over as images\[None\]",
    ),
    "one label": ({"labels": LABELS[0]}, r"one class for all is np.full\(9, \d\)"),
    "of params": (
        {"f": lambda params, images: images},
        r"\(images\) -> logits, .*positional argument",
    ),
    "NumPy": ({"f": lambda images: np.asarray(images)}, "write it with jax.numpy"),
    "one hot": ({"labels": np.eye(3)[LABELS]}, "one whole number for each of 9 images"),
    "targets are labels": ({"targets": LABELS}, "targets are the labels, which is no attack"),
    "target 7": ({"targets": np.full(9, 7)}, "targets reach 7"),
    "eps < 0": ({"eps": -0.1}, "eps=-0.1 is negative"),
    "eps NaN": ({"eps": np.nan}, "eps is no number"),
    "eps 8": ({"eps": 8}, "write 8/255"),
    "eps 5 in L2": ({"eps": 5.0, "ball": L2}, r"differ \(4 in l2\)"),
    "eps without end or box": ({"eps": np.inf, "ball": Ball("linf", None)}, "has no box"),
    "box of 255": (
        {"eps": 8, "ball": Ball("linf", (0.0, 255.0))},
        r"box \(0.0, 255.0\) is no part of \[0, 1\]",
    ),
    "images outside the box": (
        {"ball": Ball("linf", (0.0, 0.5))},
        r"images lie in \[.*\], not in the ball's box \(0.0, 0.5\)",
    ),
    "eps in quotes": ({"eps": "8/255"}, "write 8/255 without quotes"),
    "no eps": (
        {"eps": None},
        "pgd: missing a required argument: 'eps'; beside net, .* it takes eps",
    ),
    "eps too many": ({"method": min_norm}, "min_norm takes no eps: leave it out"),
    "eps for evolution": (
        {"method": differential_evolution, "seed": 0},
        "differential_evolution takes no eps",
    ),
    "evolution, no seed": (
        {"method": differential_evolution, "eps": None},
        "differential_evolution draws at random: give it a seed",
    ),
    "evolution of flat images": (
        {
            "method": differential_evolution,
            "eps": None,
            "seed": 0,
            "images": IMAGES.reshape(9, 16),
        },
        r"images \[B, H, W, C\], not \[9, 16\]",
    ),
    "seed of none": ({"method": fgsm, "seed": 3}, "draws nothing at random: leave seed=3 out"),
    "no such option": ({"norm": "l2"}, "unexpected keyword argument 'norm'; .* it takes eps, "),
    "ball in quotes": ({"ball": "l2"}, "ball='l2': one of jaxvision.adversarial.threat"),
    "method in quotes": ({"method": "pgd"}, "method='pgd' is no function"),
    "no steps": ({"steps": 0}, "steps=0: a whole number, at least 1"),
    "steps in quotes": ({"steps": "40"}, "steps='40': a whole number"),
    "half a step": ({"steps": 2.5}, "steps=2.5: a whole number"),
    "steps None": ({"steps": None}, "steps=None: a whole number"),
    "no restarts": ({"restarts": 0}, "restarts=0: a whole number, at least 1"),
    "restarts None": ({"restarts": None}, "restarts=None: a whole number"),
    "restarts, no seed": ({"restarts": 50}, "restarts=50 without a seed"),
    "steps that stand still": ({"relative_step": 0.0}, "relative_step=0.0: a finite number above"),
    "steps back": ({"relative_step": -0.1}, "relative_step=-0.1: a finite number above 0"),
    "steps of NaN": (
        {"method": basic_iterative, "step_size": np.nan},
        "step_size=nan: a finite number above 0",
    ),
    "a level in the wrong unit": (
        {"method": basic_iterative, "step_size": 1},
        r"step_size=1 crosses all of \[0, 1\]: write 1/255",
    ),
    "a rate in quotes": (
        {"eps": None, "method": min_norm, "learning_rate": ".02"},
        "learning_rate='.02': a finite number above 0",
    ),
    "a third objective": (
        {"eps": None, "method": min_norm, "penalty": "square"},
        "penalty='square': use norm or squared",
    ),
    "back over the boundary": (
        {"eps": None, "method": deepfool, "overshoot": -0.5},
        "overshoot=-0.5: a finite number, at least 0",
    ),
    "half a candidate": (
        {"eps": None, "method": deepfool, "candidates": 2.5},
        "candidates=2.5: a whole number",
    ),
    "a loss by name": ({"loss": "ce"}, "loss='ce': a function of logits"),
    "a number for a key": ({"key": 0}, "key=0: .* give seed=0"),
    "a pair for a budget": (
        {"eps": None, "method": differential_evolution, "seed": 0, "budget": (10, 10)},
        r"budget=\(10, 10\): a jaxvision.adversarial.evolution.Budget",
    ),
    "step of L0": ({"method": fgsm, "ball": Ball("l0")}, "no steepest step in 'l0'"),
    "one candidate": ({"eps": None, "method": deepfool, "candidates": 1}, "candidates=1: the own"),
    "DeepFool in L1": ({"eps": None, "method": deepfool, "ball": Ball("l1")}, "knows l2 and linf"),
    "logits and more": ({"f": lambda x: (net(x), {})}, r"gives a tuple.*net\(images\)\[0\]"),
    "train mode": ({"f": batch_normed}, "it is in train mode"),
    "dropout": ({"f": random}, "answers differently when asked again"),
    "softmax": ({"f": softmax}, "hand over logits"),
    "nothing right": ({"labels": (LABELS + 1) % 3}, "classifies none of 9 images right"),
    "one output": ({"f": lambda x: net(x)[:, :1]}, "at least 2 classes"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case):
    changed, line = BAD[case]
    given = {"f": net, "images": IMAGES, "labels": LABELS, "eps": 0.1} | changed
    with pytest.raises(UserError, match=line) as caught:
        attack(
            given.pop("f"),
            None,
            given.pop("images"),
            given.pop("labels"),
            **given,
        )
    assert "\n" not in str(caught.value)


class Normed(linen.Module):
    """A net with running averages."""

    classes: int

    @linen.compact
    def __call__(self, images, train=False):
        x = linen.Dense(8)(images.reshape(len(images), -1))
        return linen.Dense(self.classes)(linen.BatchNorm(use_running_average=not train)(x))


def test_other_weights_of_a_net_are_attacked_by_the_program_that_is_there():
    traced = []

    def counted(f, images, labels, eps):
        traced.append(len(images))
        return fgsm(f, images, labels, eps)

    for seed in range(3):
        made = Normed(3)
        variables = made.init(jax.random.key(seed), IMAGES)
        labels = np.asarray(made.apply(variables, IMAGES)).argmax(1)
        found = attack(made, variables, IMAGES, labels, 0.1, method=counted)
        alone = fgsm(lambda x, v=variables, m=made: m.apply(v, x), IMAGES, labels, 0.1)
        np.testing.assert_allclose(found.images, alone.images, atol=1e-6)
    assert traced == [9]
    wider = Normed(4)
    variables = wider.init(jax.random.key(0), IMAGES)
    labels = np.asarray(wider.apply(variables, IMAGES)).argmax(1)
    attack(wider, variables, IMAGES, labels, 0.1, method=counted)
    assert traced == [9, 9]


def test_averages_that_were_forgotten_are_said_in_one_line():
    normed = Normed(3)
    params = normed.init(jax.random.key(0), IMAGES)["params"]
    with pytest.raises(
        UserError, match="hand over all that init returned, batch_stats too"
    ) as told:
        attack(normed, {"params": params}, IMAGES, LABELS, 0.1)
    assert "https" not in str(told.value)
