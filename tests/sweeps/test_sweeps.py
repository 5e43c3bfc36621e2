"""Many runs of any net in one program: as if each were trained alone, and watched in every step."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxvision.data import load
from jaxvision.dynamics.traced.layers import trace
from jaxvision.dynamics.traced.redraw import redrawn
from jaxvision.dynamics.watching import watch
from jaxvision.initializers import he_forward, orthogonal
from jaxvision.models.foreign import adapt
from jaxvision.random import stream
from jaxvision.sweeps import fit, sweep
from jaxvision.training.order import Orders
from jaxvision.types import UserError
from tests.dynamics.traced import foreign_nets as nets


@pytest.fixture(scope="module")
def digits():
    splits = load("digits")
    return splits._replace(train=splits.train.first(40), test=splits.test.first(20))


class Net(nn.Module):
    """Batch norm, dropout, three layers."""

    rate: float = 0.0

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Dense(6, use_bias=False)(x.reshape(len(x), -1))
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.5)(x))
        x = nn.Dropout(self.rate, deterministic=not train)(x)
        return nn.Dense(10)(nn.tanh(nn.Dense(6)(x)))  # Flax counts the outer one first


@pytest.fixture(scope="module")
def swept(digits):
    return sweep(
        Net(),
        digits,
        initializers={"He": he_forward(), "Flax": None},
        seeds=(3, 5),
        learning_rates=(0.01, 0.1, 0.5),
        steps=4,
        batch_size=10,
    )


def test_axes_have_names_and_places(swept):
    loss = swept["loss"]
    assert loss.axes == ("initializer", "learning_rate", "seed", "step")
    assert loss.values.shape == (2, 3, 2, 4)
    assert loss.along("initializer") == ["He", "Flax"]
    assert loss.along("seed") == [3, 5]
    assert swept["delta_norm"].along("layer") == ["Dense_0", "Dense_2", "Dense_1"]
    assert swept["test_error"].along("step") == [0, 4]
    assert [remark.name for remark in swept.unseen] == ["BatchNorm_0/bias", "BatchNorm_0/scale"]


def test_runs_are_paired(swept):
    """All rates of a seed start from the same weights on the same images, all seeds do not."""
    first = swept["loss"].at(step=0).values
    assert np.ptp(first, axis=1).max() == 0
    assert np.ptp(first, axis=2).min() > 0
    assert np.ptp(first, axis=0).min() > 0
    assert np.ptp(swept["loss"].at(step=3).values, axis=1).min() > 0


def test_a_run_of_a_sweep_is_the_run_that_a_loop_of_one_s_own_would_be(swept, digits):
    """Golden: one cell against optax by hand; what is watched in it against ``watch``."""
    apply, params = swept.net(initializer="He", learning_rate=0.1, seed=5)
    again = sweep(
        Net(),
        digits,
        initializers={"He": he_forward()},
        seeds=(5,),
        learning_rates=(0.1,),
        steps=4,
        batch_size=10,
        optimizer=partial(optax.sgd, momentum=0.9),
    )
    same = partial(np.testing.assert_allclose, rtol=2e-4, atol=1e-6)
    jax.tree.map(same, params, again.net().params)
    rows = Orders(np.int32([5]), 40, 10).rows(0, 1)[0, 0]
    images, labels = digits.train.images[rows], digits.train.labels[rows]
    mean = np.float32(digits.train.images.mean(0))
    scaled = (images - mean) / np.float32((digits.train.images - mean).std())
    net = Net()
    start = net.init(stream(5, "init"), scaled)
    plan = trace(adapt(net, start).apply, start["params"], scaled)
    drawn = redrawn(plan, start["params"], he_forward(), stream(5, "init", 1))
    for name, begun in (("He", drawn), ("Flax", start["params"])):
        expected = watch(net, start | {"params": begun}, scaled, labels, train=True)
        cell = {"initializer": name, "learning_rate": 0.1, "seed": 5, "step": 0}
        for array in ("loss", "signal_std", "delta_norm", "dw_norm"):
            found = swept[array].at(**cell).values
            np.testing.assert_allclose(found, getattr(expected, array), rtol=1e-4)
    assert apply(params, scaled).shape == (10, 10)


def test_fit_is_a_sweep_of_one(swept, digits):
    fitted = fit(
        Net(),
        digits,
        seed=5,
        learning_rate=0.1,
        initializers={"He": he_forward()},
        steps=4,
        batch_size=10,
    )
    alone = {"initializer": "He", "learning_rate": 0.1, "seed": 5}
    np.testing.assert_allclose(fitted["loss"], swept["loss"].at(**alone), rtol=1e-4)
    assert fitted["delta_norm"].axes == ("step", "layer")
    assert fitted.layers == swept.layers


class Convolutional(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(1, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, momentum=0.5, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(4, 10, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.conv(x)))
        return self.head(self.drop(x.mean((1, 2))))


def test_an_nnx_net_starts_anew_from_every_seed_and_keeps_its_averages(digits):
    start = lambda key: Convolutional(nnx.Rngs(key))  # noqa: E731
    net = Convolutional(nnx.Rngs(0))
    swept = sweep(net, digits, start=start, seeds=range(2), steps=2, batch_size=10)
    assert swept.layers == ("conv", "head")
    assert np.ptp(swept["loss"].at(step=0).values) > 0
    mean = swept.history.variables["batch_stats"]["norm"]["mean"]
    assert np.abs(mean).min() > 0
    apply, params = swept.net(seed=1)
    images = np.ones((2, 8, 8, 1), np.float32)
    assert not np.array_equal(apply(params, images), net(images))


def test_any_function_on_arrays_of_one_s_own():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(40, 3)).astype(np.float32)
    labels = (images[:, 0] > 0).astype(np.int32)

    def start(key):
        return {"w": 0.1 * jax.random.normal(key, (3, 2))}

    fitted = fit(
        lambda params, x: x @ params["w"],
        ((images, labels), (images, labels)),
        start=start,
        learning_rate=1.0,
        optimizer=optax.sgd,
        preprocess=lambda images, key: images,
        steps=20,
        batch_size=20,
    )
    assert fitted["test_error"].at(step=20).values < 0.1 < fitted["test_error"].at(step=0).values


def test_weights_are_redrawn_by_what_is_summed_whatever_the_layout():
    images = np.ones((2, 5, 4), np.float32)
    net = nets.Attention()
    params = net.init(stream(0, "init"), images)["params"]
    shapes = []

    def seen(key, shape, dtype):
        shapes.append(shape)
        return jnp.full(shape, len(shapes), dtype)

    plan = trace(adapt(net, {"params": params}).apply, params, images)
    drawn = redrawn(plan, params, seen, stream(0, "init"))
    assert shapes == [(4, 4)] * 4 + [(4, 6), (6, 3)]
    assert jax.tree.map(jnp.shape, drawn) == jax.tree.map(jnp.shape, params)
    assert drawn["LayerNorm_0"] == params["LayerNorm_0"]

    turned = {"w": np.zeros((7, 4), "f")}
    plan = trace(lambda p, x: x @ p["w"].T, turned, images)
    value = redrawn(
        plan, turned, lambda key, shape, dtype: jnp.arange(28.0).reshape(shape), stream(0, "init")
    )
    np.testing.assert_array_equal(value["w"], np.arange(28.0).reshape(4, 7).T)


def test_layers_of_a_stack_are_drawn_apart():
    rows = np.ones((2, 4), np.float32)
    net = nets.Scanned()
    params = net.init(stream(0, "init"), rows)["params"]
    plan = trace(adapt(net, {"params": params}).apply, params, rows)
    kernel = redrawn(plan, params, orthogonal(2.0), stream(0, "init"))["stack"]["Dense_0"]["kernel"]
    for layer in range(3):
        gram = kernel[:, layer].T @ kernel[:, layer]
        np.testing.assert_allclose(gram, 4 * np.eye(4), atol=1e-5)
    assert not np.allclose(kernel[:, 0], kernel[:, 1])


def weight_norm(params, x):
    return x.reshape(len(x), -1) @ (params["v"] / jnp.linalg.norm(params["v"]))


@pytest.mark.parametrize(
    ("net", "variables", "options", "sentence"),
    [
        (Net(), None, {"seeds": ()}, "at least one seed and one learning rate"),
        (Net(), None, {"seeds": 3}, "seeds=3: a list, as in seeds=range(5)"),
        (Net(), None, {"learning_rates": 0.1}, "learning_rates=0.1: a list, as in"),
        (Net(), None, {"initializers": [he_forward()]}, "initializers go by their names"),
        (Net(), None, {"initializers": {"He": "he"}}, "He is no initializer"),
        (Net(), None, {"initializers": {"He": he_forward}}, "He is no initializer"),
        (lambda p, x: x.reshape(len(x), -1) @ p, np.ones((64, 3), "f"), {}, "has 3 classes"),
        (Net(), None, {"steps": 0}, "steps=0: at least 1"),
        (Net(), None, {"batch_size": 50}, "batch size 50 exceeds the 40 training images"),
        (Net(), None, {"steps": 2.5}, "steps=2.5: a whole number, at least 1"),
        (Net(), None, {"seeds": [1, 1]}, "seeds names 1 twice"),
        (Net(), None, {"seeds": [-1]}, "seeds=-1: at least 0"),
        (Net(), None, {"seeds": ["a"]}, "seeds='a': a whole number"),
        (Net(), None, {"learning_rates": [float("nan")]}, "learning_rates=nan: a finite number"),
        (Net(), None, {"learning_rates": [-0.1]}, "learning_rates=-0.1: a finite number"),
        (Net(), None, {"learning_rates": ["a"]}, "learning_rates='a' is no number"),
        (Net(), None, {"optimizer": "adam"}, "optimizer='adam' is no function of the rate"),
        (Net(), None, {"optimizer": optax.adam(0.1)}, "is no function of the rate"),
        (
            Net(),
            None,
            {"lr": 0.1},
            "sweep has no 'lr', nor has the net: did you mean learning_rates?",
        ),
        (Net(), None, {"seed": 1}, "did you mean seeds?"),
        (lambda p, x: x, None, {}, "a function comes with its parameters"),
        (
            weight_norm,
            {"v": np.ones((64, 10), "f")},
            {"initializers": {"He": he_forward()}},
            "v: its weights are computed or cut before they are used; draw them by start=",
        ),
    ],
)
def test_mistakes_are_said_in_one_line(digits, net, variables, options, sentence):
    with pytest.raises(UserError) as caught:
        sweep(net, digits, variables, **({"steps": 2} | options))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"lr": 0.1}, "fit has no 'lr', nor has the net: did you mean learning_rate?"),
        ({"seeds": [1]}, "fit has no 'seeds', nor has the net: did you mean seed?"),
        (
            {"period": 3},
            "fit has no 'period', nor has the net: it takes seed, learning_rate, start",
        ),
        ({"learning_rate": "a"}, "learning_rate='a' is no number"),
        ({"learning_rate": float("inf")}, "learning_rate=inf: a finite number"),
        ({"seed": 0.5}, "seed=0.5: a whole number"),
    ],
)
def test_mistakes_of_one_training_are_said_in_its_own_words(digits, options, sentence):
    with pytest.raises(UserError) as caught:
        fit(Net(), digits, steps=2, **options)
    assert sentence in str(caught.value)


def test_data_that_are_none_are_said():
    with pytest.raises(UserError, match="the data must be a name, a path, or"):
        sweep(Net(), (np.ones((3, 4)), np.ones(3)))


def test_images_that_are_no_numbers_are_said():
    """Otherwise every loss is NaN, which looks like a rate too large."""
    train = np.full((8, 2, 2, 1), np.nan), np.zeros(8, int)
    with pytest.raises(UserError, match="images have values that are no number"):
        sweep(Net(), (train, train))


@pytest.mark.parametrize(
    ("images", "labels", "sentence"),
    [
        ((9, 2, 2, 1), [0] * 8, r"images \[9, 2, 2, 1\] with labels \[8\]: a split needs"),
        ((7, 2, 2, 1), [0] * 8, r"images \[7, 2, 2, 1\] with labels \[8\]: a split needs"),
        ((0, 2, 2, 1), [], "a split needs at least one image"),
        ((8, 2, 3, 1), [0] * 8, r"two shapes, \[2, 2, 1\] and \[2, 3, 1\]"),
        ((8, 2, 2, 1), [0.5] * 8, "labels are whole numbers that count classes, and one is 0.5"),
        ((8, 2, 2, 1), [np.nan] * 8, "labels are whole numbers that count classes, and one is nan"),
        ((8, 2, 2, 1), [1 << 32] * 8, "and one is 4294967296"),
    ],
)
def test_images_and_labels_that_do_not_belong_together_are_said(images, labels, sentence):
    """Too few images were filled up with the last one, targets of a loss cut to whole numbers."""
    train = np.ones((8, 2, 2, 1)), np.zeros(8, int)
    with pytest.raises(UserError, match=sentence):
        sweep(Net(), (train, (np.ones(images), np.array(labels))))


def test_a_net_of_several_must_be_named(swept):
    with pytest.raises(UserError, match=r"which net\? say its initializer and seed too"):
        swept.net(learning_rate=0.1)
    with pytest.raises(UserError, match=r"learning_rate=0\.2 is not there"):
        swept.net(learning_rate=0.2, initializer="He", seed=3)
    assert repr(swept).startswith("Swept(") and len(repr(swept)) < 200
    with pytest.raises(UserError, match="there is no 'accuracy'"):
        swept["accuracy"]
